"""Programs that take GPU memory once and keep it: what they hold is what they were given, not what they need.

A reading that never moves and fills much of the GPU is suspected. Some frameworks say themselves how much of what they
hold they use; where they also say how large it is, the need follows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gpuslice.measure.lifetimes import COVERED
from gpuslice.measure.readings import Readings

# Memory of a program that allocates as it works moves by more than this between a quiet and a busy hour; a pool's
# doesn't move at all, but for what the driver adds.
FLAT: Final = 0.02
# A small program that is done allocating is flat too; a pool fills the GPU.
LEAST_SHARE: Final = 0.5
# Readings from which "never" means something: a day's, or an hour's at a minute each.
LEAST_SAMPLES: Final = 60
LEAST_WINDOWS: Final = 2
# Defaults of frameworks that take a share of the whole GPU, with what their CUDA context adds.
_SHARES: Final = ((0.75, "jax"), (0.90, "vllm"))
_NEAR: Final = 0.025


@dataclass(frozen=True, slots=True)
class Suspicion:
    """A reading of memory that looks like a pool.

    Attributes:
        share: of the GPU's memory that is held.
        like: the framework whose default share that is, or "".
    """

    share: float
    like: str = ""

    @property
    def note(self) -> str:
        """In words."""
        like = f", as {self.like} does by default" if self.like else ""
        return (
            f"memory stays at {self.share:.0%} of the GPU whatever the load{like}: it looks like a pool taken in "
            "advance, so it is no need. State what it needs, or that it is none (preallocates: false)"
        )


def suspect(readings: Sequence[Readings]) -> Suspicion | None:
    """Whether every replica's memory stays flat at much of its GPU; None: no, or too little was read to say.

    Replicas that were read too shortly say neither: one that has just begun takes no suspicion off the others.
    """
    shares = []
    for reading in readings:
        memory = reading.memory
        if memory is None or not reading.capacity_mib or memory.peak_mib <= 0:
            return None
        if memory.samples < LEAST_SAMPLES or memory.windows < LEAST_WINDOWS:
            continue
        share = memory.peak_mib / reading.capacity_mib
        if memory.peak_mib - memory.floor_mib > FLAT * memory.peak_mib or share < LEAST_SHARE:
            return None
        shares.append(share)
    if not shares or max(shares) - min(shares) > _NEAR:
        return None
    like = next((name for share, name in _SHARES if abs(max(shares) - share) <= _NEAR), "")
    return Suspicion(round(max(shares), 3), like)


def need_of_caches(readings: Sequence[Readings]) -> int | None:
    """MiB that the worst replica needs of what it holds; None: not every replica tells its cache's size and use.

    A use that was read for part of the time only says nothing of the rest.
    """
    needs = [
        None
        if reading.memory is None
        or reading.cache is None
        or reading.cache.size_mib is None
        or reading.cache.windows < COVERED * reading.memory.windows
        else need_without_idle_cache(reading.memory.peak_mib, reading.cache.size_mib, reading.cache.most_used)
        for reading in readings
    ]
    known = [need for need in needs if need is not None]
    return max(known) if known and len(known) == len(needs) else None


def need_without_idle_cache(held_mib: float, cache_mib: float, most_used: float) -> int | None:
    """What a server with a key-value cache needs: all it holds, less what of its cache was never used.

    Args:
        held_mib: peak memory of the process.
        cache_mib: size of its cache, as the server says.
        most_used: the most of it that was ever in use, 0 to 1.

    Returns:
        MiB, rounded up; None where the figures contradict each other.
    """
    if not (0 < cache_mib < held_mib and 0 <= most_used <= 1):
        return None
    return math.ceil(held_mib - cache_mib * (1 - most_used))
