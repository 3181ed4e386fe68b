"""Pods against nodes: who can land where he shouldn't, and who can't land where he should."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Final

from gpuslice.carriers.pools import POOL_LABEL
from gpuslice.cluster.checks.finding import Check, Finding, Seen, Severity
from gpuslice.cluster.client.objects import NodePool, Requirement
from gpuslice.cluster.client.resources import (
    CLUSTER_POLICY,
    CUSTOM_OWNERS,
    DAEMON_SET,
    NODE,
    NODE_OVERLAY,
    NODE_POOL,
    OWNERS,
    POD,
)
from gpuslice.cluster.seen.device_plugins import device_plugins
from gpuslice.cluster.seen.inventory import INSTANCE_TYPE, requests_of
from gpuslice.cluster.seen.machines import POOL, admits, labels_of, promised, types_of
from gpuslice.cluster.seen.offers import amount, seats_asked, sharing
from gpuslice.cluster.seen.snapshot import pod_objects
from gpuslice.errors import nearest
from gpuslice.hardware.resource_names import SHARED_GPU, WHOLE_GPU, is_mig
from gpuslice.workloads.annotations import PREFIX
from gpuslice.workloads.objects import convert
from gpuslice.workloads.owners import Family

if TYPE_CHECKING:
    from gpuslice.cluster.client.objects import Pod, Taint
    from gpuslice.workloads.target import Toleration

_TENANT: Final = f"{PREFIX}tenant"
_KEEPS_OFF: Final = frozenset({"NoSchedule", "NoExecute"})


def tolerated(taint: Taint, tolerations: Iterable[Toleration]) -> bool:
    """Whether one of the tolerations lets a pod past a taint (Kubernetes: tolerations)."""
    return any(
        toleration.effect in {"", taint.effect}
        and (
            (toleration.operator == "Exists" and toleration.key in {"", taint.key})
            or (
                toleration.operator == "Equal"
                and toleration.key == taint.key
                and toleration.value == taint.value
            )
        )
        for toleration in tolerations
    )


def _untolerated(pod: Pod, taints: Iterable[Taint]) -> list[Taint]:
    return [
        taint for taint in taints if taint.effect in _KEEPS_OFF and not tolerated(taint, pod.spec.tolerations)
    ]


def _offers(pool: NodePool, seen: Seen) -> Mapping[str, str]:
    """What a pool's nodes are promised to offer, of all its types together."""
    offers: dict[str, str] = {}
    for kind in types_of(pool, seen.catalog):
        own = promised(seen.cluster.node_overlays, pool, kind)
        if kind.gpu_count:
            own.setdefault(WHOLE_GPU, str(kind.gpu_count))
        offers |= own
    return offers


def _whole_on_sliced(seen: Seen) -> Iterator[Finding]:
    whole = [gpu_pod for gpu_pod in seen.cluster.gpu_pods if WHOLE_GPU in requests_of(gpu_pod)]
    for pool in seen.cluster.node_pools:
        offered = _offers(pool, seen)
        if not any(name == SHARED_GPU or is_mig(name) for name in offered):
            continue
        if offered.get(WHOLE_GPU, "0") == "0":
            continue
        could = [
            pod
            for pod in whole
            if not _untolerated(pod, pool.taints) and _seats(pod, offered) and _selects(pod, pool, seen)
        ]
        if could:
            yield Finding(
                f"NodePool {pool.name}",
                f"its nodes are sliced, and its overlays leave {WHOLE_GPU} at {offered[WHOLE_GPU]}; pods such as "
                f"{could[0].name} ask for that and tolerate its taints",
                "Karpenter makes nodes of this pool for them, on which they then never fit or take a GPU before it is "
                "cut (NVIDIA/gpu-operator#2670)",
                f'add {WHOLE_GPU}: "0" to the capacity of its overlays, or a taint that these pods don\'t tolerate',
            )


def _seats(pod: Pod, offered: Mapping[str, str]) -> bool:
    """Whether nodes that offer this have the seats that a pod asks for, if it asks for any."""
    return all(amount(offered.get(name, "0")) for name in seats_asked(pod))


def _selects(pod: Pod, pool: NodePool, seen: Seen) -> bool:
    """Whether some machine of a pool has the labels that a pod's node selector names, as far as labels are known."""
    wanted = [Requirement(key, "In", (value,)) for key, value in pod.spec.node_selector.items()]
    own = {POOL: pool.name, **pool.labels}
    return any(admits(wanted, labels_of(kind) | own) for kind in types_of(pool, seen.catalog))


def _wrong_pool(seen: Seen) -> Iterator[Finding]:
    pools = {
        node_pool.labels[POOL_LABEL]: node_pool
        for node_pool in seen.cluster.node_pools
        if POOL_LABEL in node_pool.labels
    }
    told: set[tuple[str, str]] = set()
    for pod in seen.cluster.pods:
        wanted = pod.spec.node_selector.get(POOL_LABEL)
        owner = next(
            (owner_reference.name for owner_reference in pod.metadata.owner_references), pod.metadata.name
        )
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
    yield from _kept_off_all(seen)


def _kept_off_all(seen: Seen) -> Iterator[Finding]:
    """Pods that wait, name no pool, and could go to several if these had no taints."""
    offers = [(node_pool, _offers(node_pool, seen)) for node_pool in seen.cluster.node_pools]
    looked: set[tuple[str, str]] = set()
    for pod in seen.cluster.gpu_pods:
        owner = next(
            (owner_reference.name for owner_reference in pod.metadata.owner_references), pod.metadata.name
        )
        if (
            pod.spec.node_name
            or POOL_LABEL in pod.spec.node_selector
            or (pod.metadata.namespace, owner) in looked
        ):
            continue
        looked.add((pod.metadata.namespace, owner))
        seats = sorted(seats_asked(pod))
        asked = [*requests_of(pod), *seats]
        could = [
            pool
            for pool, offered in offers
            if asked and all(amount(offered.get(name, "0")) for name in asked) and _selects(pod, pool, seen)
        ]
        kept_off = [(pool, missed) for pool in could if (missed := _untolerated(pod, pool.taints))]
        if not could or len(kept_off) < len(could) or _has_a_node(pod, asked, seen):
            continue
        pool, (taint, *_) = kept_off[0]
        more = f", and those of {len(kept_off) - 1} more that offer it" if len(kept_off) > 1 else ""
        yield Finding(
            f"Pod {pod.name}",
            f"asks for {seats[0] if seats else asked[0]}, and doesn't tolerate NodePool {pool.name}'s taint "
            f"{taint.key}={taint.value}:{taint.effect}{more}",
            "it stays pending: whatever offers that keeps it off",
            f"add the toleration {{key: {taint.key}, operator: Exists, effect: {taint.effect}}}"
            if seats
            else f"add the toleration {{key: {taint.key}, operator: Equal, value: {taint.value!r}, effect: "
            f"{taint.effect}}}",
        )


def _has_a_node(pod: Pod, asked: Iterable[str], seen: Seen) -> bool:
    """Whether a node offers what a pod asks for, and lets it on: then it waits for a place there."""
    return any(
        all(amount(node.status.allocatable.get(name, "0")) for name in asked)
        and not _untolerated(pod, node.spec.taints)
        for node in seen.cluster.nodes
    )


def _tenants(seen: Seen) -> Iterator[Finding]:
    family: Family | None = None
    types = seen.catalog.by_name()
    for node in seen.cluster.nodes:
        sign = sharing(node, types.get(node.labels.get(INSTANCE_TYPE, "")))
        if not sign:
            continue
        users = [pod for pod in seen.cluster.pods_by_node.get(node.name, ()) if requests_of(pod)]
        if not users:
            continue
        family = family or Family(seen.cluster.objects)
        tenants = {_tenant(user, family, seen): user for user in users}
        if len(tenants) > 1:
            names = sorted(tenants)
            yield Finding(
                f"Node {node.name}",
                f"its GPUs are shared ({sign}), and used by the tenants {', '.join(names[:4])}: "
                f"{tenants[names[0]].name} beside {tenants[names[1]].name}",
                "nothing keeps them apart: one can take the memory of the other, and crash it",
                f"give each tenant a pool of its own (gpuslice plan does), or state one {_TENANT} for them",
            )


def _tenant(pod: Pod, family: Family, seen: Seen) -> str:
    """Whose a pod is: as it or an owner of it states, the nearest first; else its namespace's."""
    (as_object,) = pod_objects((pod,), seen.cluster.where)
    stated = (
        one.metadata.annotations.get(_TENANT, "").strip() for one in (as_object, *family.ancestors(as_object))
    )
    return next(filter(None, stated), pod.metadata.namespace)


def _operands_kept_off(seen: Seen) -> Iterator[Finding]:
    """The GPU Operator's operands and NFD's workers must tolerate the pools' taints, in two places."""
    tainted = [
        node_pool
        for node_pool in seen.cluster.node_pools
        if any(one.key == POOL_LABEL for one in node_pool.taints)
    ]
    operated = [node for node in tainted if node.labels.get("nvidia.com/gpu.deploy.operands") != "false"]
    if not operated:
        return
    pool = operated[0]
    for policy in seen.cluster.cluster_policies:
        missed = [
            taint
            for taint in pool.taints
            if taint.effect in _KEEPS_OFF and not tolerated(taint, policy.spec.daemonsets.tolerations)
        ]
        if missed:
            yield Finding(
                f"ClusterPolicy {policy.name}",
                f"daemonsets.tolerations has none for {missed[0].key}, which taints NodePool {pool.name}",
                "no device plugin runs on the pool's nodes: their slices never register",
                f"add {{key: {POOL_LABEL}, operator: Exists, effect: NoSchedule}} to spec.daemonsets.tolerations",
            )
    yield from _plugins_kept_off(seen, operated)
    yield from _nfd_kept_off(seen, pool.name, pool.taints)


def _plugins_kept_off(seen: Seen, pools: Iterable[NodePool]) -> Iterator[Finding]:
    """Device plugins that somebody runs without the GPU Operator, and what their pods tolerate."""
    if seen.cluster.cluster_policies:
        return
    for plugin in device_plugins(seen.cluster):
        for pool in pools:
            missed = [
                taint
                for taint in pool.taints
                if plugin.runner is not None
                and taint.effect in _KEEPS_OFF
                and not tolerated(taint, plugin.runner.pod.tolerations)
            ]
            if missed and plugin.serves(pool):
                yield Finding(
                    plugin.title,
                    f"doesn't tolerate {missed[0].key}, which taints NodePool {pool.name}",
                    "no device plugin runs on the pool's nodes: their slices never register",
                    f"add {{key: {POOL_LABEL}, operator: Exists, effect: NoSchedule}} to its tolerations (NVIDIA's "
                    "chart: tolerations)",
                )
                break


def nfd_kept_off(seen: Seen, pools: Iterable[Mapping[str, object]]) -> list[Finding]:
    """Workers of Node Feature Discovery that won't tolerate the taints of pools yet to be made."""
    for entry in pools:
        pool = convert(entry, NodePool, "")
        return list(_nfd_kept_off(seen, pool.name, pool.taints))
    return []


def _nfd_kept_off(seen: Seen, pool: str, taints: Iterable[Taint]) -> Iterator[Finding]:
    for runner in seen.cluster.daemon_sets:
        if "node-feature-discovery" not in runner.metadata.name or "worker" not in runner.metadata.name:
            continue
        missed = [
            one for one in taints if one.effect in _KEEPS_OFF and not tolerated(one, runner.pod.tolerations)
        ]
        if missed:
            yield Finding(
                f"DaemonSet {runner.name}",
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
        (POD, NODE_POOL, NODE, NODE_OVERLAY),
        _wrong_pool,
    ),
    Check(
        "GS603",
        "Tenants don't share GPUs that nothing divides",
        Severity.RISK,
        (POD, NODE, *OWNERS, *CUSTOM_OWNERS),
        _tenants,
    ),
    Check(
        "GS604",
        "The device plugin and the GPU Operator's operands tolerate the pools' taints",
        Severity.BROKEN,
        (NODE_POOL, CLUSTER_POLICY, DAEMON_SET),
        _operands_kept_off,
    ),
)
