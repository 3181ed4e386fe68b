"""Options as the search for pools sees them under limits: with tolls in their prices, reserved ones like the rest."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from gpuslice.cloud.catalog import Purchase
from gpuslice.launches.bill import Spread
from gpuslice.planner.model.pools import pool_of
from gpuslice.planner.packing.repair import reserved_first
from gpuslice.units import MICRO_USD

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from gpuslice.launches.bill import Bill
    from gpuslice.planner.bound.columns import Relaxation
    from gpuslice.planner.homes.bill_search import CarriedOut
    from gpuslice.planner.model.cuts import Cut
    from gpuslice.planner.model.limits import Limit, Limits
    from gpuslice.planner.model.options import NodeOption
    from gpuslice.planner.model.packing import Packing
    from gpuslice.planner.model.pools import PoolKey
    from gpuslice.planner.programs.arrays import Floats


class Tolled:
    """The options as the search sees them: priced with tolls, what is reserved and the same on demand as one."""

    def __init__(self, options: Sequence[NodeOption], limits: Limits, tolls: Floats) -> None:
        """Price them.

        Args:
            options: that are offered.
            limits: on options altogether.
            tolls: of the limits, dollars an hour.
        """
        self._limits = limits
        self._offered = options
        priced: dict[str, dict[Purchase, int]] = defaultdict(dict)
        for option in options:
            price = max(round(limits.price(option, tolls) * MICRO_USD), 1)
            prices, bought = priced[option.instance_type.name], _seen_as(option)
            prices[bought] = min(price, prices.get(bought, price))
        types = {
            option.instance_type.name: replace(option.instance_type, prices=priced[option.instance_type.name])
            for option in options
        }
        groups: dict[tuple[object, ...], list[NodeOption]] = defaultdict(list)
        for option in options:
            groups[option.cut, option.instance_type.name, _seen_as(option)].append(option)
        self._tolled: dict[NodeOption, NodeOption] = {}
        self._plain: dict[NodeOption, NodeOption] = {}
        for group in groups.values():
            plain = min(group, key=lambda option: option.purchase is Purchase.RESERVED)
            bought, type_ = _seen_as(plain), types[plain.instance_type.name]
            one = replace(plain, instance_type=type_, purchase=bought, price=type_.prices[bought])
            self._plain[one] = plain
            self._tolled |= dict.fromkeys(group, one)
        self.options = sorted(
            self._plain, key=lambda option: (option.price, option.instance_type.name, option.purchase)
        )

    def packing(self, packing: Packing) -> Packing:
        """A packing as the search sees it: its nodes are of the options with tolls."""
        result: Packing = Counter()
        for pattern, count in packing.items():
            result[replace(pattern, option=self._tolled[pattern.option])] += count
        return result

    def relaxation(self, relaxation: Relaxation) -> Relaxation:
        """A relaxation as the search sees it: its patterns are of the options with tolls, and of none else."""
        known = [pattern for pattern in relaxation.patterns if pattern.option in self._tolled]
        patterns = dict.fromkeys(replace(pattern, option=self._tolled[pattern.option]) for pattern in known)
        return replace(relaxation, patterns=tuple(patterns))

    def bought(self, packing: Packing) -> Packing:
        """A packing that the search found, its nodes at their own prices, reserved ones first."""
        result: Packing = Counter()
        for pattern, count in packing.items():
            result[replace(pattern, option=self._plain[pattern.option])] += count
        return reserved_first(result, self._offered, self._limits)

    def wanted_too_much(self, packing: Packing) -> list[Limit]:
        """Limits of what is reserved that are used up while more of the type is bought."""
        totals = self._limits.totals(packing)
        bought = {
            pattern.option.instance_type.name
            for pattern in packing
            if pattern.option.purchase is Purchase.ON_DEMAND
        }
        used = {
            option
            for option in self._offered
            if option.purchase is Purchase.RESERVED and option.instance_type.name in bought
        }
        return [
            limit
            for limit, total in zip(self._limits.all, totals, strict=True)
            if limit.counts and total >= limit.most and any(limit.weigh(option) for option in used)
        ]

    def untolled(self, carried: CarriedOut) -> CarriedOut:
        """What Karpenter makes of it, as it is bought, in dollars."""
        packing = self.bought(carried.packing)
        reserved: dict[PoolKey, dict[NodeOption, None]] = defaultdict(dict)
        for pattern in packing:
            if pattern.option.purchase is Purchase.RESERVED:
                reserved[pool_of(pattern)][pattern.option] = None
        options = {
            pool: tuple(dict.fromkeys([*(self._plain[option] for option in listed), *reserved[pool]]))
            for pool, listed in carried.options.items()
        }
        prices = {(option.instance_type.name, option.purchase): option.price for option in self._offered}
        room = {name: self._held(name) for name, purchase in prices if purchase is Purchase.RESERVED}
        bills = [(_repriced(bill, prices, room), order) for bill, order in carried.spread.bills]
        spread = Spread(tuple(sorted(bills, key=lambda bill: (bill[0].price, bill[0].nodes))))
        # Prices with tolls say nothing of what a missing type or a move comes to in dollars.
        return replace(
            carried, packing=packing, options=options, spread=spread, missing=(), packed=None, at_first=None
        )

    def _held(self, name: str) -> int:
        option = next(
            option
            for option in self._offered
            if option.instance_type.name == name and option.purchase is Purchase.RESERVED
        )
        return self._limits.room(option, [0] * len(self._limits.all)) or 0


def leaves_some(limits: Limits, tolls: Floats, packing: Packing) -> bool:
    """Whether a packing leaves nodes that are worth a toll."""
    totals = limits.totals(packing)
    return any(
        limit.counts and toll > 0 and total < limit.most
        for limit, toll, total in zip(limits.all, tolls, totals, strict=True)
    )


def beyond(limit: Limit, options: Iterable[NodeOption], packing: Packing) -> set[NodeOption]:
    """Options to be left out: those of the limit, but for the cuts that together use most of what it allows.

    A cut is as good as a pool here: as a whole it has nodes of the limit or not.

    Args:
        limit: that the packing breaks.
        options: there are.
        packing: by which cuts are compared.
    """
    used: Counter[Cut] = Counter()
    for pattern, count in packing.items():
        used[pattern.option.cut] += max(limit.weigh(pattern.option), 0) * count
    kept: dict[int, tuple[Cut, ...]] = {0: ()}  # by what they use together
    for cut, amount in used.items():
        if amount and limit.counts:
            more = {
                total + amount: (*cuts, cut) for total, cuts in kept.items() if total + amount <= limit.most
            }
            kept = more | kept
    return {option for option in options if limit.weigh(option) > 0 and option.cut not in kept[max(kept)]}


def raised_tolls(tolls: Floats, limits: Limits, passed: Collection[Limit]) -> Floats:
    """The tolls, of the limits that were passed as high as what is limited costs otherwise.

    Where what is reserved is just enough, its toll may be nothing: it then lures everybody.
    """
    high = limits.first_tolls()
    chosen = np.asarray([limit in passed for limit in limits.all], dtype=np.bool_)
    return limits.proper(np.where(chosen, np.maximum(tolls, high), tolls))


def _seen_as(option: NodeOption) -> Purchase:
    return Purchase.SPOT if option.purchase is Purchase.SPOT else Purchase.ON_DEMAND


def _repriced(bill: Bill, prices: Mapping[tuple[str, Purchase], int], room: Mapping[str, int]) -> Bill:
    """A bill in dollars: of each type as many reserved as there are."""
    left = dict(room)
    total = 0
    for (_, name, purchase), count in bill.nodes:
        plain = prices.get((name, Purchase(purchase)), 0)
        held = min(count, left.get(name, 0)) if purchase != Purchase.SPOT.value else 0
        left[name] = left.get(name, 0) - held
        total += plain * (count - held) + prices.get((name, Purchase.RESERVED), 0) * held
    return replace(bill, price=total)
