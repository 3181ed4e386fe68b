"""All spreads and pod affinities of one scheduling pass: who is bound by them, and who counts.

Karpenter v1.14.1, pkg/controllers/provisioning/scheduling/topology.go.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from gpuslice.karpenter.model import Node, NodePool, Pod, labels_of
from gpuslice.karpenter.requirements import HOSTNAME, Requirement, Requirements
from gpuslice.karpenter.shapes import Shape
from gpuslice.karpenter.topology import Group, GroupKey, Kind, domains_of, groups_of, inverse_keys_of


@dataclass(frozen=True, slots=True)
class Bound:
    """The groups that matter to pods of one shape.

    Attributes:
        rules: by which it is bound, its own and those of pods that keep away from it.
        counting: that count it.
        own: of those that must keep away from it.
    """

    rules: tuple[Group, ...]
    counting: tuple[Group, ...]
    own: tuple[Group, ...]


class Topologies:
    """Groups of one pass, made as their pods are first met."""

    def __init__(
        self, pools: Sequence[NodePool], nodes: Sequence[Node], shape: Callable[[Pod], Shape], seed: int
    ) -> None:
        """Begin with the pods that stay where they are.

        Args:
            pools: by which domains are known.
            nodes: that stay, with their pods.
            shape: of a pod.
            seed: of the choice between equal domains.
        """
        self._seed = seed
        self._pools = tuple(pools)
        self._nodes = nodes
        self._shape = shape
        self._placed_once: list[tuple[Requirements, list[Shape]]] | None = None
        self._groups: dict[GroupKey, Group] = {}
        self._inverse: dict[GroupKey, Group] = {}
        self._bound: dict[Shape, Bound | None] = {}
        if any(pod.kind.apart for node in nodes for pod in node.pods):
            for labels, shapes in self._placed():
                for placed in shapes:
                    for key in inverse_keys_of(placed):
                        group = self._inverse_group(key)
                        for domain in _values(labels, key.key):
                            group.record(domain)

    @cached_property
    def _chance(self) -> random.Random:
        """Made when it is needed: seeding takes as long as placing a pod."""
        return random.Random(self._seed)

    def _placed(self) -> list[tuple[Requirements, list[Shape]]]:
        """For each node that stays its labels and its pods: rarely needed, so made when it is."""
        if self._placed_once is None:
            self._placed_once = [
                (labels_of(node), [self._shape(pod) for pod in node.pods]) for node in self._nodes
            ]
        return self._placed_once

    def know(self, shape: Shape) -> None:
        """Make the groups of a shape, if they aren't there yet."""
        if not (shape.spreads or shape.near or shape.apart):
            return
        for group in groups_of(shape, self._chance):
            if group.key not in self._groups:
                self._groups[group.key] = self._counted(group)
                self._bound.clear()
        for key in inverse_keys_of(shape):
            self._inverse_group(key)

    def bound(self, shape: Shape) -> Bound | None:
        """What matters to a shape; None where nothing does."""
        if not self._groups and not self._inverse:
            return None
        if shape not in self._bound:
            self._bound[shape] = self._find(shape)
        return self._bound[shape]

    def _find(self, shape: Shape) -> Bound | None:
        rules = [self._groups[group.key] for group in groups_of(shape, self._chance)]
        rules += [group for group in self._inverse.values() if _selects(group, shape)]
        counting = [group for group in self._groups.values() if _selects(group, shape)]
        own = [self._inverse[key] for key in inverse_keys_of(shape)]
        if not (rules or counting or own):
            return None
        return Bound(tuple(rules), tuple(counting), tuple(own))

    def narrowed(self, bound: Bound, shape: Shape, node: Requirements) -> dict[str, Requirement] | None:
        """The domains that are left of a node's: what to add to its requirements, or None where there are none."""
        labels: dict[str, Requirement] = {}
        strict = {requirement.key: requirement for requirement in shape.strict}
        for group in bound.rules:
            key = group.key.key
            any_ = Requirement(key, frozenset(), complement=True)
            allowed = group.allowed(shape, strict.get(key, any_), node.get(key, any_))
            left = Requirement(key, allowed)
            if key in labels:
                left = left.intersection(labels[key])
            if not left.values or (key in node and not node[key].intersects(left)):
                return None
            labels[key] = left
        return labels

    def record(self, bound: Bound, node: Requirements) -> None:
        """Count a pod that goes to a node with these requirements."""
        for group in bound.counting:
            if group.includes(node):
                values = _values(node, group.key.key)
                if group.key.kind is Kind.APART or len(values) == 1:
                    for domain in values:
                        group.record(domain)
        for group in bound.own:
            for domain in _values(node, group.key.key):
                group.record(domain)

    def register(self, hostname: str) -> None:
        """Make a new node known."""
        for group in (*self._groups.values(), *self._inverse.values()):
            if group.key.key == HOSTNAME:
                group.counts.setdefault(hostname, 0)

    def _inverse_group(self, key: GroupKey) -> Group:
        if key not in self._inverse:
            group = Group(key, self._chance, counts=dict.fromkeys(domains_of(self._pools, key.key), 0))
            for labels, _ in self._placed() if key.key == HOSTNAME else ():
                for domain in _values(labels, HOSTNAME):
                    group.counts.setdefault(domain, 0)
            self._inverse[key] = group
            self._bound.clear()
        return self._inverse[key]

    def _counted(self, group: Group) -> Group:
        key = group.key.key
        group.counts = dict.fromkeys(domains_of(self._pools, key), 0)
        for labels, shapes in self._placed():
            if group.includes(labels):
                for domain in _values(labels, key):
                    group.counts.setdefault(domain, 0)
                    for shape in shapes:
                        if _selects(group, shape):
                            group.record(domain)
        return group


def _selects(group: Group, shape: Shape) -> bool:
    return shape.selected_by(group.key.selector, group.key.namespace)


def _values(labels: Mapping[str, Requirement], key: str) -> tuple[str, ...]:
    requirement = labels.get(key)
    return () if requirement is None or requirement.complement else tuple(sorted(requirement.values))
