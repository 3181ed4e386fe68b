"""What sharing a GPU costs: the few numbers that could be argued about, each with its reason."""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from typing import Final

from gpuslice.hardware.mechanisms import Mechanism

SUSTAINED_LOAD: Final = Fraction(800, 1000)
"""The share of a GPU's shared throughput that mean duties may take together.

Measured with random arrivals on H100 and H200: at 0.7 of the GPU in use latency doubles, above 1 it grows without
end. 0.8 is for throughput work; what limits services is their `maxSlowdown`.
"""

MEMORY_MARGIN: Final = Fraction(5, 100)
"""The share of a slice's usable memory that no plan gives away: peaks are readings, not promises."""

EFFICIENCY: Final[dict[Mechanism, Fraction]] = {
    # Measured on an H100, driver 580: time-slicing k = 2, 4, 8 saturating processes keeps 0.95 of the throughput when
    # compute binds, 0.88 when memory bandwidth does. What binds is seldom known, so the worse one counts.
    Mechanism.TIME_SLICING: Fraction(880, 1000),
    # MPS keeps or gains throughput (1.02 to 1.30 for the same loads). The gain isn't counted on.
    Mechanism.MPS: Fraction(1),
    Mechanism.MIG: Fraction(1),
    Mechanism.FRACTIONAL: Fraction(1),
    Mechanism.WHOLE: Fraction(1),
}
"""Total throughput of processes that share a GPU, against one process alone."""

SEES_ALL: Final = frozenset({Mechanism.TIME_SLICING, Mechanism.MPS})
"""Mechanisms under which a process sees the whole GPU's memory as its own.

Read on an H100, driver 580.159.04, under MPS with a limit of 20 GiB: cuMemGetInfo says 20,335 MiB free of a total of
81,079, the whole card. MPS refuses what goes beyond the limit, so a framework that takes a share of the total fails to
start unless it is told a share of its own.
"""

METERED_TIMES: Final = (350, 500, 650, 704)
"""The choices for a metered GPU's time, thousandths: less time, fewer neighbours, less slowdown. The last is the most
that the sustained load allows under time-slicing (0.8 x 0.88)."""

METERED_REPLICAS: Final = 16
"""The device plugin's replicas on a metered GPU: a cap on how many pods share, since each context costs memory and a
turn. The same number as in the trial on real parts."""

MOST_SLOTS: Final = 48
"""The most slots per GPU: the MPS limit, kept for time-slicing too. Older GPUs have a lower one for MPS."""


def less_margin(memory_mib: int) -> int:
    """What of so much usable memory may be given away, MiB, rounded down."""
    return memory_mib * _GIVEN.numerator // _GIVEN.denominator


_GIVEN: Final = 1 - MEMORY_MARGIN


@cache
def sustained_milli(mechanism: Mechanism) -> int:
    """Thousandths of a GPU's time that the mean duties of all pods on it may take together, rounded down."""
    return int(1000 * SUSTAINED_LOAD * EFFICIENCY[mechanism])


def contention(mechanism: Mechanism, sharers: int, neighbours: Fraction) -> Fraction:
    """How much longer work takes on a device whose neighbours keep it busy: processor sharing.

    Args:
        mechanism: whose efficiency applies.
        sharers: pods on the device, this one included.
        neighbours: mean share of the device's time that all the others take, 0 or more.

    Returns:
        At least 1, at most full contention with every sharer busy all the time.
    """
    if sharers <= 1 or neighbours <= 0:
        return Fraction(1)
    efficiency = EFFICIENCY[mechanism]
    worst = sharers / efficiency
    load = neighbours / efficiency
    return worst if load >= 1 else min(worst, 1 / (1 - load))
