"""From a packing to pools: each workload goes to one pool and asks for one resource there.

The cheapest packing may send replicas of one workload to several cuts. A Deployment has one pod template, and so one
node selector and one resource: here each is given one home, whole, and nodes are chosen again for that. Workloads whose
replicas have a template each (bare pods) stay where the packing has them.

A search over homes begins where a mixed-integer program over the patterns known puts everybody, or where the packing
has most of each workload, whichever is cheaper.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gpuslice.planner.homes.local_search import LocalSearch
from gpuslice.planner.homes.moves import Moves
from gpuslice.planner.homes.price import LikelyPrice
from gpuslice.planner.homes.program import HomeProgram
from gpuslice.planner.homes.residence import Residence
from gpuslice.planner.model.classes import homes_of
from gpuslice.planner.model.patterns import Pattern
from gpuslice.planner.model.places import Member, Place, load_from, numbered
from gpuslice.planner.model.pools import Home, pool_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from gpuslice.planner.bound.columns import Relaxation
    from gpuslice.planner.clock import Clock
    from gpuslice.planner.homes.packing import PoolPacking
    from gpuslice.planner.homes.residence import HomesByClass
    from gpuslice.planner.model.classes import WorkloadClass
    from gpuslice.planner.model.packing import Packing
    from gpuslice.planner.model.places import ClassNumber
    from gpuslice.workloads.model import Workload


@dataclass(frozen=True, slots=True)
class Realisation:
    """Nodes, and the home of each workload.

    Attributes:
        packing: the nodes, by pattern over the class numbers.
        homes: by class number, (workload, home, replicas).
    """

    packing: Packing
    homes: HomesByClass


def realise(
    relaxation: Relaxation,
    packing: Packing,
    pools: PoolPacking,
    classes: Sequence[WorkloadClass],
    *,
    gap: float,
    clock: Clock,
    begun: HomeProgram | None = None,
) -> Realisation:
    """Give every workload one home, and choose nodes for that.

    Args:
        relaxation: where replicas would best be, and what they are worth.
        packing: the cheapest one, to begin with as well, and for what may be spread.
        pools: packs loads.
        classes: to place.
        gap: relative, at which the first choice of homes is good enough.
        clock: work left.
        begun: the program that chooses the first homes, where it was begun before.
    """
    pools.remember(packing)
    patterns = tuple(dict.fromkeys([*relaxation.patterns, *packing]))
    candidates = _candidates(patterns, classes)
    kept = {
        Member(number, position): pools.wishes.kept[workload.name]
        for number, a_class in numbered(classes)
        for position, workload in enumerate(() if a_class.splittable else a_class.members)
        if workload.name in pools.wishes.kept
    }

    def search_from(homes: Mapping[Member, Home], nodes: Packing) -> LocalSearch:
        residence = Residence(_tenancies(homes, nodes, classes), classes, pools.wishes.kept)
        return LocalSearch(residence, LikelyPrice(pools), clock.over, tried=1)

    search = search_from(_homes_in(packing, candidates, classes, pools) | kept, packing)
    if not kept and homes_of(classes) and not clock.over():
        begun = begun or HomeProgram(patterns, classes, relaxation.duals, gap=gap, clock=clock)
        chosen = begun.chosen()
        if chosen is not None:
            homes, nodes = chosen
            pools.remember(nodes)
            search = min(search, search_from(homes, nodes), key=LocalSearch.total)
    moves = Moves(pools, candidates)
    search.descend(moves.one_elsewhere, moves.two_pools_together)
    search.ruin_and_recreate(moves.related(search), moves.homes_for)
    return _realisation(search.residence, pools)


def _realisation(residence: Residence, pools: PoolPacking) -> Realisation:
    """The nodes and homes found."""
    packing: Packing = Counter()
    for pool, occupancy in residence.pools.items():
        packed = pools.pack(pool, occupancy.load) if occupancy.load else None
        if packed is not None:
            packing.update(dict(packed.nodes))
    return Realisation(packing, residence.by_class())


def _tenancies(
    homes: Mapping[Member, Home], packing: Packing, classes: Sequence[WorkloadClass]
) -> dict[ClassNumber, list[tuple[Workload, Home, int]]]:
    """By class number, (workload, home, replicas): those with one home there, the others where a packing has them."""
    tenancies = _spread_homes(packing, classes)
    for (number, position), home in homes.items():
        workload = classes[number].members[position]
        tenancies.setdefault(number, []).append((workload, home, workload.replicas))
    return tenancies


def _homes_in(
    packing: Packing, candidates: list[list[Home]], classes: Sequence[WorkloadClass], pools: PoolPacking
) -> dict[Member, Home]:
    """For every workload that needs one, the home that has most of its class in a packing and takes all of it."""
    homes: dict[Member, Home] = {}
    places: dict[ClassNumber, Counter[Home]] = defaultdict(Counter)
    for pattern, nodes in packing.items():
        for number, where, count in pattern.pods:
            places[number][Home(pool_of(pattern), where)] += count * nodes
    for number, a_class in numbered(classes):
        ranked = [home for home, _ in places[number].most_common()]
        for position, workload in enumerate(() if a_class.splittable else a_class.members):
            homes[Member(number, position)] = next(
                home
                for home in [*ranked, *candidates[number]]
                if pools.pack(home.pool, load_from({Place(number, home.slice_index): workload.replicas}))
                is not None
            )
    return homes


def _candidates(patterns: Iterable[Pattern], classes: Sequence[WorkloadClass]) -> list[list[Home]]:
    """For each class, the homes that column generation found worth a look."""
    homes_of_class: list[dict[Home, None]] = [{} for _ in classes]
    for pattern in patterns:
        for number, where, _ in pattern.pods:
            homes_of_class[number][Home(pool_of(pattern), where)] = None
    return [list(homes) for homes in homes_of_class]


def _spread_homes(
    packing: Packing, classes: Sequence[WorkloadClass]
) -> dict[ClassNumber, list[tuple[Workload, Home, int]]]:
    """Replicas of the splittable classes, dealt to their members as the packing has places for them."""
    places: dict[ClassNumber, Counter[Home]] = defaultdict(Counter)
    for pattern, nodes in packing.items():
        for number, where, count in pattern.pods:
            if classes[number].splittable:
                places[number][Home(pool_of(pattern), where)] += count * nodes
    spread: dict[ClassNumber, list[tuple[Workload, Home, int]]] = {}
    for number, homes in places.items():
        queue = list(homes.items())
        dealt: list[tuple[Workload, Home, int]] = []
        for workload in classes[number].members:
            left = workload.replicas
            while left:
                home, free = queue.pop()
                take = min(left, free)
                dealt.append((workload, home, take))
                left -= take
                if free > take:
                    queue.append((home, free - take))
        spread[number] = dealt
    return spread
