"""`gpuslice measure gpu`: run a program on a GPU of this machine, and see what it needs and what sharing costs it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from gpuslice.cli.console import Output, OutputOption, say
from gpuslice.cli.needs import DryRunOption, QuantileOption, refuse_stdin, write_into
from gpuslice.cli.shown.gpu import WatchedGpu, print_watched
from gpuslice.errors import InputError

if TYPE_CHECKING:
    from gpuslice.measure.copies import Progress
    from gpuslice.measure.nvml import Card
    from gpuslice.measure.profiles import Load
    from gpuslice.workloads.model import ServiceProfile, Workload

_MOST_COPIES = 48  # the most clients of one MPS server


def measure_gpu(
    *,
    command: Annotated[
        list[str] | None,
        typer.Argument(metavar="-- COMMAND...", help="The program to run, with its arguments."),
    ] = None,
    pid: Annotated[
        int, typer.Option("--pid", metavar="PID", help="Watch this process, and its session.")
    ] = 0,
    everything: Annotated[
        bool, typer.Option("--all", help="Watch all that runs on all GPUs of this machine, or on --gpu.")
    ] = False,
    index: Annotated[
        int | None,
        typer.Option("--gpu", metavar="N", min=0, help="Which GPU, as NVML numbers them; default: 0."),
    ] = None,
    seconds: Annotated[
        float, typer.Option("--seconds", metavar="S", min=2, max=86_400, help="How long to measure.")
    ] = 60,
    warm_up: Annotated[
        float,
        typer.Option("--warm-up", metavar="S", min=0, max=3600, help="How long to let it warm up first."),
    ] = 20,
    copies: Annotated[
        str,
        typer.Option(
            "--copies", metavar="1,2,4,8", help="Run so many at once, and measure what sharing costs."
        ),
    ] = "",
    mps: Annotated[
        bool,
        typer.Option("--mps", help="Share by MPS, limited as the device plugin does; default: time-slicing."),
    ] = False,
    progress: Annotated[
        str,
        typer.Option(
            "--progress",
            metavar="REGEX",
            help="A line of its output that tells progress; group 1 may be a counter.",
        ),
    ] = "",
    counter_file: Annotated[
        str,
        typer.Option(
            "--counter-file", metavar="PATH", help="Holds a counter; {copy} stands for the copy's number."
        ),
    ] = "",
    probe: Annotated[
        bool,
        typer.Option(
            "--probe",
            help="For a program that tells no progress: a load as busy as it takes a copy's place and is timed.",
        ),
    ] = False,
    batch: Annotated[
        int,
        typer.Option("--batch", metavar="N", min=1, max=1_000_000, help="Requests in one unit of progress."),
    ] = 1,
    file: Annotated[
        str,
        typer.Option(
            "-f", "--file", metavar="FILE", help="A workloads.yaml to write the need and the profiles into."
        ),
    ] = "",
    workload: Annotated[
        str, typer.Option("--workload", metavar="NAMESPACE/NAME", help="Whose need it is, in that file.")
    ] = "",
    demand: Annotated[
        str,
        typer.Option(
            "--demand",
            metavar="RATE",
            help='Make it a service of this load, as "800 requests/s"; with --slo-ms.',
        ),
    ] = "",
    slo_ms: Annotated[
        float, typer.Option("--slo-ms", metavar="MS", min=0, help="The latency that the service promises.")
    ] = 0,
    out: Annotated[str, typer.Option("--out", metavar="FILE", help="Write there; default: into -f.")] = "",
    quantile: QuantileOption = 0.95,
    dry_run: DryRunOption = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Measure on GPUs of this machine: a program of yours, a process, or all that runs there."""
    asked = _Asked(
        command or [],
        pid,
        everything,
        index,
        _copies(copies),
        _progress(progress, counter_file),
        mps=mps,
        probe=probe,
        name=workload,
    )
    _check(asked)
    _check_file(file, workload, asked)
    load = _load(demand, slo_ms)
    workloads = _workloads(file, workload, load) if file else {}
    gpus_watched = _measure(asked, warm_up, seconds)
    profiles = _profiles(asked, gpus_watched[0], batch)
    print_watched(gpus_watched, profiles, quantile=quantile, output=output, everything=everything)
    if not file:
        return
    from gpuslice.measure.gpu import need_of

    write_into(
        file,
        {workload: need_of(gpus_watched[0].watched, quantile=quantile)},
        out=out,
        dry_run=dry_run,
        output=output,
        further=partial(_with_profiles, file, workload, workloads, profiles, load),
    )


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is to be measured, by the options.

    Attributes:
        command: a program and its arguments, to be run.
        pid: of a process that runs; 0: none.
        everything: whether all that runs is wanted.
        index: of the GPU; None: the first one, or all with `everything`.
        counts: copies of the program, that are to share the GPU.
        told: how the program tells its progress.
        mps: whether copies share by MPS.
        probe: whether a load is timed in place of one copy.
        name: of the workload; "" for a name after the program.
    """

    command: list[str]
    pid: int
    everything: bool
    index: int | None
    counts: tuple[int, ...]
    told: Progress
    mps: bool
    probe: bool
    name: str

    @property
    def tells(self) -> bool:
        """Whether the program tells its progress."""
        return self.told.pattern is not None or bool(self.told.counter_file)


def _check(asked: _Asked) -> None:
    if [bool(asked.command), bool(asked.pid), asked.everything].count(True) != 1:
        raise InputError("nothing to measure, or too much", fix="give one of: -- COMMAND, --pid PID, --all")
    if (asked.counts or asked.mps or asked.tells) and not asked.command:
        raise InputError(
            "--copies, --mps, --progress and --counter-file are for -- COMMAND", fix="name a program"
        )
    if asked.probe and (not asked.counts or asked.tells):
        raise InputError(
            "--probe is timed in place of a program of which --copies run and that tells no progress",
            fix="give --copies, and neither --progress nor --counter-file",
        )


def _check_file(file: str, workload: str, asked: _Asked) -> None:
    if bool(file) != bool(workload):
        raise InputError("-f and --workload go together", fix="name the file, and whose need it is")
    if file and asked.everything and asked.index is None:
        raise InputError("-f takes the need of one GPU's programs", fix="name it: --gpu N")
    refuse_stdin(file)


def _profiles(asked: _Asked, watched_gpu: WatchedGpu, batch: int) -> list[ServiceProfile]:
    """Of a service that the program is; none where nothing tells how much it does."""
    from gpuslice.measure.profiles import profiles_of

    if len(watched_gpu.shares) <= 1 or not asked.tells:
        return []
    return profiles_of(watched_gpu.watched.readings.model, watched_gpu.shares, mps=asked.mps, batch=batch)


def _with_profiles(
    file: str,
    name: str,
    workloads: Mapping[str, Workload],
    profiles: list[ServiceProfile],
    load: Load | None,
    text: str,
) -> str:
    """The text of a workloads.yaml with a service's profiles, where there are any."""
    from gpuslice.measure.profiles import write_profiles

    if not profiles:
        return text
    if workloads[name].service is None and load is None:
        say(f"note: {name} is no service, so its profiles are not written; --demand and --slo-ms make it one")
        return text
    say(f"{len(profiles)} profiles of {name}")
    return write_profiles(text, file, name, workloads, profiles, load)


def _measure(asked: _Asked, warm_up: float, seconds: float) -> list[WatchedGpu]:
    """Watch the GPUs that are asked about."""
    from gpuslice.measure.gpu import watch_all
    from gpuslice.measure.nvml import Card, count_cards

    with ExitStack() as opened:
        every = asked.everything and asked.index is None
        cards = [Card(index) for index in (range(count_cards()) if every else (asked.index or 0,))]
        for card in cards:
            opened.callback(card.close)
        if asked.command:
            return [_run(cards[0], asked, warm_up, seconds)]
        if asked.pid:
            return [_watch(cards[0], asked, seconds)]
        return [
            WatchedGpu(asked.name or f"gpu-{card.index}", card.index, card.identity, watched)
            for card, watched in zip(cards, watch_all(cards, seconds), strict=True)
        ]


def _run(card: Card, asked: _Asked, warm_up: float, seconds: float) -> WatchedGpu:
    """The program run, alone and as copies that share the GPU."""
    from gpuslice.measure.shares import Timing, measure_copies

    watched, shares = measure_copies(
        card,
        asked.command,
        asked.counts,
        asked.told,
        mps=asked.mps,
        timing=Timing(warm_up, seconds),
        say=say,
        probe=asked.probe,
    )
    name = asked.name or asked.command[0].rpartition("/")[2]
    return WatchedGpu(name, card.index, card.identity, watched, tuple(shares))


def _watch(card: Card, asked: _Asked, seconds: float) -> WatchedGpu:
    """A process that runs already, and its session."""
    from gpuslice.measure.copies import in_session
    from gpuslice.measure.gpu import watch

    name = asked.name or f"pid-{asked.pid}"
    leader = frozenset({_session(asked.pid)})
    watched = watch(
        card,
        seconds,
        ours=lambda pid: pid == asked.pid or in_session(pid, leader),
        ended=lambda: not in_session(asked.pid, leader),
        name=name,
    )
    return WatchedGpu(name, card.index, card.identity, watched)


def _session(pid: int) -> int:
    import os

    try:
        return os.getsid(pid)
    except (ProcessLookupError, PermissionError):
        raise InputError(
            f"no process {pid} is there", where="--pid", fix="see nvidia-smi for those on the GPU"
        ) from None


def _workloads(file: str, name: str, load: Load | None) -> Mapping[str, Workload]:
    """The workloads of the file, by name, before anything is run for minutes that couldn't be written then."""
    from gpuslice.errors import nearest
    from gpuslice.workloads.artefact import read_workloads

    workloads = {workload.name: workload for workload in read_workloads(file, accept_assumed=True).workloads}
    if name not in workloads:
        raise InputError(
            f"{name[:80]!r} is not in {file}",
            where="--workload",
            fix=nearest(name, list(workloads)) or "name a workload of the file, as namespace/name",
        )
    if load is not None and workloads[name].service is not None:
        raise InputError(
            f"{name} is a service already", where="--demand", fix="leave out --demand and --slo-ms"
        )
    return workloads


def _load(demand: str, slo_ms: float) -> Load | None:
    from gpuslice.measure.profiles import Load

    if not demand and not slo_ms:
        return None
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*(\S.*)", demand)
    if match is None or not slo_ms:
        raise InputError(
            "--demand and --slo-ms go together", fix='write --demand "800 requests/s" --slo-ms 200'
        )
    return Load(float(match[1]), match[2].strip(), slo_ms)


def _progress(pattern: str, counter_file: str) -> Progress:
    from gpuslice.measure.copies import Progress

    if pattern and counter_file:
        raise InputError("--progress and --counter-file were both given", fix="choose one")
    try:
        return Progress(re.compile(pattern) if pattern else None, counter_file)
    except re.error as error:
        raise InputError(
            f"can't be read: {error}", where="--progress", fix="write a regular expression"
        ) from None


def _copies(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not all(part.isdigit() and 1 <= int(part) <= _MOST_COPIES for part in parts if len(part) < 4):
        raise InputError(f"{text[:40]!r} are no numbers of copies", where="--copies", fix="write 1,2,4,8")
    if any(len(part) >= 4 for part in parts):
        raise InputError(f"{text[:40]!r} is too many", where="--copies", fix=f"up to {_MOST_COPIES}")
    return tuple(int(part) for part in parts)
