"""How a piece of somebody's file is shown in a message: short, and harmless to a terminal."""

from __future__ import annotations

from typing import Final

_LONGEST: Final = 60
_LARGEST: Final = 10**40  # Python refuses to print integers of thousands of digits


def shorten(text: str) -> str:
    """The text itself, or its beginning with "..."; escaped where it holds control characters."""
    short = text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."
    return short if short.isprintable() else repr(short)[1:-1]


def quoted(text: str) -> str:
    """The text in quotes, or its beginning with "..."; control characters escaped."""
    return repr(text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "...")


def shown(value: object) -> str:
    """Any plain value, as its file has it: 'text', 12, true, null, "a list of 3", "a mapping"."""
    match value:
        case str():
            return quoted(value)
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int() if abs(value) >= _LARGEST:
            return "a huge number"
        case int() | float():
            return repr(value)
        case list() | tuple():
            return f"a list of {len(value)}" if value else "an empty list"
        case dict():
            return "a mapping" if value else "an empty mapping"
        case _:
            return shorten(type(value).__name__)
