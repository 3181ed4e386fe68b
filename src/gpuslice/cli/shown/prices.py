"""That prices are old, where they are: a plan by them may not be the cheapest any more."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Final

from gpuslice.cli.console import say

OLD_DAYS: Final = 60
"""EC2 changes on-demand prices of GPUs a few times a year, and adds types about as often."""


def say_old_prices(prices: str) -> None:
    """A note on stderr where prices are older than that.

    Args:
        prices: their day, as a catalog has it; what is no day says nothing.
    """
    try:
        age = (_day() - date.fromisoformat(prices)).days
    except ValueError:
        return
    if age > OLD_DAYS:
        say(f"note: prices are of {prices}, {age} days ago: `gpuslice catalog refresh` reads those of today")


def _day() -> date:
    return datetime.now(UTC).date()
