"""Groups: of a model's nodes those that classes may enter together, by what their pods require of a node's labels.

A pool is for one group. So every machine that it may have meets what each of its pods requires, whichever of them
Karpenter launches; and classes that require nothing may be in any group.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gpuslice.cloud.labels import node_facts
from gpuslice.planner.model.places import numbered, numbers_of
from gpuslice.workloads.requirements import entered, met, pins_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from gpuslice.cloud.catalog import InstanceType, Purchase
    from gpuslice.planner.model.classes import WorkloadClass
    from gpuslice.planner.model.places import ClassNumber
    from gpuslice.workloads.requirements import Requirement, Term, Terms

    Offer = tuple[str, Purchase]  # an instance type by its name, and how it is bought
    Facts = Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class Group:
    """Who may share nodes, and which.

    Attributes:
        members: numbers of the classes, ascending.
        pins: what its pools are bound to: zones, and labels of the cluster's owner.
        offers: what may be bought for them; None: anything.
    """

    members: tuple[ClassNumber, ...]
    pins: Term = ()
    offers: frozenset[Offer] | None = None

    def has(self, kind: InstanceType, purchase: Purchase) -> bool:
        """Whether an instance type may be bought so for them."""
        return self.offers is None or (kind.name, purchase) in self.offers


def groups_of(
    classes: Sequence[WorkloadClass], kinds: Iterable[InstanceType], region: str
) -> tuple[Group, ...]:
    """The groups of some instance types, first that without pins.

    Args:
        classes: to place.
        kinds: instance types with their prices.
        region: that they are in.
    """
    if not any(a_class.requires for a_class in classes):
        return (Group(tuple(numbers_of(classes))),)
    facts = {
        (kind.name, purchase): node_facts(kind, purchase, region)
        for kind in kinds
        for purchase in sorted(kind.prices)
    }
    # What differs in words only is one group.
    wanted: dict[tuple[Term, frozenset[Offer]], None] = {((), frozenset(facts)): None}
    for requires in dict.fromkeys(a_class.requires for a_class in classes):
        entering: dict[Term, set[Offer]] = defaultdict(set)
        for term in requires:
            pins = pins_of(term)
            entering[pins] |= {offer for offer, here in facts.items() if entered((term,), here, pins)}
        wanted |= {(pins, frozenset(offers)): None for pins, offers in entering.items() if offers}
    return tuple(
        group
        for pins, offers in wanted
        if (group := _group(classes, pins, {offer: facts[offer] for offer in offers})).members
    )


def group_of(
    classes: Sequence[WorkloadClass],
    pins: Term,
    kinds: Iterable[InstanceType],
    purchases: Collection[Purchase],
    region: str,
) -> Group:
    """The group of a pool that there is.

    Args:
        classes: to place.
        pins: that the pool is bound to.
        kinds: its instance types.
        purchases: how they are bought.
        region: that they are in.
    """
    if not pins and not any(a_class.requires for a_class in classes):
        return Group(tuple(numbers_of(classes)))
    facts = {
        (kind.name, purchase): node_facts(kind, purchase, region)
        for kind in kinds
        for purchase in kind.prices
        if purchase in purchases
    }
    return _group(classes, pins, facts)


def _group(classes: Sequence[WorkloadClass], pins: Term, facts: Mapping[Offer, Facts]) -> Group:
    enters: dict[Terms, bool] = {}
    for a_class in classes:
        if a_class.requires not in enters:
            enters[a_class.requires] = all(entered(a_class.requires, here, pins) for here in facts.values())
    members = tuple(number for number, a_class in numbered(classes) if enters[a_class.requires])
    return Group(members, pins, frozenset(facts))


def unmet(requires: Terms, facts: Facts) -> Requirement | None:
    """What of a pod's requirements no pool of such machines can meet; None: there is a term that one can.

    Args:
        requires: of the pod.
        facts: of the machine.
    """
    missing = [next((one for one in term if not met(one, facts, pins_of(term))), None) for term in requires]
    return None if None in missing or not missing else missing[0]
