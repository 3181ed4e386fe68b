"""Lengths and dates as people and Prometheus write them."""

from __future__ import annotations

import datetime as dt
import re
import time
from typing import Final

from gpuslice.errors import InputError

_UNITS: Final = {"m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_LENGTH: Final = re.compile(r"([0-9]{1,6})([mhdw])")
_LONGEST: Final = 400 * 86_400
_SHORTEST: Final = 600


def parse_length(text: str, *, field: str) -> int:
    """A length of time such as 14d, in seconds.

    Raises:
        InputError: no length, below ten minutes, or beyond 400 days.
    """
    match = _LENGTH.fullmatch(text.strip())
    if match is None:
        raise InputError(f"{field} {text[:40]!r} is no length of time", fix='write "14d", "36h" or "90m"')
    seconds = int(match[1]) * _UNITS[match[2]]
    if not _SHORTEST <= seconds <= _LONGEST:
        raise InputError(
            f"{field} {text} is outside 10m to 400d", fix='"14d" has every hour of the week twice'
        )
    return seconds


def parse_date(text: str, *, field: str) -> int:
    """A date of RFC 3339 as seconds since 1970; empty: now.

    Raises:
        InputError: no date.
    """
    if not text:
        return int(time.time())
    try:
        date = dt.datetime.fromisoformat(text)
    except ValueError:
        raise InputError(f"{field} {text[:40]!r} is no date", fix='write "2026-11-01T00:00:00Z"') from None
    return int((date if date.tzinfo else date.replace(tzinfo=dt.UTC)).timestamp())


def utc(seconds: float) -> str:
    """Seconds since 1970 as "2026-11-01T00:00:00Z"."""
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
