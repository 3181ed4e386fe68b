"""A CSV file, plain or packed by gzip, read row by row; what can't be used is counted, with the lines of the first."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from gpuslice.errors import InputError

_LARGEST: Final = 1024 * 1024 * 1024  # unpacked bytes
_LINES_SHOWN: Final = 5


@dataclass(slots=True)
class Bad:
    """Rows that can't be used: how many, and where the first are."""

    count: int = 0
    lines: list[int] = field(default_factory=list)

    def add(self, line: int) -> None:
        """Count one more line that was skipped."""
        self.count += 1
        if len(self.lines) < _LINES_SHOWN:
            self.lines.append(line)

    def note(self, what: str) -> str:
        """How many of what were skipped, and the lines of the first."""
        lines = ", ".join(str(line) for line in self.lines) + ", …" * (self.count > len(self.lines))
        return f"skipped: {what}: {self.count:,} (line{'s' * (self.count > 1)} {lines})"


def number(cell: str, digits: int = 9) -> int | None:
    """A cell as a whole number; None where it is none, or longer than so many digits.

    Only 0 to 9: other scripts have digits too, and `int` refuses some that `isdigit` takes.
    """
    return int(cell) if cell.isascii() and cell.isdigit() and len(cell) <= digits else None


class Rows:
    """A CSV file: its header, then its rows with their line numbers."""

    def __init__(self, path: str, text: str | None = None) -> None:
        """Begin to read.

        Args:
            path: of the file.
            text: of the file, where it has been read already.

        Raises:
            InputError: the file can't be read, or is no text.
        """
        self.path = path
        self.bad = Bad()
        self._reader = csv.reader(io.StringIO(read_text(path) if text is None else text, newline=""))
        self.header = tuple(cell.strip() for cell in self._next() or ())

    def __iter__(self) -> Iterator[tuple[int, list[str]]]:
        """Rows as wide as the header; others are counted."""
        width = len(self.header)
        while (row := self._next()) is not None:
            if len(row) == width:
                yield self._reader.line_num, row
            elif row:
                self.bad.add(self._reader.line_num)

    def _next(self) -> list[str] | None:
        try:
            return next(self._reader, None)
        except csv.Error as error:
            raise InputError(
                f"is no CSV: {error}", where=f"{self.path}:{self._reader.line_num}", fix="name a trace"
            ) from error


def read_text(path: str) -> str:
    """A file of text in UTF-8, plain or packed by gzip.

    Raises:
        InputError: it can't be read or unpacked, is too large, or no text.
    """
    try:
        with Path(path).open("rb") as file:
            content = file.read(_LARGEST + 1)
        if content.startswith(b"\x1f\x8b"):
            with gzip.open(io.BytesIO(content)) as unpacked:
                content = unpacked.read(_LARGEST + 1)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError("is damaged: it can't be unpacked", where=path, fix="fetch it again") from error
    except OSError as error:
        raise InputError(
            f"can't be read: {error.strerror or error}", where=path, fix="name a trace file"
        ) from error
    if len(content) > _LARGEST:
        raise InputError("is beyond 1 GiB", where=path, fix="cut it")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            "is no text in UTF-8", where=path, fix="name a CSV file, or one packed by gzip"
        ) from error
