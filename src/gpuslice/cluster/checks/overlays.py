"""NodeOverlays: whether Karpenter reads them, and whether what they promise is what somebody meant.

Behaviour: Karpenter v1.14.1, observed (docs/concepts/karpenter.md).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import combinations, pairwise
from typing import TYPE_CHECKING, Final

from gpuslice.cluster.checks.finding import Check, Finding, Seen, Severity
from gpuslice.cluster.client.objects import condition
from gpuslice.cluster.client.resources import DEPLOYMENT, NODE_OVERLAY, NODE_POOL
from gpuslice.cluster.seen.machines import POOL, overlaid, types_of
from gpuslice.cluster.seen.offers import is_slice
from gpuslice.errors import InputError
from gpuslice.units import parse_quantity

if TYPE_CHECKING:
    from gpuslice.cluster.client.objects import NodeOverlay, Runner

GATE_COMMAND: Final = (
    "helm upgrade karpenter oci://public.ecr.aws/karpenter/karpenter --namespace kube-system --reuse-values "
    "--set settings.featureGates.nodeOverlay=true"
)
_RESOURCE: Final = re.compile(
    r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
)
_NATIVE: Final = re.compile(r"cpu|memory|pods|storage|ephemeral-storage|hugepages-.+|attachable-volumes-.+")
"""What needs no domain: everything else is an extended resource, of which no pod may ask without one."""


def feature_gates(karpenter: Runner) -> str:
    """What Karpenter's Deployment says of feature gates; its flag goes before the variable; empty: nothing."""
    for container in karpenter.pod.containers:
        for word, following in pairwise([*container.command, *container.args, ""]):
            name, equals, value = word.partition("=")
            if name in {"--feature-gates", "-feature-gates"}:
                return value if equals else following
    for container in karpenter.pod.containers:
        for variable in container.env:
            if variable.name == "FEATURE_GATES":
                return variable.value
    return ""


def reads_overlays(karpenter: Runner) -> bool:
    """Whether its feature gate is on."""
    return any(name.strip() == "NodeOverlay=true" for name in feature_gates(karpenter).split(","))


def _gate_off(seen: Seen) -> Iterator[Finding]:
    overlays = seen.cluster.node_overlays
    if not overlays:
        return
    names = ", ".join(overlay.name for overlay in overlays[:3])
    karpenter = seen.cluster.karpenter
    if karpenter is not None:
        gates = feature_gates(karpenter)
        if reads_overlays(karpenter):
            return
        yield Finding(
            f"Deployment {karpenter.name}",
            f"FEATURE_GATES is {gates!r}" if gates else "FEATURE_GATES isn't set",
            f"Karpenter ignores all {len(overlays)} NodeOverlays ({names}): pods that ask for slices stay pending",
            GATE_COMMAND,
        )
    elif not any(overlay.status.conditions for overlay in overlays):
        yield Finding(
            f"NodeOverlay {overlays[0].name}",
            f"none of {len(overlays)} NodeOverlays has a status, and Karpenter's Deployment isn't to be seen",
            "probably no Karpenter with the feature gate NodeOverlay runs: pods that ask for slices stay pending",
            GATE_COMMAND,
        )


def _no_crd(seen: Seen) -> Iterator[Finding]:
    """Only where somebody counts on overlays: where there are pools of ours."""
    if NODE_OVERLAY.group_kind in seen.cluster.served or NODE_POOL.group_kind not in seen.cluster.served:
        return
    sliced = [
        node_pool.name for node_pool in seen.cluster.node_pools if "gpuslice.io/pool" in node_pool.labels
    ]
    if sliced:
        yield Finding(
            "CustomResourceDefinition nodeoverlays.karpenter.sh",
            f"isn't there, and NodePools such as {sliced[0]} count on overlays",
            "Karpenter can't know what nodes of these pools offer: pods that ask for slices stay pending",
            "install Karpenter's CRDs, v1.14 or later: "
            "helm upgrade --install karpenter-crd oci://public.ecr.aws/karpenter/karpenter-crd",
        )


def _unscoped(seen: Seen) -> Iterator[Finding]:
    for node_overlay in seen.cluster.node_overlays:
        gpus = sorted(name for name in node_overlay.spec.capacity if is_slice(name))
        # NotIn and Exists name no pool either: they reach those yet to come.
        if gpus and not any(
            one.key == POOL and one.operator == "In" for one in node_overlay.spec.requirements
        ):
            others = [
                pool.name for pool in seen.cluster.node_pools if _reaches(node_overlay, pool.name, seen)
            ]
            yield Finding(
                f"NodeOverlay {node_overlay.name}",
                (
                    "requirements is empty"
                    if not node_overlay.spec.requirements
                    else f"no requirement names {POOL}; it reaches NodePools {', '.join(others[:4]) or 'yet to come'}"
                ),
                f"Karpenter believes that every matching node of every NodePool offers {', '.join(gpus)}: it launches "
                "nodes on which the pods then don't fit",
                f"add to its requirements {{key: {POOL}, operator: In, values: [the pool that is sliced]}}",
            )


def _reaches(overlay: NodeOverlay, pool_name: str, seen: Seen) -> bool:
    pool = next(node_pool for node_pool in seen.cluster.node_pools if node_pool.name == pool_name)
    return any(overlaid(overlay, pool, kind) for kind in types_of(pool, seen.catalog))


def _several_counts(seen: Seen) -> Iterator[Finding]:
    for node_overlay in seen.cluster.node_overlays:
        if not any(
            is_slice(name) and str(amount) != "0" for name, amount in node_overlay.spec.capacity.items()
        ):
            continue
        by_count: dict[int, str] = {}
        for pool in seen.cluster.node_pools:
            for kind in types_of(pool, seen.catalog):
                if overlaid(node_overlay, pool, kind):
                    by_count.setdefault(kind.gpu_count, kind.name)
        if len(by_count) > 1:
            listed = ", ".join(f"{name} ({count})" for count, name in sorted(by_count.items()))
            yield Finding(
                f"NodeOverlay {node_overlay.name}",
                f"one absolute capacity for machines of several GPU counts: {listed}",
                "the figure is right for one of them at most: elsewhere slices are promised that don't exist, or paid "
                "for and never used",
                "make one overlay for each GPU count, scoped by karpenter.k8s.aws/instance-gpu-count",
            )


def _invalid(seen: Seen) -> Iterator[Finding]:
    for node_overlay in seen.cluster.node_overlays:
        said = condition(node_overlay.status.conditions, "ValidationSucceeded")
        if said is None or said.status != "False":
            continue
        conflict = said.reason == "Conflict"
        yield Finding(
            f"NodeOverlay {node_overlay.name}",
            f"ValidationSucceeded=False, {said.reason}: {said.message}",
            "Karpenter uses it for no NodePool at all"
            + (", since it meets another of its weight somewhere" if conflict else ""),
            "give every overlay a weight of its own (spec.weight, 1 to 10000)"
            if conflict
            else f"correct it: kubectl edit nodeoverlay {node_overlay.name}",
        )


def _meetings(seen: Seen) -> Iterator[tuple[NodeOverlay, NodeOverlay, list[str], list[str]]]:
    """Pairs of overlays that set the same resources for some pool: the two, the resources, the pools."""
    overlays = seen.cluster.node_overlays
    reached = {
        overlay.name: {
            (pool.name, kind.name)
            for pool in seen.cluster.node_pools
            for kind in types_of(pool, seen.catalog)
            if overlaid(overlay, pool, kind)
        }
        for overlay in overlays
    }
    for one, other in combinations(overlays, 2):
        same = sorted(one.spec.capacity.keys() & other.spec.capacity.keys())
        places = reached[one.name] & reached[other.name]
        if same and places:
            yield one, other, same, sorted({pool for pool, _ in places})


def _equal_weights(seen: Seen) -> Iterator[Finding]:
    for meeting in _meetings(seen):
        if meeting[0].spec.weight == meeting[1].spec.weight:
            yield _conflict(*meeting)


def _conflict(one: NodeOverlay, other: NodeOverlay, same: list[str], pools: list[str]) -> Finding:
    loser = min(one.name, other.name)
    return Finding(
        f"NodeOverlay {loser}",
        f"has weight {one.spec.weight or 'none'}, as {max(one.name, other.name)}, and both set {same[0]} in "
        f"NodePool {pools[0]}",
        f"Karpenter drops {loser} for all NodePools, without an event",
        "give every overlay a weight of its own (spec.weight, 1 to 10000)",
    )


def _shadowed(seen: Seen) -> Iterator[Finding]:
    for meeting in _meetings(seen):
        finding = _shadow(*meeting)
        if finding is not None:
            yield finding


def _shadow(one: NodeOverlay, other: NodeOverlay, same: list[str], pools: list[str]) -> Finding | None:
    low, high = sorted((one, other), key=lambda overlay: overlay.spec.weight)
    differing = [name for name in same if str(low.spec.capacity[name]) != str(high.spec.capacity[name])]
    if low.spec.weight == high.spec.weight or not differing:
        return None
    return Finding(
        f"NodeOverlay {low.name}",
        f"sets {differing[0]}: {low.spec.capacity[differing[0]]} in NodePool {pools[0]}, where "
        f"{high.name} with the higher weight says {high.spec.capacity[differing[0]]}",
        f"{low.name} shows Ready and has no effect there",
        "scope one of them to other NodePools, or delete it",
    )


def kept_from_working(seen: Seen, ours: frozenset[str]) -> Iterator[Finding]:
    """Overlays that would be dropped or have no effect where these and others meet.

    Karpenter tells only once a pool is there that both are for: till then all of them are Ready.

    Args:
        seen: a cluster as it will be.
        ours: names of overlays that are about to be written.
    """
    for meeting in _meetings(seen):
        one, other = meeting[:2]
        if not ours & {one.name, other.name}:
            continue
        if one.spec.weight == other.spec.weight:
            yield _conflict(*meeting)
            continue
        finding = _shadow(*meeting)
        if finding is not None and min((one, other), key=lambda overlay: overlay.spec.weight).name in ours:
            yield finding


def _impossible(seen: Seen) -> Iterator[Finding]:
    for node_overlay in seen.cluster.node_overlays:
        for name, amount in node_overlay.spec.capacity.items():
            why = _why_impossible(name, str(amount))
            if why:
                yield Finding(
                    f"NodeOverlay {node_overlay.name}",
                    f"capacity {name}: {amount}: {why}",
                    "the API server and Karpenter accept it, and no node can ever have it: Karpenter's view of these "
                    "nodes is wrong",
                    f"correct it: kubectl edit nodeoverlay {node_overlay.name}",
                )


def _why_impossible(name: str, amount: str) -> str:
    if not _RESOURCE.fullmatch(name):
        return "that is no name of a resource"
    if "/" not in name and not _NATIVE.fullmatch(name):
        return "no pod may ask for a resource without a domain, such as nvidia.com/"
    try:
        value = parse_quantity(amount)
    except InputError:
        return "that is no quantity"
    if value < 0:
        return "it is negative"
    if value.denominator != 1:
        return "extended resources come in whole numbers"
    return ""


def _nobodys(seen: Seen) -> Iterator[Finding]:
    pools = {node_pool.name for node_pool in seen.cluster.node_pools}
    for node_overlay in seen.cluster.node_overlays:
        for requirement in node_overlay.spec.requirements:
            if requirement.key == POOL and requirement.operator == "In":
                gone = sorted(set(requirement.values) - pools)
                if gone and not set(requirement.values) & pools:
                    yield Finding(
                        f"NodeOverlay {node_overlay.name}",
                        f"is for NodePool {', '.join(gone)}, and there is none of that name",
                        "it has no effect",
                        f"correct the name, or: kubectl delete nodeoverlay {node_overlay.name}",
                    )


_BOTH: Final = (NODE_OVERLAY, NODE_POOL)
CHECKS: Final = (
    Check(
        "GS201",
        "Karpenter reads NodeOverlays: the feature gate is on",
        Severity.BROKEN,
        (NODE_OVERLAY, DEPLOYMENT),
        _gate_off,
    ),
    Check(
        "GS202", "NodeOverlay's CRD is installed where pools need it", Severity.BROKEN, (NODE_POOL,), _no_crd
    ),
    Check(
        "GS203", "Every overlay that slices GPUs is scoped to NodePools", Severity.BROKEN, _BOTH, _unscoped
    ),
    Check("GS204", "An overlay's capacity is for one GPU count", Severity.BROKEN, _BOTH, _several_counts),
    Check("GS205", "Karpenter accepts every overlay", Severity.BROKEN, (NODE_OVERLAY,), _invalid),
    Check("GS206", "Overlays that meet have different weights", Severity.BROKEN, _BOTH, _equal_weights),
    Check("GS207", "No overlay is shadowed by another", Severity.RISK, _BOTH, _shadowed),
    Check("GS208", "Overlays promise what a node can have", Severity.BROKEN, (NODE_OVERLAY,), _impossible),
    Check("GS209", "Every overlay is for a NodePool that exists", Severity.RISK, _BOTH, _nobodys),
)
