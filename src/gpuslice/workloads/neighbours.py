"""Rules of pods about each other: anti-affinity, affinity and topology spreads that are a must.

Which pods a rule means can only be said once all workloads are known. A rule by host among the pods of one workload, or
among several that all have it, limits how many of them a node holds, and plans count that. Under any other rule the
workload stays where it is: how its pods go together with others isn't reckoned with.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from gpuslice.artefacts.quoting import shorten
from gpuslice.workloads.node_limits import apart, spread
from gpuslice.workloads.requirements import OPERATORS, Requirement

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from gpuslice.workloads.model import Workload
    from gpuslice.workloads.node_limits import Take
    from gpuslice.workloads.objects import Expression, LabelSelector, PodSpec, PodTerm, SpreadConstraint

HOST: Final = "kubernetes.io/hostname"
_REGION: Final = "topology.kubernetes.io/region"
_MUST: Final = "DoNotSchedule"
_LONGEST: Final = 200  # name of a rule


@dataclass(frozen=True, slots=True)
class PodRules:
    """What the pods of one template say of others, and by which others know them.

    Attributes:
        namespace, labels: of the pods.
        apart, near: terms of required anti-affinity and affinity.
        spreads: topology spread constraints that must hold.
    """

    namespace: str
    labels: Mapping[str, str]
    apart: tuple[PodTerm, ...] = ()
    near: tuple[PodTerm, ...] = ()
    spreads: tuple[SpreadConstraint, ...] = ()


def rules_of(pod: PodSpec, namespace: str, labels: Mapping[str, str]) -> PodRules:
    """The rules of a template's pods, in the namespace of their owner."""
    affinity = pod.affinity
    return PodRules(
        namespace,
        labels,
        affinity.pod_anti_affinity.required_during_scheduling_ignored_during_execution,
        affinity.pod_affinity.required_during_scheduling_ignored_during_execution,
        tuple(
            constraint
            for constraint in pod.topology_spread_constraints
            if constraint.when_unsatisfiable == _MUST
        ),
    )


def with_rules(workloads: Sequence[Workload], rules: Sequence[PodRules]) -> list[Workload]:
    """The workloads with what their pods' rules leave room for on a node, or with why they stay where they are.

    Args:
        workloads: all that were read.
        rules: of each, in their order.
    """
    if not any(rule.apart or rule.near or rule.spreads for rule in rules):
        return list(workloads)
    fleet = _Fleet(workloads, rules)
    answers = [list(fleet.answers(at)) for at in range(len(workloads))]
    return [
        replace(
            workload,
            takes=tuple(sorted({*workload.takes, *(one for one in here if not isinstance(one, str))})),
            stays=(*workload.stays, *(one for one in here if isinstance(one, str))),
        )
        for workload, here in zip(workloads, answers, strict=True)
    ]


class _Fleet:
    """Who is meant by whose rules."""

    def __init__(self, workloads: Sequence[Workload], rules: Sequence[PodRules]) -> None:
        self._workloads = workloads
        self._rules = rules

    def answers(self, at: int) -> Iterator[Take | str]:
        """What the rules of a workload count on a node, or why no plan can count them."""
        rules = self._rules[at]
        answers = (
            *(self._apart(at, term) for term in rules.apart),
            *(self._near(at, term) for term in rules.near),
            *(self._spread(at, constraint) for constraint in rules.spreads),
        )
        return (answer for answer in answers if answer is not None)

    def _apart(self, at: int, term: PodTerm) -> Take | str | None:
        meant = self._meant(at, term)
        if term.topology_key != HOST:
            if meant == {at} and self._most(at) <= 1:
                return None
            return f"its required anti-affinity by {shorten(term.topology_key)} isn't reckoned with"
        if not meant:
            return None  # of pods without a GPU none comes to a planned node: those are tainted
        if at in meant and all(
            any(
                other.topology_key == HOST and self._meant(number, other) == meant
                for other in self._rules[number].apart
            )
            for number in meant
        ):
            return apart(self._name(meant))
        return (
            f"its required anti-affinity by {HOST} means {self._names(meant - {at})}, which doesn't have it"
        )

    def _near(self, at: int, term: PodTerm) -> str | None:
        meant = self._meant(at, term)
        alone = meant == {at} and self._most(at) <= 1
        if alone or (meant and term.topology_key == _REGION):
            return None
        return f"its required pod affinity by {shorten(term.topology_key)} isn't reckoned with"

    def _spread(self, at: int, constraint: SpreadConstraint) -> Take | str | None:
        meant = self._counted(at, constraint)
        if meant <= {at} and self._most(at) <= constraint.max_skew:
            return None
        if constraint.topology_key != HOST:
            return (
                f"its topology spread by {shorten(constraint.topology_key)} must hold (DoNotSchedule), which isn't "
                "reckoned with"
            )
        if at in meant and all(
            any(
                other.topology_key == HOST
                and other.max_skew == constraint.max_skew
                and self._counted(number, other) == meant
                for other in self._rules[number].spreads
            )
            for number in meant
        ):
            return spread(self._name(meant), constraint.max_skew)
        return (
            f"its topology spread by {HOST} counts pods of {self._names(meant - {at})}, which doesn't have it"
        )

    def _meant(self, at: int, term: PodTerm) -> frozenset[int]:
        """The workloads whose pods a term means."""
        own = self._rules[at]
        if term.namespace_selector is None:
            namespaces = frozenset(term.namespaces or (own.namespace,))
        else:  # labels of namespaces aren't read: it may mean any
            namespaces = frozenset(rules.namespace for rules in self._rules)
        return self._selected(at, term.label_selector, term.match_label_keys, namespaces)

    def _counted(self, at: int, constraint: SpreadConstraint) -> frozenset[int]:
        """The workloads whose pods a spread counts: of its own namespace only."""
        own = frozenset({self._rules[at].namespace})
        return self._selected(at, constraint.label_selector, constraint.match_label_keys, own)

    def _selected(
        self, at: int, selector: LabelSelector | None, keys: Sequence[str], namespaces: frozenset[str]
    ) -> frozenset[int]:
        if selector is None:
            return frozenset()
        own = self._rules[at].labels
        return frozenset(
            number
            for number, rules in enumerate(self._rules)
            if rules.namespace in namespaces
            and matches(selector, rules.labels)
            # A key that isn't in the template is set on its pods, for each owner another value: the template's hash.
            and (number == at or all(key in own and rules.labels.get(key) == own[key] for key in keys))
        )

    def _most(self, at: int) -> int:
        """Replicas at the peak, where that is known."""
        workload = self._workloads[at]
        return max(workload.replicas, workload.most_replicas)

    def _name(self, numbers: frozenset[int]) -> str:
        """Of a rule among so many workloads: rules among others have other names."""
        names = sorted(self._workloads[number].name for number in numbers)
        joined = "+".join(names)
        return joined if len(joined) <= _LONGEST else f"{names[0]}+{len(names) - 1}"

    def _names(self, numbers: frozenset[int]) -> str:
        return ", ".join(sorted(self._workloads[number].name for number in numbers)) or "others"


def matches(selector: LabelSelector, labels: Mapping[str, str]) -> bool:
    """Whether pods with these labels are meant by a selector."""
    return all(labels.get(key) == value for key, value in selector.match_labels.items()) and all(
        _holds(expression, labels) for expression in selector.match_expressions
    )


def _holds(expression: Expression, labels: Mapping[str, str]) -> bool:
    operator = OPERATORS.get(expression.operator)
    if operator is None:
        return True  # the API server refuses it; meaning more is on the safe side
    return Requirement(expression.key, operator, expression.values).holds(labels.get(expression.key))
