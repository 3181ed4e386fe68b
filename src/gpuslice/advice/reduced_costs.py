"""What each step would save by the prices of the proof: estimates, without planning again.

The duals say what a replica of each class adds to the least possible bill. At these prices, the cheapest way to serve a
replica after a step is the highest price that it may have without any node being worth more than it costs. What it has
cost less that is what the step saves, a replica: its reduced cost. With the new price in place of the old one all
prices still make a bound, so that the bound falls by no more than the estimate, however the fleet is planned anew.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from gpuslice.advice.allowances import Kind
from gpuslice.planner.loads.pricing import Patience, Pricing
from gpuslice.planner.model.limits import Limits
from gpuslice.planner.model.places import ClassNumber

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gpuslice.advice.allowances import Step
    from gpuslice.planner.bound.columns import Relaxation
    from gpuslice.planner.clock import Clock
    from gpuslice.planner.model.classes import WorkloadClass
    from gpuslice.planner.model.limits import Limit
    from gpuslice.planner.model.options import NodeOption
    from gpuslice.planner.programs.arrays import Floats

    Offer = Callable[[Sequence[WorkloadClass]], tuple[NodeOption, ...]]

# Classes after a step beside those of the plan, and at least a part of these: more make more cuts, and each is asked of
# all; fewer lay out the same options more often.
_AT_ONCE: Final = 60
_AT_ONCE_OF: Final = 4
_ROUNDS: Final = 20  # each lowers the price; a handful is usual
_NOTHING: Final = 1e-9  # of a node's price


class Part(NamedTuple):
    """A workload, as a part of its class.

    Attributes:
        class_number: of its class.
        replicas: its own.
    """

    class_number: ClassNumber
    replicas: int


def reduced_costs(
    classes: Sequence[WorkloadClass],
    relaxation: Relaxation,
    steps: Mapping[Part, Sequence[Step]],
    offer: Offer,
    *,
    limits: Sequence[Limit],
    clock: Clock,
) -> dict[tuple[Part, Step], float]:
    """What steps would save for each replica, dollars per hour, never negative.

    Args:
        classes: of the plan.
        relaxation: the proof of its bound.
        steps: to be priced, in the order in which they matter. All replicas of a workload take one.
        offer: the node options for some classes.
        limits: on options altogether.
        clock: work left; steps that are not reached by then are absent.
    """
    costs: dict[tuple[Part, Step], float] = {}
    for some in _in_parts(steps, max(_AT_ONCE, len(classes) // _AT_ONCE_OF)):
        if clock.over():
            break
        variants = [variant for part in some for variant in _variants(part, classes, some[part])]
        market = _Market(
            [*classes, *(variant.after for variant in variants)], relaxation, offer, limits, clock
        )
        for at, variant in enumerate(variants, start=len(classes)):
            if clock.over():
                break
            now = float(relaxation.duals[variant.part.class_number])
            for step in variant.steps:
                costs[variant.part, step] = now - market.price(ClassNumber(at), variant.part, step.gpu)
    return costs


def reduced_together(
    classes: Sequence[WorkloadClass],
    relaxation: Relaxation,
    taken: Sequence[tuple[Part, Step]],
    offer: Offer,
    *,
    limits: Sequence[Limit],
    clock: Clock,
) -> float:
    """What steps would save that several workloads take at once, dollars per hour: never less than the bound falls by.

    Two that may share a GPU only with each other save nothing alone. All prices are brought down until no node is
    worth more than it costs, which is quick and says too much rather than too little.

    Args:
        classes: of the plan.
        relaxation: the proof of its bound.
        taken: one step for each of some workloads.
        offer: the node options for some classes.
        limits: on options altogether.
        clock: that the work is told to.
    """
    after = [_variants(part, classes, (step,))[0].after for part, step in taken]
    market = _Market([*classes, *after], relaxation, offer, limits, clock)
    return market.together([part for part, _ in taken])


def _in_parts(steps: Mapping[Part, Sequence[Step]], most: int) -> list[dict[Part, Sequence[Step]]]:
    parts: list[dict[Part, Sequence[Step]]] = [{}]
    size = 0
    for part, group in steps.items():
        if size >= most:
            parts.append({})
            size = 0
        parts[-1][part] = group
        size += len({step.kind if step.gpu else step for step in group})
    return parts


@dataclass(frozen=True, slots=True)
class _Variant:
    """A workload as it would be.

    Attributes:
        part: of which class, and how many replicas.
        after: with the step taken; with several models allowed at once, as a node has one.
        steps: this one, or one for each of the models.
    """

    part: Part
    after: WorkloadClass
    steps: tuple[Step, ...]


def _variants(part: Part, classes: Sequence[WorkloadClass], steps: Sequence[Step]) -> list[_Variant]:
    number, replicas = part
    now = replace(classes[number], replicas=replicas)
    models = tuple(step for step in steps if step.kind is Kind.GPU)
    variants = []
    if models:
        allow = frozenset[str]().union(*(step.need.allow for step in models if step.need is not None))
        variants.append(
            _Variant(part, replace(now, need=replace(models[0].taken(now).need, allow=allow)), models)
        )
    variants += [_Variant(part, step.taken(now), (step,)) for step in steps if step.kind is not Kind.GPU]
    return variants


class _Market:
    """All nodes at the prices of the proof, and what a replica of one more class may cost there."""

    def __init__(
        self,
        classes: Sequence[WorkloadClass],
        relaxation: Relaxation,
        offer: Offer,
        limits: Sequence[Limit],
        clock: Clock,
    ) -> None:
        """Lay out the pricing problems; classes beyond those of the proof are worth nothing yet."""
        self._clock = clock.in_full()
        options = offer(classes)
        self._models = np.asarray([option.cut.gpu.name for option in options])
        self._pricing = Pricing(options, classes)
        tolled = Limits(limits, options)
        self._pricing.reprice(tolled.tolled(tolled.proper(relaxation.tolls)))
        self._demand = np.asarray([a_class.replicas for a_class in classes], dtype=np.float64)
        self._worth: Floats = np.zeros(len(classes))
        self._worth[: len(relaxation.duals)] = relaxation.duals

    def price(self, number: ClassNumber, instead_of: Part, model: str = "") -> float:
        """The highest price of a replica at which no node is worth more than it costs, at most the one that it has.

        Args:
            number: of the class after a step.
            instead_of: of which class it is now, where so many replicas are no more.
            model: of GPU, of the nodes in question; empty: all.
        """
        pricing, values, demand = self._pricing, self._worth.copy(), self._demand.copy()
        values[number] = values[instead_of.class_number]
        demand[instead_of.class_number] -= instead_of.replicas
        for _ in range(_ROUNDS):
            before = values[number]
            for row, _ in pricing.relaxed(values, demand, tolerance=_NOTHING, clock=self._clock):
                if model and self._models[row] != model:
                    continue
                usd = pricing.usd(row)
                _, loads = pricing.node(row).best(values, usd * (1 + _NOTHING), Patience.ENOUGH, self._clock)
                worth, count = (loads[0][0], loads[0][1].counts().get(number, 0)) if loads else (0.0, 0)
                if count:
                    others = worth - count * values[number]
                    values[number] = max(min((usd - others) / count, values[number]), 0.0)
            if values[number] >= before * (1 - _NOTHING):
                break
        return float(values[number])

    def together(self, instead_of: Sequence[Part]) -> float:
        """How far prices have to come down, dollars per hour of all replicas, for no node to be worth more.

        Args:
            instead_of: what each of the classes beyond those of the proof is now.
        """
        values, demand = self._worth.copy(), self._demand.copy()
        first = len(values) - len(instead_of)
        for at, (number, replicas) in enumerate(instead_of, start=first):
            values[at] = values[number]
            demand[number] -= replicas
        priced = self._pricing.solve(
            values, demand, tolerance=_NOTHING, patience=Patience.ENOUGH, clock=self._clock
        )
        too_much = values * (1 - np.minimum(priced.shares * (1 + _NOTHING), 1.0))
        # Whoever takes a step for nothing makes no node worth more than before.
        return float(min(too_much @ demand, values[first:] @ demand[first:]))
