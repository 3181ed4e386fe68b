"""A cluster against the plan that it was given: pools, what their nodes offer, and where workloads ask to be."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from gpuslice.cluster.finding import Check, Finding, Seen, Severity
from gpuslice.cluster.machines import promised, types_of
from gpuslice.cluster.offered import amount
from gpuslice.cluster.resources import KNOWN, NODE_OVERLAY, NODE_POOL
from gpuslice.hardware.slices import WHOLE_GPU
from gpuslice.planner.promised import POOL_LABEL, resources
from gpuslice.workloads.objects import fields_of
from gpuslice.workloads.target import POD_SPEC_OF

if TYPE_CHECKING:
    from gpuslice.cloud.catalog import InstanceType
    from gpuslice.cluster.objects import NodePool
    from gpuslice.planner import plan as planned

_APPLY: Final = "gpuslice apply -f plan.yaml shows the difference and sets it"
_NAMED: Final = 4  # instance types in one line


def _pools(seen: Seen) -> Iterator[Finding]:
    if seen.plan is None:
        return
    live = {each.name: each for each in seen.cluster.node_pools}
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
        for said, found in (
            ("admits {}, which the plan doesn't have", {each.name for each in admitted} - names),
            ("doesn't admit {}, which the plan has", names - {each.name for each in admitted}),
        ):
            if found:
                more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
                yield Finding(
                    f"NodePool {wanted.name}",
                    said.format(", ".join(sorted(found)[:_NAMED]) + more),
                    "Karpenter launches other machines than the plan's, at another price",
                    _APPLY,
                )
        for kind in admitted:
            if kind.name in names:
                yield from _slices(wanted, pool, kind, seen)


def _slices(wanted: planned.Pool, pool: NodePool, kind: InstanceType, seen: Seen) -> Iterator[Finding]:
    assert seen.plan is not None  # noqa: S101  as the caller checked
    live = promised(seen.cluster.node_overlays, pool, kind)
    for name, figure in resources(wanted.layout, seen.plan.stack, kind).items():
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


def _leftover(seen: Seen) -> Iterator[Finding]:
    if seen.plan is None:
        return
    names = {each.name for each in seen.plan.pools}
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
    for each in seen.plan.assignments:
        namespace, _, name = each.workload.rpartition("/")
        homes.setdefault((each.target.kind, namespace, each.target.name or name), set()).add(each.pool)
    found = {each.key: each for each in seen.cluster.objects}
    for key, pools in sorted(homes.items()):
        kind, namespace, name = key
        item = found.get(key)
        readable = any(one.kind == kind and seen.cluster.could_read(one) for one in KNOWN.values())
        if item is None or kind not in POD_SPEC_OF or not readable:
            continue
        spec = fields_of(item.data, *POD_SPEC_OF[kind].strip("/").split("/"))
        now = fields_of(spec, "nodeSelector").get(POOL_LABEL)
        if now not in pools:
            yield Finding(
                f"{kind} {namespace}/{name}",
                f"asks for {f'pool {now}' if now else 'no pool of gpuslice'}, the plan has it in "
                f"{' and '.join(sorted(pools))}",
                "it costs what it cost before, and the plan's nodes for it stay empty or aren't launched",
                "gpuslice apply -f plan.yaml --workloads, or its patch where its manifest is",
            )


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
