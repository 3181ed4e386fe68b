"""Topology spreads, pod affinity and anti-affinity: which domains a pod may still go to.

Karpenter v1.14.1, pkg/controllers/provisioning/scheduling/topologygroup.go. Where several domains are equal, Karpenter
takes any one of them, another one on each run (it walks a Go map). So does the model, by its seed.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from gpuslice.karpenter.model import NodePool, PodTerm, Spread, Toleration
from gpuslice.karpenter.requirements import HOSTNAME, Requirement, Requirements, combined, labelled, obstacle
from gpuslice.karpenter.shapes import Shape

_NO_LIMIT: Final = 2**31 - 1


class Kind(Enum):
    """What a group is for."""

    SPREAD = "topology spread"
    NEAR = "pod affinity"
    APART = "pod anti-affinity"


@dataclass(frozen=True, slots=True)
class GroupKey:
    """What makes rules of many pods one group, counted together.

    Karpenter compares the pods' node selectors and affinities by the labels that they mention, not by values: of two
    spreads that are otherwise alike, the later one then counts on the nodes of the first one's pods. And a pod that has
    been relaxed to tolerate an avoided taint begins to count anew.
    """

    kind: Kind
    key: str
    selector: tuple[tuple[str, str], ...]
    namespace: str
    max_skew: int = _NO_LIMIT
    mentioned: frozenset[frozenset[str]] = frozenset()
    tolerations: frozenset[Toleration] = frozenset()


@dataclass(slots=True, eq=False)
class Group:
    """How many pods of a selection there are in each domain.

    Attributes:
        key: what it is.
        chance: decides between equal domains.
        terms: nodes count that satisfy one of these; empty: all do.
        min_domains: below so many domains the emptiest counts as empty.
        counts: pods by domain.
    """

    key: GroupKey
    chance: random.Random
    terms: tuple[frozenset[Requirement], ...] = ()
    min_domains: int | None = None
    counts: dict[str, int] = field(default_factory=dict)

    def includes(self, requirements: Requirements) -> bool:
        """Whether nodes with these requirements count: a spread looks at nodes that its pods could go to."""
        return not self.terms or any(
            obstacle(requirements, {requirement.key: requirement for requirement in term}, undefined=False)
            is None
            for term in self.terms
        )

    def allowed(self, shape: Shape, pod: Requirement, node: Requirement) -> frozenset[str]:
        """The domains that a pod may go to.

        Args:
            shape: of the pod.
            pod: domains that the pod asks for.
            node: domains that the node has or may have.
        """
        match self.key.kind:
            case Kind.SPREAD:
                return self._spread(shape, pod, node)
            case Kind.NEAR:
                return self._near(shape, pod, node)
            case Kind.APART:
                return self._apart(pod, node)

    def record(self, domain: str) -> None:
        """Count one more pod."""
        self.counts[domain] = self.counts.get(domain, 0) + 1

    def _selects(self, shape: Shape) -> bool:
        return shape.selected_by(self.key.selector, self.key.namespace)

    def _spread(self, shape: Shape, pod: Requirement, node: Requirement) -> frozenset[str]:
        one = int(self._selects(shape))
        host = _only(node) if self.key.key == HOSTNAME else None
        if host is not None:
            # There can always be one more node, so the emptiest has none.
            fits = self.counts.get(host, 0) + one <= self.key.max_skew
            return frozenset({host} if fits else ())
        least = self._least(pod)
        fitting = {
            domain: count
            for domain, count in self.counts.items()
            if node.has(domain) and count + one - least <= self.key.max_skew
        }
        fewest = min(fitting.values(), default=0)
        return self._any(domain for domain, count in fitting.items() if count == fewest)

    def _least(self, pod: Requirement) -> int:
        if self.key.key == HOSTNAME:
            return 0
        counts = [count for domain, count in self.counts.items() if pod.has(domain)]
        if self.min_domains is not None and len(counts) < self.min_domains:
            return 0
        return min(counts, default=_NO_LIMIT)

    def _near(self, shape: Shape, pod: Requirement, node: Requirement) -> frozenset[str]:
        host = _only(node) if self.key.key == HOSTNAME else None
        if host is not None:
            fits = pod.has(host) and (self.counts.get(host, 0) > 0 or self._first(shape, pod))
            return frozenset({host} if fits else ())
        taken = frozenset(
            domain
            for domain, count in self.counts.items()
            if count > 0 and pod.has(domain) and node.has(domain)
        )
        if taken or not self._first(shape, pod):
            return taken
        # The first pod may choose: Karpenter takes a domain that the node can have, and any other one.
        open_ = [domain for domain in self.counts if pod.has(domain)]
        return self._any(domain for domain in open_ if node.has(domain)) | self._any(open_)

    def _any(self, domains: Iterable[str]) -> frozenset[str]:
        """One of these domains, by chance; none of none."""
        listed = sorted(domains)
        return frozenset({self.chance.choice(listed)} if listed else ())

    def _first(self, shape: Shape, pod: Requirement) -> bool:
        """Whether the pod is the first of its own selection, as far as it can see."""
        return self._selects(shape) and not any(
            count > 0 and pod.has(domain) for domain, count in self.counts.items()
        )

    def _apart(self, pod: Requirement, node: Requirement) -> frozenset[str]:
        host = _only(node) if self.key.key == HOSTNAME else None
        if host is not None:
            return frozenset({host} if not self.counts.get(host, 0) else ())
        return frozenset(
            domain
            for domain, count in self.counts.items()
            if not count and node.has(domain) and pod.has(domain)
        )


def _only(requirement: Requirement) -> str | None:
    values = requirement.values
    return next(iter(values)) if len(values) == 1 and not requirement.complement else None


def groups_of(shape: Shape, chance: random.Random) -> list[Group]:
    """The groups by which a pod is bound, as they are if it is the first of each."""
    spreads = [
        Group(_spread_key(shape, spread), chance, shape.terms, spread.min_domains) for spread in shape.spreads
    ]
    near = [Group(_term_key(shape, Kind.NEAR, pod_term), chance) for pod_term in shape.near]
    return [
        *spreads,
        *near,
        *(Group(_term_key(shape, Kind.APART, pod_term), chance) for pod_term in shape.apart),
    ]


def inverse_keys_of(shape: Shape) -> list[GroupKey]:
    """Groups of those that must not come to where this pod is."""
    return [_term_key(shape, Kind.APART, term) for term in shape.apart]


def _spread_key(shape: Shape, spread: Spread) -> GroupKey:
    mentioned = Counter(frozenset(requirement.key for requirement in term) for term in shape.terms)
    return GroupKey(
        Kind.SPREAD,
        spread.key,
        spread.selector,
        shape.namespace,
        spread.max_skew,
        # Alternatives that mention the same labels cancel each other out in Karpenter's hash.
        frozenset(labels for labels, count in mentioned.items() if count % 2),
        frozenset(shape.tolerations),
    )


def _term_key(shape: Shape, kind: Kind, term: PodTerm) -> GroupKey:
    return GroupKey(kind, term.key, term.selector, shape.namespace)


def domains_of(pools: Iterable[NodePool], key: str) -> set[str]:
    """All domains of a label that nodes of these pools could have."""
    domains: set[str] = set()
    for pool in pools:
        own = combined(pool.requirements, labelled(pool.labels).values())
        for kind in pool.instance_types:
            both = combined(own.values(), kind.requirements().values()).get(key)
            if both is not None:
                domains |= both.values
        if key in own and not own[key].complement:
            domains |= own[key].values
    return domains
