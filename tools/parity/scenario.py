"""A scenario: one cluster, and what is pending in it. As the model takes it, and as the real Karpenter does."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gpuslice.karpenter.model import PODS, Settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gpuslice.karpenter.model import (
        InstanceType,
        Node,
        NodePool,
        Overlay,
        Pod,
        PodClass,
        Taint,
        Toleration,
    )
    from gpuslice.karpenter.requirements import Requirement

Json = dict[str, object]


@dataclass(frozen=True, slots=True)
class Scenario:
    """A cluster at one moment.

    Attributes:
        name: for people: seed and kind.
        pools, overlays, daemons, pods, nodes, settings: as the model takes them.
        consolidate: whether it is about consolidation rather than provisioning.
        now: seconds, to which the nodes' times refer.
    """

    name: str
    pools: tuple[NodePool, ...]
    pods: tuple[Pod, ...] = ()
    overlays: tuple[Overlay, ...] = ()
    daemons: tuple[PodClass, ...] = ()
    nodes: tuple[Node, ...] = ()
    settings: Settings = field(default_factory=Settings)
    consolidate: bool = False
    now: float = 0


def to_json(scenario: Scenario) -> Json:
    """What the real Karpenter's driver reads."""
    types = {each.name: each for pool in scenario.pools for each in pool.instance_types}
    bound = [pod for node in scenario.nodes for pod in node.pods]
    classes = list(dict.fromkeys(pod.kind for pod in (*scenario.pods, *bound)))
    numbers = {kind: number for number, kind in enumerate(classes)}
    return {
        "settings": {
            "minValues": scenario.settings.min_values.value,
            "preferences": scenario.settings.preferences.value,
            "spotToSpot": scenario.settings.spot_to_spot,
        },
        "instanceTypes": [_type(each) for each in types.values()],
        "pools": [_pool(each) for each in scenario.pools],
        "overlays": [_overlay(each) for each in scenario.overlays],
        "daemons": [_class(each) for each in scenario.daemons],
        "classes": [_class(each) for each in classes],
        "pods": [_pod(each, numbers) for each in scenario.pods],
        "nodes": [_node(each, numbers, scenario.now) for each in scenario.nodes],
        "podBudgets": [
            {"selector": dict(each.labels), "allowed": each.unavailable}
            for each in classes
            if each.unavailable is not None
        ],
        "consolidate": scenario.consolidate,
    }


def _quantities(resources: Mapping[str, int]) -> dict[str, str]:
    units = {"cpu": "m", "memory": "Mi", "ephemeral-storage": "Mi"}
    return {key: f"{amount}{units.get(key, '')}" for key, amount in resources.items()}


def _requirement(each: Requirement) -> list[Json]:
    """A requirement as Kubernetes writes it: two, where a complement has bounds on both sides."""
    common: Json = {"key": each.key, "minValues": each.min_values}
    if each.at_least is not None or each.at_most is not None:
        bounds = (("Gte", each.at_least), ("Lte", each.at_most))
        return [common | {"operator": name, "values": [str(at)]} for name, at in bounds if at is not None]
    if each.complement:
        operator = "NotIn" if each.values else "Exists"
    else:
        operator = "In" if each.values else "DoesNotExist"
    return [common | {"operator": operator, "values": sorted(each.values)}]


def _requirements(listed: Iterable[Requirement]) -> list[Json]:
    return [one for each in listed for one in _requirement(each)]


def _type(each: InstanceType) -> Json:
    return {
        "name": each.name,
        "capacity": _quantities(each.capacity),
        "overhead": _quantities(each.overhead),
        "labels": _requirements(each.labels),
        "offerings": [
            {
                "capacityType": offer.capacity_type,
                "zone": offer.zone,
                "price": offer.price / 1_000_000,
                "available": offer.available,
            }
            for offer in each.offerings
        ],
    }


def _pool(each: NodePool) -> Json:
    return {
        "name": each.name,
        "weight": each.weight,
        "labels": dict(each.labels),
        "requirements": _requirements(each.requirements),
        "taints": _taints(each.taints),
        "limits": _quantities(each.limits),
        "instanceTypes": [kind.name for kind in each.instance_types],
        "policy": each.policy.value,
        "consolidateAfter": each.consolidate_after,
        "budgets": [
            {"nodes": budget.nodes, "reasons": [reason.value for reason in budget.reasons]}
            for budget in each.budgets
        ],
    }


def _overlay(each: Overlay) -> Json:
    return {
        "name": each.name,
        "weight": each.weight,
        "requirements": _requirements(each.requirements),
        "capacity": _quantities(each.capacity),
        "price": "" if each.price is None else f"{each.price / 1_000_000:f}",
        "adjustment": each.adjustment,
    }


def _taints(listed: Iterable[Taint]) -> list[Json]:
    return [{"key": each.key, "value": each.value, "effect": each.effect} for each in listed]


def _tolerations(listed: Iterable[Toleration]) -> list[Json]:
    return [
        {"key": each.key, "operator": each.operator, "value": each.value, "effect": each.effect}
        for each in listed
    ]


def _class(each: PodClass) -> Json:
    return {
        "name": each.name,
        "requests": _quantities({key: amount for key, amount in each.requests.items() if key != PODS}),
        "selector": dict(each.selector),
        "affinity": [_requirements(term) for term in each.affinity],
        "preferred": [
            {"weight": term.weight, "requirements": _requirements(term.requirements)}
            for term in each.preferred
        ],
        "tolerations": _tolerations(each.tolerations),
        "labels": dict(each.labels),
        "spreads": [
            {
                "key": spread.key,
                "maxSkew": spread.max_skew,
                "selector": dict(spread.selector),
                "unsatisfiable": spread.unsatisfiable.value,
                "minDomains": spread.min_domains,
            }
            for spread in each.spreads
        ],
        "near": [{"key": term.key, "selector": dict(term.selector)} for term in each.near],
        "apart": [{"key": term.key, "selector": dict(term.selector)} for term in each.apart],
        "priority": each.priority,
        "deletionCost": each.deletion_cost,
        "doNotDisrupt": each.do_not_disrupt,
    }


def _pod(each: Pod, numbers: Mapping[PodClass, int]) -> Json:
    return {"class": numbers[each.kind], "created": each.created, "uid": each.uid}


def _node(each: Node, numbers: Mapping[PodClass, int], now: float) -> Json:
    since = None if each.last_pod_event is None else now - each.last_pod_event
    return {
        "name": each.name,
        "pool": each.pool,
        "labels": each.labels,
        "taints": _taints(each.taints),
        "capacity": _quantities(each.capacity),
        "allocatable": _quantities(each.allocatable),
        "initialized": each.initialized,
        "deleting": each.deleting,
        "doNotDisrupt": each.do_not_disrupt,
        "age": now - (each.initialized_at if each.initialized_at is not None else each.created),
        "sincePods": since,
        "pods": [_pod(pod, numbers) for pod in each.pods],
    }
