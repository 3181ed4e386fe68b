"""Limits on node options altogether: sums over all nodes of a plan, such as nodes of a type, that may not pass a most.

They are linear, so that each has a toll in the linear master: what one more unit of it would save. At any tolls, with
every option dearer by what it takes of the limits, what replicas are worth less what the limits are worth is a bound.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from msgspec import UNSET

from gpuslice.cloud.catalog import Purchase
from gpuslice.units import MICRO_USD, PPM

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Sequence

    from gpuslice.planner.model.options import NodeOption
    from gpuslice.planner.model.patterns import Pattern
    from gpuslice.planner.programs.arrays import Floats
    from gpuslice.workloads.policy import Policy

_LEAST_USD: Final = 1e-6
"""What a node costs at least with its tolls: where it is free, no price per replica tells one load from another."""


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit.

    Attributes:
        rule: as people write it: "policy.maxNodes g6.xlarge: 3".
        weigh: what one node of an option takes of it, an integer; negative: what it adds.
        most: of all nodes together.
        unit: of weights, for the solver: numbers near one are kinder to it.
        guess: a toll to begin with, dollars per unit.
    """

    rule: str
    weigh: Callable[[NodeOption], int]
    most: int
    unit: float = 1.0
    guess: float = 0.0

    @property
    def counts(self) -> bool:
        """Whether it is a count of nodes, to which no node adds."""
        return self.unit == 1.0


def limits_of(policy: Policy) -> tuple[Limit, ...]:
    """The limits that a policy sets, beside what it forbids outright."""
    limits = [
        Limit(f"policy.maxNodes {name}: {most}", lambda option, name=name: _is(option, name), most)  # type: ignore[misc]
        for name, most in sorted(policy.max_nodes.items())
    ]
    limits += [
        Limit(
            f"policy.reserved {reservation.instance_type}: {reservation.count}",
            lambda option, name=reservation.instance_type: (
                _is(option, name) * (option.purchase is Purchase.RESERVED)
            ),  # type: ignore[misc]
            reservation.count,
        )
        for reservation in policy.reserved
        if reservation.count
    ]
    if policy.max_spot_share is not UNSET:
        share = round(policy.max_spot_share * PPM)

        def weigh(option: NodeOption) -> int:
            return option.price * (PPM * (option.purchase is Purchase.SPOT) - share)

        limits.append(
            Limit(f"policy.maxSpotShare: {policy.max_spot_share:g}", weigh, 0, float(PPM * MICRO_USD))
        )
    return tuple(limits)


def _is(option: NodeOption, name: str) -> int:
    return int(option.instance_type.name == name)


class Limits:
    """All limits, beside the options that they are about."""

    def __init__(self, limits: Sequence[Limit], options: Sequence[NodeOption]) -> None:
        """Weigh each option once."""
        self.all = tuple(limits)
        self.most = np.asarray([limit.most / limit.unit for limit in limits], dtype=np.float64)
        self._weights = {option: tuple(limit.weigh(option) for limit in limits) for option in options}
        self._usd = np.asarray([option.usd for option in options], dtype=np.float64)
        self._matrix = np.asarray(
            [
                [w / limit.unit for w, limit in zip(self._weights[option], limits, strict=True)]
                for option in options
            ],
            dtype=np.float64,
        ).reshape(len(options), len(self.all))
        self._free = np.asarray([self.unlimited(option) for option in options], dtype=np.bool_)

    @property
    def free(self) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Which options no count limits, in their order."""
        return self._free

    def unlimited(self, option: NodeOption) -> bool:
        """Whether there may be any number of nodes of it."""
        return all(weight <= 0 for weight in self._weights[option])

    def weights(self, option: NodeOption) -> tuple[int, ...]:
        """What one node takes of each limit."""
        return self._weights[option]

    def entries(self, option: NodeOption) -> tuple[float, ...]:
        """What one node takes of each limit, in the solver's units."""
        return tuple(w / limit.unit for w, limit in zip(self._weights[option], self.all, strict=True))

    def first_tolls(self) -> Floats:
        """Tolls to begin with: a reserved node is worth what the same costs otherwise."""
        tolls = np.zeros(len(self.all))
        dearest: dict[str, float] = {}
        for option in self._weights:
            if option.purchase is not Purchase.RESERVED:
                name = option.instance_type.name
                dearest[name] = max(dearest.get(name, 0.0), option.usd)
        for option, weights in self._weights.items():
            if option.purchase is Purchase.RESERVED:
                worth = dearest.get(option.instance_type.name, 0.0) - option.usd
                for row, weight in enumerate(weights):
                    if weight and "reserved" in self.all[row].rule:
                        tolls[row] = max(tolls[row], worth)
        return self.proper(tolls)

    def proper(self, tolls: Floats) -> Floats:
        """The tolls nearest to these at which no node is free: all of them make a bound, so these do."""
        proper = np.maximum(tolls, 0.0)
        for row, limit in enumerate(self.all):
            if limit.counts:
                here = (self._matrix[:, row] > 0) & (self._usd < _LEAST_USD)
                if here.any():
                    proper[row] = max(proper[row], _LEAST_USD)
            else:
                adds = self._matrix[:, row] < 0
                if adds.any():  # each adds its price x share: so much toll eats up all of the price
                    proper[row] = min(
                        proper[row], float((self._usd[adds] / -self._matrix[adds, row]).min()) * 0.999
                    )
        return proper

    def tolled(self, tolls: Floats) -> Floats:
        """What a node of each option costs with its tolls, dollars, positive. The tolls must be `proper`."""
        priced: Floats = np.maximum(self._usd + self._matrix @ tolls, _LEAST_USD / 1000)
        return priced

    def price(self, option: NodeOption, tolls: Floats) -> float:
        """What one node of an option costs with its tolls, dollars."""
        return option.usd + float(np.dot(self.entries(option), tolls))

    def totals(self, packing: Counter[Pattern]) -> list[int]:
        """What all nodes take of each limit."""
        totals = [0] * len(self.all)
        for pattern, count in packing.items():
            for row, weight in enumerate(self._weights[pattern.option]):
                totals[row] += weight * count
        return totals

    def broken(self, packing: Counter[Pattern]) -> tuple[Limit, ...]:
        """The limits that a packing passes."""
        totals = self.totals(packing)
        return tuple(limit for limit, total in zip(self.all, totals, strict=True) if total > limit.most)

    def allows(self, totals: Sequence[int], old: NodeOption, new: NodeOption | None) -> bool:
        """Whether a node may become one of another option, or none: no limit is passed that wasn't, nor further."""
        after = self._weights[new] if new is not None else (0,) * len(self.all)
        return all(
            total + change <= limit.most or change <= 0
            for total, change, limit in zip(
                totals, (b - a for a, b in zip(self._weights[old], after, strict=True)), self.all, strict=True
            )
        )

    def room(self, option: NodeOption, totals: Sequence[int]) -> int | None:
        """How many more nodes of an option the counts allow; None: any number."""
        rooms = [
            max(limit.most - total, 0) // weight
            for weight, total, limit in zip(self._weights[option], totals, self.all, strict=True)
            if limit.counts and weight > 0
        ]
        return min(rooms, default=None)


def moved(totals: list[int], limits: Limits, old: NodeOption, new: NodeOption | None) -> None:
    """Take one node off the totals and put another on."""
    for row, weight in enumerate(limits.weights(old)):
        totals[row] -= weight
    if new is not None:
        for row, weight in enumerate(limits.weights(new)):
            totals[row] += weight
