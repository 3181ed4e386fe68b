"""How many replicas of which kind serve each service: chosen together with the nodes for everybody, by integers.

A program over the node options, in the large: only the sums over all nodes of an option have to keep within what these
nodes have, so many slots, so much CPU, and with MIG so many instances under whole numbers of geometries. Every plan
keeps to that, so that over all options it proves a bound for every plan, whatever its services run on. For small fleets
it often finds the packing too; for others, which pods share a node is left to what follows.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gpuslice.hardware.mechanisms import Mechanism
from gpuslice.planner import budget
from gpuslice.planner.loads.mig import MigNode
from gpuslice.planner.model.patterns import Pattern, capacity, usage
from gpuslice.planner.model.places import numbers_of, pods_in_slots
from gpuslice.planner.programs.highs import INFINITY, Column, Ended, Stop, solve_mixed
from gpuslice.workloads.service_kinds import exactly

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from gpuslice.planner.clock import Clock
    from gpuslice.planner.model.classes import WorkloadClass
    from gpuslice.planner.model.cuts import GpuGeometry
    from gpuslice.planner.model.options import NodeOption
    from gpuslice.planner.model.packing import Packing
    from gpuslice.planner.model.places import ClassNumber
    from gpuslice.workloads.model import Service
    from gpuslice.workloads.service_kinds import Kind

_NODES: Final = 5_000  # of branch and bound: the same on every machine, unlike seconds
_MOST_NODES: Final = 2_000  # to be filled one by one
_COARSE: Final = 1.1  # a class of which only whole pieces fit wastes so much of a node that it is worth a row


@dataclass(frozen=True, slots=True)
class Sizing:
    """What the program came to.

    Attributes:
        replicas: of each kind; enough for every service.
        bound: proven: no plan costs less, dollars per hour.
        packing: nodes that carry exactly this, over the program's classes; None where the sums can't be kept node by
            node, or not found.
    """

    replicas: Mapping[Kind, int]
    bound: float
    packing: Packing | None


@dataclass(frozen=True, slots=True)
class Supply:
    """A class as the program sees it.

    Attributes:
        fixed: replicas of workloads that state how many.
        kinds: of services, whose replicas are of this class.
    """

    fixed: int
    kinds: tuple[Kind, ...]


def size(
    services: Mapping[str, Service],
    supplies: Sequence[Supply],
    options: Sequence[NodeOption],
    classes: Sequence[WorkloadClass],
    *,
    one_kind: bool,
    gap: float,
    clock: Clock,
) -> Sizing | None:
    """Choose kinds and replicas over the node options; None where time ended the search with nothing.

    Args:
        services: by name; each has a kind in some class.
        supplies: by class number, who needs replicas of it.
        options: at least one for every class.
        classes: to place.
        one_kind: whether all replicas of a service are of one kind, as one pod template has it.
        gap: relative, at which to stop.
        clock: whose wall is a net below.
    """
    program = _Program(services, supplies, options, classes, one_kind=one_kind)
    answer = program.solve(gap=gap, clock=clock)
    if answer is None:
        return None
    values, bound = answer
    chosen = _enough(services, program.chosen(values))
    wanted = [supply.fixed + sum(chosen[kind] for kind in supply.kinds) for supply in supplies]
    return Sizing(chosen, max(bound, 0.0), program.packing(values, wanted))


class _Program:
    """Its columns and rows, and what they stand for."""

    def __init__(
        self,
        services: Mapping[str, Service],
        supplies: Sequence[Supply],
        options: Sequence[NodeOption],
        classes: Sequence[WorkloadClass],
        *,
        one_kind: bool,
    ) -> None:
        self._columns: list[Column] = []
        self._lower: list[float] = []
        self._upper: list[float] = []
        self._classes = classes
        self._kinds: dict[Kind, tuple[int, int]] = {}  # column, and how many replicas one of it stands for
        self._nodes: dict[NodeOption, int] = {}
        self._loads: dict[NodeOption, dict[ClassNumber, int]] = {}  # column of each class's replicas
        self._cuts: dict[NodeOption, tuple[MigNode, list[tuple[GpuGeometry, int]]]] = {}
        self._supply = [self._row(float(supply.fixed), INFINITY) for supply in supplies]
        covers = {name: self._row(1.0, INFINITY) for name in services}
        for number, supply in enumerate(supplies):
            for kind in supply.kinds:
                share = float(kind.throughput / exactly(services[kind.service].rate))
                self._demand(kind, self._supply[number], (covers[kind.service], share), one_kind=one_kind)
        chosen = {number for number, supply in enumerate(supplies) if supply.kinds}
        for option in options:
            self._option(option, chosen)

    def solve(self, *, gap: float, clock: Clock) -> tuple[list[float], float] | None:
        """Values of the columns, and the bound proven; None where no values were found."""
        answer = solve_mixed(
            self._columns,
            self._lower,
            self._upper,
            Stop(gap, _NODES, budget.CHECKS_OF_SERVICES, clock.on_the_wall),
        )
        if answer.ended is Ended.TIME:
            clock.stop()
        # Nothing is bought for less than nothing.
        return None if answer.point is None else (answer.point.values.tolist(), max(answer.bound or 0.0, 0.0))

    def chosen(self, values: Sequence[float]) -> dict[Kind, int]:
        """Replicas of each kind."""
        return {kind: round(values[at]) * scale for kind, (at, scale) in self._kinds.items()}

    def _row(self, lower: float, upper: float) -> int:
        self._lower.append(lower)
        self._upper.append(upper)
        return len(self._lower) - 1

    def _column(
        self,
        cost: float,
        entries: Iterable[tuple[int, float]],
        upper: float = INFINITY,
        *,
        integer: bool = True,
    ) -> int:
        ordered = sorted((row, value) for row, value in entries if value)
        self._columns.append(
            Column(
                cost, tuple(row for row, _ in ordered), tuple(value for _, value in ordered), upper, integer
            )
        )
        return len(self._columns) - 1

    def _demand(self, kind: Kind, supply: int, cover: tuple[int, float], *, one_kind: bool) -> None:
        if one_kind:  # all replicas that the demand takes, or none
            column = self._column(0.0, ((supply, -float(kind.replicas)), (cover[0], 1.0)), 1.0)
        else:
            column = self._column(0.0, ((supply, -1.0), cover), float(kind.replicas))
        self._kinds[kind] = column, kind.replicas if one_kind else 1

    def _option(self, option: NodeOption, chosen: set[int]) -> None:
        """Nodes of an option, what they carry, and rows that hold the two together."""
        have = [float(number) for number in capacity(option)]
        rows = [self._row(-INFINITY, 0.0) for _ in have]
        nodes: list[tuple[int, float]] = [(row, -most) for row, most in zip(rows, have, strict=True)]
        levels: list[int] = []
        if option.cut.mechanism is Mechanism.MIG:
            mig = MigNode(option, self._classes)
            levels = [self._row(-INFINITY, 0.0) for _ in mig.reached[0]]
            gpus = self._row(0.0, 0.0)
            geometries = [
                (
                    geometry,
                    self._column(
                        0.0, [(gpus, 1.0), *zip(levels, (-float(number) for number in reach), strict=True)]
                    ),
                )
                for geometry, reach in zip(mig.geometries, mig.reached, strict=True)
            ]
            self._cuts[option] = mig, geometries
            nodes.append((gpus, -float(option.units)))
        loads = {}
        for number in option.classes:
            use = usage(number, option, self._classes)
            alone = min(int(most // need) for most, need in zip(have, use, strict=True) if need)
            entries = [(self._supply[number], 1.0), *zip(rows, map(float, use), strict=True)]
            if levels:
                entries += [(row, 1.0) for row in levels[: self._cuts[option][0].level(number) + 1]]
            if (
                max(number / most for most, number in zip(have, use, strict=True) if most) * alone * _COARSE
                < 1
            ):
                whole = self._row(-INFINITY, 0.0)
                entries.append((whole, 1.0))
                nodes.append((whole, -float(alone)))
            loads[number] = self._column(0.0, entries, integer=number in chosen)
        self._nodes[option] = self._column(option.usd, nodes)
        self._loads[option] = loads

    def packing(self, values: Sequence[float], wanted: Sequence[int]) -> Packing | None:
        """The program's nodes, filled one by one with no more than is wanted."""
        nodes_filled: Packing = Counter()
        if sum(values[column] for column in self._nodes.values()) > _MOST_NODES:
            return None
        left = list(wanted)
        for option, column in self._nodes.items():
            nodes = round(values[column])
            if not nodes:
                continue
            load = {}
            for number, at in self._loads[option].items():
                load[number] = min(round(values[at] + 0.499), left[number])
                left[number] -= load[number]
            geometries: list[GpuGeometry] = []
            for geometry, at in self._cuts[option][1] if option in self._cuts else ():
                geometries += [geometry] * round(values[at])
            for pattern in self._filled(option, nodes, load, geometries):
                nodes_filled[pattern] += 1
            for number, rest in load.items():
                left[number] += rest
        return None if any(left) else nodes_filled

    def _filled(
        self, option: NodeOption, nodes: int, load: dict[ClassNumber, int], geometries: list[GpuGeometry]
    ) -> Iterable[Pattern]:
        """Nodes with as much of the load as goes in, the largest first; what doesn't stays in `load`."""
        mig = self._cuts[option][0] if option in self._cuts else None
        for _ in range(nodes):
            mine, geometries = tuple(sorted(geometries[: option.units])), geometries[option.units :]
            room = list(capacity(option))
            reach = [0] * len(mig.reached[0]) if mig is not None else []
            for geometry in mine if mig is not None else ():
                reached = mig.reached[mig.geometries.index(geometry)] if mig is not None else ()
                reach = [a + b for a, b in zip(reach, reached, strict=True)]
            counts: dict[ClassNumber, int] = {}
            for number in sorted(load, key=lambda member: self._size(option, mig, member), reverse=True):
                use = usage(number, option, self._classes)
                most = [load[number], *(have // need for have, need in zip(room, use, strict=True) if need)]
                if mig is not None:
                    most.append(min(reach[: mig.level(number) + 1]))
                count = min(most)
                if count:
                    counts[number] = count
                    load[number] -= count
                    room = [have - number * count for have, number in zip(room, use, strict=True)]
                    for level in range(mig.level(number) + 1 if mig is not None else 0):
                        reach[level] -= count
            if counts and mig is not None:
                yield mig.filled(counts, mine)
            elif counts:
                yield Pattern(option, pods_in_slots(counts))

    def _size(self, option: NodeOption, mig: MigNode | None, number: ClassNumber) -> tuple[float, ...]:
        shares = [
            amount / most
            for amount, most in zip(usage(number, option, self._classes), capacity(option), strict=True)
            if most
        ]
        return mig.level(number) if mig is not None else 0, max(shares)


def _enough(services: Mapping[str, Service], chosen: dict[Kind, int]) -> dict[Kind, int]:
    """No fewer replicas than the demands take, the solver's tolerance aside, and no more."""
    kinds: dict[str, list[Kind]] = defaultdict(list)
    for kind in chosen:
        kinds[kind.service].append(kind)
    for name, mine in kinds.items():
        demand = exactly(services[name].rate)
        for kind in sorted(mine, key=lambda kind: kind.throughput):
            done = sum(kind.throughput * chosen[kind] for kind in mine)
            chosen[kind] -= min(chosen[kind], max(int((done - demand) // kind.throughput), 0))
        last = max(mine, key=lambda kind: chosen[kind])
        while sum(kind.throughput * chosen[kind] for kind in mine) < demand:
            chosen[last] += 1
    return chosen


def cheapest_alone(
    supplies: Sequence[Supply],
    options: Sequence[NodeOption],
    classes: Sequence[WorkloadClass],
) -> dict[Kind, int]:
    """For each service the kind that would be cheapest if there were nobody else."""
    best: dict[str, tuple[float, Kind]] = {}
    for number, supply in zip(numbers_of(classes), supplies, strict=True):
        for kind in supply.kinds:
            for option in options:
                if option.admits(number):
                    share = max(
                        use / most
                        for use, most in zip(usage(number, option, classes), capacity(option), strict=True)
                        if most
                    )
                    cost = option.usd * share * kind.replicas
                    if kind.service not in best or cost < best[kind.service][0]:
                        best[kind.service] = cost, kind
    return {
        kind: kind.replicas if best[kind.service][1] is kind else 0
        for supply in supplies
        for kind in supply.kinds
    }
