"""What programs on GPUs of this machine need: the watching itself.

The card's counters are sums over all that runs on it, so a need is told only of what was alone there.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

import msgspec
import numpy as np

from gpuslice.errors import InputError
from gpuslice.hardware.gpus import Gpu, gpu_named
from gpuslice.measure.nvml import Activity, Card
from gpuslice.measure.pod_memory import by_pod, pod_of, sees_the_hosts_processes
from gpuslice.measure.readings import Memory, Readings, from_samples
from gpuslice.measure.statistics import Measured, Window, pool
from gpuslice.measure.times import utc
from gpuslice.workloads.measurement import Means

GREW: Final = 1.05
"""A program's memory wavers by less once it is loaded; a load, or the first pass through a network, takes more."""
INTERVAL: Final = 0.5  # seconds between two looks: GPM needs 0.1, and a peak of memory seldom lasts less


@dataclass(frozen=True, slots=True)
class Watched:
    """What was seen on the card over some time.

    Attributes:
        readings: of the processes looked at, together.
        peaks: peak memory of each process looked at, MiB, where the driver says.
        foreign: other processes that were on the card meanwhile.
        seconds: how long.
        grew: processes that held more memory than before it, by over `GREW`.
        pods: the most that each pod's processes held at a time, MiB by the pod's uid; None: whose they are isn't known.
    """

    readings: Readings
    peaks: dict[int, int]
    foreign: frozenset[int]
    seconds: float
    grew: frozenset[int] = frozenset()
    pods: Mapping[str, int] | None = None


def model_of(card: Card) -> Gpu | None:
    """The card's model by our name; None: not one of EC2's."""
    try:
        return gpu_named(card.identity.name, memory_mib=card.identity.total_mib)
    except InputError:
        return None


def watch(
    card: Card,
    seconds: float,
    *,
    ours: Callable[[int], bool],
    ended: Callable[[], bool] = lambda: False,
    each_look: Callable[[float], None] = lambda _now: None,
    name: str = "program",
    before: Mapping[int, int] = MappingProxyType({}),
    owner: Callable[[int], str] | None = None,
) -> Watched:
    """Look at the card every half second, until the time is over or the programs have ended.

    Args:
        card: to look at.
        seconds: at most.
        ours: whether a process is one of those looked at.
        ended: whether there is nothing left to look at.
        each_look: called each time, with the clock.
        name: of the replica in the readings.
        before: peaks of memory that were seen earlier, MiB by process.
        owner: uid of a process's pod, empty where it has none; None: can't be told here.
    """
    times: list[float] = []
    seen: list[Activity] = []
    memory: list[float] = []
    peaks = dict(before)
    foreign: set[int] = set()
    pods: dict[str, int] = {}
    start = time.monotonic()
    card.activity()
    while time.monotonic() - start < seconds and not ended():
        time.sleep(INTERVAL)
        now = time.monotonic()
        each_look(now)
        activity = card.activity()
        held = card.processes()
        mine = {pid: used for pid, used in held.items() if ours(pid)}
        foreign |= set(held) - set(mine)
        known = [used for used in mine.values() if used is not None]
        for pid, used in mine.items():
            if used is not None:
                peaks[pid] = max(used, peaks.get(pid, 0))
        if owner is not None:
            for uid, used in by_pod(mine, {pid: owner(pid) for pid in mine}).items():
                pods[uid] = max(used, pods.get(uid, 0))
        if activity is not None:
            times.append(now - start)
            seen.append(activity)
            memory.append(float(sum(known)) if known else math.nan)
    gpu = model_of(card)
    readings = from_samples(
        name,
        np.array(times),
        np.array([activity.duty for activity in seen]),
        np.array(memory),
        model=None if gpu is None else gpu.name,
        capacity_mib=None if gpu is None else gpu.memory_mib,
    )
    readings = replace(
        readings,
        sm=_mean([activity.sm for activity in seen]),
        tensor=_mean([activity.tensor for activity in seen]),
        dram=_mean([activity.dram for activity in seen]),
        coarse=any(activity.coarse for activity in seen),
        mig_profile="MIG is on" if card.identity.mig else "",
        memory=_peak(readings.memory, sum(before.values())),
    )
    grew = frozenset(pid for pid in before if peaks[pid] > before[pid] * GREW)
    return Watched(
        readings, peaks, frozenset(foreign), time.monotonic() - start, grew, None if owner is None else pods
    )


def watch_all(cards: Sequence[Card], seconds: float) -> list[Watched]:
    """Look at all that runs on each of several cards, side by side."""
    with ThreadPoolExecutor(len(cards)) as side_by_side:
        return list(
            side_by_side.map(
                lambda card: watch(
                    card,
                    seconds,
                    ours=lambda _: True,
                    name=f"gpu-{card.index}",
                    owner=pod_of if sees_the_hosts_processes() else None,
                ),
                cards,
            )
        )


def need_of(watched: Watched, *, quantile: float) -> Measured:
    """The need of what was watched, which holds for what it did meanwhile."""
    readings = watched.readings
    if watched.foreign:
        readings = replace(readings, sharers=frozenset(f"process {pid}" for pid in watched.foreign))
    measured = pool([readings], Window(0, utc(time.time()), Means.GPU, least_bins=1), quantile=quantile)
    note = f"read for {watched.seconds:.0f} seconds: it holds for what the program did then"
    # The statistics count in five minutes; a run may be shorter.
    how = msgspec.structs.replace(
        measured.measurement,
        window=f"{max(1, round(watched.seconds))}s",
        covered=1.0,
        notes=(*measured.measurement.notes, note),
    )
    return replace(measured, measurement=how)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _peak(memory: Memory | None, before_mib: int) -> Memory | None:
    """With what was held before; and a short run is always flat at its end, which makes it no pool."""
    return (
        None if memory is None else replace(memory, peak_mib=max(memory.peak_mib, before_mib), floor_mib=0.0)
    )
