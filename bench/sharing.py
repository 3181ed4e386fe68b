"""Readings for tests/hardware/sharing_readings.csv: what sharing costs each load, on a GPU of this machine.

python -m bench.sharing --mechanism "mps, no limit of threads" --copies 8 [--loads "encoder, inference;…"]

Needs PyTorch, torchvision and nvidia-ml-py. One copy alone comes first, and what it does then stands in each row.
"""

from __future__ import annotations

import argparse
import csv
import re
import sys
from collections.abc import Iterator
from contextlib import nullcontext

from bench.gpu_loads import LOADS
from gpuslice.measure.copies import Progress, mps_daemon, only, running
from gpuslice.measure.gpu import Watched, model_of
from gpuslice.measure.nvml import Card
from gpuslice.measure.shares import Timing, run

_UNLIMITED = "mps, no limit of threads"
_MECHANISMS = ("time-slicing", "mps", _UNLIMITED)


def main() -> None:
    """Measure, and print rows as they come."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.sharing", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--mechanism", choices=_MECHANISMS, required=True)
    parser.add_argument("--copies", default="2,4,8", metavar="K,…")
    parser.add_argument("--loads", default=";".join(LOADS), metavar="NAME;…")
    parser.add_argument("--seconds", type=float, default=4)
    options = parser.parse_args()
    card = Card(0)
    out = csv.writer(sys.stdout, lineterminator="\n")
    timing = Timing(2, options.seconds)
    for load in options.loads.split(";"):
        for row in _rows(
            card, load, options.mechanism, [int(each) for each in options.copies.split(",")], timing
        ):
            out.writerow(row)
            sys.stdout.flush()
    card.close()


def _rows(
    card: Card, load: str, mechanism: str, copies: list[int], timing: Timing
) -> Iterator[tuple[object, ...]]:
    gpu = model_of(card)
    name = "" if gpu is None else gpu.name
    alone, rate = _measured(card, load, 1, mechanism, timing)
    again, second = _measured(card, load, 1, mechanism, timing)
    if second > rate:  # what the host holds up varies: the faster of two
        alone, rate = again, second
    seen = alone.readings
    did = [round(each or 0.0, 4) for each in (seen.mean_duty, seen.sm, seen.tensor, seen.dram)]
    for count in copies:
        _, together = _measured(card, load, count, mechanism, timing)
        slowdown = round(rate / together, 3)
        yield name, mechanism, count, load, "", round(1000 / rate, 3), slowdown, slowdown, *did


def _measured(card: Card, load: str, count: int, mechanism: str, timing: Timing) -> tuple[Watched, float]:
    by_turns = mechanism == "time-slicing" or count == 1
    command = [sys.executable, "-m", "bench.gpu_loads", load]
    progress = Progress(re.compile(r"step (\d+)"))
    with nullcontext(only(card.index)) if by_turns else mps_daemon(card.index) as environment:
        limited = (
            {"CUDA_MPS_ACTIVE_THREAD_PERCENTAGE": str(100 // count)}
            if mechanism == "mps" and count > 1
            else {}
        )
        with running(command, count, progress, {**environment, **limited}) as found:
            watched, rates = run(card, found, timing)
    return watched, sum(each for each in rates if each is not None) / count


if __name__ == "__main__":
    main()
