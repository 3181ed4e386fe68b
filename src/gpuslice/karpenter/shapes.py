"""What placing looks at of a pod, and how Karpenter relaxes a pod that can't be placed.

Karpenter v1.14.1, pkg/controllers/provisioning/scheduling/preferences.go: alternatives of required node affinity go
first, then preferred node affinity from the heaviest, then spreads that may be ignored, then taints that only prefer.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from gpuslice.karpenter.model import (
    CPU,
    MEMORY,
    PODS,
    PodClass,
    PodTerm,
    Preferences,
    Spread,
    Taint,
    Toleration,
    Unsatisfiable,
)
from gpuslice.karpenter.requirements import HOSTNAME, Requirement, Requirements, combined, labelled

_PREFER_NOT: Toleration = Toleration(operator="Exists", effect="PreferNoSchedule")


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """A pod as far as placing it goes, at one step of being relaxed. Compared as objects: `Pools` keeps one of each.

    Attributes:
        requests: (resource, amount), what is zero left out, `PODS` among them.
        wanted: of a node, but for its name.
        hostname: of a node's name.
        strict: as `wanted`, without what is only preferred.
        terms: as `strict`, for each alternative of required node affinity that is left.
        tolerations: of taints.
        spreads, near, apart: that still hold.
        labels, namespace: by which others count it.
    """

    requests: tuple[tuple[str, int], ...]
    wanted: frozenset[Requirement]
    hostname: Requirement | None
    strict: frozenset[Requirement]
    terms: tuple[frozenset[Requirement], ...]
    tolerations: tuple[Toleration, ...]
    spreads: tuple[Spread, ...]
    near: tuple[PodTerm, ...]
    apart: tuple[PodTerm, ...]
    labels: frozenset[tuple[str, str]]
    namespace: str

    def key(self) -> tuple[object, ...]:
        """What two shapes have in common if they are equal."""
        return (
            self.requests,
            self.wanted,
            self.hostname,
            self.strict,
            self.terms,
            frozenset(self.tolerations),
            self.spreads,
            self.near,
            self.apart,
            self.labels,
            self.namespace,
        )

    def tolerates(self, taints: tuple[Taint, ...]) -> bool:
        """Whether it may go to a node with these taints."""
        return all(any(toleration.tolerates(taint) for toleration in self.tolerations) for taint in taints)

    def selected_by(self, selector: tuple[tuple[str, str], ...], namespace: str) -> bool:
        """Whether a spread or a pod affinity counts it."""
        return namespace == self.namespace and self.labels.issuperset(selector)


def queue_key(kind: PodClass) -> tuple[int, int]:
    """By which Karpenter's queue is sorted, ascending: most CPU first, then most memory."""
    return -kind.requests.get(CPU, 0), -kind.requests.get(MEMORY, 0)


@lru_cache(maxsize=1024)
def shapes(kind: PodClass, preferences: Preferences, *, prefer_taints: bool) -> tuple[Shape, ...]:
    """The pod as it is, and as it is relaxed step by step.

    Args:
        kind: of the pod.
        preferences: whether they are respected.
        prefer_taints: whether some pool has a taint with the effect PreferNoSchedule.
    """
    respect = preferences is Preferences.RESPECT
    affinity = list(kind.affinity)
    preferred = sorted(kind.preferred, key=lambda preference: -preference.weight) if respect else []
    spreads = [spread for spread in kind.spreads if respect or spread.unsatisfiable is Unsatisfiable.REFUSE]
    tolerations = list(kind.tolerations)
    own = tuple(labelled(kind.selector).values())
    shaped = []
    while True:
        terms = affinity[0] if affinity else ()
        strict = combined(own, terms)
        first = preferred[0].requirements if preferred else ()
        # The order decides what a conflict inside one pod leaves; Karpenter adds the preferred ones before the terms.
        wanted = combined(own, first, terms)
        alternatives = tuple(frozenset(combined(own, term).values()) for term in affinity or [()])
        shaped.append(_shape(kind, wanted, strict, alternatives, tuple(tolerations), tuple(spreads)))
        if len(affinity) > 1:
            del affinity[0]
        elif preferred:
            del preferred[0]
        elif (ignorable := _ignorable(spreads)) is not None:
            # Karpenter puts the last one into the place of the one that it drops.
            spreads[ignorable] = spreads[-1]
            del spreads[-1]
        elif prefer_taints and _PREFER_NOT not in tolerations:
            tolerations.append(_PREFER_NOT)
        else:
            return tuple(shaped)


def _ignorable(spreads: list[Spread]) -> int | None:
    return next(
        (at for at, spread in enumerate(spreads) if spread.unsatisfiable is Unsatisfiable.IGNORE),
        None,
    )


def _shape(
    kind: PodClass,
    wanted: Requirements,
    strict: Requirements,
    terms: tuple[frozenset[Requirement], ...],
    tolerations: tuple[Toleration, ...],
    spreads: tuple[Spread, ...],
) -> Shape:
    requests = {name: amount for name, amount in kind.requests.items() if amount > 0} | {PODS: 1}
    return Shape(
        # What nodes soonest run out of comes first: extended resources, then CPU, memory, pods.
        tuple(sorted(requests.items(), key=lambda request: ("/" not in request[0], request[0]))),
        frozenset(requirement for key, requirement in wanted.items() if key != HOSTNAME),
        wanted.get(HOSTNAME),
        frozenset(strict.values()),
        terms,
        tolerations,
        spreads,
        kind.near,
        kind.apart,
        frozenset(kind.labels.items()),
        kind.namespace,
    )
