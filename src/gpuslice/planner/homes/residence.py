"""Who lives in which pool: what a search over homes changes, move by move."""

from __future__ import annotations

from bisect import insort
from collections import defaultdict
from copy import copy
from typing import TYPE_CHECKING, Final, NamedTuple

from gpuslice.planner.model.places import Place, load_from
from gpuslice.planner.model.pools import Home

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping, Sequence

    from gpuslice.planner.model.classes import WorkloadClass
    from gpuslice.planner.model.places import ClassNumber, Load, SliceIndex
    from gpuslice.planner.model.pools import PoolKey
    from gpuslice.workloads.model import Workload

    HomesByClass = dict[ClassNumber, tuple[tuple[Workload, Home, int], ...]]  # by class number, with replicas


class Resident(NamedTuple):
    """Replicas of a workload in a pool, all with the same slice.

    Attributes:
        name: of the workload.
        slice_index: of the slice in the pool's cut.
        number: of its class.
        replicas: how many.
    """

    name: str
    slice_index: SliceIndex
    number: ClassNumber
    replicas: int

    @property
    def place(self) -> Place:
        """What each of them gets."""
        return Place(self.number, self.slice_index)


Residents = tuple[Resident, ...]
"""Of one pool, ascending: in the plan's order."""


class Occupancy(NamedTuple):
    """Who lives in a pool: one by one, as Karpenter's model is asked about them; and as packings know them."""

    residents: Residents
    load: Load

    def changed(self, gone: Iterable[Resident], come: Iterable[Resident]) -> Occupancy:
        """What it is once some have gone and others have come."""
        residents, counts = list(self.residents), dict(self.load)
        for resident in gone:
            residents.remove(resident)
            counts[resident.place] -= resident.replicas
        for resident in come:
            insort(residents, resident)
            counts[resident.place] = counts.get(resident.place, 0) + resident.replicas
        return Occupancy(tuple(residents), load_from(counts))


NOBODY: Final = Occupancy((), ())


class Move(NamedTuple):
    """Workloads, by name, and the one home that they all go to; None: they are taken out, and live nowhere."""

    names: tuple[str, ...]
    home: Home | None


class Residence:
    """Who lives where: a value, of which a move makes another one.

    Attributes:
        numbers: the class of each workload that needs one home, in the order of classes.
        movable: those of these who may move, in that order.
        homes: where they live, unless they are taken out.
        pools: who lives in each, also in those that everybody has left.
    """

    def __init__(
        self,
        homes: Mapping[ClassNumber, Iterable[tuple[Workload, Home, int]]],
        classes: Sequence[WorkloadClass],
        kept: Container[str],
    ) -> None:
        """Move in.

        Args:
            homes: by class number, (workload, home, replicas).
            classes: to place. Where replicas have a template each, a workload may have many homes, and keeps them.
            kept: names of others that stay where they are.
        """
        self._one_home: dict[str, Workload] = {}
        self._many_homes: HomesByClass = {}
        self.numbers: dict[str, ClassNumber] = {}
        first: dict[str, Home] = {}
        counts: dict[PoolKey, dict[tuple[str, SliceIndex, ClassNumber], int]] = defaultdict(
            lambda: defaultdict(int)
        )
        for number, entries in homes.items():
            listed = tuple(entries)
            for workload, home, replicas in listed:
                counts[home.pool][workload.name, home.slice_index, number] += replicas
            if classes[number].splittable:
                self._many_homes[number] = listed
            else:
                self._one_home |= {workload.name: workload for workload, _, _ in listed}
                self.numbers |= {workload.name: number for workload, _, _ in listed}
                first |= {workload.name: home for workload, home, _ in listed}
        self.movable = {name: None for name in self.numbers if name not in kept}.keys()
        self.homes: Mapping[str, Home] = first
        self.pools: Mapping[PoolKey, Occupancy] = {
            pool: NOBODY.changed((), (Resident(*key, replicas) for key, replicas in entries.items()))
            for pool, entries in counts.items()
        }

    @property
    def open_pools(self) -> list[PoolKey]:
        """The pools that somebody lives in."""
        return [pool for pool, occupancy in self.pools.items() if occupancy.residents]

    def touched(self, move: Move) -> set[PoolKey]:
        """The pools that a move changes."""
        homes = [move.home, *map(self.homes.get, move.names)]
        return {home.pool for home in homes if home is not None}

    def after(self, move: Move) -> dict[PoolKey, Occupancy]:
        """The pools that a move changes, as it leaves them."""
        gone: dict[PoolKey, list[Resident]] = defaultdict(list)
        for name in move.names:
            if name in self.homes:
                gone[self.homes[name].pool].append(self._resident(name, self.homes[name]))
        after = {pool: self.pools[pool].changed(residents, ()) for pool, residents in gone.items()}
        if move.home is not None:
            there = move.home.pool
            before = after[there] if there in after else self.pools.get(there, NOBODY)
            after[there] = before.changed((), [self._resident(name, move.home) for name in move.names])
        return after

    def moved(self, move: Move) -> Residence:
        """The residence after a move."""
        residence = copy(self)
        residence.pools = {**self.pools, **self.after(move)}
        if move.home is None:
            residence.homes = {name: home for name, home in self.homes.items() if name not in move.names}
        else:
            residence.homes = {**self.homes, **dict.fromkeys(move.names, move.home)}
        return residence

    def by_class(self) -> HomesByClass:
        """The homes, by class number: (workload, home, replicas)."""
        homes: dict[ClassNumber, tuple[tuple[Workload, Home, int], ...]] = defaultdict(tuple)
        for name, number in self.numbers.items():
            workload = self._one_home[name]
            homes[number] += ((workload, self.homes[name], workload.replicas),)
        return dict(sorted([*homes.items(), *self._many_homes.items()]))

    def _resident(self, name: str, home: Home) -> Resident:
        return Resident(name, home.slice_index, self.numbers[name], self._one_home[name].replicas)
