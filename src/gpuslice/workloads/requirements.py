"""What a pod requires of its node's labels, and which of these a node of a new pool can have.

A key belongs to somebody: to the machine and how it is bought (the catalog says what it is), to the place of a node (a
pool can be bound to it), to the cluster of today (gone with today's nodes), to other programs, which label nodes once
they are there, or to the cluster's owner, whose labels a new pool can carry. Domains: Karpenter's v1 API, label rules.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from gpuslice.artefacts.part import Part

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

HOSTNAME: Final = "kubernetes.io/hostname"
NODE_NAME: Final = "metadata.name"
"""A field of nodes, not a label: what `matchFields` may ask for."""
ZONES: Final = frozenset(
    {"topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone", "topology.k8s.aws/zone-id"}
)
CAPACITY_TYPE: Final = "karpenter.sh/capacity-type"
GPU_NAMES: Final = frozenset({"nvidia.com/gpu.product", "k8s.amazonaws.com/accelerator"})
"""Keys of GPU models which aren't Karpenter's: read as models when a pod is read, and never evaluated as words."""

_TYPES: Final = frozenset({"node.kubernetes.io/instance-type", "node.kubernetes.io/windows-build"})
_NO_NAME: Final = "a name that no node has yet"
_OF_TODAY: Final = frozenset(
    {
        "karpenter.sh/nodepool",
        "alpha.eksctl.io/nodegroup-name",
        "eks.amazonaws.com/capacityType",
        "eks.amazonaws.com/compute-type",
        "eks.amazonaws.com/nodegroup",
        "gpuslice.io/pool",
    }
)
_OF_OTHERS: Final = (
    "eks.amazonaws.com/instance-",
    "k8s.amazonaws.com/accelerator",
    "karpenter.k8s.aws/ec2nodeclass",
    "nvidia.com/",
    "feature.node.kubernetes.io/pci-",
)
_MACHINES: Final = "karpenter.k8s.aws/instance-"
_RESERVED: Final = ("kubernetes.io", "k8s.io", "karpenter.sh", "karpenter.k8s.aws")
_NOT_RESERVED: Final = ("node.kubernetes.io", "node-restriction.kubernetes.io", "kops.k8s.io")

Operator = Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]
OPERATORS: Final[Mapping[str, Operator]] = {
    "In": "In",
    "NotIn": "NotIn",
    "Exists": "Exists",
    "DoesNotExist": "DoesNotExist",
    "Gt": "Gt",
    "Lt": "Lt",
}
"""By the words of Kubernetes."""


class Requirement(Part, frozen=True, order=True):
    """One condition on a node's label, as Kubernetes has it in a node selector's term.

    Attributes:
        key: of the label; "metadata.name" for the node's own name.
        operator: of the condition.
        values: of `In` and `NotIn`; one whole number for `Gt` and `Lt`.
    """

    key: str
    operator: Operator
    values: tuple[str, ...] = ()

    def holds(self, value: str | None) -> bool:
        """Whether a node whose label has this value meets it; None: the node has no such label."""
        match self.operator:
            case "In":
                return value in self.values
            case "NotIn":
                return value not in self.values
            case "Exists":
                return value is not None
            case "DoesNotExist":
                return value is None
            case _:
                here, there = _number(value), _number(self.values[0] if self.values else None)
                if here is None or there is None:
                    return False
                return here > there if self.operator == "Gt" else here < there

    def plain(self) -> dict[str, object]:
        """As Kubernetes' objects have it."""
        values = {"values": list(self.values)} if self.values else {}
        return {"key": self.key, "operator": self.operator, **values}

    def __str__(self) -> str:
        """As messages have it: "team In [vision]"."""
        if self.operator in {"In", "NotIn"}:
            return f"{self.key} {self.operator} [{', '.join(self.values)}]"
        return " ".join((self.key, self.operator, *self.values))


Term = tuple[Requirement, ...]
"""Conditions that hold together."""
Terms = tuple[Term, ...]
"""Terms of which one must hold; none: nothing is required."""


def own_label(key: str) -> bool:
    """Whether a label is the cluster owner's, so that the template of a new NodePool may carry it."""
    if key in ZONES | _TYPES or key == NODE_NAME or leaves_with_today(key):
        return False
    domain = key.rpartition("/")[0]
    return _within(domain, _NOT_RESERVED) or not _within(domain, _RESERVED)


def leaves_with_today(key: str) -> bool:
    """Whether a label is of today's nodes, or set once a node is there: a patch takes it out of the pod's affinity."""
    return key in _OF_TODAY or key.startswith(_OF_OTHERS)


def met(requirement: Requirement, facts: Mapping[str, str | None], pins: Collection[Requirement]) -> bool:
    """Whether a node meets a condition.

    Args:
        requirement: the condition.
        facts: the labels that its machine gives it, by any name that others have for them; None: none of that key.
        pins: what its pool is bound to beside the machine.
    """
    key = requirement.key
    if key in ZONES:
        return requirement in pins
    if key in facts:
        return requirement.holds(facts[key])
    if key in {HOSTNAME, NODE_NAME}:
        return requirement.holds(_NO_NAME)
    if leaves_with_today(key):
        return True  # its patch takes it out
    if key.startswith(_MACHINES):
        return False  # of the machine, and the catalog doesn't know it
    return requirement.holds(next((pin.values[0] for pin in pins if pin.key == key), None))


def entered(terms: Terms, facts: Mapping[str, str | None], pins: Collection[Requirement]) -> bool:
    """Whether a node meets one of the terms, or none is required.

    Args:
        terms: of the pod.
        facts: the labels that its machine gives it, by any name that others have for them; None: none of that key.
        pins: what its pool is bound to beside the machine.
    """
    return not terms or any(all(met(condition, facts, pins) for condition in term) for term in terms)


def pins_of(term: Term) -> Term:
    """What a pool has to be bound to for a term: zones as they are required, and one value for each own label.

    What can't be met at all has no part in it: `met` then says so.
    """
    zones = {requirement for requirement in term if requirement.key in ZONES}
    pins = {requirement for requirement in zones if somewhere(zones)}
    for key in {requirement.key for requirement in term if own_label(requirement.key)}:
        of_key = [requirement for requirement in term if requirement.key == key]
        values = (value for requirement in of_key for value in _candidates(requirement))
        value = next((value for value in values if all(condition.holds(value) for condition in of_key)), None)
        if value is not None:
            pins.add(Requirement(key, "In", (value,)))
    return tuple(sorted(pins))


def meetable(terms: Terms, facts: Mapping[str, str | None]) -> bool:
    """Whether some pool of such machines could meet one of the terms, or none is required.

    Args:
        terms: of the pod.
        facts: the labels that the machine gives a node.
    """
    return not terms or any(entered((term,), facts, pins_of(term)) for term in terms)


def somewhere(zones: Collection[Requirement]) -> bool:
    """Whether a node can meet conditions on zones together; a zone that none of them names is taken to be there."""
    for key in {requirement.key for requirement in zones}:
        of_key = [requirement for requirement in zones if requirement.key == key]
        named = [requirement.values for requirement in of_key if requirement.operator == "In"]
        values = [value for among in named for value in among] if named else [_NO_NAME]
        if not any(all(requirement.holds(value) for requirement in of_key) for value in values):
            return False
    return True


def without_keys(terms: Terms, gone: Collection[str]) -> Terms:
    """The terms without conditions on some keys; none where one of them had no others: it then always holds."""
    left = tuple(tuple(condition for condition in term if condition.key not in gone) for term in terms)
    emptied = any(not after and before for after, before in zip(left, terms, strict=True))
    return () if emptied else tuple(dict.fromkeys(left))


def needed(pins: Iterable[Requirement], required: Iterable[Terms]) -> Term:
    """Those of a pool's pins that somebody in it speaks of."""
    keys = {condition.key for terms in required for term in terms for condition in term}
    return tuple(pin for pin in pins if pin.key in keys)


def _candidates(requirement: Requirement) -> tuple[str, ...]:
    match requirement.operator:
        case "In":
            return requirement.values
        case "Exists":
            return ("true",)
        case "Gt" | "Lt" if (
            number := _number(requirement.values[0] if requirement.values else None)
        ) is not None:
            return (str(number + 1 if requirement.operator == "Gt" else number - 1),)
        case _:
            return ()


def _number(text: str | None) -> int | None:
    try:
        return None if text is None else int(text)
    except ValueError:
        return None


def _within(domain: str, of: Iterable[str]) -> bool:
    return any(domain == one or domain.endswith(f".{one}") for one in of)
