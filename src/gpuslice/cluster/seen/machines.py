"""Which instance types a NodePool or a NodeOverlay admits, by the labels that Karpenter's AWS provider gives them.

Semantics of requirements: Karpenter v1.14. A key that isn't known of a type neither admits nor excludes it here: the
checks speak only where they are sure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from gpuslice.cluster.seen.offers import amount
from gpuslice.hardware.gpus import GPUS
from gpuslice.hardware.resource_names import is_seat

if TYPE_CHECKING:
    from gpuslice.cloud.catalog import Catalog, InstanceType
    from gpuslice.cluster.client.objects import NodeOverlay, NodePool, Requirement

POOL: Final = "karpenter.sh/nodepool"
_AWS: Final = "karpenter.k8s.aws/instance-"


def labels_of(kind: InstanceType) -> dict[str, str]:
    """The labels of a type's nodes that don't depend on where and how it is bought."""
    family, _, size = kind.name.partition(".")
    labels = {
        "node.kubernetes.io/instance-type": kind.name,
        "kubernetes.io/arch": kind.arch,
        "kubernetes.io/os": "linux",
        f"{_AWS}family": family,
        f"{_AWS}size": size,
        f"{_AWS}category": re.split(r"[0-9]", family, maxsplit=1)[0],
        f"{_AWS}cpu": str(kind.vcpu),
        f"{_AWS}memory": str(kind.memory_mib),
    }
    if kind.gpu_count:
        labels |= {
            f"{_AWS}gpu-name": GPUS[kind.gpu].instance_gpu_name,
            f"{_AWS}gpu-manufacturer": "nvidia",
            f"{_AWS}gpu-count": str(kind.gpu_count),
            f"{_AWS}gpu-memory": str(kind.gpu_memory_mib),
        }
    return labels


def admits(requirements: Iterable[Requirement], labels: Mapping[str, str]) -> bool:
    """Whether labels meet all requirements; those on keys that nobody knows of count as met."""
    return all(_met(requirement, labels) for requirement in requirements)


def types_of(pool: NodePool, catalog: Catalog) -> tuple[InstanceType, ...]:
    """The GPU instance types that a NodePool may launch."""
    return admitted(pool, catalog) if _asks_for_type(pool) else ()


def admitted(pool: NodePool, catalog: Catalog) -> tuple[InstanceType, ...]:
    """The GPU instance types that a NodePool admits: all of them where it says nothing of machines."""
    own = _own(pool)
    return tuple(kind for kind in catalog.instance_types if admits(pool.requirements, labels_of(kind) | own))


def overlaid(overlay: NodeOverlay, pool: NodePool, kind: InstanceType) -> bool:
    """Whether an overlay changes what a type offers in a pool."""
    return admits(overlay.spec.requirements, labels_of(kind) | _own(pool))


def promised(overlays: Iterable[NodeOverlay], pool: NodePool, kind: InstanceType) -> dict[str, str]:
    """What overlays promise of a type's nodes in a pool, by resource: the highest weight counts, then the last name."""
    amounts: dict[str, str] = {}
    for overlay in sorted(overlays, key=lambda one: (one.spec.weight, one.name), reverse=True):
        if overlaid(overlay, pool, kind):
            for resource, amount in overlay.spec.capacity.items():
                amounts.setdefault(resource, str(amount))
    return amounts


def with_seats(
    pools: Iterable[NodePool], overlays: Sequence[NodeOverlay], catalog: Catalog
) -> dict[str, tuple[str, ...]]:
    """The NodePools of whose nodes overlays promise a seat, by seat."""
    pools_by_workload: dict[str, tuple[str, ...]] = {}
    for pool in pools:
        offered = {
            name
            for kind in types_of(pool, catalog)
            for name, figure in promised(overlays, pool, kind).items()
            if is_seat(name) and amount(figure)
        }
        for name in offered:
            pools_by_workload[name] = (*pools_by_workload.get(name, ()), pool.name)
    return pools_by_workload


def _own(pool: NodePool) -> dict[str, str]:
    return {POOL: pool.name, **pool.labels}


def _asks_for_type(pool: NodePool) -> bool:
    """A pool that says nothing of instance types admits every machine of EC2: no reason to speak of GPUs."""
    return any(
        requirement.key == "node.kubernetes.io/instance-type" or requirement.key.startswith(_AWS)
        for requirement in pool.requirements
    )


def _met(requirement: Requirement, labels: Mapping[str, str]) -> bool:
    key, values = requirement.key, requirement.values
    if key not in labels and not key.startswith(f"{_AWS}gpu-"):
        return True
    label = labels.get(key)
    match requirement.operator:
        case "In":
            return label in values
        case "NotIn":
            return label not in values
        case "Exists":
            return label is not None
        case "DoesNotExist":
            return label is None
        case "Gt" | "Lt" | "Gte" | "Lte":
            return label is not None and _compares(requirement.operator, label, values)
        case _:
            return True


def _compares(operator: str, label: str, values: tuple[str, ...]) -> bool:
    if not label.isdecimal() or not values or not values[0].isdecimal():
        return False
    left, right = int(label), int(values[0])
    return {"Gt": left > right, "Lt": left < right, "Gte": left >= right, "Lte": left <= right}[operator]
