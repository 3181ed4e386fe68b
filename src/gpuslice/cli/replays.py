"""The cells of a sweep as processes of this machine: `gpuslice simulate`, some at once."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

FILE_OPTIONS: Final = frozenset({"-f", "--trace", "--catalog", "--prices"})
"""Options of `gpuslice simulate` that name a file to read."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a cell ended: exit code, simulation.json, and what it said."""

    code: int
    out: str
    err: str


def here(commands: Sequence[Sequence[str]], jobs: int) -> Generator[tuple[int, Ended]]:
    """Replay in processes of this machine, and tell which command has ended, in the order in which they do.

    Args:
        commands: arguments of `gpuslice simulate`.
        jobs: processes at once.
    """
    with ThreadPoolExecutor(max_workers=jobs) as pool:
        numbers = {pool.submit(_replay, each): number for number, each in enumerate(commands)}
        try:
            for each in as_completed(numbers):
                yield numbers[each], each.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _replay(command: Sequence[str]) -> Ended:
    program = [sys.executable, "-m", "gpuslice", "simulate", *command, "-o", "json"]
    ended = subprocess.run(program, capture_output=True, text=True, check=False)  # noqa: S603  no shell
    return Ended(ended.returncode, ended.stdout, ended.stderr)
