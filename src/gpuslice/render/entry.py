"""Whether patched pods can be bound to nodes of the pools that are rendered: what can't schedule is never rendered.

Read off the NodePool as it is written and the pod as its patch leaves it, by the labels that Karpenter's nodes carry.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import UNSET, convert

from gpuslice.carriers.pools import POOL_LABEL
from gpuslice.cloud.labels import node_labels
from gpuslice.errors import InputError
from gpuslice.karpenter.model import Taint, Toleration
from gpuslice.render.patches import tolerations
from gpuslice.workloads.objects import fields_of
from gpuslice.workloads.requirements import HOSTNAME, NODE_NAME, ZONES, Requirement

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from gpuslice.carriers.objects.files import Object
    from gpuslice.cloud.catalog import InstanceType
    from gpuslice.plan.artefact import Assignment
    from gpuslice.workloads.requirements import Term, Terms

    Labels = Mapping[str, str | None]


def check_entry(
    assignment: Assignment, node_pool: Object, types: Sequence[InstanceType], region: str, where: str
) -> None:
    """Accept an assignment whose patched pods some node of its pool takes.

    Args:
        assignment: to the pool.
        node_pool: as it is rendered.
        types: that it has.
        region: of the cluster.
        where: for the message.

    Raises:
        InputError: no node that Karpenter can launch for the pool takes such a pod.
    """
    template = fields_of(node_pool, "spec", "template")
    taints = convert(fields_of(template, "spec").get("taints", ()), tuple[Taint, ...])
    tolerated = convert(tolerations(assignment), tuple[Toleration, ...])
    for taint in taints:
        if not any(toleration.tolerates(taint) for toleration in tolerated):
            _refuse(assignment, f"don't tolerate {taint.key}", where)
    missing: list[Requirement] = []
    for labels in _nodes(template, types, region):
        against = _against(_left_in_pod(assignment), labels, _zones(template))
        if against is None:
            return
        missing.append(against)
    if missing:
        _refuse(assignment, f"require {missing[0]}, which no node of it meets", where)


def _refuse(assignment: Assignment, why: str, where: str) -> None:
    raise InputError(
        f"{assignment.workload} could never run in pool {assignment.pool}: its pods {why}",
        where=where,
        fix="scan and plan again, or drop what they require: gpuslice plan --drop-selector KEY",
    )


def _left_in_pod(assignment: Assignment) -> Terms:
    """Node selector and required affinity after the patch, as terms of which one must hold."""
    target = assignment.target
    affinity = target.node_affinity if target.patched_affinity is UNSET else target.patched_affinity
    selector = {key: value for key, value in target.node_selector.items() if key != POOL_LABEL}
    if not assignment.asks.seat:
        selector[POOL_LABEL] = assignment.pool
    selected = tuple(Requirement(key, "In", (value,)) for key, value in selector.items())
    return tuple(selected + term for term in affinity or ((),))


def _nodes(template: Mapping[str, object], types: Sequence[InstanceType], region: str) -> Iterator[Labels]:
    """The labels of each kind of node that a template leads to."""
    metadata = fields_of(template, "metadata", "labels")
    carried = {key: str(value) for key, value in metadata.items()}
    asked = {condition.key: condition for condition in _requirements(template)}
    for kind in types:
        for purchase in kind.prices:
            labels = node_labels(kind, purchase, region) | carried
            if all(key not in labels or condition.holds(labels[key]) for key, condition in asked.items()):
                yield labels


def _zones(template: Mapping[str, object]) -> frozenset[Requirement]:
    return frozenset(condition for condition in _requirements(template) if condition.key in ZONES)


def _requirements(template: Mapping[str, object]) -> Term:
    return convert(fields_of(template, "spec").get("requirements", ()), tuple[Requirement, ...])


def _against(terms: Terms, labels: Labels, zones: frozenset[Requirement]) -> Requirement | None:
    """What a pod requires first that a node hasn't; None: nothing."""
    missing = [
        next((condition for condition in term if not _holds(condition, labels, zones)), None)
        for term in terms
    ]
    return None if None in missing else missing[0]


def _holds(requirement: Requirement, labels: Labels, zones: frozenset[Requirement]) -> bool:
    if requirement.key in ZONES:
        return requirement in zones
    if requirement.key in {HOSTNAME, NODE_NAME}:
        return requirement.operator in {"NotIn", "Exists"}
    return requirement.holds(labels.get(requirement.key))
