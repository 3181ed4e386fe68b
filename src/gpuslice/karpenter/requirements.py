"""What nodes, pods and pools say about labels: sets of values, and how Karpenter intersects them.

Karpenter v1.14.1, pkg/scheduling: a requirement is a set of allowed values, or the complement of a set, perhaps within
bounds. A list of requirements is kept as one such set for each key.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

NODE_POOL: Final = "karpenter.sh/nodepool"
CAPACITY_TYPE: Final = "karpenter.sh/capacity-type"
INSTANCE_TYPE: Final = "node.kubernetes.io/instance-type"
ZONE: Final = "topology.kubernetes.io/zone"
HOSTNAME: Final = "kubernetes.io/hostname"
ARCH: Final = "kubernetes.io/arch"
OS: Final = "kubernetes.io/os"

_ALIASES: Final = {
    "failure-domain.beta.kubernetes.io/zone": ZONE,
    "failure-domain.beta.kubernetes.io/region": "topology.kubernetes.io/region",
    "beta.kubernetes.io/arch": ARCH,
    "beta.kubernetes.io/os": OS,
    "beta.kubernetes.io/instance-type": INSTANCE_TYPE,
}
_WELL_KNOWN: Final = frozenset(
    {
        NODE_POOL,
        CAPACITY_TYPE,
        INSTANCE_TYPE,
        ZONE,
        ARCH,
        OS,
        "topology.kubernetes.io/region",
        "topology.k8s.aws/zone-id",
        "node.kubernetes.io/windows-build",
    }
)
_WELL_KNOWN_PREFIXES: Final = (
    "karpenter.k8s.aws/instance-",
    "karpenter.k8s.aws/capacity-reservation-",
    "karpenter.k8s.aws/placement-group-",
)


def well_known(key: str) -> bool:
    """Whether instance types define the label, so that a pool need not mention it for pods to select by it."""
    return key in _WELL_KNOWN or key.startswith(_WELL_KNOWN_PREFIXES)


@dataclass(frozen=True, slots=True)
class Requirement:
    """The values that a label may have.

    Attributes:
        key: of the label.
        values: allowed; with `complement`, forbidden.
        complement: all values but `values` are allowed.
        at_least, at_most: bounds of a complement, by which values are integers.
        min_values: how many values must stay possible (a NodePool's minValues).
    """

    key: str
    values: frozenset[str]
    complement: bool = False
    at_least: int | None = None
    at_most: int | None = None
    min_values: int | None = None

    def has(self, value: str) -> bool:
        """Whether the label may have this value."""
        return (value in self.values) != self.complement and self._within(value)

    def negative(self) -> bool:
        """Whether it is NotIn or DoesNotExist: satisfied by a node without the label."""
        return bool(self.values) if self.complement else not self.values

    def intersects(self, other: Requirement) -> bool:
        """Whether some value satisfies both."""
        low, high = _largest(self.at_least, other.at_least), _smallest(self.at_most, other.at_most)
        if low is not None and high is not None and low > high:
            return False
        if self.complement and other.complement:
            return True
        return bool(self.intersection(other).values)

    def intersection(self, other: Requirement) -> Requirement:
        """What satisfies both."""
        low, high = _largest(self.at_least, other.at_least), _smallest(self.at_most, other.at_most)
        most = _largest(self.min_values, other.min_values)
        if low is not None and high is not None and low > high:
            return Requirement(self.key, frozenset(), min_values=most)
        if self.complement and other.complement:
            values = self.values | other.values
        elif self.complement:
            values = other.values - self.values
        elif other.complement:
            values = self.values - other.values
        else:
            values = self.values & other.values
        both = self.complement and other.complement
        narrowed = Requirement(self.key, values, both, low, high, most)
        if low is not None or high is not None:
            narrowed = replace(
                narrowed, values=frozenset(value for value in values if narrowed._within(value))
            )
        return narrowed if both else replace(narrowed, at_least=None, at_most=None)

    def _within(self, value: str) -> bool:
        if self.at_least is None and self.at_most is None:
            return True
        try:
            number = int(value)
        except ValueError:
            return False
        return (self.at_least is None or number >= self.at_least) and (
            self.at_most is None or number <= self.at_most
        )

    def __str__(self) -> str:
        shown = sorted(self.values)
        named = ", ".join(shown[:5]) + (f" and {len(shown) - 5} others" if len(shown) > 5 else "")
        if self.complement:
            text = f"{self.key} not in [{named}]" if shown else f"{self.key} exists"
        else:
            text = f"{self.key} in [{named}]" if shown else f"{self.key} does not exist"
        if self.at_least is not None:
            text += f" >= {self.at_least}"
        return text if self.at_most is None else f"{text} <= {self.at_most}"


Requirements = Mapping[str, Requirement]
"""One requirement for each key."""


def requirement(
    key: str, operator: str, values: Iterable[str] = (), *, min_values: int | None = None
) -> Requirement:
    """A requirement as Kubernetes and Karpenter write it.

    Args:
        key: of the label; old names of well-known labels are taken for today's.
        operator: In, NotIn, Exists, DoesNotExist, Gt, Lt, Gte, Lte.
        values: of the label; one integer for the last four.
        min_values: a NodePool's minValues.

    Raises:
        ValueError: an unknown operator, or no integer where one is needed.
    """
    key = _ALIASES.get(key, key)
    listed = list(values)
    match operator:
        case "In":
            return Requirement(key, frozenset(listed), min_values=min_values)
        case "NotIn":
            return Requirement(key, frozenset(listed), complement=True, min_values=min_values)
        case "Exists":
            return Requirement(key, frozenset(), complement=True, min_values=min_values)
        case "DoesNotExist":
            return Requirement(key, frozenset(), min_values=min_values)
        case "Gt" | "Gte":
            bound = int(listed[0]) + (operator == "Gt")
            return Requirement(key, frozenset(), complement=True, at_least=bound, min_values=min_values)
        case "Lt" | "Lte":
            bound = int(listed[0]) - (operator == "Lt")
            return Requirement(key, frozenset(), complement=True, at_most=bound, min_values=min_values)
    raise ValueError(f"unknown operator {operator!r}")


def among(key: str, *values: str) -> Requirement:
    """The label must have one of these values."""
    return Requirement(_ALIASES.get(key, key), frozenset(values))


def labelled(labels: Mapping[str, str]) -> dict[str, Requirement]:
    """Labels, as requirements with one value each."""
    return combined(among(key, value) for key, value in labels.items())


def combined(*groups: Iterable[Requirement]) -> dict[str, Requirement]:
    """All of these requirements at once."""
    together: dict[str, Requirement] = {}
    for group in groups:
        for requirement in group:
            before = together.get(requirement.key)
            together[requirement.key] = requirement if before is None else requirement.intersection(before)
    return together


def conflict(have: Requirements, want: Requirements) -> Requirement | None:
    """The first requirement wanted that excludes what there is, keys that only one side has set aside."""
    for key in want if len(want) < len(have) else have:
        ours, theirs = have.get(key), want.get(key)
        if (
            ours is not None
            and theirs is not None
            and not ours.intersects(theirs)
            and not (ours.negative() and theirs.negative())
        ):
            return theirs
    return None


def obstacle(have: Requirements, want: Requirements, *, undefined: bool) -> Requirement | None:
    """The first requirement wanted that can't be met, or None if all can.

    Args:
        have: of a node, or of a node to be made.
        want: of a pod.
        undefined: whether well-known labels that `have` doesn't mention are still open (a node to be made).
    """
    for key, requirement in want.items():
        if key not in have and not requirement.negative() and not (undefined and well_known(key)):
            return requirement
    return conflict(have, want)


def _largest(one: int | None, other: int | None) -> int | None:
    return other if one is None else one if other is None else max(one, other)


def _smallest(one: int | None, other: int | None) -> int | None:
    return other if one is None else one if other is None else min(one, other)
