"""Whether pods may enter the nodes that a plan gives them: what they require of labels, against what these will be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuslice.verifier.layouts import Violation
from gpuslice.workloads.requirements import (
    HOSTNAME,
    NODE_NAME,
    ZONES,
    Requirement,
    leaves_with_today,
    own_label,
    pins_of,
    somewhere,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from gpuslice.workloads.model import Workload
    from gpuslice.workloads.requirements import Term

    Labels = Mapping[str, str | None]


def entry_violations(
    workloads: Sequence[Workload], labels: Labels, pins: Collection[Requirement], where: str
) -> Iterator[Violation]:
    """Who can't be bound to a machine of a pool, and by what.

    Args:
        workloads: of the pool.
        labels: of the machine, and how it is bought.
        pins: what the pool is bound to: labels of the cluster's owner, and zones.
        where: for the messages.
    """
    for pin in pins:
        carried = own_label(pin.key) and pin.operator == "In" and len(pin.values) == 1
        if not carried and pin.key not in ZONES:
            yield Violation("affinity", where, f"{pin} is nothing that a new pool can have")
    if not somewhere([pin for pin in pins if pin.key in ZONES]):
        yield Violation("affinity", where, "its zones contradict each other")
    for workload in workloads:
        against = [_unmet(term, labels, pins) for term in workload.requires]
        if against and None not in against:
            yield Violation("affinity", where, f"{workload.name} requires {against[0]}")


def together_violations(workloads: Sequence[Workload], labels: Labels, where: str) -> Iterator[Violation]:
    """Who can't be on one node, whatever its pool is bound to."""
    required = dict.fromkeys(workload.requires for workload in workloads if workload.requires)
    joint: list[Term] = [()]
    for terms in required:
        joint = [
            both
            for held in joint
            for term in terms
            if _unmet(both := (*held, *term), labels, pins_of(both)) is None
        ]
    if not joint:
        names = ", ".join(sorted(workload.name for workload in workloads if workload.requires))
        yield Violation("affinity", where, f"no pool of such nodes is open to {names}")


def _unmet(term: Term, labels: Labels, pins: Collection[Requirement]) -> Requirement | None:
    """The first condition that a node doesn't meet; None: it meets all."""
    carried = {pin.key: pin.values[0] for pin in pins if own_label(pin.key) and pin.values}
    node: dict[str, str | None] = {**carried, **labels}
    for condition in term:
        key = condition.key
        if key in ZONES:
            holds = condition in pins
        elif key in node:
            holds = condition.holds(node[key])
        elif key in {HOSTNAME, NODE_NAME}:
            holds = condition.operator in {"NotIn", "Exists"}
        elif key.startswith("karpenter.k8s.aws/instance-"):
            holds = False  # not known of any machine
        else:
            holds = leaves_with_today(key) or condition.holds(None)
        if not holds:
            return condition
    return None
