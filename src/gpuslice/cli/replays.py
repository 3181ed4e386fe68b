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

_FILE_OPTIONS: Final = frozenset({"-f", "--trace", "--catalog", "--prices"})


@dataclass(frozen=True, slots=True)
class Ended:
    """How a cell ended: exit code, simulation.json, and what it said."""

    code: int
    out: str
    err: str


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
        numbers = {pool.submit(running.replay, each): number for number, each in enumerate(commands)}
        try:
            for each in as_completed(numbers):
                yield numbers[each], each.result()
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
        """No more of them."""
        with self._lock:
            self._ended = True
            for each in self._processes:
                each.terminate()
