"""One kind of node, filled with what is left of a load, node after node."""

from __future__ import annotations

from operator import gt
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gpuslice.planner.model.options import NodeOption
    from gpuslice.planner.model.places import Place


class Filling:
    """One option of a pool, filled with what is left of a load, node after node.

    A load may have thousands of places and take as many nodes: nothing here looks at all of them for each node.
    """

    def __init__(
        self,
        option: NodeOption,
        capacities: tuple[int, ...],
        ranked: list[tuple[Place, int, tuple[int, ...]]],
        outside: int,
    ) -> None:
        """Begin.

        Args:
            option: the node.
            capacities: by resource.
            ranked: places that it admits, with replicas and the sizes of one, those that go in first first.
            outside: replicas that it doesn't admit.
        """
        self.option = option
        self._capacities = capacities
        self._sizes = {place: size for place, _, size in ranked}
        self._outside = outside
        self._totals = [0] * len(capacities)
        for _, count, size in ranked:
            for resource, need in enumerate(size):
                self._totals[resource] += need * count
        self._places = len(ranked)
        self._rank([place for place, _, _ in ranked])

    def _rank(self, places: list[Place]) -> None:
        """Keep the order, and from each place on the least that any takes: with less room, nothing more goes in."""
        least = [0] * len(self._capacities)
        ranked: list[tuple[Place, tuple[int, ...], tuple[int, ...]]] = []
        for at, place in enumerate(reversed(places)):
            size = self._sizes[place]
            least = list(map(min, least, size)) if at else list(size)
            ranked.append((place, size, tuple(least)))
        self._ranked = ranked[::-1]

    def carries_the_rest(self) -> bool:
        """Whether one node carries all that is left."""
        return not self._outside and all(
            total <= most for total, most in zip(self._totals, self._capacities, strict=True)
        )

    def taken(self, place: Place, count: int, left: int) -> None:
        """So many replicas of a place are gone, so many are left."""
        size = self._sizes.get(place)
        if size is None:
            self._outside -= count
            return
        for resource, need in enumerate(size):
            self._totals[resource] -= need * count
        self._places -= not left

    def fill(self, left: Mapping[Place, int]) -> dict[Place, int]:
        """Replicas by place, as many as go on one node."""
        if self._places * 2 < len(self._ranked):
            self._rank([place for place, _, _ in self._ranked if place in left])
        room = list(self._capacities)
        counts: dict[Place, int] = {}
        for place, size, least in self._ranked:
            if any(map(gt, least, room)):
                break
            there = left.get(place)
            if there is None:
                continue
            count = min([there, *[free // need for free, need in zip(room, size, strict=True) if need]])
            if count:
                counts[place] = count
                room = [free - need * count for free, need in zip(room, size, strict=True)]
        return counts
