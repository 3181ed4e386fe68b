"""How replicas came, went, restarted and moved while they were read, and when nothing was read: in words.

None of it changes a figure: memory is the most in any life, start-ups included, and duty the mean over the time that
was read. But whoever plans by a figure should know that its replicas didn't simply run.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from gpuslice.measure.readings import BIN_SECONDS, Readings
from gpuslice.units import first_of

# The part of a time that has to be read for it to count as read.
COVERED: Final = 0.9
_NAMED: Final = 3


def coverage(readings: Sequence[Readings], asked: int, until: str, notes: list[str]) -> tuple[float, int]:
    """The part of the window in which any replica was read, and from the first reading to the last, seconds.

    Args:
        readings: of one workload.
        asked: the window's length in seconds; 0: as long as there are readings.
        until: its end as RFC 3339; empty where readings have no date.
        notes: what is to be said is added here.
    """
    every = [reading.bins for reading in readings if reading.bins.size]
    if not every:
        return 0.0, 0
    bins = np.unique(np.concatenate(every))
    reach = int(bins[-1] - bins[0]) + BIN_SECONDS
    covered = min(1.0, bins.size * BIN_SECONDS / (asked or reach))
    if asked and reach < asked * COVERED:
        notes.append(f"asked for {length(asked)}, readings are of {length(reach)}")
    if asked and until:
        silent = round(dt.datetime.fromisoformat(until).timestamp()) - int(bins[-1]) - BIN_SECONDS
        if silent > asked * (1 - COVERED):
            notes.append(
                f"nothing was read in the last {length(silent)}: it may be gone, or is not scraped any more"
            )
    gaps = reach // BIN_SECONDS - bins.size
    if gaps > reach // BIN_SECONDS * (1 - COVERED):
        notes.append(f"nothing was read in {length(gaps * BIN_SECONDS)} of these {length(reach)}")
    else:
        _gaps_of_some(readings, notes)
    return math.floor(covered * 1000) / 1000, reach


def lives(readings: Sequence[Readings], merged: int, notes: list[str]) -> None:
    """Restarts, pods that took each other's place, and replicas that moved between GPUs of one model.

    Args:
        readings: of one workload.
        merged: how many series were put together since they are one replica's on several GPUs in turn.
        notes: what is to be said is added here.
    """
    begun = {reading.replica: reading.begun for reading in readings if reading.begun is not None}
    restarts = {replica: beginnings.restarts for replica, beginnings in begun.items() if beginnings.restarts}
    if restarts:
        worst = sorted(restarts, key=lambda replica: (-restarts[replica], replica))
        named = ", ".join(f"{replica}: {restarts[replica]}" for replica in worst[:_NAMED])
        more = f" and {len(worst) - _NAMED} more" if len(worst) > _NAMED else ""
        notes.append(
            f"containers restarted {_times(sum(restarts.values()))} ({named}{more}): their starts count too"
        )
    if anew := sum(run.pods - 1 for run in begun.values()):
        notes.append(f"pods were made anew under the same name {_times(anew)}")
    replicas = {reading.replica for reading in readings}
    at_a_time = _at_a_time(readings)
    if at_a_time and len(replicas) > at_a_time:
        notes.append(
            f"{len(replicas)} pods came and went, {at_a_time} at a time for the most part: each counts for its own life"
        )
    if merged:
        notes.append(
            f"replicas moved {_times(merged)} to another GPU of the same model: duty is the mean over all"
        )


def _gaps_of_some(readings: Sequence[Readings], notes: list[str]) -> None:
    """Replicas that were not read for part of their life, while others were."""
    names = {reading.replica for reading in readings if reading.bins.size}
    hardly_read = []
    for name in sorted(names):
        bins = np.unique(np.concatenate([reading.bins for reading in readings if reading.replica == name]))
        windows = (int(bins[-1] - bins[0])) // BIN_SECONDS + 1
        if windows - bins.size > windows * (1 - COVERED):
            hardly_read.append(name)
    if hardly_read and len(names) > 1:
        notes.append(f"{first_of(hardly_read, _NAMED)} were not read for more than a tenth of their time")


def _at_a_time(readings: Sequence[Readings]) -> int:
    """How many replicas were read in the middle one of the windows in which any was."""
    by_replica: dict[str, list[Readings]] = {}
    for reading in readings:
        if reading.bins.size:
            by_replica.setdefault(reading.replica, []).append(reading)
    if not by_replica:
        return 0
    every = np.concatenate(
        [np.unique(np.concatenate([readings.bins for readings in own])) for own in by_replica.values()]
    )
    _, counts = np.unique(every, return_counts=True)
    return math.ceil(float(np.median(counts)))


def length(seconds: int) -> str:
    """A time as people say it: "14d", "6h", "90m"."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= 2 * size or (seconds >= size and seconds % size == 0):
            return f"{round(seconds / size)}{unit}"
    return f"{seconds}s"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"
