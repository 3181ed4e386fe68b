"""What runs and is paid for in a cluster now: GPU nodes with their prices, and which share of a GPU each pod has."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Final

from gpuslice.cluster.seen.inventory import gpu_node, requests_of
from gpuslice.cluster.seen.offers import amount
from gpuslice.cluster.seen.snapshot import pod_objects
from gpuslice.hardware.resource_names import SHARED_GPU, WHOLE_GPU, is_mig
from gpuslice.units import usd
from gpuslice.workloads.gpu_use import looks_like_gpu
from gpuslice.workloads.owners import Family
from gpuslice.workloads.pods import pod_requests
from gpuslice.workloads.today import NodesToday, ShareToday, Today, bill

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuslice.cloud.catalog import Catalog, InstanceType
    from gpuslice.cluster.client.objects import Node, Pod
    from gpuslice.cluster.seen.inventory import GpuNode
    from gpuslice.cluster.seen.snapshot import Snapshot
    from gpuslice.workloads.artefact import WorkloadSet
    from gpuslice.workloads.model import Workload
    from gpuslice.workloads.owners import Key, Object

_GPU: Final = "nvidia.com/gpu"
_PROFILE: Final = re.compile(r"[1-9]+g\.[0-9]+gb(?:[+.]me(?:\.all)?)?")
_DAY: Final = 10  # characters of an ISO date


def today_of(snapshot: Snapshot, catalog: Catalog, workloads: WorkloadSet) -> Today | None:
    """What runs and is paid for; None where the input has no GPU node.

    Args:
        snapshot: the cluster.
        catalog: its prices count for nodes of its region.
        workloads: as they were read from that cluster.
    """
    nodes = [
        (node, held) for node in snapshot.nodes if (held := gpu_node(node, snapshot, catalog)) is not None
    ]
    if not nodes:
        return None
    types = catalog.by_name()
    names = _Names(snapshot, workloads.workloads)
    alike: Counter[tuple[GpuNodeKey, tuple[tuple[str, int], ...], int]] = Counter()
    shares: Counter[tuple[str, str, str, int, str]] = Counter()
    for node, held in nodes:
        carried: Counter[str] = Counter()
        others = 0
        for pod in snapshot.pods_by_node.get(node.name, ()):
            name = names.of(pod)
            if name:
                carried[name] += 1
                share = share_on(node, types.get(held.instance_type), requests_of(pod))
                shares[name, held.gpu or "", *share] += 1
            elif _has_gpu(pod):
                others += 1
        alike[_key(held), tuple(sorted(carried.items())), others] += 1
    listed = tuple(
        NodesToday(
            instance_type=instance_type,
            purchase=purchase,  # type: ignore[arg-type]  # StrEnum's values
            count=count,
            usd_per_hour=price,
            on_demand_usd_per_hour=on_demand,
            pods=dict(pods),
            others=others,
        )
        for ((instance_type, purchase, price, on_demand), pods, others), count in sorted(
            alike.items(), key=lambda entry: (entry[0][0][:2], entry[0][1:], str(entry[0][0]))
        )
    )
    return Today(
        read=snapshot.taken[:_DAY],
        prices=catalog.prices_date,
        usd_per_hour=bill(listed),
        nodes=listed,
        shares=tuple(
            ShareToday(workload=name, gpu=gpu, mechanism=mechanism, of=of, profile=profile, pods=pods)  # type: ignore[arg-type]  # as above
            for (name, gpu, mechanism, of, profile), pods in sorted(shares.items())
        ),
    )


GpuNodeKey = tuple[str, str, float | None, float | None]
"""Instance type, purchase, dollars an hour, and on demand where that isn't known."""


def _key(held: GpuNode) -> GpuNodeKey:
    known = held.usd_micro is not None and not held.assumed_price
    return (
        held.instance_type,
        held.purchase.value,
        usd(held.usd_micro) if known and held.usd_micro is not None else None,
        usd(held.usd_micro) if held.assumed_price and held.usd_micro is not None else None,
    )


class _Names:
    """Which workload a pod is of."""

    def __init__(self, snapshot: Snapshot, workloads: Sequence[Workload]) -> None:
        objects = pod_objects(snapshot.gpu_pods, snapshot.where)
        family = Family([*snapshot.objects, *objects])
        self._objects: dict[str, Object] = {
            pod.name: obj for pod, obj in zip(snapshot.gpu_pods, objects, strict=True)
        }
        self._family = family
        self._workloads: dict[Key, list[Workload]] = defaultdict(list)
        for workload in workloads:
            namespace, _, name = workload.name.partition("/")
            key = (workload.target.kind, namespace, workload.target.name or name)
            self._workloads[key].append(workload)

    def of(self, pod: Pod) -> str:
        """Its name; empty: of none that was read."""
        if pod.name not in self._objects:
            return ""
        candidates = self._workloads.get(self._family.top(self._objects[pod.name]), [])
        if len(candidates) > 1:  # one object with several templates: told apart by what their pods ask for
            asked = pod_requests(pod.spec, pod.name)
            size = (asked.cpu_milli, asked.memory_mib, sum(asked.gpus.values()))
            candidates = [one for one in candidates if (one.cpu_milli, one.memory_mib, one.need.gpus) == size]
        return candidates[0].name if candidates else ""


def _has_gpu(pod: Pod) -> bool:
    """Whether a pod uses a GPU by whatever name, or claims a device."""
    return bool(requests_of(pod) or pod.spec.resource_claims) or any(
        looks_like_gpu(name)
        for container in (*pod.spec.containers, *pod.spec.init_containers)
        for name in container.resources.limits
    )


def share_on(node: Node, kind: InstanceType | None, asked: dict[str, int]) -> tuple[str, int, str]:
    """What a pod has of a GPU on a node: mechanism, how many may share it, and the MIG profile.

    A device plugin may share GPUs and MIG instances without another name for them. Then GPU Feature Discovery's labels
    tell, and without them a node that offers more GPUs than it was bought with.

    Args:
        node: that the pod is on.
        kind: of machine; None: not known.
        asked: by the pod, by extended resource.
    """
    labels = node.labels
    resource = next(iter(asked), WHOLE_GPU)
    profile = _profile(node, resource)
    strategy = labels.get(f"{_GPU}.sharing-strategy", "")
    replicas = _replicas(node, kind, resource, cut=bool(profile))
    if profile:
        return "mig", replicas, profile
    if replicas > 1 or resource == SHARED_GPU or strategy in {"time-slicing", "mps"}:
        return "mps" if strategy == "mps" else "time-slicing", replicas, ""
    if kind is not None and not kind.gpu_count:
        return "fractional", 1, ""
    return "whole", 1, ""


def _profile(node: Node, resource: str) -> str:
    """The MIG profile behind a resource: by its name, or, where all instances are called GPUs, by the node's labels."""
    if is_mig(resource):
        match = _PROFILE.search(resource)
        return "" if match is None else match[0].replace(".me", "+me")
    labels = node.labels
    product = labels.get(f"{_GPU}.product", "").partition("-MIG-")[2].removesuffix("-SHARED")
    if product:
        return product
    if labels.get("nvidia.com/mig.strategy") != "single":
        return ""
    match = _PROFILE.search(labels.get("nvidia.com/mig.config", ""))
    return "" if match is None else match[0]


def _replicas(node: Node, kind: InstanceType | None, resource: str, *, cut: bool) -> int:
    """How many pods may share the GPU, or the MIG instance, that a resource stands for; 1: none but one."""
    base = resource.removesuffix(".shared")
    for key in (f"{base}.replicas", f"{_GPU}.replicas"):
        label = node.labels.get(key, "")
        if label.isdecimal() and (key != f"{_GPU}.replicas" or not is_mig(resource)):
            return max(int(label), 1)
    offered = int(amount(node.status.allocatable.get(resource, "0")))
    cards = kind.gpu_count if kind is not None else 0
    # MIG instances are several on a GPU without being shared.
    return max(offered // cards, 1) if cards and not cut else 1
