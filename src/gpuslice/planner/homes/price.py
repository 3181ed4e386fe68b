"""What a pool costs, from what is known soonest to what counts: micro-dollars an hour, the pool's fee included.

None stands for no price: somebody fits none of the pool's nodes. Pools that nobody lives in are never asked about.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gpuslice.planner.homes.bills import PoolBills
    from gpuslice.planner.homes.packing import PoolPacking
    from gpuslice.planner.homes.residence import Occupancy
    from gpuslice.planner.model.pools import PoolKey


class LikelyPrice:
    """By nodes that are filled as Karpenter is likely to have it."""

    def __init__(self, packings: PoolPacking) -> None:
        """Ask them."""
        self._packings = packings
        self._fee = packings.wishes.fee

    def least(self, pool: PoolKey, occupancy: Occupancy) -> float:
        """What none of the others is below."""
        return self._packings.least(pool, occupancy.load) + self._fee

    def likely(self, pool: PoolKey, occupancy: Occupancy) -> int | None:
        """What moves are ranked by: soon known, and near the exact price."""
        price = self._packings.likely(pool, occupancy.load)
        return None if price is None else price + self._fee

    hoped_for = exact = likely


class BillPrice(LikelyPrice):
    """By the bills of the model of Karpenter."""

    def __init__(self, packings: PoolPacking, bills: PoolBills) -> None:
        """Ask both."""
        super().__init__(packings)
        self._bills = bills

    def hoped_for(self, pool: PoolKey, occupancy: Occupancy) -> int | None:
        """What the exact price is hardly ever below: of our packing and the likely nodes, the cheaper."""
        packed, likely = self._packings.pack(pool, occupancy.load), self.likely(pool, occupancy)
        return None if packed is None or likely is None else min(packed.price + self._fee, likely)

    def exact(self, pool: PoolKey, occupancy: Occupancy) -> int | None:
        """What counts: as bills are compared."""
        outcome = self._bills.best(pool, occupancy)
        return None if outcome is None else outcome.weight + self._fee
