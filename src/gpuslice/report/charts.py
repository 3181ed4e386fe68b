"""A replay over time, policy against policy: lines in a box of 1000 by 100, drawn by what is highest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuslice.simulator.result import Outcome

WIDTH: Final = 1000
HEIGHT: Final = 100


@dataclass(frozen=True, slots=True)
class Chart:
    """One quantity over time.

    Attributes:
        title: of it.
        most: the value at the upper edge.
        lines: a path for each policy, in their order.
        words: what it shows, for those who can't see it.
    """

    title: str
    most: float
    lines: tuple[str, ...]
    words: str


def charts(outcomes: Sequence[Outcome]) -> tuple[Chart, ...]:
    """Cost, GPUs and waiting pods over time."""
    return (
        _chart("Dollars an hour", [(outcome.name, outcome.over_time.usd_per_hour) for outcome in outcomes]),
        _chart("GPUs", [(outcome.name, outcome.over_time.gpus) for outcome in outcomes]),
        _chart("Pods that wait", [(outcome.name, outcome.over_time.pending) for outcome in outcomes]),
    )


def _chart(title: str, series: Sequence[tuple[str, Sequence[float]]]) -> Chart:
    most = max((value for _, values in series for value in values), default=0.0)
    words = "; ".join(
        f"{name}: {sum(values) / max(len(values), 1):,.1f} on average, {max(values, default=0.0):,.1f} at most"
        for name, values in series
    )
    return Chart(title, most, tuple(_line(values, most or 1.0) for _, values in series), f"{title}. {words}.")


def _line(values: Sequence[float], most: float) -> str:
    """A path in steps: each mean holds for the whole of its bin."""
    step = WIDTH / max(len(values), 1)
    parts = []
    before = None
    for index, value in enumerate(values):
        y = f"{HEIGHT - value / most * HEIGHT:.1f}"
        x = f"{index * step:.1f}"
        if before is None:
            parts.append(f"M{x} {y}")
        elif y != before:
            parts.append(f"H{x}V{y}")
        before = y
    return "".join(parts) + (f"H{WIDTH}" if parts else "")


def moments(seconds: int) -> tuple[str, ...]:
    """Five labels for the time axis."""
    unit, word = (86_400, "days") if seconds > 3 * 86_400 else (3600, "hours")
    return tuple(f"{seconds * part / 4 / unit:,.0f}" + (f" {word}" if part == 4 else "") for part in range(5))
