"""Which loads of which nodes are worth more than the node costs, at given prices per replica: the pricing problem.

Each option has an upper bound for what one node of it can be worth: at the prices of its resources in an earlier round,
which costs next to nothing; at the best such prices, a small linear program; and by search, exact. Each is asked only
where the one before leaves it open. So the answer holds columns and, for every option, a proven most.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final

import numpy as np

from gpuslice.hardware.mechanisms import Mechanism
from gpuslice.planner import budget
from gpuslice.planner.loads.knapsack import Effort, alone, best_load
from gpuslice.planner.loads.mig import MigNode
from gpuslice.planner.loads.relaxation import RelaxedLoad, Tariff
from gpuslice.planner.model.patterns import FIRST_OTHER, Pattern, capacity, usage
from gpuslice.planner.model.places import numbers_of, pods_in_slots

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from gpuslice.planner.clock import Clock
    from gpuslice.planner.model.classes import WorkloadClass
    from gpuslice.planner.model.cuts import Cut
    from gpuslice.planner.model.options import NodeOption
    from gpuslice.planner.model.places import ClassNumber
    from gpuslice.planner.programs.arrays import Floats, Integers

    Booleans = NDArray[np.bool_]
    SizesOfCut = tuple[Integers, Integers]  # of the classes admitted, and their numbers

_LEAST_USD: Final = 1e-6  # of which a node's resources make up the price, where it is free
_COARSE: Final = Effort(resources=2, cells=8_000, width=200)
_FINE: Final = Effort(resources=3, cells=100_000, width=4_000)
# Time and memory of a GPU are dear and in small pieces: a finer table for two resources settles most of what is left.
_METERED: Final = Effort(resources=2, cells=50_000, width=4_000)
_FINEST: Final = (
    Effort(resources=3, cells=200_000, width=30_000),
    Effort(resources=2, cells=400_000, width=100_000),
)


class Patience(IntEnum):
    """How long to search a node."""

    LITTLE = 0  # loads are found soon, and the bound is of less use
    ENOUGH = 1  # hardly anything is left open
    ALL = 2  # for the few nodes where something is


# Of the resources in the order of `usage`, without pods: of these everybody is one.
_BESIDE_CPU_AND_MEMORY: Final = [0, 4, 5]
_FEW_KINDS: Final = 16
_PLENTY: Final = 600  # loads that are enough for one quick round
_WORTH_KNOWING: Final = 0.7  # of a node's price, for a load to begin with


@dataclass(frozen=True, slots=True)
class Priced:
    """The answer of one round.

    Attributes:
        patterns: with their values, most valuable against the node's price first.
        shares: for each class, at most 1. Prices per replica times these are dual feasible, which is what makes a
            bound of them: each is the least price / (most that one node can be worth) of all options that carry it.
    """

    patterns: tuple[tuple[float, Pattern], ...]
    shares: Floats


class Node:
    """One option's pricing problem.

    Attributes:
        option: the node to buy.
        members: numbers of the classes that it may carry, ascending; all that follows is in their order.
        sizes: what a replica of each takes, shape (members, resources), each resource in a unit of its own.
        capacity: of the node, shape (resources,), positive.
        alone: of each, so many go on a node that carries nothing else.
        most: of each, at most so many: also no more than there are.
        tariff: the prices of its resources when they were last asked for.
        mig: what MIG adds to it; None where its GPUs aren't cut so.
    """

    def __init__(
        self, option: NodeOption, classes: Sequence[WorkloadClass], sizes: Integers, demand: Integers
    ) -> None:
        """Lay out the problem.

        Args:
            option: the node to buy.
            classes: all of them.
            sizes: what a replica of each class that it may carry takes, shape (members, resources), the resources in
                the order of `capacity`.
            demand: replicas of each class, shape (all classes,).
        """
        self.option = option
        self.members = np.asarray(option.classes)
        have = np.asarray(capacity(option), dtype=np.int64)
        used = sizes.any(axis=0) & (have > 0)
        self.alone = alone(sizes[:, used], have[used])
        # What only one class takes of, its `alone` says it all; of the usual ones, prices are wanted too.
        used[FIRST_OTHER:] &= np.count_nonzero(sizes[:, FIRST_OTHER:], axis=0) > 1
        # In the largest units of which all sizes are multiples: what is over can't be used, and few cells then count
        # exactly.
        unit = np.gcd.reduce(sizes[:, used], axis=0)
        self.sizes, self.capacity = sizes[:, used] // unit, np.maximum(have[used] // unit, 1)
        self.most = np.minimum(self.alone, demand[self.members])
        self.tariff: Tariff | None = None
        usual = (_COARSE, _METERED, _FINE) if option.cut.metered else (_COARSE, _FINE)
        self._efforts = {
            Patience.LITTLE: (Effort(resources=2, cells=2_000, width=30),),
            Patience.ENOUGH: usual,
            Patience.ALL: (*usual, *_FINEST),
        }
        self._relaxed = RelaxedLoad(self.sizes, self.capacity, self.most, max(option.usd, _LEAST_USD))
        self.mig = MigNode(option, classes) if option.cut.mechanism is Mechanism.MIG else None

    def limit(self, demand: Integers) -> None:
        """From now on, at most so many replicas of each class, shape (all classes,)."""
        most = np.minimum(self.alone, demand[self.members])
        if (most != self.most).any():
            self.most = most
            self._relaxed.limit(most)

    def bound(self, values: Floats, enough: float, clock: Clock) -> tuple[float, Tariff]:
        """What no load is worth more than, by relaxation, and the prices of the node's resources that say so.

        The tightest, unless a quick one is no more than `enough`.

        Args:
            values: of a replica of each class, shape (all classes,).
            enough: dollars per hour.
            clock: that the work is told to.
        """
        here = values[self.members]
        tariff = self._relaxed.quick_tariff(here)
        clock.spend(budget.QUICK_TARIFF)
        bound = tariff.most(here, self.most)
        if bound > enough:
            clock.spend(budget.TARIFF)
            if self.mig is not None:
                tariff = self.mig.tariff(here, self.most.astype(np.float64))
            else:
                tariff = self._relaxed.tariff(here)
            bound = tariff.most(here, self.most)
        self.tariff = tariff
        return bound, tariff

    def best(
        self, values: Floats, threshold: float, patience: Patience, clock: Clock
    ) -> tuple[float, list[tuple[float, Pattern]]]:
        """Proven bound of what a load is worth, and good loads worth more than the threshold, with that, best first.

        Args:
            values: of a replica of each class, dollars an hour, shape (all classes,).
            threshold: dollars an hour.
            patience: with the search.
            clock: that the work is told to.
        """
        if self.mig is not None:
            clock.spend(self.mig.work)
            wanted = np.zeros(len(values), dtype=np.int64)
            wanted[self.members] = self.most
            value, bound, pattern = self.mig.price(values, wanted.tolist(), threshold=threshold)
            return bound, [(value, pattern)] if pattern else []
        here = values[self.members]
        prices = (self.tariff or self._relaxed.tariff(here)).prices
        load = best_load(
            here,
            self.sizes,
            self.capacity,
            self.most,
            prices,
            threshold=threshold,
            efforts=self._efforts[patience],
        )
        clock.spend(load.work)
        loads = [(load.value, load.counts), *load.others] if load.counts else []
        return load.bound, [
            (
                value,
                Pattern(
                    self.option, pods_in_slots({self.option.classes[item]: count for item, count in counts})
                ),
            )
            for value, counts in loads
        ]


class Pricing:
    """The pricing problems of all options, with what one round teaches the next."""

    def __init__(self, options: Sequence[NodeOption], classes: Sequence[WorkloadClass]) -> None:
        """Lay out the problems; no option has a tariff yet."""
        self._classes = classes
        self._demand = np.asarray([a_class.replicas for a_class in classes], dtype=np.int64)
        by_cut: dict[int, SizesOfCut] = {}
        self._nodes = [
            Node(option, classes, _sizes(option, classes, by_cut), self._demand) for option in options
        ]
        self._cuts = list(by_cut.values())
        self._usd = np.asarray([option.usd for option in options], dtype=np.float64)
        # All options' members one after the other: of thousands of classes most options admit a few hundred.
        self._first = np.cumsum([0, *(len(node.members) for node in self._nodes)])
        self._members = _joined([node.members for node in self._nodes])
        self._alone = _joined([node.most for node in self._nodes])
        # The tariffs as arrays, with the members' prices in the same order.
        self._node_price = np.full(len(options), np.inf)
        self._replica_price = np.full(len(self._members), np.inf)

    def node(self, row: int) -> Node:
        """The pricing problem of an option."""
        return self._nodes[row]

    def nodes(self, demand: Integers) -> list[Node]:
        """The pricing problems of all options, with so many replicas of each class to place."""
        for node in self._nodes:
            node.limit(demand)
        return self._nodes

    def plainest(self, pattern: Pattern) -> Pattern:
        """A pattern with its MIG instances as like as can be."""
        mig = next(node.mig for node in self._nodes if node.option is pattern.option)
        return pattern if mig is None else mig.plainest(pattern)

    def usd(self, row: int) -> float:
        """What a node of an option costs."""
        return float(self._usd[row])

    def reprice(self, usd: Floats) -> None:
        """From now on, nodes of the options cost so much, shape (options,), positive: their own price and tolls."""
        self._usd = usd

    def least_shares(self) -> tuple[Floats, Integers]:
        """For each class, the least that a replica costs if nodes were filled to the brim, and the row of the option.

        Dollars per hour.
        """
        least = np.full(len(self._classes), np.inf)
        rows = np.zeros(len(self._classes), dtype=np.int64)
        for row, node in enumerate(self._nodes):
            share = (node.sizes / node.capacity).max(axis=1)
            # In whole pieces: of what takes more than half of a node, only one goes in.
            whole = np.divide(1.0, node.most, out=np.full(len(share), np.inf), where=node.most > 0)
            cost = self._usd[row] * np.where(self._demand[node.members] <= node.most, share, whole)
            rows[node.members] = np.where(cost < least[node.members], row, rows[node.members])
            least[node.members] = np.minimum(least[node.members], cost)
        return least, rows

    def even_shares(self) -> Floats:
        """For each class, what a replica costs where each resource of a node makes up an equal part of its price.

        Dollars per hour, of the option where that is least: at these no load is worth more than its node.
        """
        least = np.full(len(self._classes), np.inf)
        for row, node in enumerate(self._nodes):
            share = (node.sizes / node.capacity).mean(axis=1)
            least[node.members] = np.minimum(least[node.members], self._usd[row] * share)
        return least

    def easier(self) -> Booleans:
        """Whether a replica of the first class goes wherever one of the second goes; shape (classes, classes)."""
        count = len(self._classes)
        admits = np.zeros((len(self._cuts), count), dtype=np.float32)
        for row, (_, admitted) in enumerate(self._cuts):
            admits[row, admitted] = 1.0
        both = admits.T @ admits  # cuts that admit the two of them
        easier: Booleans = np.equal(both, both.diagonal())
        cpu = np.asarray([a_class.cpu_milli for a_class in self._classes])
        memory = np.asarray([a_class.memory_mib for a_class in self._classes])
        easier &= (cpu[:, None] <= cpu) & (memory[:, None] <= memory)
        for sizes, admitted in self._cuts:
            if len(admitted) == 1:
                continue
            # Of the rest, most cuts take the same of everybody, and the others know few sizes or admit few classes.
            beside = [*_BESIDE_CPU_AND_MEMORY, *range(FIRST_OTHER, sizes.shape[1])]
            kinds, kind = np.unique(sizes[:, beside], axis=0, return_inverse=True)
            if len(kinds) == 1:
                continue
            fits: Booleans = np.all(kinds[:, None, :] <= kinds[None, :, :], axis=2)
            if len(kinds) <= _FEW_KINDS:
                for first, second in np.argwhere(~fits):
                    easier[np.ix_(admitted[kind == first], admitted[kind == second])] = False
            else:
                easier[np.ix_(admitted, admitted)] &= fits[np.ix_(kind, kind)]
        arch = np.asarray([a_class.arch for a_class in self._classes])
        spot = np.asarray([a_class.interruptible for a_class in self._classes])
        easier &= (arch[:, None] == arch[None, :]) & (spot[:, None] >= spot[None, :])
        # Who requires nothing of a node goes wherever others go; of the rest, no more is known than who is alike.
        kinds_of_nodes = {
            requires: at
            for at, requires in enumerate(
                dict.fromkeys([(), *(a_class.requires for a_class in self._classes)])
            )
        }
        enters = np.asarray([kinds_of_nodes[a_class.requires] for a_class in self._classes])
        easier &= (enters[:, None] == 0) | (enters[:, None] == enters[None, :])
        np.fill_diagonal(easier, val=False)
        return easier

    def solve(
        self,
        values: Floats,
        demand: Floats,
        *,
        tolerance: float,
        patience: Patience,
        clock: Clock,
    ) -> Priced:
        """Price all options; where time runs out before that is done, the answer is that nothing is found or proven.

        Args:
            values: what a replica of each class is worth, dollars, not negative.
            demand: replicas of each class, at most all of them: no load has more.
            tolerance: loads worth less than the node's price x (1 + tolerance) don't interest, and cost the bound as
                much.
            patience: with each search.
            clock: work left.
        """
        factor = 1.0 + tolerance
        listed: list[tuple[float, float, Pattern]] = []
        shares = np.full(len(values), 1.0 / factor)
        nothing = Priced((), np.zeros(len(values)))
        for row, bound in self.relaxed(values, demand, tolerance=tolerance, clock=clock):
            if clock.over():
                return nothing
            node, most = self._nodes[row], bound
            if patience > Patience.LITTLE or len(listed) < _PLENTY:
                proven, loads = node.best(values, self._usd[row] * factor, patience, clock)
                most = min(most, proven)
                listed += [(self._usd[row] / value, value, pattern) for value, pattern in loads]
            shares[node.members] = np.minimum(shares[node.members], self._usd[row] / most)
        if clock.over():  # perhaps before all options were asked
            return nothing
        listed.sort(key=lambda load: load[0])
        return Priced(tuple((value, pattern) for _, value, pattern in listed), shares)

    def loads(self, rows: Sequence[int], values: Floats, clock: Clock) -> list[Pattern]:
        """Good loads of the options in these rows, whether or not they are worth their price, while there is time."""
        patterns = []
        for row in rows:
            if clock.over():
                break
            node = self._nodes[row]
            node.limit(self._demand)
            node.bound(values, 0.0, clock)
            _, loads = node.best(values, _WORTH_KNOWING * self._usd[row], Patience.LITTLE, clock)
            patterns += [pattern for _, pattern in loads]
        return patterns

    def relaxed(
        self,
        values: Floats,
        demand: Floats,
        *,
        tolerance: float,
        clock: Clock,
        most: int | None = None,
    ) -> list[tuple[int, float]]:
        """Options that may be worth more than their price x (1 + tolerance), with their relaxed bounds.

        The most promising first. Not all of them, if no time remains after.

        Args:
            values: what a replica of each class is worth, dollars, not negative.
            demand: replicas of each class, at most all of them.
            tolerance: by which share of its price a node may be worth more.
            most: after so many, don't look for more.
            clock: work left.
        """
        wanted = np.rint(demand).astype(np.int64)
        gains = np.maximum(values[self._members] - self._replica_price, 0.0)
        worth = np.add.reduceat(gains * np.minimum(self._alone, wanted[self._members]), self._first[:-1])
        enough = self._usd * (1.0 + tolerance)
        rows: list[tuple[int, float]] = []
        for row in np.flatnonzero(self._node_price + worth > enough).tolist():
            if clock.over():
                break
            node = self._nodes[row]
            node.limit(wanted)
            bound, tariff = node.bound(values, enough[row], clock)
            self._node_price[row] = tariff.node
            self._replica_price[self._first[row] : self._first[row + 1]] = tariff.replica
            if bound > enough[row]:
                rows.append((row, bound))
                if len(rows) == most:
                    break
        return sorted(rows, key=lambda priced: -priced[1] / self._usd[priced[0]])

    def feasible(self, values: Floats, bounds: Sequence[tuple[int, float]], *, tolerance: float) -> Floats:
        """The values, less where an option may be worth more than its price: at these, no node is."""
        shares = np.full(len(values), 1.0 / (1.0 + tolerance))
        for row, bound in bounds:
            node = self._nodes[row]
            shares[node.members] = np.minimum(shares[node.members], self._usd[row] / bound)
        feasible: Floats = values * shares
        return feasible

    def cheapest_alone(self, a_class: int, among: Booleans) -> list[tuple[NodeOption, ClassNumber]]:
        """For each class, the options on which a replica is cheapest where it has the node for itself.

        Args:
            a_class: how many options a class, by price per replica and by price for all replicas.
            among: which options, shape (options,).
        """
        rows = np.repeat(np.arange(len(self._nodes)), np.diff(self._first))
        can = np.flatnonzero((self._alone > 0) & among[rows])
        can = can[np.argsort(self._members[can], kind="stable")]
        rows, members, alone = rows[can], self._members[can], self._alone[can]
        by_replica = self._usd[rows] / alone
        by_fleet = self._usd[rows] * np.ceil(self._demand[members] / alone)
        ends = np.searchsorted(members, np.arange(len(self._classes) + 1))
        cheapest_options = []
        for number in numbers_of(self._classes):
            here = slice(ends[number], ends[number + 1])
            for costs in (by_replica[here], by_fleet[here]):
                cheapest = rows[here][np.argsort(costs, kind="stable")[:a_class]]
                cheapest_options += [(self._nodes[row].option, number) for row in cheapest]
        return cheapest_options


def _joined(arrays: Sequence[Integers]) -> Integers:
    return np.concatenate([np.empty(0, dtype=np.int64), *arrays])


def _sizes(option: NodeOption, classes: Sequence[WorkloadClass], by_cut: dict[int, SizesOfCut]) -> Integers:
    """What a replica of each of the option's classes takes, shape (classes, resources): the cut alone decides."""
    cut: Cut = option.cut
    if id(cut) not in by_cut:
        admitted = sorted(cut.admitted())
        by_cut[id(cut)] = (
            np.asarray([usage(number, option, classes) for number in admitted], dtype=np.int64),
            np.asarray(admitted),
        )
    sizes, numbers = by_cut[id(cut)]
    here: Integers = sizes[np.searchsorted(numbers, np.asarray(option.classes))]
    return here
