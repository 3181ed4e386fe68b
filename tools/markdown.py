"""Markdown for the generated pages of the reference."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

_MARK: Final = "<!-- Made from the code by `make reference`. Changes belong in the code or in tools/. -->"


def page(title: str, *parts: str) -> str:
    """A page: mark, title, then the parts with a blank line between them."""
    return "\n\n".join([_MARK, f"# {title}", *(part.strip("\n") for part in parts if part)]) + "\n"


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, right: Iterable[str] = ()) -> str:
    """A table.

    Args:
        columns: headings.
        rows: one cell a column; None is an empty cell.
        right: headings of the columns to align right (numbers).
    """
    aligned = set(right)
    lines = [_row(columns), _row(["--:" if each in aligned else "---" for each in columns])]
    lines += [_row(["" if cell is None else str(cell) for cell in row]) for row in rows]
    return "\n".join(lines)


def code(text: object) -> str:
    """Text as code; empty text stays empty."""
    return f"`{text}`" if str(text) else ""


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"
