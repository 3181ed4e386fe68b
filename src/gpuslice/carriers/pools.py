"""What pools of every carrier have in common: the label by which pods find them, and who comes first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import UNSET

if TYPE_CHECKING:
    from gpuslice.plan.artefact import Pool

POOL_LABEL: Final = "gpuslice.io/pool"
"""On a pool's nodes as label and taint; what a workload's node selector and toleration name."""

_FIRST: Final = (
    100  # the highest of Karpenter: it tries these first, as long as their limits leave room; and …
)
_LAST: Final = 1  # … the lowest


def weight(pool: Pool) -> int:
    """The NodePool's weight: pools of few seats come before those of one workload alone; 0: it has no seats."""
    if not pool.seats:
        return 0
    return _LAST if pool.max_nodes is UNSET else _FIRST
