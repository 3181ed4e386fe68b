"""What programs on a GPU of this machine need, and what sharing costs them: the measuring itself.

The card's counters are sums over all that runs on it, so a need is told only of what was alone there.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

import msgspec
import numpy as np

from gpuslice.errors import AnswerIsNoError, InputError
from gpuslice.hardware.gpus import Gpu, gpu_named
from gpuslice.hardware.prediction import Activity as Alone
from gpuslice.hardware.prediction import expected_slowdown
from gpuslice.hardware.slices import Mechanism
from gpuslice.measure.copies import Copy, Progress, in_session, mps_daemon, only, running
from gpuslice.measure.nvml import Activity, Card
from gpuslice.measure.readings import Memory, Readings, from_samples
from gpuslice.measure.statistics import Measured, Window, pool
from gpuslice.measure.times import utc
from gpuslice.workloads.measurement import Means

_PATIENCE: Final = 600.0  # seconds until a program must have begun: large models take minutes to load
_GLANCE: Final = 0.1  # seconds between two looks while it does
INTERVAL: Final = 0.5  # seconds between two looks: GPM needs 0.1, and a peak of memory seldom lasts less


@dataclass(frozen=True, slots=True)
class Watched:
    """What was seen on the card over some time.

    Attributes:
        readings: of the processes looked at, together.
        peaks: peak memory of each process looked at, MiB, where the driver says.
        foreign: other processes that were on the card meanwhile.
        seconds: how long.
    """

    readings: Readings
    peaks: dict[int, int]
    foreign: frozenset[int]
    seconds: float


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds that copies warm up, uncounted, and seconds that they are measured."""

    warm_up: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Share:
    """What so many equal copies came to.

    Attributes:
        copies: at the same time.
        slowdown: of each, against one alone; None: a copy made no progress.
        throughput: of all together, against one alone.
        rate: units a second of each; for a program that runs to its end, its runs a second.
        memory_mib: peak of the copy that held the most.
        expected: the slowdown that the model predicts from what one does alone.
    """

    copies: int
    slowdown: float | None
    throughput: float | None
    rate: float | None
    memory_mib: int | None
    expected: float | None


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
    """
    times: list[float] = []
    seen: list[Activity] = []
    memory: list[float] = []
    peaks = dict(before)
    foreign: set[int] = set()
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
        if activity is not None:
            times.append(now - start)
            seen.append(activity)
            memory.append(float(sum(known)) if known else math.nan)
    gpu = model_of(card)
    readings = from_samples(
        name,
        np.array(times),
        np.array([each.duty for each in seen]),
        np.array(memory),
        model=None if gpu is None else gpu.name,
        capacity_mib=None if gpu is None else gpu.memory_mib,
    )
    readings = replace(
        readings,
        sm=_mean([each.sm for each in seen]),
        tensor=_mean([each.tensor for each in seen]),
        dram=_mean([each.dram for each in seen]),
        coarse=any(each.coarse for each in seen),
        mig_profile="MIG is on" if card.identity.mig else "",
        memory=_peak(readings.memory, sum(before.values())),
    )
    return Watched(readings, peaks, frozenset(foreign), time.monotonic() - start)


def need_of(watched: Watched, *, quantile: float) -> Measured:
    """The need of what was watched, which holds for what it did meanwhile."""
    found = watched.readings
    if watched.foreign:
        found = replace(found, sharers=frozenset(f"process {pid}" for pid in watched.foreign))
    measured = pool([found], Window(0, utc(time.time()), Means.GPU, least_bins=1), quantile=quantile)
    note = f"read for {watched.seconds:.0f} seconds: it holds for what the program did then"
    # The statistics count in five minutes; a run may be shorter.
    how = msgspec.structs.replace(
        measured.measurement,
        window=f"{max(1, round(watched.seconds))}s",
        covered=1.0,
        notes=(*measured.measurement.notes, note),
    )
    return replace(measured, measurement=how)


def measure_copies(
    card: Card,
    index: int,
    command: Sequence[str],
    copies: Sequence[int],
    progress: Progress,
    *,
    mps: bool,
    timing: Timing,
    say: Callable[[str], None],
) -> tuple[Watched, list[Share]]:
    """Run 1 copy, and then each number of copies asked for; the first tells the need.

    Raises:
        AnswerIsNoError: a copy ended in an error, or made no progress.
    """
    alone: Watched | None = None
    alone_rate: float | None = None
    shares: list[Share] = []
    gpu = model_of(card)
    for count in sorted({1, *copies}):
        say(
            f"{count} {'copies' if count > 1 else 'copy'}: {timing.warm_up:g} s to warm up, then {timing.seconds:g} s"
        )
        daemon = mps_daemon(index) if mps and count > 1 else nullcontext(only(index))
        with daemon as environment:
            limit = {"CUDA_MPS_ACTIVE_THREAD_PERCENTAGE": str(100 // count)} if mps and count > 1 else {}
            with running(command, count, progress, {**environment, **limit}) as found:
                watched, rates = _run(card, found, timing)
        rate = None if None in rates else sum(each for each in rates if each is not None) / count
        if alone is None:
            alone, alone_rate = watched, rate
        shares.append(
            Share(
                count,
                None if rate is None or alone_rate is None else alone_rate / rate,
                None if rate is None or alone_rate is None else count * rate / alone_rate,
                rate,
                max(watched.peaks.values(), default=None),
                _expected(alone.readings, gpu, count, mps=mps),
            )
        )
    if alone is None:
        raise AnswerIsNoError("nothing was measured")
    return alone, shares


def _run(card: Card, found: Sequence[Copy], timing: Timing) -> tuple[Watched, list[float | None]]:
    """Watch running copies after they have warmed up; a program that ends is timed by its end."""
    leaders = frozenset(each.process.pid for each in found)
    start = time.monotonic()

    def look(now: float) -> None:
        for each in found:
            if each.counter_file:
                each.read_counter(now)
            if each.ended is None and each.process.poll() is not None:
                each.ended = now - start

    def over() -> bool:
        return all(each.process.poll() is not None for each in found)

    def ours(pid: int) -> bool:
        return in_session(pid, leaders)

    peaks: dict[int, int] = {}
    until = start + _PATIENCE
    begun = False
    while not over() and time.monotonic() < until:
        look(time.monotonic())
        if _working(card, found, ours, peaks) and not begun:
            begun, until = True, time.monotonic() + timing.warm_up
        time.sleep(_GLANCE)
    measured_from = time.monotonic()
    watched = watch(card, timing.seconds, ours=ours, ended=over, each_look=look, before=peaks)
    look(time.monotonic())
    return watched, _rates(watched, found, measured_from)


def _working(card: Card, found: Sequence[Copy], ours: Callable[[int], bool], peaks: dict[int, int]) -> bool:
    """Whether every copy has begun: while a program loads, its idle GPU is not to be counted. Notes their memory."""
    held = {pid: used for pid, used in card.processes().items() if ours(pid)}
    for pid, used in held.items():
        peaks[pid] = max(used or 0, peaks.get(pid, 0))
    return all(each.points for each in found) if _told(found) else len(held) >= len(found)


def _told(found: Sequence[Copy]) -> bool:
    return found[0].progress.pattern is not None or bool(found[0].counter_file)


def _rates(watched: Watched, found: Sequence[Copy], measured_from: float) -> list[float | None]:
    """Units a second of each copy; of a program that tells none, its runs a second."""
    for each in found:
        if each.process.poll() not in {None, 0}:
            raise AnswerIsNoError(
                f"a copy ended with exit code {each.process.returncode}: {' | '.join(each.last_lines[-2:])[:200]}",
                fix="see whether so many fit into the GPU's memory, and whether the program runs alone",
            )
    if not watched.readings.duty.size:
        raise AnswerIsNoError(
            "it ended before it was measured", fix="give it more work, or a shorter --warm-up"
        )
    if not _told(found):
        return [None if each.ended is None else 1 / each.ended for each in found]
    rates = [each.rate(measured_from, time.monotonic()) for each in found]
    if None in rates:
        raise AnswerIsNoError(
            "a copy made no progress that could be counted",
            fix="check --progress or --counter-file against its output, or measure for longer: --seconds",
        )
    return rates


def _expected(alone: Readings, gpu: Gpu | None, copies: int, *, mps: bool) -> float | None:
    if gpu is None or alone.mean_duty is None or alone.sm is None or alone.dram is None:
        return None
    mechanism = Mechanism.MPS if mps else Mechanism.TIME_SLICING
    return expected_slowdown(Alone(alone.mean_duty, alone.sm, alone.dram), mechanism, copies, gpu)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [each for each in values if each is not None]
    return sum(known) / len(known) if known else None


def _peak(memory: Memory | None, before_mib: int) -> Memory | None:
    """With what was held before; and a short run is always flat at its end, which makes it no pool."""
    return (
        None if memory is None else replace(memory, peak_mib=max(memory.peak_mib, before_mib), floor_mib=0.0)
    )
