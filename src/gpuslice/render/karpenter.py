"""Karpenter's objects: for each pool a NodePool and its NodeOverlays, and the EC2NodeClasses that pools share.

Fields: karpenter.sh/v1 and v1alpha1, karpenter.k8s.aws/v1, Karpenter v1.14.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from gpuslice.carriers.objects.files import Object
from gpuslice.carriers.objects.naming import OWNED
from gpuslice.carriers.pools import POOL_LABEL, weight
from gpuslice.carriers.table import carrier_of
from gpuslice.cloud.catalog import Purchase
from gpuslice.errors import InputError
from gpuslice.hardware.stacks import Stack
from gpuslice.launches.limits import limits_of
from gpuslice.render.settings import RenderSettings
from gpuslice.workloads.requirements import own_label

if TYPE_CHECKING:
    from gpuslice.cloud.catalog import InstanceType
    from gpuslice.plan.artefact import Pool
    from gpuslice.workloads.policy import Policy

_RESERVED: Final = Purchase.RESERVED.value
_INSTANCE_TYPE: Final = "node.kubernetes.io/instance-type"
_BOTTLEROCKET_ROOT_GIB: Final = 4  # what Karpenter gives it: the system only, images are on the second volume


def node_class_name(pool: Pool, stack: str) -> str:
    """The EC2NodeClass of a pool's nodes: pools whose nodes boot alike share one."""
    end = "reserved" if _RESERVED in pool.purchases else ""
    return "-".join(filter(None, ("gpuslice", carrier_of(pool, stack).node(pool).boot, end)))


def node_class(pool: Pool, stack: str, settings: RenderSettings, policy: Policy) -> Object:
    """The EC2NodeClass of a pool's nodes.

    Args:
        pool: of the plan.
        stack: "al2023" or "bottlerocket".
        settings: of the cluster.
        policy: of the plan, which says how reservations are found.

    Raises:
        InputError: reserved nodes are planned, and nothing says how Karpenter finds the reservations.
    """
    user_data = carrier_of(pool, stack).node(pool).user_data
    spec: dict[str, object] = {"amiSelectorTerms": [{"alias": settings.image_alias(stack)}]}
    if settings.role:
        spec["role"] = settings.role
    else:
        spec["instanceProfile"] = settings.instance_profile
    discovery = [{"tags": {"karpenter.sh/discovery": settings.cluster}}]
    spec |= {
        "subnetSelectorTerms": discovery,
        "securityGroupSelectorTerms": discovery,
        "blockDeviceMappings": _volumes(stack, settings.root_volume_gib),
        "instanceStorePolicy": "RAID0",
        "metadataOptions": {
            "httpEndpoint": "enabled",
            "httpProtocolIPv6": "disabled",
            "httpPutResponseHopLimit": 1,  # pods can't take the node's role
            "httpTokens": "required",
        },
    }
    if user_data:
        spec["userData"] = user_data
    if _RESERVED in pool.purchases:
        used = {node.instance_type for node in pool.nodes if node.purchase == _RESERVED}
        spec["capacityReservationSelectorTerms"] = _reservations(policy, used)
    return {
        "apiVersion": "karpenter.k8s.aws/v1",
        "kind": "EC2NodeClass",
        "metadata": {"name": node_class_name(pool, stack), "labels": OWNED},
        "spec": spec,
    }


def node_pool(
    pool: Pool,
    stack: str,
    types: Sequence[InstanceType],
    settings: RenderSettings,
    replicas: Mapping[str, int],
) -> Object:
    """The NodePool.

    Args:
        pool: of the plan.
        stack: "al2023" or "bottlerocket".
        types: the pool's instance types.
        settings: of the cluster.
        replicas: of each workload with seats, in all pools together.
    """
    carrier = carrier_of(pool, stack)
    spec: dict[str, object] = {
        "template": {
            "metadata": {
                "labels": {POOL_LABEL: pool.name}
                | {pin.key: pin.values[0] for pin in pool.requires if own_label(pin.key)}
                | dict(carrier.node(pool).labels)
            },
            "spec": {
                "nodeClassRef": {
                    "group": "karpenter.k8s.aws",
                    "kind": "EC2NodeClass",
                    "name": node_class_name(pool, stack),
                },
                "requirements": [
                    _among(_INSTANCE_TYPE, (kind.name for kind in types)),
                    _among("karpenter.sh/capacity-type", pool.purchases),
                    _among("kubernetes.io/arch", (kind.arch for kind in types)),
                    _among("kubernetes.io/os", ("linux",)),
                    *(pin.plain() for pin in pool.requires if not own_label(pin.key)),
                ],
                "taints": [{"key": POOL_LABEL, "value": pool.name, "effect": "NoSchedule"}],
            },
        },
        "disruption": {
            "consolidationPolicy": "WhenEmptyOrUnderutilized",
            "consolidateAfter": settings.consolidate_after,
        },
    }
    if limits := limits_of(pool, stack, types, replicas):
        spec["limits"] = {name: str(amount) for name, amount in limits.items()}
    if pool.seats:
        spec["weight"] = weight(pool)
    return {
        "apiVersion": "karpenter.sh/v1",
        "kind": "NodePool",
        "metadata": {"name": pool.name, "labels": OWNED},
        "spec": spec,
    }


def _reservations(policy: Policy, used: set[str]) -> list[Object]:
    """Terms by which Karpenter finds the reservations: all, since pools share node classes.

    Args:
        policy: of the plan.
        used: types of which the pool has reserved nodes.
    """
    terms: list[Object] = []
    for index, reservation in enumerate(policy.reserved):
        if reservation.instance_type in used and not reservation.ids and not reservation.tags:
            raise InputError(
                f"{reservation.instance_type} is reserved, and nothing says how Karpenter finds that",
                where=f"policy.reserved[{index}]",
                fix="add ids: [cr-...] or tags to it in workloads.yaml and plan again",
            )
        terms += [{"id": name} for name in reservation.ids]
        if reservation.tags and not reservation.ids:
            terms.append({"tags": dict(sorted(reservation.tags.items()))})
    return [term for number, term in enumerate(terms) if term not in terms[:number]]


def overlays(
    pool: Pool, stack: str, types: Sequence[InstanceType]
) -> dict[str, tuple[list[str], dict[str, str]]]:
    """The overlays of a pool: their names, the instance types each is for, and what it promises.

    A capacity is an absolute number, so each GPU count has an overlay of its own.
    """
    carrier = carrier_of(pool, stack)
    if not carrier.node(pool).promises:
        return {}
    promises: dict[str, tuple[list[str], dict[str, str]]] = {}
    for kind in types:
        suffix = f"{kind.gpu_count}gpu" if kind.gpu_count else "fraction"
        names, _ = promises.setdefault(f"{pool.name}-{suffix}", ([], carrier.offers(pool, kind).quantities))
        names.append(kind.name)
    return {name: promises[name] for name in sorted(promises)}


def node_overlays(
    pool: Pool, stack: str, types: Sequence[InstanceType], weights: Mapping[str, int]
) -> tuple[Object, ...]:
    """The NodeOverlays: scoped by the pool's name, for an unscoped one would mislead every pool of the cluster."""
    return tuple(
        {
            "apiVersion": "karpenter.sh/v1alpha1",
            "kind": "NodeOverlay",
            "metadata": {"name": name, "labels": OWNED},
            "spec": {
                "weight": weights[name],
                "requirements": [
                    _among("karpenter.sh/nodepool", (pool.name,)),
                    _among(_INSTANCE_TYPE, names),
                ],
                "capacity": capacity,
            },
        }
        for name, (names, capacity) in overlays(pool, stack, types).items()
    )


def _among(key: str, values: Iterable[str]) -> Object:
    return {"key": key, "operator": "In", "values": sorted(set(values))}


def _volumes(stack: str, gib: int) -> list[Object]:
    if stack == Stack.BOTTLEROCKET:
        return [_volume("/dev/xvda", _BOTTLEROCKET_ROOT_GIB), _volume("/dev/xvdb", gib)]
    return [_volume("/dev/xvda", gib)]


def _volume(device: str, gib: int) -> Object:
    return {
        "deviceName": device,
        "ebs": {
            "volumeSize": f"{gib}Gi",
            "volumeType": "gp3",
            "encrypted": True,
            "deleteOnTermination": True,
        },
    }
