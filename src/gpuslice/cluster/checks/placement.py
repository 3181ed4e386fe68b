"""Pods against nodes: who can land where he shouldn't, and who can't land where he should."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Final

from gpuslice.cluster.finding import Check, Finding, Seen, Severity
from gpuslice.cluster.inventory import requests_of
from gpuslice.cluster.machines import promised, types_of
from gpuslice.cluster.objects import NodePool
from gpuslice.cluster.resources import NODE, NODE_OVERLAY, NODE_POOL, POD
from gpuslice.errors import nearest
from gpuslice.hardware.slices import SHARED_GPU, WHOLE_GPU
from gpuslice.planner.promised import POOL_LABEL
from gpuslice.workloads.objects import convert
from gpuslice.workloads.pods import MIG_PREFIX

if TYPE_CHECKING:
    from gpuslice.cluster.objects import Pod, Taint
    from gpuslice.workloads.target import Toleration

_KEEPS_OFF: Final = frozenset({"NoSchedule", "NoExecute"})


def tolerated(taint: Taint, tolerations: Iterable[Toleration]) -> bool:
    """Whether one of the tolerations lets a pod past a taint (Kubernetes: tolerations)."""
    return any(
        each.effect in {"", taint.effect}
        and (
            (each.operator == "Exists" and each.key in {"", taint.key})
            or (each.operator == "Equal" and each.key == taint.key and each.value == taint.value)
        )
        for each in tolerations
    )


def _untolerated(pod: Pod, taints: Iterable[Taint]) -> list[Taint]:
    return [
        each for each in taints if each.effect in _KEEPS_OFF and not tolerated(each, pod.spec.tolerations)
    ]


def _offers(pool: NodePool, seen: Seen) -> Mapping[str, str]:
    """What a pool's nodes are promised to offer, of all its types together."""
    found: dict[str, str] = {}
    for kind in types_of(pool, seen.catalog):
        own = promised(seen.cluster.node_overlays, pool, kind)
        if kind.gpu_count:
            own.setdefault(WHOLE_GPU, str(kind.gpu_count))
        found |= own
    return found


def _whole_on_sliced(seen: Seen) -> Iterator[Finding]:
    whole = [each for each in seen.cluster.gpu_pods if WHOLE_GPU in requests_of(each)]
    for pool in seen.cluster.node_pools:
        offered = _offers(pool, seen)
        if not any(name == SHARED_GPU or name.startswith(MIG_PREFIX) for name in offered):
            continue
        if offered.get(WHOLE_GPU, "0") == "0":
            continue
        could = [each for each in whole if not _untolerated(each, pool.taints) and _selects(each, pool)]
        if could:
            yield Finding(
                f"NodePool {pool.name}",
                f"its nodes are sliced, and its overlays leave {WHOLE_GPU} at {offered[WHOLE_GPU]}; pods such as "
                f"{could[0].name} ask for that and tolerate its taints",
                "Karpenter makes nodes of this pool for them, on which they then never fit or take a GPU before it is "
                "cut (NVIDIA/gpu-operator#2670)",
                f'add {WHOLE_GPU}: "0" to the capacity of its overlays, or a taint that these pods don\'t tolerate',
            )


def _selects(pod: Pod, pool: NodePool) -> bool:
    return all(pool.labels.get(key, value) == value for key, value in pod.spec.node_selector.items())


def _wrong_pool(seen: Seen) -> Iterator[Finding]:
    pools = {each.labels[POOL_LABEL]: each for each in seen.cluster.node_pools if POOL_LABEL in each.labels}
    told: set[tuple[str, str]] = set()
    for pod in seen.cluster.pods:
        wanted = pod.spec.node_selector.get(POOL_LABEL)
        owner = next((each.name for each in pod.metadata.owner_references), pod.metadata.name)
        if wanted is None or pod.ended or (pod.metadata.namespace, owner) in told:
            continue
        if wanted not in pools:
            told.add((pod.metadata.namespace, owner))
            yield Finding(
                f"Pod {pod.name}",
                f"wants pool {wanted!r}, and no NodePool has the label {POOL_LABEL}={wanted}",
                "it stays pending, now or when it next starts",
                nearest(wanted, pools) or "apply the plan that has this pool, or change the node selector",
            )
            continue
        missed = _untolerated(pod, pools[wanted].taints)
        if missed:
            told.add((pod.metadata.namespace, owner))
            taint = missed[0]
            yield Finding(
                f"Pod {pod.name}",
                f"wants pool {wanted} and doesn't tolerate its taint {taint.key}={taint.value}:{taint.effect}",
                "it stays pending, now or when it next starts",
                f"add the toleration {{key: {taint.key}, operator: Equal, value: {taint.value!r}, effect: "
                f"{taint.effect}}}",
            )


def _tenants(seen: Seen) -> Iterator[Finding]:
    for node in seen.cluster.nodes:
        if SHARED_GPU not in node.status.allocatable and node.labels.get(
            "nvidia.com/gpu.sharing-strategy"
        ) not in {
            "time-slicing",
            "mps",
        }:
            continue
        users = [each for each in seen.cluster.pods_by_node.get(node.name, ()) if requests_of(each)]
        tenants = {each.metadata.namespace: each for each in users}
        if len(tenants) > 1:
            names = sorted(tenants)
            yield Finding(
                f"Node {node.name}",
                f"its shared GPUs are used from namespaces {', '.join(names[:4])}: {tenants[names[0]].name} beside "
                f"{tenants[names[1]].name}",
                "nothing keeps them apart: one can take the memory of the other, and crash it",
                "give each tenant a pool of its own (gpuslice plan does), or state one gpuslice.io/tenant for them",
            )


def _operands_kept_off(seen: Seen) -> Iterator[Finding]:
    """The GPU Operator's operands and NFD's workers must tolerate the pools' taints, in two places."""
    tainted = [each for each in seen.cluster.node_pools if any(one.key == POOL_LABEL for one in each.taints)]
    operated = [each for each in tainted if each.labels.get("nvidia.com/gpu.deploy.operands") != "false"]
    if not operated:
        return
    pool = operated[0]
    for policy in seen.cluster.cluster_policies:
        missed = [
            each
            for each in pool.taints
            if each.effect in _KEEPS_OFF and not tolerated(each, policy.spec.daemonsets.tolerations)
        ]
        if missed:
            yield Finding(
                f"ClusterPolicy {policy.name}",
                f"daemonsets.tolerations has none for {missed[0].key}, which taints NodePool {pool.name}",
                "no device plugin runs on the pool's nodes: their slices never register",
                f"add {{key: {POOL_LABEL}, operator: Exists, effect: NoSchedule}} to spec.daemonsets.tolerations",
            )
    yield from _nfd_kept_off(seen, pool.name, pool.taints)


def nfd_kept_off(seen: Seen, pools: Iterable[Mapping[str, object]]) -> list[Finding]:
    """Workers of Node Feature Discovery that won't tolerate the taints of pools yet to be made."""
    for each in pools:
        pool = convert(each, NodePool, "")
        return list(_nfd_kept_off(seen, pool.name, pool.taints))
    return []


def _nfd_kept_off(seen: Seen, pool: str, taints: Iterable[Taint]) -> Iterator[Finding]:
    for each in seen.cluster.daemon_sets:
        if "node-feature-discovery" not in each.metadata.name or "worker" not in each.metadata.name:
            continue
        missed = [
            one for one in taints if one.effect in _KEEPS_OFF and not tolerated(one, each.pod.tolerations)
        ]
        if missed:
            yield Finding(
                f"DaemonSet {each.name}",
                f"doesn't tolerate {missed[0].key}, which taints NodePool {pool}",
                "the GPU Operator doesn't see that these nodes have GPUs, and metered resources never appear",
                "helm upgrade gpu-operator nvidia/gpu-operator --reuse-values --values values.yaml, with the "
                "node-feature-discovery.worker.tolerations that gpuslice render writes",
            )


CHECKS: Final = (
    Check(
        "GS601",
        "Pods that ask for whole GPUs stay off sliced pools",
        Severity.BROKEN,
        (POD, NODE_POOL, NODE_OVERLAY),
        _whole_on_sliced,
    ),
    Check(
        "GS602",
        "Pods tolerate the taints of the pools they want",
        Severity.BROKEN,
        (POD, NODE_POOL),
        _wrong_pool,
    ),
    Check("GS603", "Tenants don't share GPUs that nothing divides", Severity.RISK, (POD, NODE), _tenants),
    Check(
        "GS604",
        "The GPU Operator's operands tolerate the pools' taints",
        Severity.BROKEN,
        (NODE_POOL,),
        _operands_kept_off,
    ),
)
