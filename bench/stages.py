"""Where planning spends its time: CPU seconds of each stage, on random fleets and, where they are given, public traces.

Run: `python -m bench.stages [WORKLOADS_FILE …]`. Prints a table in Markdown.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, Final

from gpuslice.cloud.allocatable import daemonset_overhead
from gpuslice.cloud.selection import choose
from gpuslice.planner import solve
from gpuslice.planner.bound import columns
from gpuslice.planner.clock import Clock
from gpuslice.planner.homes import search as carried_within
from gpuslice.planner.packing import programme as master
from gpuslice.planner.programs import highs as solver
from gpuslice.planner.settings import Settings
from gpuslice.workloads.sources import read
from tests.random_fleets import fleet

_STAGES: Final[tuple[tuple[str, object, str], ...]] = (
    ("options", solve, "node_options"),
    ("bound", columns.ColumnGeneration, "relax"),
    ("dive", master, "dive"),
    ("both MIPs, beside", solver, "solve_mixed"),
    ("homes, all", carried_within, "realise"),
    ("Karpenter's bill", carried_within, "carried_out"),
    ("verifier", solve, "verify"),
    ("all", solve, "solve"),
)
_FLEETS: Final = ((1, 50), (2, 50), (3, 50), (1, 200))
_SECONDS: Final = 10.0


@contextmanager
def _timed(seconds: dict[str, float], stage: str, place: object, name: str) -> Iterator[None]:
    whole: Callable[..., Any] = getattr(place, name)

    @wraps(whole)
    def stopwatch(*arguments: object, **named: object) -> object:
        start = time.thread_time()
        try:
            return whole(*arguments, **named)
        finally:
            seconds[stage] += time.thread_time() - start

    setattr(place, name, stopwatch)
    try:
        yield
    finally:
        setattr(place, name, whole)


def stages(path: str) -> dict[str, float]:
    """CPU seconds by stage of planning for a workloads file."""
    workloads = read(path, at="now", accept_assumed=False, region="us-east-1")
    catalog, settings = choose("", workloads.region), Settings(daemonset_overhead())
    seconds: dict[str, float] = defaultdict(float)
    with ExitStack() as stack:
        for each in _STAGES:
            stack.enter_context(_timed(seconds, *each))
        solve.solve(workloads.workloads, catalog, settings, clock=Clock(_SECONDS))
    return seconds


def main(files: list[str]) -> None:
    """Print the table."""
    names = [name for name, _, _ in _STAGES]
    print("| what | " + " | ".join(names) + " |")
    print("|---|" + "--:|" * len(names))
    with tempfile.TemporaryDirectory() as folder:
        listed = [(Path(each).name.split(".")[0], each) for each in files]
        for seed, size in _FLEETS:
            path = Path(folder) / f"{seed}-{size}.yaml"
            path.write_text(fleet(seed, size, tenants=5 if size >= 200 else 4))
            listed.append((f"random fleet {seed} of {size}", str(path)))
        for name, given in listed:
            seconds = stages(given)
            print(f"| {name} | " + " | ".join(f"{seconds[each]:.2f}" for each in names) + " |")


if __name__ == "__main__":
    main(sys.argv[1:])
