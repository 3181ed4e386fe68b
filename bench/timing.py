"""Whole processes, timed: from start to exit, as a user waits for them."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
PROGRAM: Final = Path(sys.executable).with_name("gpuslice")
_PACKAGES: Final = ("gpuslice", "highspy", "numpy", "msgspec", "typer")


@dataclass(frozen=True)
class Timing:
    """One command, run several times with a warm disk.

    Attributes:
        name: for the table.
        command: as a person would write it.
        seconds: of each run.
        exit_code: of the last run.
        stdout: of the last run.
    """

    name: str
    command: str
    seconds: tuple[float, ...]
    exit_code: int
    stdout: str

    @property
    def spread(self) -> tuple[float, float, float]:
        """Least, median and most seconds."""
        return min(self.seconds), median(self.seconds), max(self.seconds)


def timed(name: str, command: Sequence[str | Path], *, repeat: int, shown: str = "") -> Timing:
    """Run a command once to warm the disk, if it is run several times, and then time it.

    Args:
        name: for the table.
        command: program and arguments, run in the root of the repository.
        repeat: timed runs.
        shown: the command as a person would write it, where that is shorter.
    """
    seconds = []
    environment = {**os.environ, "NO_COLOR": "1"}
    for turn in range(repeat + (repeat > 1)):
        started = time.perf_counter()
        done = subprocess.run(
            [str(each) for each in command],
            cwd=ROOT,
            env=environment,
            check=False,
            capture_output=True,
            text=True,
        )
        if turn or repeat == 1:
            seconds.append(time.perf_counter() - started)
    words = shown or " ".join(["gpuslice", *(str(each) for each in command[1:])])
    return Timing(name, words, tuple(seconds), done.returncode, done.stdout)


def machine() -> dict[str, object]:
    """What the figures depend on besides the code."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "loadBefore": round(os.getloadavg()[0], 2),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: version(name) for name in _PACKAGES},
        "commit": _commit(),
    }


def summary_of(timing: Timing) -> dict[str, object]:
    """The summary in the plan that a command printed as JSON; empty where it printed none."""
    try:
        plan: dict[str, Any] = json.loads(timing.stdout)  # plan.yaml's form, made by the command
    except ValueError:
        return {}
    summary: dict[str, object] = plan["summary"]
    return summary | {
        "workloads": len({each["workload"] for each in plan["assignments"]}),
        "pods": sum(each["replicas"] for each in plan["assignments"]),
        "unplaced": len(plan.get("unplaced", [])),
    }


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown"
    )


def _commit() -> str:
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, check=False, capture_output=True, text=True
    )
    return done.stdout.strip() or "unknown"
