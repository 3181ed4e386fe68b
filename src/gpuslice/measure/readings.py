"""What was read of one replica on one GPU: the form that Prometheus, a trace and NVML are all brought into.

Readings are made by whoever asked the source, and judged by `statistics`, which knows no source.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

BIN_SECONDS: Final = 300
"""Duty is judged by five-minute means: long enough that one burst is no peak, short enough to show a busy hour."""

TOTAL: Final = 1.1
"""A reading of memory may count what the driver keeps, by which a card has less than its total: 5 % at most."""

NOT_NAMED: Final = "others on a shared GPU"
"""Stands among the sharers of a replica that is known to share its GPU, but not with whom."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Memory:
    """GPU memory of one process or pod, or of the GPU that several share.

    Attributes:
        peak_mib: the most.
        floor_mib: the least of the windows' peaks, once it was running: next to the peak where it never moves.
        samples: readings behind it.
        windows: how many windows' peaks the floor is the least of.
    """

    peak_mib: float
    floor_mib: float
    samples: int
    windows: int = 1


@dataclass(frozen=True, slots=True)
class Cache:
    """The key-value cache of a language-model server, as it says itself.

    Attributes:
        most_used: the most of it that was ever in use, 0 to 1.
        size_mib: its size on one GPU; None: not told.
        windows: hours in which it was read.
    """

    most_used: float
    size_mib: float | None = None
    windows: int = 0


@dataclass(frozen=True, slots=True)
class Begun:
    """How often a pod began anew while it was read.

    Attributes:
        restarts: of the container that restarted most.
        pods: how many pods there were by this name, one after the other.
    """

    restarts: int
    pods: int = 1


@dataclass(frozen=True, slots=True)
class Readings:
    """One replica on one GPU.

    Attributes:
        replica: "namespace/pod", or what a trace calls it.
        gpu: the physical GPU or MIG instance: equal for replicas that share one.
        model: the GPU model by our name; None: not known.
        capacity_mib: usable memory of that GPU or instance, where known.
        mig_profile: its MIG profile, where it is an instance.
        bins: starts of the five-minute windows with a reading of duty, seconds since 1970, increasing, no two equal.
        duty: mean share of each of those windows in which the GPU was busy, 0 to 1.
        weights: readings behind each.
        memory: of the replica; None: never read.
        cache: what the program says of its key-value cache; None: nothing.
        sm, tensor, dram: mean activity over the window, 0 to 1; None: never read.
        coarse: duty is `nvidia-smi`'s utilisation, for want of the graphics engine's activity.
        stuck: the graphics engine's activity stood at zero while utilisation didn't, so that it is not believed.
        unchecked: there is no utilisation that a zero of the graphics engine's activity could be checked by.
        sharers: other replicas that were on the same GPU at the same time: then every figure is the GPU's, not its own.
        impossible: readings that no GPU can give (DCGM's blank values), left out.
        begun: how often the replica began anew; None: not told.
    """

    replica: str
    gpu: str = ""
    model: str | None = None
    capacity_mib: int | None = None
    mig_profile: str = ""
    bins: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    duty: Floats = field(default_factory=lambda: np.empty(0))
    weights: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    memory: Memory | None = None
    cache: Cache | None = None
    sm: float | None = None
    tensor: float | None = None
    dram: float | None = None
    coarse: bool = False
    stuck: bool = False
    unchecked: bool = False
    sharers: frozenset[str] = frozenset()
    impossible: int = 0
    begun: Begun | None = None

    @property
    def mean_duty(self) -> float | None:
        """Mean share of time in which the GPU was busy, each reading counted once; None: never read."""
        return float(np.average(self.duty, weights=self.weights)) if self.duty.size else None

    @property
    def samples(self) -> int:
        """Readings behind it."""
        return max(int(self.weights.sum()), self.memory.samples if self.memory else 0)


def from_samples(
    replica: str,
    seconds: Floats,
    duty: Floats,
    memory_mib: Floats,
    *,
    model: str | None = None,
    capacity_mib: int | None = None,
) -> Readings:
    """Readings of a raw series, in any order.

    Args:
        replica: whose.
        seconds: when, since 1970 or since the series began.
        duty: share of time busy at each, 0 to 1; NaN: not read.
        memory_mib: memory in use at each; NaN: not read.
        model: the GPU model, by our name.
        capacity_mib: its usable memory.
    """
    busy = ~np.isnan(duty)
    held = memory_mib[~np.isnan(memory_mib)]
    of_bin = (seconds[busy] // BIN_SECONDS).astype(np.int64)
    bins, index, weights = np.unique(of_bin, return_inverse=True, return_counts=True)
    sums = np.bincount(index, duty[busy], minlength=bins.size)
    running = held[held > 0]
    return Readings(
        replica,
        model=model,
        capacity_mib=capacity_mib,
        bins=bins * BIN_SECONDS,
        duty=sums / weights if bins.size else np.empty(0),
        weights=weights.astype(np.int64),
        memory=Memory(float(held.max()), float(running.min()) if running.size else 0.0, held.size, held.size)
        if held.size
        else None,
    )


def mark_sharers(readings: Iterable[Readings]) -> list[Readings]:
    """Readings with the replicas that were on their GPU at the same time.

    What is read of a shared GPU is the sum of all on it: time-slicing and MPS have no counters for each process.
    """
    listed = list(readings)
    on: dict[str, list[Readings]] = {}
    for reading in listed:
        if reading.gpu:
            on.setdefault(reading.gpu, []).append(reading)
    together: dict[tuple[str, str], set[str]] = {}
    for gpu, group in on.items():
        if len({reading.replica for reading in group}) > 1:
            for reading in group:
                others = {
                    other.replica
                    for other in group
                    if other.replica != reading.replica and _overlap(reading, other)
                }
                together[gpu, reading.replica] = others
    return [
        replace(reading, sharers=reading.sharers | together.get((reading.gpu, reading.replica), set()))
        for reading in listed
    ]


def one_after_the_other(readings: Iterable[Readings]) -> list[Readings]:
    """Readings with what a replica did on several GPUs in turn put together; at the same time it stays apart.

    A replica moves when it is restarted or made anew: its duty is the mean over all its time, not the busiest GPU's.
    Activity is that of the part with the most readings.
    """
    joined: list[Readings] = []
    for later in sorted(
        readings, key=lambda reading: (reading.replica, int(reading.bins[0]) if reading.bins.size else 0)
    ):
        before = next((at for at, other in enumerate(joined) if _follows(later, other)), None)
        if before is None:
            joined.append(later)
        else:
            joined[before] = _joined(joined[before], later)
    return joined


def _follows(later: Readings, earlier: Readings) -> bool:
    return (
        (later.replica, later.model, later.mig_profile)
        == (earlier.replica, earlier.model, earlier.mig_profile)
        and bool(later.bins.size and earlier.bins.size)
        and not _overlap(later, earlier)
    )


def _joined(earlier: Readings, later: Readings) -> Readings:
    """One series of both; a window in which both were read has the mean of the two."""
    bins = np.union1d(earlier.bins, later.bins)
    weights, sums = np.zeros(bins.size, np.int64), np.zeros(bins.size)
    for readings in (earlier, later):
        at = np.searchsorted(bins, readings.bins)
        weights[at] += readings.weights
        sums[at] += readings.duty * readings.weights
    heavier = max(earlier, later, key=lambda entry: int(entry.weights.sum()))
    return replace(
        heavier,
        bins=bins,
        duty=sums / weights,
        weights=weights,
        coarse=earlier.coarse or later.coarse,
        stuck=earlier.stuck or later.stuck,
    )


def _overlap(one: Readings, other: Readings) -> bool:
    """Whether both were read in more than one window: a pod that follows another on a GPU may touch its last.

    Of memory alone it isn't known when it was read: then they may have been there together.
    """
    if not (one.bins.size and other.bins.size):
        return one.memory is not None and other.memory is not None
    return np.intersect1d(one.bins, other.bins, assume_unique=True).size > 1
