"""The errors that a user can act on: raised once where they are found, shown once by the CLI.

Each class carries its exit code: 1 the answer is no, 2 bad usage or input, 3 the environment failed.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class GpusliceError(Exception):
    """What went wrong, where, and what to do, in one or two lines.

    Attributes:
        message: what was found, without a final full stop.
        where: file, and path of the field inside it, as far as known.
        fix: what to do about it.
    """

    exit_code = 2

    def __init__(self, message: str, *, where: str = "", fix: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.fix = fix

    def __str__(self) -> str:
        head = f"{self.where}: {self.message}" if self.where else self.message
        return f"{head}\n{self.fix}" if self.fix else head

    def inside(self, where: str) -> GpusliceError:
        """The error as it is seen from one level further out (a file, a parent field)."""
        joined = f"{where}{self.where}" if self.where[:1] in {"[", "."} else f"{where}: {self.where}"
        return type(self)(self.message, where=joined if self.where else where, fix=self.fix)


class InputError(GpusliceError):
    """A file, a flag or a value that the tool can't accept. Exit code 2."""


class AnswerIsNoError(GpusliceError):
    """The question was understood and the answer is no (infeasible, unhealthy, differs). Exit code 1."""

    exit_code = 1


class EnvironmentFailedError(GpusliceError):
    """A service, the network or the file system failed. Exit code 3."""

    exit_code = 3


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint that names the known word most like `word`, or an empty string."""
    # Hostile input may hold words of megabytes, on which difflib takes quadratic time.
    match = difflib.get_close_matches(word[:100], list(known), n=1, cutoff=0.6)
    return f"did you mean {match[0]!r}?" if match else ""
