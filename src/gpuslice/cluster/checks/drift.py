"""A cluster against the plan that it was given: pools, what their nodes offer, and where workloads ask to be."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Final

from gpuslice.carriers.pools import POOL_LABEL
from gpuslice.carriers.table import carrier_of
from gpuslice.cluster.checks.finding import Check, Finding, Seen, Severity
from gpuslice.cluster.client.resources import KNOWN, NODE_OVERLAY, NODE_POOL
from gpuslice.cluster.seen.machines import promised, types_of
from gpuslice.cluster.seen.offers import amount
from gpuslice.hardware.resource_names import WHOLE_GPU, is_seat
from gpuslice.units import first_of
from gpuslice.workloads.objects import fields_of
from gpuslice.workloads.target import POD_SPEC_OF

if TYPE_CHECKING:
    from gpuslice.cloud.catalog import InstanceType
    from gpuslice.cluster.client.objects import NodePool
    from gpuslice.plan import artefact as planned
    from gpuslice.workloads.objects import Fields

_APPLY: Final = "gpuslice apply -f plan.yaml shows the difference and sets it"
_NAMED: Final = 4  # instance types in one line


def _pools(seen: Seen) -> Iterator[Finding]:
    if seen.plan is None:
        return
    live = {node_pool.name: node_pool for node_pool in seen.cluster.node_pools}
    for wanted in seen.plan.pools:
        pool = live.get(wanted.name)
        if pool is None:
            yield Finding(
                f"NodePool {wanted.name}",
                "is in the plan and not in the cluster",
                "pods that the plan has there stay pending, or run where they cost more",
                _APPLY,
            )
            continue
        admitted, names = types_of(pool, seen.catalog), set(wanted.instance_types)
        for said, strays in (
            ("admits {}, which the plan doesn't have", {kind.name for kind in admitted} - names),
            ("doesn't admit {}, which the plan has", names - {kind.name for kind in admitted}),
        ):
            if strays:
                yield Finding(
                    f"NodePool {wanted.name}",
                    said.format(first_of(sorted(strays), _NAMED)),
                    "Karpenter launches other machines than the plan's, at another price",
                    _APPLY,
                )
        for kind in admitted:
            if kind.name in names:
                yield from _slices(wanted, pool, kind, seen)
        yield from _limits(wanted, pool, seen.plan.stack)


def _slices(wanted: planned.Pool, pool: NodePool, kind: InstanceType, seen: Seen) -> Iterator[Finding]:
    assert seen.plan is not None  # noqa: S101  as the caller checked
    live = promised(seen.cluster.node_overlays, pool, kind)
    planned = carrier_of(wanted, seen.plan.stack).offers(wanted, kind).quantities
    nobodys = {name: "0" for name in live if is_seat(name) and name not in planned}
    for name, figure in (planned | nobodys).items():
        # Of whole GPUs Karpenter knows by itself, those of a fractional type included.
        unsaid = str(kind.gpu_count or figure) if name == WHOLE_GPU else "0"
        said = live.get(name, unsaid)
        if amount(said) != amount(figure):
            yield Finding(
                f"NodePool {wanted.name}",
                f"its overlays promise {said} of {name} on {kind.name}, the plan {figure}",
                "Karpenter counts with other slices than the plan's: too many nodes, or pods that don't fit",
                _APPLY,
            )


def _limits(wanted: planned.Pool, pool: NodePool, stack: str) -> Iterator[Finding]:
    """Whether a pool of so many nodes can't get more: its seats are limited, of which each node has some."""
    for seat, most in carrier_of(wanted, stack).limits(wanted).items():
        limit = pool.spec.limits.get(seat)
        if limit is None or amount(limit) != most:
            yield Finding(
                f"NodePool {wanted.name}",
                f"its limit of {seat} is {'missing' if limit is None else limit}, the plan's is {most}",
                f"Karpenter launches {'fewer' if limit is not None and amount(limit) < most else 'more'} nodes of it "
                "than the plan has",
                _APPLY,
            )


def _leftover(seen: Seen) -> Iterator[Finding]:
    if seen.plan is None:
        return
    names = {pool.name for pool in seen.plan.pools}
    for pool in seen.cluster.node_pools:
        if POOL_LABEL in pool.labels and pool.name not in names:
            yield Finding(
                f"NodePool {pool.name}",
                "is gpuslice's, and the plan doesn't have it",
                "pods that still ask for it keep nodes alive that nobody planned",
                f"{_APPLY}: it goes once no pods are left on it",
            )


def _elsewhere(seen: Seen) -> Iterator[Finding]:
    if seen.plan is None:
        return
    homes: dict[tuple[str, str, str], set[str]] = {}
    seats: dict[tuple[str, str, str], str] = {}
    for assignment in seen.plan.assignments:
        namespace, _, name = assignment.workload.rpartition("/")
        key = (assignment.target.kind, namespace, assignment.target.name or name)
        if assignment.asks.seat:
            seats[key] = assignment.asks.seat
        else:
            homes.setdefault(key, set()).add(assignment.pool)
    objects = {object_.key: object_ for object_ in seen.cluster.objects}
    for key in sorted(homes.keys() | seats.keys()):
        kind, namespace, name = key
        item = objects.get(key)
        readable = any(one.kind == kind and seen.cluster.could_read(one) for one in KNOWN.values())
        if item is None or kind not in POD_SPEC_OF or not readable:
            continue
        spec = fields_of(item.data, *POD_SPEC_OF[kind].strip("/").split("/"))
        now = str(fields_of(spec, "nodeSelector").get(POOL_LABEL, ""))
        if key in seats:
            evidence = _not_seated(spec, seats[key], now)
        else:
            evidence = _not_at_home(homes[key], now)
        if evidence:
            yield Finding(
                f"{kind} {namespace}/{name}",
                evidence,
                "it costs what it cost before, and the plan's nodes for it stay empty or aren't launched",
                "gpuslice apply -f plan.yaml --workloads, or its patch where its manifest is",
            )


def _not_at_home(pools: Collection[str], now: str) -> str:
    """What is wrong with a pod template that names this pool ("": none) and should name one of these; "": nothing."""
    if now in pools:
        return ""
    asked = f"pool {now}" if now else "no pool of gpuslice"
    return f"asks for {asked}, the plan has it in {' and '.join(sorted(pools))}"


def _not_seated(spec: Fields, seat: str, now: str) -> str:
    """What is wrong with a pod template that should ask for a seat, wherever there is one, and name no pool."""
    lists = [spec.get("containers"), spec.get("initContainers")]
    containers = [entry for one in lists if isinstance(one, list) for entry in one]
    if not any(seat in fields_of(container, "resources", "limits") for container in containers):
        asked = f"pool {now}" if now else "no pool of gpuslice"
        return f"asks for {asked}, the plan has it wherever there is a {seat}"
    return f"names pool {now}, the plan has it wherever there is a {seat}" if now else ""


CHECKS: Final = (
    Check(
        "GS801",
        "The plan's pools are there, as the plan has them (where a plan is given)",
        Severity.BROKEN,
        (NODE_POOL, NODE_OVERLAY),
        _pools,
    ),
    Check(
        "GS802",
        "No pool is left that the plan doesn't have (where a plan is given)",
        Severity.RISK,
        (NODE_POOL,),
        _leftover,
    ),
    Check(
        "GS803",
        "Workloads ask for the pools that the plan has them in (where a plan is given)",
        Severity.RISK,
        (),
        _elsewhere,
    ),
)
