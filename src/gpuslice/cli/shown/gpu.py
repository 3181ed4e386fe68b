"""What `gpuslice measure gpu` prints of what it found: needs, processes, what sharing costs, profiles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gpuslice.cli.console import Output, print_data, print_names, print_table, say
from gpuslice.cli.shown.needs import need_fields, print_needs

if TYPE_CHECKING:
    from gpuslice.measure.gpu import Watched
    from gpuslice.measure.nvml import Identity
    from gpuslice.measure.shares import Share
    from gpuslice.measure.statistics import Measured
    from gpuslice.workloads.model import ServiceProfile

# Copies that share a GPU can't be faster than one alone: below this, alone was read on a slower moment of the host.
_FASTER_THAN_ALONE = 0.95


@dataclass(frozen=True, slots=True)
class WatchedGpu:
    """What was seen of one GPU.

    Attributes:
        name: of what was watched.
        index: of the GPU.
        identity: of the GPU.
        watched: alone, or all together.
        shares: what copies came to; empty: none were asked for.
    """

    name: str
    index: int
    identity: Identity
    watched: Watched
    shares: tuple[Share, ...] = ()


def print_watched(
    gpus: Sequence[WatchedGpu],
    profiles: Sequence[ServiceProfile],
    *,
    quantile: float,
    output: Output,
    everything: bool,
) -> None:
    """Print it: a table, or one document; a list of GPUs where all of them were watched."""
    from gpuslice.measure.gpu import need_of

    needs = {gpu.name: need_of(gpu.watched, quantile=quantile) for gpu in gpus}
    if everything and any(len(gpu.watched.peaks) > 1 for gpu in gpus):
        say("note: a card's counters are sums over all that runs on it; memory is told for each process")
    match output:
        case Output.NAME:
            print_names(needs)
        case Output.TABLE:
            print_needs(needs, output)
            _tables(gpus, everything=everything)
        case _:
            documents = [_document(gpu, needs[gpu.name], profiles, everything=everything) for gpu in gpus]
            print_data({"gpus": documents} if everything else documents[0], output)


def _tables(gpus: Sequence[WatchedGpu], *, everything: bool) -> None:
    most = max(len(gpu.watched.peaks) for gpu in gpus)
    if most > (0 if everything else 1):
        print_table(
            ("gpu", "pid", "memory", "program"),
            (
                (gpu.index, pid, f"{peak}Mi", program_of(pid))
                for gpu in gpus
                for pid, peak in sorted(gpu.watched.peaks.items())
            ),
            right=("gpu", "pid", "memory"),
        )
    shares = gpus[0].shares
    if len(shares) > 1:
        by = "slowdown of a probe" if shares[-1].by_probe else "slowdown"
        right = ("copies", by, "expected", "throughput", "rate of each", "memory of each")
        print_table(
            right,
            (
                (
                    share.copies,
                    _figure(share.slowdown, "x"),
                    _figure(share.expected, "x"),
                    _figure(share.throughput, "x"),
                    _figure(share.rate, "/s"),
                    None if share.memory_mib is None else f"{share.memory_mib}Mi",
                )
                for share in shares
            ),
            right=right,
        )
    if len(shares) > 1 and shares[-1].by_probe:
        say(
            "note: slowdown and rate are those of a probe as busy as the program, in the place of one copy; "
            "what programs lose to each other by memory bandwidth doesn't show in it"
        )
    if any(share.slowdown is not None and share.slowdown < _FASTER_THAN_ALONE for share in shares):
        say(
            "note: copies ran faster than one alone, so what holds this program up varies from run to run: "
            "these figures say little. Measure longer, with --seconds and --warm-up"
        )
    for name, driver in dict.fromkeys((gpu.identity.name, gpu.identity.driver) for gpu in gpus):
        say(f"on {name}, driver {driver}")


def _document(
    gpu: WatchedGpu, need: Measured, profiles: Sequence[ServiceProfile], *, everything: bool
) -> dict[str, object]:
    from gpuslice.measure.profiles import profile_fields

    identity = gpu.identity
    sharing = {
        "sharing": [
            {
                "copies": share.copies,
                "slowdown": share.slowdown,
                "expected": share.expected,
                "throughput": share.throughput,
                "memoryMiB": share.memory_mib,
                "byProbe": share.by_probe,
            }
            for share in gpu.shares
        ]
    }
    return {
        "gpu": {
            "index": gpu.index,
            "name": identity.name,
            "driver": identity.driver,
            "memoryMiB": identity.total_mib,
        },
        "need": need_fields(gpu.name, need),
        "processes": [
            {"pid": pid, "memoryMiB": peak, "program": program_of(pid)}
            for pid, peak in sorted(gpu.watched.peaks.items())
        ],
        **({"pods": _pods(gpu.watched.pods)} if everything else {}),
        **(sharing if len(gpu.shares) > 1 else {}),
        **({"profiles": [profile_fields(profile) for profile in profiles]} if profiles else {}),
    }


def _pods(memory: Mapping[str, int] | None) -> list[dict[str, object]] | None:
    """What `gpuslice doctor --nvml` reads; None: whose processes they are can't be told from here."""
    if memory is None:
        return None
    return [{"uid": uid, "memoryMiB": peak} for uid, peak in sorted(memory.items())]


def program_of(pid: int) -> str | None:
    """The name of a process's program; None: it is gone, or of another container."""
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def _figure(value: float | None, unit: str) -> str | None:
    return None if value is None else f"{value:.3g}{unit}"
