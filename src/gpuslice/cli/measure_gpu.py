"""`gpuslice measure gpu`: run a program on a GPU of this machine, and see what it needs and what sharing costs it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from gpuslice.cli.console import Output, OutputOption, print_data, print_table, print_text, say
from gpuslice.cli.measure import DryRunOption, QuantileOption, need_fields, print_needs, write_into
from gpuslice.errors import InputError

if TYPE_CHECKING:
    from gpuslice.measure.copies import Progress
    from gpuslice.measure.gpu import Share, Watched
    from gpuslice.measure.nvml import Card
    from gpuslice.measure.statistics import Measured

_MOST_COPIES = 48  # the most clients of one MPS server
# Copies that share a GPU can't be faster than one alone: below this, alone was read on a slower moment of the host.
_FASTER_THAN_ALONE = 0.95


def measure_gpu(
    *,
    command: Annotated[
        list[str] | None,
        typer.Argument(metavar="-- COMMAND...", help="The program to run, with its arguments."),
    ] = None,
    pid: Annotated[
        int, typer.Option("--pid", metavar="PID", help="Watch this process, and its session.")
    ] = 0,
    everything: Annotated[bool, typer.Option("--all", help="Watch all that runs on the GPU.")] = False,
    index: Annotated[
        int, typer.Option("--gpu", metavar="N", min=0, help="Which GPU, as NVML numbers them.")
    ] = 0,
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
    file: Annotated[
        str, typer.Option("-f", "--file", metavar="FILE", help="A workloads.yaml to write the need into.")
    ] = "",
    workload: Annotated[
        str, typer.Option("--workload", metavar="NAMESPACE/NAME", help="Whose need it is, in that file.")
    ] = "",
    out: Annotated[str, typer.Option("--out", metavar="FILE", help="Write there; default: into -f.")] = "",
    quantile: QuantileOption = 0.95,
    dry_run: DryRunOption = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Measure on a GPU of this machine: a program of yours, a process, or all that runs there."""
    from gpuslice.measure.nvml import Card

    told = _progress(progress, counter_file)
    counts = _copies(copies)
    if [bool(command), bool(pid), everything].count(True) != 1:
        raise InputError("nothing to measure, or too much", fix="give one of: -- COMMAND, --pid PID, --all")
    if (counts or mps or progress or counter_file) and not command:
        raise InputError(
            "--copies, --mps, --progress and --counter-file are for -- COMMAND", fix="name a program"
        )
    if bool(file) != bool(workload):
        raise InputError("-f and --workload go together", fix="name the file, and whose need it is")
    card = Card(index)
    try:
        watched, shares = _measure(card, command, pid, index, counts, told, (warm_up, seconds), mps=mps)
        name = workload or (
            command[0].rpartition("/")[2] if command else f"pid-{pid}" if pid else f"gpu-{index}"
        )
        _report(card, name, watched, shares, mps=mps, quantile=quantile, output=output, everything=everything)
    finally:
        card.close()
    if file:
        from gpuslice.measure.gpu import need_of

        write_into(file, {workload: need_of(watched, quantile=quantile)}, out=out, dry_run=dry_run)


def _measure(
    card: Card,
    command: list[str] | None,
    pid: int,
    index: int,
    counts: tuple[int, ...],
    told: Progress,
    times: tuple[float, float],
    *,
    mps: bool,
) -> tuple[Watched, list[Share]]:
    from gpuslice.measure.copies import in_session
    from gpuslice.measure.gpu import Timing, measure_copies, watch

    if command:
        return measure_copies(card, index, command, counts, told, mps=mps, timing=Timing(*times), say=say)
    if not pid:
        return watch(card, times[1], ours=lambda _: True, name=f"gpu-{index}"), []
    leader = _session(pid)
    return watch(
        card,
        times[1],
        ours=lambda each: each == pid or in_session(each, frozenset({leader})),
        ended=lambda: not in_session(pid, frozenset({leader})),
        name=f"pid-{pid}",
    ), []


def _session(pid: int) -> int:
    import os

    try:
        return os.getsid(pid)
    except (ProcessLookupError, PermissionError):
        raise InputError(
            f"no process {pid} is there", where="--pid", fix="see nvidia-smi for those on the GPU"
        ) from None


def _report(
    card: Card,
    name: str,
    watched: Watched,
    shares: Sequence[Share],
    *,
    mps: bool,
    quantile: float,
    output: Output,
    everything: bool,
) -> None:
    from gpuslice.measure.gpu import need_of

    identity = card.identity
    measured = need_of(watched, quantile=quantile)
    if everything and len(watched.peaks) > 1:
        say("note: the card's counters are sums over all that runs on it; memory is told for each process")
    if output is Output.NAME:
        print_text(name)
        return
    if output is not Output.TABLE:
        print_data(
            {
                "gpu": {"name": identity.name, "driver": identity.driver, "memoryMiB": identity.total_mib},
                "need": need_fields(name, measured),
                "processes": [{"pid": pid, "memoryMiB": peak} for pid, peak in sorted(watched.peaks.items())],
                **(
                    {"profiles": _profiles(measured, shares, mps=mps), "sharing": _sharing(shares)}
                    if shares
                    else {}
                ),
            },
            output,
        )
        return
    print_needs({name: measured}, output)
    if len(watched.peaks) > 1 or everything:
        print_table(("pid", "memory"), ((pid, f"{peak}Mi") for pid, peak in sorted(watched.peaks.items())))
    if len(shares) > 1:
        print_table(
            ("copies", "slowdown", "expected", "throughput", "rate of each", "memory of each"),
            (
                (
                    each.copies,
                    _figure(each.slowdown, "x"),
                    _figure(each.expected, "x"),
                    _figure(each.throughput, "x"),
                    _figure(each.rate, "/s"),
                    None if each.memory_mib is None else f"{each.memory_mib}Mi",
                )
                for each in shares
            ),
            right=("copies", "slowdown", "expected", "throughput", "rate of each", "memory of each"),
        )
    if any(each.slowdown is not None and each.slowdown < _FASTER_THAN_ALONE for each in shares):
        say(
            "note: copies ran faster than one alone, so what holds this program up varies from run to run: "
            "these figures say little. Measure longer, with --seconds and --warm-up"
        )
    say(f"on {identity.name}, driver {identity.driver}")


def _profiles(measured: Measured, shares: Sequence[Share], *, mps: bool) -> list[dict[str, object]]:
    """Rows for a service's `profiles` in workloads.yaml: one replica in one slice, its neighbours as busy as it is."""
    if measured.on is None:
        return []
    return [
        {
            "slice": f"{measured.on}/whole"
            if each.copies == 1
            else f"{measured.on}/{'mps' if mps else 'time-slicing'}/{each.copies}",
            "rate": round(each.rate, 3),
            "latencyMs": round(1000 / each.rate, 3),
        }
        for each in shares
        if each.rate
    ]


def _sharing(shares: Sequence[Share]) -> list[dict[str, object]]:
    return [
        {
            "copies": each.copies,
            "slowdown": each.slowdown,
            "expected": each.expected,
            "throughput": each.throughput,
            "memoryMiB": each.memory_mib,
        }
        for each in shares
    ]


def _figure(value: float | None, unit: str) -> str | None:
    return None if value is None else f"{value:.3g}{unit}"


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
