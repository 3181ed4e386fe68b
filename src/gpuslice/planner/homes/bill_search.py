"""Homes as Karpenter carries them out: its bill, and workloads moved as long as that makes the bill smaller.

A packing knows where each pod goes; Karpenter takes pods by CPU, memory and age, and kube-scheduler binds them by its
own scores. So pools that pack well may come out dear: those of metered pods of many sizes above all. Here the pools
that cost more than their packing are asked again: one workload or all of them go elsewhere if the model of Karpenter
says that this is cheaper, on average over orders of arrival.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Final

from gpuslice.hardware.mechanisms import Mechanism
from gpuslice.launches.bill import NOTHING, Spread
from gpuslice.planner.homes.bills import Resident, Residents, load_of, residents_of
from gpuslice.planner.homes.fallbacks import Missing, missing_types, with_fallback
from gpuslice.planner.model.places import ONLY_SLICE
from gpuslice.planner.model.pools import Home

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from gpuslice.launches.bill import Order
    from gpuslice.planner.clock import Clock
    from gpuslice.planner.homes.bills import Outcome, PoolBills
    from gpuslice.planner.homes.packing import PoolPacking
    from gpuslice.planner.homes.start import Realisation
    from gpuslice.planner.model.classes import WorkloadClass
    from gpuslice.planner.model.options import NodeOption
    from gpuslice.planner.model.packing import Packing
    from gpuslice.planner.model.places import ClassNumber, SliceIndex
    from gpuslice.planner.model.pools import PoolKey
    from gpuslice.workloads.model import Workload

_MOST_SIMULATED: Final = 10_000
"""Pods that the search may let arrive in the model: it ends after as much work on every machine."""
_KEPT_FOR_SAFETY: Final = 2_000  # more of them, for moves that cost nothing
_TRIED: Final = 8  # of the moves from one pool that look best by first fit


@dataclass(frozen=True, slots=True)
class CarriedOut:
    """What Karpenter makes of the pools.

    Attributes:
        packing: the nodes that it launches in the order of arrival that the plan is priced by.
        homes: by class number, (workload, home, replicas).
        options: the nodes that each pool may have, cheapest first.
        spread: bills over orders of arrival.
        by_packing: how many pools are priced by our own packing, since the model couldn't be asked about them.
        missing: what it means if EC2 is out of an instance type that is launched.
        packed: micro-dollars an hour of the same pools as we would pack them; None where that isn't known.
        at_first: the mean bill before any workload moved; None where that isn't known.
    """

    packing: Packing
    homes: dict[ClassNumber, tuple[tuple[Workload, Home, int], ...]]
    options: dict[PoolKey, tuple[NodeOption, ...]]
    spread: Spread
    by_packing: int
    missing: tuple[Missing, ...]
    packed: int | None = None
    at_first: int | None = None


def carried_out(
    realisation: Realisation,
    classes: Sequence[WorkloadClass],
    *,
    packings: PoolPacking,
    bills: PoolBills,
    second: Callable[[NodeOption], Iterable[NodeOption]],
    clock: Clock,
) -> CarriedOut:
    """Move workloads to where Karpenter's bill is smallest, and price the pools by it.

    Args:
        realisation: the homes to begin with.
        classes: to place.
        packings: tells which moves are worth a look.
        bills: of the model.
        second: nodes to fall back to where EC2 is out of one; none where that isn't wanted.
        clock: work left.

    Returns:
        Priced by the order of arrival whose bill is nearest to the mean.
    """
    search = _Search(realisation, classes, packings, bills)
    search.improve(clock)
    search.make_safer(clock)
    return search.result(second)


class _Search:
    """Who lives where, and what Karpenter makes of it."""

    def __init__(
        self,
        realisation: Realisation,
        classes: Sequence[WorkloadClass],
        packings: PoolPacking,
        bills: PoolBills,
    ) -> None:
        self._classes = classes
        self._packings = packings
        self._bills = bills
        self._workloads = {member.name: member for a_class in classes for member in a_class.members}
        tenants: dict[PoolKey, list[tuple[ClassNumber, Workload, SliceIndex, int]]] = defaultdict(list)
        for number, homes in realisation.homes.items():
            for workload, home, replicas in homes:
                tenants[home.pool].append((number, workload, home.slice_index, replicas))
        self._pools = {pool: residents_of(group) for pool, group in tenants.items()}
        self._at_first: int | None = None
        self._costs: dict[PoolKey, tuple[int | None, int | None]] = {}

    def improve(self, clock: Clock) -> None:
        """Look at the pools that cost most above their packing first, until nothing more is found."""
        seen: dict[PoolKey, Residents] = {}
        while not clock.over() and self._bills.simulated < _MOST_SIMULATED:
            excess = [
                (self._excess(pool), at, pool)
                for at, (pool, residents) in enumerate(self._pools.items())
                if seen.get(pool) != residents
            ]
            _, _, pool = max(excess, default=(0, 0, None), key=lambda each: (each[0], -each[1]))
            if self._at_first is None:
                self._at_first = self._mean()
            if pool is None:
                return
            seen[pool] = self._pools[pool]
            self._empty_out(pool, clock)

    def make_safer(self, clock: Clock) -> None:
        """Move workloads to where more keeps them apart, or is plainer, if that costs neither money nor speed.

        All of a pool at once, to any other; or one by one, to those that there are.
        """

        def may_go_on() -> bool:
            return not clock.over() and self._bills.simulated < _MOST_SIMULATED + _KEPT_FOR_SAFETY

        for pool in sorted(self._pools, key=_looseness, reverse=True):
            if not may_go_on():
                return
            residents = self._pools[pool]
            if self._made_safer(pool, residents, self._packings.pools_for, may_go_on) or len(residents) == 1:
                continue
            for resident in residents:
                if may_go_on():
                    self._made_safer(pool, (resident,), lambda _: self._pools, may_go_on)

    def _made_safer(
        self,
        pool: PoolKey,
        group: Residents,
        pools_for: Callable[[Iterable[ClassNumber]], Iterable[PoolKey]],
        may_go_on: Callable[[], bool],
    ) -> bool:
        if any(self._stays(resident) for resident in group):
            return False
        numbers = [resident.number for resident in group]
        tighter = [
            other
            for other in pools_for(numbers)
            if _looseness(other)[0] < _looseness(pool)[0]
            and other.spot == pool.spot
            and not other.geometries
            and all(number in other.cut.fits for number in numbers)
            and not any(_is_slower(resident, pool, other) for resident in group)
        ]
        for other in sorted(tighter, key=_looseness):
            if not may_go_on():
                return False
            after = self._moved(pool, group, other)
            if self._change(after, 0) <= 0:
                self._settle(after)
                return True
        return False

    def _change(self, after: Mapping[PoolKey, Residents], most: float) -> float:
        """Micro-dollars an hour more than now; infinite where that is above the most, or somebody fits nowhere."""
        now = sum(self._now(pool)[0] or 0 for pool in after)
        if self._least(after) - now > most + 1:  # a sum of shares may be a little above what it stands for
            return inf
        change: float = -now
        expected: dict[PoolKey, int] = {}  # Karpenter's bill is no smaller, or hardly ever
        for pool, residents in after.items():
            packed = self._packed(pool, residents)
            if packed is None:
                return inf
            expected[pool] = packed
            change += packed
        for pool, residents in after.items():
            if change > most:
                return inf
            cost = self._cost(pool, residents)
            if cost is None:
                return inf
            change += cost - expected[pool]
        return change if change <= most else inf

    def _settle(self, after: Mapping[PoolKey, Residents]) -> None:
        for pool, residents in after.items():
            self._costs.pop(pool, None)
            if residents:
                self._pools[pool] = residents
            else:
                self._pools.pop(pool, None)

    def _stays(self, resident: Resident) -> bool:
        return self._classes[resident.number].splittable or resident.name in self._packings.wishes.kept

    def _mean(self) -> int | None:
        """Micro-dollars an hour of all pools as they are, on average; None where somebody fits nowhere."""
        found = [self._bills.best(pool, residents) for pool, residents in self._pools.items()]
        totals = [each.total for each in found if each is not None]
        return sum(totals) // len(self._bills.orders) if len(totals) == len(found) else None

    def _cost(self, pool: PoolKey, residents: Residents) -> int | None:
        """Micro-dollars an hour, as bills are compared, fee included; None where somebody fits nowhere."""
        if not residents:
            return 0
        found = self._bills.best(pool, residents)
        return None if found is None else found.weight + self._packings.wishes.fee

    def _packed(self, pool: PoolKey, residents: Residents) -> int | None:
        """What nodes cost that are packed by us, or filled as they are likely to be: whichever is cheaper."""
        if not residents:
            return 0
        found, likely = self._packings.pack(pool, load_of(residents)), self._likely(pool, residents)
        if found is None or likely is None:
            return None
        return min(found.price + self._packings.wishes.fee, likely)

    def _likely(self, pool: PoolKey, residents: Residents) -> int | None:
        """What Karpenter's nodes are likely to cost."""
        if not residents:
            return 0
        price = self._packings.likely(pool, load_of(residents))
        return None if price is None else price + self._packings.wishes.fee

    def _least(self, after: Mapping[PoolKey, Residents]) -> float:
        """What nodes cost at least: soonest known."""
        packings = self._packings
        return sum(
            packings.least(pool, load_of(residents)) + packings.wishes.fee
            for pool, residents in after.items()
            if residents
        )

    def _now(self, pool: PoolKey) -> tuple[int | None, int | None]:
        """What a pool costs and what its packing would, as it is."""
        if pool not in self._costs:
            residents = self._pools.get(pool, ())
            self._costs[pool] = self._cost(pool, residents), self._packed(pool, residents)
        return self._costs[pool]

    def _excess(self, pool: PoolKey) -> int:
        cost, packed = self._now(pool)
        return 0 if cost is None or packed is None else cost - packed

    def _empty_out(self, pool: PoolKey, clock: Clock) -> None:
        """Make the move away from a pool that saves most, by the model, of those that look best by first fit.

        Of those that there is time to look at.
        """
        ranked = []
        for at, after in enumerate(self._moves(pool)):
            if clock.over():
                break
            before = [self._now(pool_key)[0] for pool_key in after]
            if None in before or self._least(after) >= sum(number or 0 for number in before):
                continue
            likely = [self._likely(pool_key, residents) for pool_key, residents in after.items()]
            known = [each for each in likely if each is not None]
            if len(known) == len(likely):
                ranked.append((sum(known) - sum(number or 0 for number in before), at, after))
        best: float = 0
        chosen: dict[PoolKey, Residents] | None = None
        for promise, _, after in sorted(ranked, key=lambda move: move[:2])[:_TRIED]:
            if promise >= best or self._bills.simulated >= _MOST_SIMULATED:
                break
            change = self._change(after, best)
            if change < best:
                best, chosen = change, after
        self._settle(chosen or {})

    def _moves(self, pool: PoolKey) -> Iterator[dict[PoolKey, Residents]]:
        """What pools would be after a move: each workload of a pool, or all of them, to each other pool that fits."""
        here = self._pools[pool]
        movable = [each for each in here if not self._stays(each)]
        groups: list[Residents] = [(resident,) for resident in movable]
        if len(here) == len(movable) > 1:
            groups.append(here)
        for group in groups:
            for other in self._packings.pools_for(resident.number for resident in group):
                if other != pool:
                    yield self._moved(pool, group, other)

    def _moved(self, pool: PoolKey, group: Residents, other: PoolKey) -> dict[PoolKey, Residents]:
        """Both pools after some of one have gone to the other."""
        moved = tuple(Resident(each.name, each.number, ONLY_SLICE, each.replicas) for each in group)
        return {
            pool: tuple(each for each in self._pools[pool] if each not in group),
            other: self._together(self._pools.get(other, ()), moved),
        }

    def _together(self, one: Residents, other: Residents) -> Residents:
        return residents_of(
            (each.number, self._workloads[each.name], each.slice_index, each.replicas)
            for each in (*one, *other)
        )

    def result(self, second: Callable[[NodeOption], Iterable[NodeOption]]) -> CarriedOut:
        """The pools as they are now, with types to fall back to."""
        outcomes: dict[PoolKey, Outcome] = {}
        for pool, residents in self._pools.items():
            found = self._bills.best(pool, residents)
            if found is None:
                raise AssertionError(f"no node of a pool carries {residents[0].name}, which fits it")
            outcomes[pool] = with_fallback(pool, residents, found, bills=self._bills, second=second)
        spread = _spread(outcomes.values(), self._bills.orders)
        packing: Packing = Counter()
        homes: dict[ClassNumber, list[tuple[Workload, Home, int]]] = defaultdict(list)
        for pool, residents in self._pools.items():
            options = outcomes[pool].options
            if outcomes[pool].packed:
                packing.update(dict(outcomes[pool].packed))
            else:
                packing.update(self._bills.patterns(pool, residents, options, spread.typical))
            for resident in residents:
                homes[resident.number].append(
                    (self._workloads[resident.name], Home(pool, resident.slice_index), resident.replicas)
                )
        packed = [self._packings.pack(pool, load_of(residents)) for pool, residents in self._pools.items()]
        return CarriedOut(
            packing,
            {number: tuple(found) for number, found in sorted(homes.items())},
            {pool: outcome.options for pool, outcome in outcomes.items()},
            spread,
            sum(bool(outcome.packed) for outcome in outcomes.values()),
            missing_types(self._pools, outcomes, self._bills),
            None if None in packed else sum(each.price for each in packed if each is not None),
            self._at_first,
        )


def _looseness(pool: PoolKey) -> tuple[int, int]:
    """The more, the less neighbours are kept apart; then, the more there is to set up; then, the more they are."""
    kinds = (
        Mechanism.WHOLE,
        Mechanism.FRACTIONAL,
        Mechanism.MIG,
        Mechanism.MPS,
        Mechanism.TIME_SLICING,
    )
    return kinds.index(pool.cut.mechanism) + pool.cut.metered, pool.cut.slots_per_gpu


def _is_slower(resident: Resident, here: PoolKey, there: PoolKey) -> bool:
    """Whether somebody would run slower there, or nobody can say."""
    now = dict(here.cut.fits[resident.number])[resident.slice_index].slowdown
    then = dict(there.cut.fits[resident.number])[ONLY_SLICE].slowdown
    return now != then and (now is None or then is None or then > now)


def _spread(outcomes: Iterable[Outcome], orders: Sequence[Order]) -> Spread:
    listed = tuple(outcomes)
    bills = [
        (sum((outcome.bills[at] for outcome in listed), NOTHING), order) for at, order in enumerate(orders)
    ]
    return Spread(tuple(sorted(bills, key=lambda bill: (bill[0].price, bill[0].nodes))))
