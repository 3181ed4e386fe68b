"""What a cluster's workloads need, and which GPU nodes it holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from gpuslice.artefacts.quoting import shorten
from gpuslice.cloud.catalog import Purchase
from gpuslice.cluster.seen.snapshot import pod_objects
from gpuslice.errors import InputError
from gpuslice.hardware.gpus import gpu_named
from gpuslice.hardware.resource_names import WHOLE_GPU, is_gpu
from gpuslice.workloads.census import from_objects
from gpuslice.workloads.models_today import NONE_STATED
from gpuslice.workloads.owners import Family
from gpuslice.workloads.pods import pod_requests
from gpuslice.workloads.unread import unread_notes

if TYPE_CHECKING:
    from gpuslice.cloud.catalog import Catalog
    from gpuslice.cluster.client.objects import Node, Pod
    from gpuslice.cluster.seen.selector import Selector
    from gpuslice.cluster.seen.snapshot import Snapshot
    from gpuslice.workloads.artefact import WorkloadSet
    from gpuslice.workloads.model import Workload
    from gpuslice.workloads.models_today import StatedModels
    from gpuslice.workloads.owners import Key, Object

INSTANCE_TYPE: Final = "node.kubernetes.io/instance-type"
REGION: Final = "topology.kubernetes.io/region"
CAPACITY_TYPES: Final = ("karpenter.sh/capacity-type", "eks.amazonaws.com/capacityType")
_PURCHASES: Final = {
    "on-demand": Purchase.ON_DEMAND,
    "on_demand": Purchase.ON_DEMAND,
    "spot": Purchase.SPOT,
    "reserved": Purchase.RESERVED,
    "capacity_block": Purchase.RESERVED,
}
_SUFFIXES: Final = ("-SHARED",)


@dataclass(frozen=True, slots=True)
class GpuNode:
    """A node with GPUs.

    Attributes:
        name, instance_type, region: as its labels say; empty: they don't.
        purchase: how it was bought.
        gpu: the model; None: not known.
        cards: GPUs in it, as it was bought; None: not known. A fraction of a card counts as one.
        usd_micro: an hour; None: no price is known.
        assumed_price: whether the on-demand price stands for another that isn't known.
        pods: that ask for a GPU.
    """

    name: str
    instance_type: str
    region: str
    purchase: Purchase
    gpu: str | None
    cards: int | None
    usd_micro: int | None
    assumed_price: bool
    pods: int


@dataclass(frozen=True, slots=True)
class Inventory:
    """The GPU nodes that a cluster holds, and what is asked of them.

    Attributes:
        nodes: with GPUs, by name.
        asked: by pods, by extended resource.
        pending: pods that ask for a GPU and have no node.
        region: of the nodes, where it is one; empty: none or several.
    """

    nodes: tuple[GpuNode, ...]
    asked: Mapping[str, int]
    pending: int
    region: str

    @property
    def cards(self) -> int:
        """GPUs held."""
        return sum(node.cards or 0 for node in self.nodes)


def workloads_of(
    snapshot: Snapshot,
    *,
    catalog: Catalog,
    today: StatedModels = NONE_STATED,
    region: str,
    exclude: Sequence[str] = (),
    selector: Selector | None = None,
) -> WorkloadSet:
    """The workloads of a cluster that ask for a GPU, each with the GPU that its pods run on now.

    Args:
        snapshot: the cluster.
        catalog: knows which GPU an instance type has.
        today: models where nothing says.
        region: of the workload set.
        exclude: patterns of workload names to leave out.
        selector: keep only workloads whose top object has such labels.
    """
    pods = pod_objects(snapshot.gpu_pods, snapshot.where)
    objects = [*snapshot.objects, *pods, *pod_objects(snapshot.claiming_pods, snapshot.where)]
    family = Family(objects)
    if selector is not None:
        objects = [object_ for object_ in objects if selector.matches(_top(object_, family).metadata.labels)]
    models = _models_by_owner(snapshot, catalog, family, pods)
    workload_set, unread = from_objects(objects, region=region, exclude=exclude)
    return replace(
        workload_set,
        workloads=tuple(_placed(workload, models, today) for workload in workload_set.workloads),
        notes=(*workload_set.notes, *unread_notes(unread)),
    )


def inventory_of(snapshot: Snapshot, catalog: Catalog) -> Inventory:
    """The GPU nodes of a cluster, and what its pods ask for."""
    nodes = tuple(gpus for node in snapshot.nodes if (gpus := gpu_node(node, snapshot, catalog)) is not None)
    asked: Counter[str] = Counter()
    for pod in snapshot.gpu_pods:
        asked.update(requests_of(pod))
    regions = {node.region for node in nodes if node.region}
    return Inventory(
        nodes=nodes,
        asked=dict(sorted(asked.items())),
        pending=sum(not gpu_pod.spec.node_name for gpu_pod in snapshot.gpu_pods),
        region=regions.pop() if len(regions) == 1 else "",
    )


def gpu_node(node: Node, snapshot: Snapshot, catalog: Catalog) -> GpuNode | None:
    """A node as one with GPUs; None where it has none."""
    instance_type = node.labels.get(INSTANCE_TYPE, "")
    known = catalog.by_name().get(instance_type)
    offers = [name for name in node.status.capacity if is_gpu(name)]
    if known is None and not offers and "nvidia.com/gpu.count" not in node.labels:
        return None
    purchase = purchase_of(node)
    region = node.labels.get(REGION, "")
    priced = known is not None and region in {"", catalog.region}
    price = known.prices.get(purchase) if known is not None and priced else None
    on_demand = known.prices.get(Purchase.ON_DEMAND) if known is not None and priced else None
    pods = snapshot.pods_by_node.get(node.name, ())
    return GpuNode(
        name=node.name,
        instance_type=instance_type,
        region=region,
        purchase=purchase,
        gpu=known.gpu if known is not None else model_of(node),
        cards=max(known.gpu_count, 1) if known is not None else _count(node),
        usd_micro=on_demand if price is None else price,
        assumed_price=price is None and on_demand is not None,
        pods=sum(1 for pod in pods if requests_of(pod)),
    )


def purchase_of(node: Node) -> Purchase:
    """How a node was bought; on demand where it doesn't say."""
    for key in CAPACITY_TYPES:
        if key in node.labels:
            return _PURCHASES.get(node.labels[key].lower(), Purchase.ON_DEMAND)
    return Purchase.ON_DEMAND


def model_of(node: Node) -> str | None:
    """The GPU model, as GPU Feature Discovery or Karpenter label it; None: they don't, or nobody knows it."""
    product = node.labels.get("nvidia.com/gpu.product", "").partition("-MIG-")[0]
    for suffix in _SUFFIXES:
        product = product.removesuffix(suffix)
    name = node.labels.get("karpenter.k8s.aws/instance-gpu-name", "")
    memory = node.labels.get("karpenter.k8s.aws/instance-gpu-memory", "")
    for text, mib in ((product, None), (name, int(memory) if memory.isdecimal() else None)):
        try:
            if text:
                return gpu_named(text, memory_mib=mib).name
        except InputError:
            continue
    return None


def requests_of(pod: Pod) -> dict[str, int]:
    """What a pod asks for of GPUs, by extended resource; empty where it can't be read."""
    try:
        return pod_requests(pod.spec, pod.name).gpus
    except InputError:
        return {}


def _count(node: Node) -> int | None:
    text = node.labels.get("nvidia.com/gpu.count") or str(node.status.capacity.get(WHOLE_GPU, ""))
    return int(text) if text.isdecimal() else None


def _top(obj: Object, family: Family) -> Object:
    top = obj
    for parent in family.ancestors(obj):
        top = parent
    return top


def _models_by_owner(
    snapshot: Snapshot, catalog: Catalog, family: Family, pods: list[Object]
) -> dict[Key, Counter[str]]:
    """How many pods of each top owner run on which GPU model."""
    types = catalog.by_name()
    on_node: dict[str, str | None] = {}
    for node in snapshot.nodes:
        known = types.get(node.labels.get(INSTANCE_TYPE, ""))
        on_node[node.name] = known.gpu if known is not None else model_of(node)
    models: dict[Key, Counter[str]] = {}
    for pod, obj in zip(snapshot.gpu_pods, pods, strict=True):
        model = on_node.get(pod.spec.node_name)
        if model:
            models.setdefault(family.top(obj), Counter())[model] += 1
    return models


def _placed(workload: Workload, models: Mapping[Key, Counter[str]], today: StatedModels) -> Workload:
    """The workload with the GPU that its pods run on, where nothing in its template says."""
    namespace, _, name = workload.name.partition("/")
    seen = models.get((workload.target.kind, namespace, workload.target.name or name), Counter())
    if workload.need.on is None and len(seen) == 1:
        return replace(workload, need=replace(workload.need, on=next(iter(seen))))
    told = today.by_name(workload.name) if seen else today.of(workload.name)
    if workload.need.on is None and told is not None:
        return today.given_to(workload)
    if workload.need.on is None and len(seen) > 1:
        where = ", ".join(f"{count} on {model}" for model, count in seen.most_common())
        note = f"its pods run on several GPU models ({shorten(where)}): state gpuslice.io/gpu-model"
        return replace(workload, notes=(*workload.notes, note))
    return workload
