"""From readings to a need: pure, and the same for Prometheus, a trace and a GPU.

    memory   the most that any replica ever held. A need below it would one day be out of memory.
    duty     the mean of the worst replica. Neighbours are kept apart by means; the sustained load leaves the room.
    peak     the 0.95 quantile of five-minute means, of the worst replica: what is met at a busy hour.

Replicas are pooled by their worst, since any of them may land on any slice, and those far above the others are
named: one such replica is often a fault, not a need. What can't be told is left out and said: a shared GPU's
counters are sums, and an instance's activity says little of the whole GPU's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from gpuslice.measure.lifetimes import COVERED, coverage, length, lives
from gpuslice.measure.preallocation import Suspicion, need_of_caches, suspect
from gpuslice.measure.readings import BIN_SECONDS, NOT_NAMED, TOTAL, Readings, one_after_the_other
from gpuslice.units import PPM, format_memory
from gpuslice.workloads.measurement import Confidence, Means, Measurement

QUANTILE: Final = 0.95
# Less than an hour of five-minute windows shows a program starting, not working: no duty is told from it.
LEAST_BINS: Final = 12
# A week has every hour of every weekday once; a day has every hour.
HIGH_SECONDS: Final = 7 * 86_400
MEDIUM_SECONDS: Final = 86_400
MEDIUM_COVERED: Final = 0.5
# A replica stands out when it is half as much again as the middle one, and further off than three times the usual
# distance from it (scaled to a normal distribution's deviation).
OUTLIER_RATIO: Final = 1.5
OUTLIER_DEVIATIONS: Final = 3 * 1.4826
LEAST_TO_COMPARE: Final = 4
_NAMED: Final = 3

_Shown = Callable[[float], str]


@dataclass(frozen=True, slots=True)
class Window:
    """The time that was asked about.

    Attributes:
        seconds: its length; 0: as long as there are readings.
        until: its end as UTC, empty where readings have no date.
        by: where the readings come from.
        least_bins: five-minute windows below which duty is not told.
    """

    seconds: int
    until: str
    by: Means
    least_bins: int = LEAST_BINS


@dataclass(frozen=True, slots=True)
class Measured:
    """What the readings say of one workload.

    Attributes:
        memory_mib: peak of the worst replica, MiB, rounded up; None: not known, and `measurement.notes` say why.
        duty_ppm: mean duty of the worst replica, parts per million, rounded up; None likewise.
        on: the GPU model that duty holds for.
        measurement: how it was measured.
        suspicion: that it takes all the memory it sees, so that what it holds is no need.
        of_caches: it holds a cache taken in advance, and `memory_mib` is without what was never used of that.
    """

    memory_mib: int | None
    duty_ppm: int | None
    on: str | None
    measurement: Measurement
    suspicion: Suspicion | None = None
    of_caches: bool = False


def pool(readings: Sequence[Readings], window: Window, *, quantile: float = QUANTILE) -> Measured:
    """The need of a workload from the readings of its replicas.

    Args:
        readings: of its replicas, at least one; a replica that moved between GPUs has several.
        window: what was asked for.
        quantile: of the five-minute means, for the peak of duty.
    """
    notes: list[str] = []
    on, ran_there = _model(readings, notes)
    here = one_after_the_other(ran_there)
    shared = any(reading.sharers for reading in readings)
    memory = _memory(readings, notes, shared=shared)
    duty = None if shared else _duty(here, window, notes)
    if shared:
        _bounds(readings, notes)
    if stuck := sorted({reading.replica for reading in here if reading.stuck}):
        more = f" and {len(stuck) - 1} more" if len(stuck) > 1 else ""
        notes.append(
            f"the graphics engine's activity of {stuck[0]}{more} stood at zero for hours while utilisation did not, as "
            "when the exporter's profiling has stopped: utilisation is taken for duty, which is coarser"
        )
    if any(reading.coarse and not reading.stuck for reading in here):
        notes.append("duty is nvidia-smi's utilisation: the graphics engine's activity was not scraped")
    if impossible := sum(reading.impossible for reading in readings):
        notes.append(f"{impossible:,} times with a reading that no GPU can give: left out")
    needed = None if shared or memory is None else _without_idle_caches(readings, notes)
    suspicion = None if shared or memory is None or needed is not None else suspect(readings)
    memory = memory if needed is None else needed
    covered, reach = coverage(readings, window.seconds, window.until, notes)
    lives(readings, len(ran_there) - len(here), notes)
    worst = max(here, key=lambda entry: entry.mean_duty or 0.0)
    peaks = (
        []
        if duty is None
        else [float(np.quantile(reading.duty, quantile)) for reading in here if reading.duty.size]
    )
    return Measured(
        memory_mib=None if memory is None else max(1, math.ceil(memory)),
        duty_ppm=None if duty is None else min(PPM, max(1, math.ceil(round(duty * PPM, 3)))),
        on=on,
        measurement=Measurement(
            by=window.by,
            until=window.until,
            window=length(reach),
            covered=covered,
            replicas=len({reading.replica for reading in readings}),
            samples=sum(reading.samples for reading in readings),
            quantile=quantile,
            duty_peak=_rounded(max(peaks, default=None)),
            sm=None if shared else _rounded(worst.sm),
            tensor=None if shared else _rounded(worst.tensor),
            dram=None if shared else _rounded(worst.dram),
            confidence=_confidence(reach, covered, shared=shared, known=duty is not None),
            notes=tuple(notes),
        ),
        suspicion=suspicion,
        of_caches=needed is not None,
    )


def _model(readings: Sequence[Readings], notes: list[str]) -> tuple[str | None, Sequence[Readings]]:
    """The model that duty is told for, the one with the most readings, and what was read on it."""
    weight: dict[str | None, int] = {}
    for reading in readings:
        weight[reading.model] = weight.get(reading.model, 0) + reading.samples
    known = {model: count for model, count in weight.items() if model is not None}
    if not known:
        notes.append("which GPU model it ran on is not known")
        return None, readings
    on = max(sorted(known), key=lambda model: known[model])
    if len(weight) > 1:
        others = ", ".join(sorted(model or "one not known" for model in weight if model != on))
        notes.append(f"replicas also ran on {others}: duty is that on {on}, memory the most on any")
    return on, [reading for reading in readings if reading.model == on]


def _memory(readings: Sequence[Readings], notes: list[str], *, shared: bool) -> float | None:
    peaks = [(reading.memory.peak_mib, reading.replica) for reading in readings if reading.memory is not None]
    peaks = [peak for peak in peaks if peak[0] > 0]
    if not peaks:
        notes.append("no memory in use was ever read: not known")
        return None
    if shared:
        return None
    if beyond := [
        (reading.memory.peak_mib, reading.replica)
        for reading in readings
        if reading.memory and _too_much(reading)
    ]:
        held, name = max(beyond)
        notes.append(
            f"{name} held {format_memory(math.ceil(held))}, more than its GPU has: which GPU that was is in doubt, "
            "and memory is left out"
        )
        return None
    _name_outliers("memory", _most_by_replica(peaks), lambda value: format_memory(math.ceil(value)), notes)
    return max(peaks)[0]


def _too_much(readings: Readings) -> bool:
    """Whether it held more than its GPU has."""
    held = 0.0 if readings.memory is None else readings.memory.peak_mib
    return readings.capacity_mib is not None and held > readings.capacity_mib * TOTAL


def _without_idle_caches(readings: Sequence[Readings], notes: list[str]) -> int | None:
    """Memory without what was never used of a cache taken in advance, where servers tell enough; else what is told."""
    used = [reading.cache.most_used for reading in readings if reading.cache is not None]
    if not used:
        return None
    needed = need_of_caches(readings)
    of = f"its key-value cache was at most {max(used):.0%} in use"
    sized = all(reading.cache is not None and reading.cache.size_mib is not None for reading in readings)
    if needed is None and sized:
        notes.append(
            f"{of}, by its own word, which was not read for as long as its memory: what it can do with can't be told"
        )
    elif needed is None:
        notes.append(
            f"{of}, by its own word, which doesn't say how large that cache is: it can do with less memory"
        )
    else:
        notes.append(f"{of}, by its own word: memory is what it holds, less what was never used of that")
    return needed


def _duty(here: Sequence[Readings], window: Window, notes: list[str]) -> float | None:
    """Mean duty of the worst replica; None where it is not known or a mean would mislead."""
    if not any(readings.duty.size for readings in here):
        notes.append("no duty was ever read: not known")
        return None
    profiles = sorted({reading.mig_profile for reading in here if reading.mig_profile})
    long_enough = [reading for reading in here if reading.duty.size >= window.least_bins]
    if not long_enough:
        minutes = max(readings.duty.size for readings in here) * BIN_SECONDS // 60
        notes.append(
            f"no replica was read for longer than {minutes} minutes: too short to tell duty, "
            f"{window.least_bins * BIN_SECONDS // 60} are wanted"
        )
        return None
    means = [(reading.mean_duty or 0.0, reading.replica) for reading in long_enough]
    worst = max(means)[0]
    if not worst and any(readings.unchecked for readings in here):
        notes.append(
            "it was never seen to keep the GPU busy, and no utilisation is scraped that would tell rest from a fault "
            "of the exporter's: duty is left out"
        )
        return None
    if profiles:
        notes.append(
            f"read on MIG instances ({', '.join(profiles)}), which it kept busy {worst:.1%} of the time: what that is "
            "of a whole GPU can't be told, so duty is left out"
        )
        return None
    if len(long_enough) < len(here):
        notes.append(f"{len(here) - len(long_enough)} replicas were read too shortly for their duty to count")
    _name_outliers("duty", _most_by_replica(means), lambda value: f"{value:.1%}", notes)
    return worst


def _bounds(readings: Sequence[Readings], notes: list[str]) -> None:
    """What holds of a replica on a shared GPU, whose counters are sums over all on it."""
    others = max(len(reading.sharers - {NOT_NAMED}) for reading in readings)
    pods = f" with up to {others} other pod{'s' * (others > 1)}" if others else ""
    notes.append(
        f"its GPUs were shared{pods}, and their counters are sums: no replica's own figures can be told, so memory and "
        "duty are left out"
    )
    bounds = []
    if peaks := [reading.memory.peak_mib for reading in readings if reading.memory is not None]:
        bounds.append(f"at most {format_memory(math.ceil(max(peaks)))}")
    if duties := [reading.mean_duty for reading in readings if reading.mean_duty is not None]:
        bounds.append(f"busy at most {max(duties):.1%} of the time")
    if bounds:
        notes.append(f"what holds of each replica: {' and '.join(bounds)}; run one alone to know more")


def _most_by_replica(figures: Iterable[tuple[float, str]]) -> dict[str, float]:
    most: dict[str, float] = {}
    for value, replica in figures:
        most[replica] = max(value, most.get(replica, 0.0))
    return most


def outliers(values: dict[str, float]) -> list[str]:
    """Replicas far above the others, worst first; none where there are too few to compare."""
    if len(values) < LEAST_TO_COMPARE:
        return []
    every = np.array(list(values.values()))
    middle = float(np.median(every))
    spread = float(np.median(np.abs(every - middle)))
    far = [
        name
        for name, value in values.items()
        if value > middle * OUTLIER_RATIO and value - middle > OUTLIER_DEVIATIONS * spread
    ]
    return sorted(far, key=lambda name: (-values[name], name))


def _name_outliers(what: str, values: dict[str, float], shown: _Shown, notes: list[str]) -> None:
    far = outliers(values)
    if far:
        named = ", ".join(f"{name} ({shown(values[name])})" for name in far[:_NAMED])
        more = f" and {len(far) - _NAMED} more" if len(far) > _NAMED else ""
        middle = shown(float(np.median(list(values.values()))))
        notes.append(f"{what}: {named}{more} stand far above the middle replica's {middle}")


def _confidence(reach: int, covered: float, *, shared: bool, known: bool) -> Confidence:
    if shared or not known:
        return Confidence.LOW
    if reach >= HIGH_SECONDS and covered >= COVERED:
        return Confidence.HIGH
    if reach >= MEDIUM_SECONDS and covered >= MEDIUM_COVERED:
        return Confidence.MEDIUM
    return Confidence.LOW


def _rounded(value: float | None) -> float | None:
    return None if value is None else min(1.0, math.ceil(round(value * 10_000, 6)) / 10_000)
