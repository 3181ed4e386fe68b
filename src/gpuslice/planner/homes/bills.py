"""What Karpenter makes of one pool: the instance types with which its load comes cheapest, and the bills it leads to.

A pool that lists larger types gets them for batches of pods, so fewer types are often cheaper: single types are tried
first, then pairs with a cheaper one. What can't be cheaper than the best known is never asked of the model.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Final

from gpuslice.carriers.carrier import Share, amounts
from gpuslice.hardware.mechanisms import Mechanism
from gpuslice.karpenter.model import CPU, MEMORY, PODS
from gpuslice.launches.bill import Bill, Launched, Order, Realiser
from gpuslice.launches.pools import PodAsk, PoolOffer, pod_ask
from gpuslice.plan import artefact
from gpuslice.planner import budget
from gpuslice.planner.model.layouts import layout_of
from gpuslice.planner.model.patterns import Pattern
from gpuslice.planner.model.places import Place, pods_at

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gpuslice.cloud.catalog import DaemonsetOverhead
    from gpuslice.planner.clock import Clock
    from gpuslice.planner.homes.packing import PoolPacking
    from gpuslice.planner.homes.residence import Occupancy, Resident, Residents
    from gpuslice.planner.model.classes import WorkloadClass
    from gpuslice.planner.model.options import NodeOption
    from gpuslice.planner.model.places import Load
    from gpuslice.planner.model.pools import PoolKey


_MOST_LOOKS: Final = 100_000
"""Pods times nodes of one pool, above which the model isn't asked: one order would take the better part of a second."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a pool comes to.

    Attributes:
        options: nodes that it may have, cheapest first.
        bills: by order of arrival, as the orders are given.
        packed: where the model wasn't asked, for want of time or because there are too many pods: the nodes of our own
            packing, and their price in all bills.
    """

    options: tuple[NodeOption, ...]
    bills: tuple[Bill, ...]
    packed: tuple[tuple[Pattern, int], ...] = ()

    @property
    def weight(self) -> int:
        """By which outcomes are compared: halfway between the mean and the worst bill, micro-dollars an hour.

        Orders tried are a sample. Where they differ much, others are likely to be worse still, so a pool that comes to
        the same in every order is worth a little more than one that is as cheap on average.
        """
        return _weight(self.total, len(self.bills), self.worst)

    @property
    def total(self) -> int:
        """Micro-dollars an hour, summed over the orders."""
        return sum(bill.price for bill in self.bills)

    @property
    def worst(self) -> int:
        """Micro-dollars an hour in the unluckiest order."""
        return max(bill.price for bill in self.bills)


class PoolBills:
    """Asks the model of Karpenter for the cheapest types of pools, and remembers."""

    def __init__(
        self,
        classes: Sequence[WorkloadClass],
        overhead: DaemonsetOverhead,
        orders: Sequence[Order],
        *,
        packings: PoolPacking,
        clock: Clock,
    ) -> None:
        """Keep what all pools share.

        Args:
            classes: that pools carry.
            overhead: of daemonsets, on each node.
            orders: of arrival, over which bills are summed.
            packings: the nodes of pools, also where the model can't be asked.
            clock: work left.
        """
        self._packings = packings
        self._clock = clock
        self.orders = tuple(orders)
        self.simulated = 0
        """Pods that the model has let arrive so far: what the search has cost."""
        self._classes = classes
        self._overhead = overhead
        self._realiser = Realiser(overhead)
        self._offers: dict[tuple[PoolKey, tuple[NodeOption, ...]], PoolOffer] = {}
        self._known: dict[tuple[PoolKey, Residents], Outcome | None] = {}

    def best(self, pool: PoolKey, occupancy: Occupancy) -> Outcome | None:
        """The types with which a pool comes cheapest over all orders; None where some replica fits none of them."""
        residents = occupancy.residents
        key = (pool, residents)
        if key not in self._known:
            packed = self._packed(pool, occupancy.load)
            outcome = packed
            if packed is None or (self.has_time() and not self._too_many(packed)):
                outcome = self._chosen(pool, residents)
            # Time may have run out before even one choice of types was priced.
            self._known[key] = outcome or (None if self.has_time() else packed)
        return self._known[key]

    def _packed(self, pool: PoolKey, load: Load) -> Outcome | None:
        """The outcome by our own packing."""
        packed = self._packings.pack(pool, load)
        if packed is None:
            return None
        options = dict.fromkeys(pattern.option for pattern, _ in packed.nodes)
        kinds: Counter[tuple[str, str, str]] = Counter()
        for pattern, count in packed.nodes:
            kinds["pool", pattern.option.instance_type.name, pattern.option.purchase.value] += count
        return Outcome(
            tuple(sorted(options, key=lambda option: (option.price, option.instance_type.name))),
            (Bill(packed.price, tuple(sorted(kinds.items())), 0),) * len(self.orders),
            packed.nodes,
        )

    @staticmethod
    def _too_many(packed: Outcome) -> bool:
        """Whether binding the pods takes too long: each looks at each node."""
        pods = sum(count * nodes for pattern, nodes in packed.packed for _, _, count in pattern.pods)
        return pods * sum(nodes for _, nodes in packed.packed) > _MOST_LOOKS

    def patterns(
        self, pool: PoolKey, residents: Residents, options: tuple[NodeOption, ...], order: Order
    ) -> tuple[Pattern, ...]:
        """The nodes that Karpenter launches in one order of arrival, one by one."""
        asks = {self._ask(pool, resident): resident for resident in residents}
        load = tuple((ask, resident.replicas) for ask, resident in asks.items())
        launched = self._realiser.nodes(self._offer(pool, options), load, order)
        return tuple(_pattern(pool, options, node, asks) for node in launched)

    def has_time(self) -> bool:
        """Whether the model may still be asked."""
        return not self._clock.over()

    def tried(
        self,
        pool: PoolKey,
        residents: Residents,
        options: tuple[NodeOption, ...],
        *,
        below: float = inf,
    ) -> Outcome | None:
        """What a pool comes to with just these types.

        None where replicas are left over, where that is seen not to be below so much, or where there is no more time.
        """
        return self._tried(pool, residents, options, 0, below)

    def _chosen(self, pool: PoolKey, residents: Residents) -> Outcome | None:
        numbers = {resident.number for resident in residents}
        useful = [
            option for option in self._packings.options_of(pool) if not numbers.isdisjoint(option.classes)
        ]
        alone = [(option,) for option in useful if numbers.issubset(option.classes)]
        best = self._best_of(pool, residents, alone, None)
        # Smaller types beside the best one take what is left over; without a best one, pairs are all there is.
        if best is None:
            pairs = [(one, other) for at, one in enumerate(useful) for other in useful[at + 1 :]]
        else:
            (main,) = best.options
            pairs = [(option, main) for option in useful if option.price < main.price]
        fitting = [pair for pair in pairs if all(any(option.admits(n) for option in pair) for n in numbers)]
        best = self._best_of(pool, residents, fitting, best)
        return best if best is not None else self.tried(pool, residents, tuple(useful))

    def _best_of(
        self,
        pool: PoolKey,
        residents: Residents,
        choices: Iterable[tuple[NodeOption, ...]],
        best: Outcome | None,
    ) -> Outcome | None:
        bounded = sorted(
            ((self._least(pool, residents, types), at, types) for at, types in enumerate(choices)),
            key=lambda entry: entry[:2],
        )
        for least, _, options in bounded:
            if best is not None and least >= best.weight:
                break
            outcome = self._tried(pool, residents, options, least, inf if best is None else best.weight)
            if outcome is not None and (best is None or outcome.weight < best.weight):
                best = outcome
        return best

    def _tried(
        self,
        pool: PoolKey,
        residents: Residents,
        options: tuple[NodeOption, ...],
        least: int,
        below: float,
    ) -> Outcome | None:
        """The outcome, unless it turns out on the way that its weight can't be below that, or time runs out."""
        offer = self._offer(pool, options)
        load = tuple((self._ask(pool, resident), resident.replicas) for resident in residents)
        bills: list[Bill] = []
        so_far = worst = 0
        for at, order in enumerate(self.orders):
            if not self.has_time():
                return None
            bill = self._realiser.bill(offer, load, order)
            pods = sum(resident.replicas for resident in residents)
            self.simulated += pods
            nodes = sum(count for _, count in bill.nodes)
            self._clock.spend(budget.ROLLOUT + (budget.ARRIVAL + budget.BINDING * nodes) * pods)
            so_far, worst = so_far + bill.price, max(worst, bill.price)
            at_least = so_far + least * (len(self.orders) - at - 1)
            if bill.unbound or _weight(at_least, len(self.orders), worst) >= below:
                return None
            bills.append(bill)
        return Outcome(options, tuple(bills))

    def _least(self, pool: PoolKey, residents: Residents, options: tuple[NodeOption, ...]) -> int:
        """Micro-dollars an hour below which no nodes of these carry the load: the resource that asks for most."""
        totals: dict[str, int] = defaultdict(int)
        for resident in residents:
            ask = self._ask(pool, resident)
            for key, amount in ((CPU, ask.cpu_milli), (MEMORY, ask.memory_mib), (PODS, 1), *ask.slices):
                totals[key] += amount * resident.replicas
        rooms = [
            {CPU: option.cpu_milli, MEMORY: option.memory_mib, PODS: option.pods} | promised
            for option, promised in zip(options, self._promised(pool, options), strict=True)
        ]
        least = 0
        for key, total in totals.items():
            having = [(option.price, room.get(key, 0)) for option, room in zip(options, rooms, strict=True)]
            if len(options) == 1:
                ((price, have),) = having
                amount = -(-total // max(have, 1)) * price
            else:
                amount = min((total * price // have for price, have in having if have), default=0)
            least = max(least, amount)
        return least

    def _promised(self, pool: PoolKey, options: tuple[NodeOption, ...]) -> list[dict[str, int]]:
        return [dict(promised) for _, promised in self._offer(pool, options).machines]

    def _offer(self, pool: PoolKey, options: tuple[NodeOption, ...]) -> PoolOffer:
        key = (pool, options)
        if key not in self._offers:
            planned = artefact.Pool(
                "pool", layout_of(pool.cut, pool.geometries), (), (), (), pool.cut.carrier.name
            )
            self._offers[key] = PoolOffer(
                planned.name,
                tuple(
                    (
                        option.instance_type,
                        {
                            **pool.cut.carrier.offers(planned, option.instance_type).amounts,
                            **{name: have for name, have in option.others if have},
                        },
                    )
                    for option in {option.instance_type.name: option for option in options}.values()
                ),
                frozenset(option.purchase for option in options),
            )
        return self._offers[key]

    def _ask(self, pool: PoolKey, resident: Resident) -> PodAsk:
        """What one replica asks for, as `launches.pools.loads_of` reads it from the plan."""
        a_class = self._classes[resident.number]
        slice_ = pool.cut.slices[resident.slice_index]
        carrier, share = pool.cut.carrier, None
        if pool.cut.metered:
            ((_, answer),) = pool.cut.fits[resident.number]
            share = Share(a_class.need.memory_mib or 0, max(answer.time_milli or 0, 1))
        asks = carrier.asks(carrier.ask(slice_), a_class.need.gpus, share)
        slices = amounts(carrier.requests(asks))
        return pod_ask(resident.name, a_class.cpu_milli, a_class.memory_mib, slices, a_class.takes)


def homeless(residents: Residents, options: Iterable[NodeOption]) -> int:
    """How many replicas none of these nodes can carry."""
    carried = {number for option in options for number in option.classes}
    return sum(resident.replicas for resident in residents if resident.number not in carried)


def _weight(total: int, orders: int, worst: int) -> int:
    return (total // orders + worst) // 2


def _pattern(
    pool: PoolKey, options: Sequence[NodeOption], node: Launched, asks: dict[PodAsk, Resident]
) -> Pattern:
    option = next(
        option
        for option in options
        if option.instance_type.name == node.instance_type and option.purchase is node.purchase
    )
    counts: dict[Place, int] = defaultdict(int)
    for ask, count in node.pods:
        counts[Place(asks[ask].number, asks[ask].slice_index)] += count
    geometries = pool.geometries
    if option.cut.mechanism is Mechanism.MIG and len(geometries) == 1:
        geometries = geometries * option.units
    return Pattern(option, pods_at(counts), geometries)
