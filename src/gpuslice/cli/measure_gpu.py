"""`gpuslice measure gpu`: run a program on a GPU of this machine, and see what it needs and what sharing costs it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated

import typer

from gpuslice.cli.console import Output, OutputOption, say
from gpuslice.cli.gpu_report import Found, report
from gpuslice.cli.measure import DryRunOption, QuantileOption, refuse_stdin, write_into
from gpuslice.errors import InputError

if TYPE_CHECKING:
    from gpuslice.measure.copies import Progress
    from gpuslice.measure.gpu import Watched
    from gpuslice.measure.nvml import Card
    from gpuslice.measure.profiles import Load
    from gpuslice.measure.shares import Share, Timing
    from gpuslice.workloads.model import Workload

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
    from gpuslice.measure.gpu import need_of
    from gpuslice.measure.nvml import Card, count_cards
    from gpuslice.measure.profiles import profiles_of, write_profiles
    from gpuslice.measure.shares import Timing

    told = _progress(progress, counter_file)
    counts = _copies(copies)
    if [bool(command), bool(pid), everything].count(True) != 1:
        raise InputError("nothing to measure, or too much", fix="give one of: -- COMMAND, --pid PID, --all")
    if (counts or mps or progress or counter_file) and not command:
        raise InputError(
            "--copies, --mps, --progress and --counter-file are for -- COMMAND", fix="name a program"
        )
    if probe and (not counts or progress or counter_file):
        raise InputError(
            "--probe is timed in place of a program of which --copies run and that tells no progress",
            fix="give --copies, and neither --progress nor --counter-file",
        )
    if bool(file) != bool(workload):
        raise InputError("-f and --workload go together", fix="name the file, and whose need it is")
    if file and everything and index is None:
        raise InputError("-f takes the need of one GPU's programs", fix="name it: --gpu N")
    refuse_stdin(file)
    load = _load(demand, slo_ms)
    workloads = _workloads(file, workload, load) if file else {}
    with ExitStack() as opened:
        indices = range(count_cards()) if everything and index is None else (index or 0,)
        cards = [Card(each) for each in indices]
        for each in cards:
            opened.callback(each.close)
        found = _measure(
            cards, command, pid, counts, told, Timing(warm_up, seconds), mps=mps, probe=probe, name=workload
        )
    profiles = profiles_of(found[0].watched.readings.model, found[0].shares, mps=mps, batch=batch)
    if len(found[0].shares) <= 1 or not (progress or counter_file):
        profiles = []
    report(found, profiles, quantile=quantile, output=output, everything=everything)
    if not file:
        return

    def further(text: str) -> str:
        if not profiles:
            return text
        if workloads[workload].service is None and load is None:
            say(
                f"note: {workload} is no service, so its profiles are not written; --demand and --slo-ms make it one"
            )
            return text
        say(f"{len(profiles)} profiles of {workload}")
        return write_profiles(text, file, workload, workloads, profiles, load)

    need = need_of(found[0].watched, quantile=quantile)
    write_into(file, {workload: need}, out=out, dry_run=dry_run, output=output, further=further)


def _measure(
    cards: Sequence[Card],
    command: list[str] | None,
    pid: int,
    counts: tuple[int, ...],
    told: Progress,
    timing: Timing,
    *,
    mps: bool,
    probe: bool,
    name: str,
) -> list[Found]:
    from gpuslice.measure.copies import in_session
    from gpuslice.measure.gpu import watch, watch_all
    from gpuslice.measure.shares import measure_copies

    card = cards[0]
    shares: list[Share] = []
    if command:
        name = name or command[0].rpartition("/")[2]
        watched, shares = measure_copies(
            card, command, counts, told, mps=mps, timing=timing, say=say, probe=probe
        )
    elif pid:
        name = name or f"pid-{pid}"
        leader = frozenset({_session(pid)})
        watched = watch(
            card,
            timing.seconds,
            ours=lambda each: each == pid or in_session(each, leader),
            ended=lambda: not in_session(pid, leader),
            name=name,
        )
    else:
        seen: list[Watched] = watch_all(cards, timing.seconds)
        return [
            Found(name or f"gpu-{each.index}", each.index, each.identity, watched)
            for each, watched in zip(cards, seen, strict=True)
        ]
    return [Found(name, card.index, card.identity, watched, tuple(shares))]


def _session(pid: int) -> int:
    import os

    try:
        return os.getsid(pid)
    except (ProcessLookupError, PermissionError):
        raise InputError(
            f"no process {pid} is there", where="--pid", fix="see nvidia-smi for those on the GPU"
        ) from None


def _workloads(file: str, name: str, load: Load | None) -> Mapping[str, Workload]:
    """Those of the file, before anything is run for minutes that couldn't be written then."""
    from gpuslice.errors import nearest
    from gpuslice.workloads.artefact import read_workloads

    found = {each.name: each for each in read_workloads(file, accept_assumed=True).workloads}
    if name not in found:
        raise InputError(
            f"{name[:80]!r} is not in {file}",
            where="--workload",
            fix=nearest(name, list(found)) or "name a workload of the file, as namespace/name",
        )
    if load is not None and found[name].service is not None:
        raise InputError(
            f"{name} is a service already", where="--demand", fix="leave out --demand and --slo-ms"
        )
    return found


def _load(demand: str, slo_ms: float) -> Load | None:
    from gpuslice.measure.profiles import Load

    if not demand and not slo_ms:
        return None
    found = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*(\S.*)", demand)
    if found is None or not slo_ms:
        raise InputError(
            "--demand and --slo-ms go together", fix='write --demand "800 requests/s" --slo-ms 200'
        )
    return Load(float(found[1]), found[2].strip(), slo_ms)


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
    parts = [each.strip() for each in text.split(",") if each.strip()]
    if not all(each.isdigit() and 1 <= int(each) <= _MOST_COPIES for each in parts if len(each) < 4):
        raise InputError(f"{text[:40]!r} are no numbers of copies", where="--copies", fix="write 1,2,4,8")
    if any(len(each) >= 4 for each in parts):
        raise InputError(f"{text[:40]!r} is too many", where="--copies", fix=f"up to {_MOST_COPIES}")
    return tuple(int(each) for each in parts)
