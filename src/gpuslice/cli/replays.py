"""The cells of a sweep as processes of this machine: `gpuslice simulate`, some at once."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gpuslice.cli.interruption import INTERRUPTED

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from gpuslice.cli.replay import Replay

_FILE_OPTIONS: Final = frozenset({"-f", "--trace", "--catalog", "--prices"})
_OPTIONS: Final = {
    "trace": "--trace",
    "today": "--today",
    "days": "--days",
    "catalog": "--catalog",
    "overhead": "--overhead",
    "consolidate_after": "--consolidate-after",
    "boot": "--boot",
    "stack": "--stack",
    "time_limit": "--time-limit",
    "policies": "--policies",
    "seed": "--seed",
    "allow": "--allow",
    "isolation": "--isolation",
    "prices": "--prices",
    "spot_interruptions": "--spot-interruptions",
}
"""By what is said of a replay, but for its files and assumed needs."""
_NOT_SAID: Final = ("", 0, 0.0)  # as without the option
_ALWAYS_SAID: Final = frozenset({"consolidate_after", "boot", "seed", "time_limit"})


@dataclass(frozen=True, slots=True)
class Ended:
    """How a cell ended: exit code, simulation.json, and what it said."""

    code: int
    out: str
    err: str


def command_of(asked: Replay) -> tuple[str, ...]:
    """Arguments of `gpuslice simulate` that ask for a replay: what a process understands, and a worker of Ray."""
    words = [word for path in asked.files for word in ("-f", path)]
    words += ["--accept-assumed"] * asked.accept_assumed
    for name, option in _OPTIONS.items():
        value = getattr(asked, name)
        if name in _ALWAYS_SAID or value not in _NOT_SAID:
            words += [option, str(value)]
    return tuple(words)


def file_places(command: Sequence[str]) -> list[int]:
    """Where arguments of `gpuslice simulate` name files to read."""
    return [place for place in range(1, len(command)) if command[place - 1] in _FILE_OPTIONS]


def here(commands: Sequence[Sequence[str]], jobs: int) -> Generator[tuple[int, Ended]]:
    """Replay in processes of this machine, and tell which command has ended, in the order in which they do.

    Closing the generator ends those that still run.

    Args:
        commands: arguments of `gpuslice simulate`.
        jobs: processes at once.
    """
    running = _Running()
    with ThreadPoolExecutor(max_workers=jobs) as pool:
        numbers = {pool.submit(running.replay, group): number for number, group in enumerate(commands)}
        try:
            for future in as_completed(numbers):
                yield numbers[future], future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            running.end()


class _Running:
    """The processes that run now."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._processes: set[subprocess.Popen[str]] = set()
        self._ended = False

    def replay(self, command: Sequence[str]) -> Ended:
        """One replay, from start to end."""
        program = [sys.executable, "-m", "gpuslice", "simulate", *command, "-o", "json"]
        with self._lock:
            if self._ended:
                return Ended(INTERRUPTED, "", "")
            process = subprocess.Popen(  # noqa: S603  no shell
                program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
            self._processes.add(process)
        out, err = process.communicate()
        with self._lock:
            self._processes.discard(process)
        return Ended(process.returncode, out, err)

    def end(self) -> None:
        """Stop all that run, and begin no more."""
        with self._lock:
            self._ended = True
            for process in self._processes:
                process.terminate()
