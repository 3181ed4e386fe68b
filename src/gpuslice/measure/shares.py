"""What sharing a GPU costs a program: copies of it run at once, against one alone.

How far each gets is told by the program itself, by its end, or by a probe that takes the place of one copy.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from typing import Final

from gpuslice.errors import AnswerIsNoError
from gpuslice.hardware.gpus import Gpu
from gpuslice.hardware.mechanisms import Mechanism
from gpuslice.hardware.prediction import Activity, expected_slowdown
from gpuslice.measure import probe as probes
from gpuslice.measure.copies import Copy, Progress, in_session, mps_daemon, only, running
from gpuslice.measure.gpu import Watched, model_of, watch
from gpuslice.measure.nvml import Card
from gpuslice.measure.readings import Readings

_PATIENCE: Final = 600.0  # seconds until a program must have begun: large models take minutes to load
_GLANCE: Final = 0.1  # seconds between two looks while it does


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
        by_probe: slowdown and rate are those of a probe in the place of one copy.
    """

    copies: int
    slowdown: float | None
    throughput: float | None
    rate: float | None
    memory_mib: int | None
    expected: float | None
    by_probe: bool = False


def measure_copies(
    card: Card,
    command: Sequence[str],
    copies: Sequence[int],
    progress: Progress,
    *,
    mps: bool,
    timing: Timing,
    say: Callable[[str], None],
    probe: bool = False,
) -> tuple[Watched, list[Share]]:
    """Run 1 copy, and then each number of copies asked for; the first tells the need.

    With a probe, it takes the place of one of the copies and is timed instead of them.

    Raises:
        AnswerIsNoError: a copy ended in an error, or made no progress.
    """
    gpu = model_of(card)
    counts = sorted({1, *copies})
    say(_plan(1, timing))
    with running(command, 1, progress, only(card.index)) as begun:
        alone, rates = run(card, begun, timing)
    if len(counts) > 1 and rates[0] is None and not probe:
        raise AnswerIsNoError(
            f"it neither told how far it got nor ended in {timing.seconds:g} s, so copies can't be compared",
            fix="name its progress (--progress, --counter-file), or let a probe stand in: --probe",
        )
    timed = progress, rates[0]
    stand_in: tuple[str, ...] = ()
    if probe:
        if alone.readings.mean_duty is None:
            raise AnswerIsNoError("it didn't use the GPU, so nothing can stand in for it")
        _refuse_loading(alone)
        say(f"the probe alone: {_plan(1, timing)}")
        stand_in, timed = _probe_alone(card, alone.readings, timing)
    told_by, alone_rate = timed
    shares = [_share(1, alone_rate, alone_rate, alone, gpu, alone, mps=mps, by_probe=probe)]
    for count in counts[1:]:
        say(_plan(count, timing))
        daemon = mps_daemon(card.index) if mps else nullcontext(only(card.index))
        with daemon as environment, ExitStack() as started:
            limit = {"CUDA_MPS_ACTIVE_THREAD_PERCENTAGE": str(100 // count)} if mps else {}
            own = {**environment, **limit}
            begun = list(started.enter_context(running(command, count - probe, progress, own)))
            if probe:
                begun += started.enter_context(running(stand_in, 1, told_by, own))
            watched, rates = run(card, begun, timing)
        counted = rates[-1:] if probe else rates
        if probe and any(copy.ended is not None for copy in begun):
            raise AnswerIsNoError(
                "a copy ended while the probe ran beside it", fix="give it more work, or a shorter --seconds"
            )
        if probe:
            _refuse_loading(watched)
        rate = (
            None
            if None in counted
            else sum(copy_rate for copy_rate in counted if copy_rate is not None) / len(counted)
        )
        shares.append(_share(count, rate, alone_rate, watched, gpu, alone, mps=mps, by_probe=probe))
    return alone, shares


def _refuse_loading(watched: Watched) -> None:
    """A program that tells nothing is at work once it takes no more memory: what was seen before says nothing."""
    if watched.grew:
        raise AnswerIsNoError(
            "a copy still took more memory while it was measured, as programs do that load",
            fix="let it warm up longer: --warm-up",
        )


def _plan(count: int, timing: Timing) -> str:
    copies = f"{count} {'copies' if count > 1 else 'copy'}"
    return f"{copies}: {timing.warm_up:g} s to warm up, then {timing.seconds:g} s"


def _probe_alone(
    card: Card, alone: Readings, timing: Timing
) -> tuple[tuple[str, ...], tuple[Progress, float | None]]:
    """The probe's command for runs beside others, how it tells its progress, and how fast it is alone."""
    duty = alone.mean_duty or 0.0
    sm = duty if alone.sm is None else alone.sm
    command = (sys.executable, "-m", probes.__name__, "--duty", f"{duty:.4f}", "--sm", f"{sm:.4f}")
    progress = Progress(re.compile(probes.LINE))
    with running(command, 1, progress, only(card.index)) as copies:
        _, rates = run(card, copies, timing)
        told = [line for line in copies[0].last_lines if re.fullmatch(probes.LINE, line)]
        size = probes.size_told(told[-1])
    return (*command, *size), (progress, rates[0])


def _share(
    count: int,
    rate: float | None,
    alone_rate: float | None,
    watched: Watched,
    gpu: Gpu | None,
    alone: Watched,
    *,
    mps: bool,
    by_probe: bool,
) -> Share:
    slowdown = None if rate is None or alone_rate is None else alone_rate / rate
    return Share(
        count,
        slowdown,
        None if slowdown is None else count / slowdown,
        rate,
        max(watched.peaks.values(), default=None),
        _expected(alone.readings, gpu, count, mps=mps),
        by_probe,
    )


def run(card: Card, copies: Sequence[Copy], timing: Timing) -> tuple[Watched, list[float | None]]:
    """Watch running copies after they have warmed up; a program that ends is timed by its end."""
    leaders = frozenset(copy.process.pid for copy in copies)
    start = time.monotonic()

    def look(now: float) -> None:
        for copy in copies:
            if copy.counter_file:
                copy.read_counter(now)
            if copy.ended is None and copy.process.poll() is not None:
                copy.ended = now - start

    def over() -> bool:
        return all(copy.process.poll() is not None for copy in copies)

    def ours(pid: int) -> bool:
        return in_session(pid, leaders)

    peaks: dict[int, int] = {}
    until = start + _PATIENCE
    begun = False
    while not over() and time.monotonic() < until:
        look(time.monotonic())
        if _working(card, copies, ours, peaks) and not begun:
            begun, until = True, time.monotonic() + timing.warm_up
        time.sleep(_GLANCE)
    measured_from = time.monotonic()
    watched = watch(card, timing.seconds, ours=ours, ended=over, each_look=look, before=peaks)
    look(time.monotonic())
    return watched, _rates(watched, copies, measured_from)


def _working(card: Card, copies: Sequence[Copy], ours: Callable[[int], bool], peaks: dict[int, int]) -> bool:
    """Whether every copy has begun: while a program loads, its idle GPU is not to be counted. Notes their memory."""
    held = {pid: used for pid, used in card.processes().items() if ours(pid)}
    for pid, used in held.items():
        peaks[pid] = max(used or 0, peaks.get(pid, 0))
    silent = [copy for copy in copies if not _told(copy)]
    return all(copy.points for copy in copies if _told(copy)) and len(held) >= len(silent)


def _told(copy: Copy) -> bool:
    return copy.progress.pattern is not None or bool(copy.counter_file)


def _rates(watched: Watched, copies: Sequence[Copy], measured_from: float) -> list[float | None]:
    """Units a second of each copy; of a program that tells none, its runs a second."""
    for copy in copies:
        if copy.process.poll() not in {None, 0}:
            raise AnswerIsNoError(
                f"a copy ended with exit code {copy.process.returncode}: {' | '.join(copy.last_lines[-2:])[:200]}",
                fix="see whether so many fit into the GPU's memory, and whether the program runs alone",
            )
    if not watched.readings.duty.size:
        raise AnswerIsNoError(
            "it ended before it was measured", fix="give it more work, or a shorter --warm-up"
        )
    now = time.monotonic()
    rates = [
        program.rate(measured_from, now)
        if _told(program)
        else None
        if program.ended is None
        else 1 / program.ended
        for program in copies
    ]
    if any(rate is None and _told(copy) for rate, copy in zip(rates, copies, strict=True)):
        raise AnswerIsNoError(
            "a copy made no progress that could be counted",
            fix="check --progress or --counter-file against its output, or measure for longer: --seconds",
        )
    return rates


def _expected(alone: Readings, gpu: Gpu | None, copies: int, *, mps: bool) -> float | None:
    if gpu is None or alone.mean_duty is None or alone.sm is None or alone.dram is None:
        return None
    mechanism = Mechanism.MPS if mps else Mechanism.TIME_SLICING
    return expected_slowdown(Activity(alone.mean_duty, alone.sm, alone.dram), mechanism, copies, gpu)
