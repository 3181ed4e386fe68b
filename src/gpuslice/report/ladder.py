"""What else it could cost: today, the plan, the cheapest packing, the proven least, and the simple ways to share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from gpuslice.plan.tutorials import WHOLE_GPUS

if TYPE_CHECKING:
    from gpuslice.plan.artefact import Summary


@dataclass(frozen=True, slots=True)
class Step:
    """One bill beside the others.

    Attributes:
        kind: decides its colour.
        name, note: in words.
        usd_per_hour: what it comes to.
        share: of the largest bill shown.
        misfits: workloads for which it is wrong.
    """

    kind: Literal["today", "planned", "bound", "other"]
    name: str
    note: str
    usd_per_hour: float
    share: float
    misfits: int = 0


@dataclass(frozen=True, slots=True)
class Ladder:
    """The bills, and what follows from them.

    Attributes:
        steps: in the order in which they are read.
        today: dollars an hour; None where the plan doesn't say.
        saved: today less planned.
        left: planned less the proven least: the most that any plan within the rules could still save.
    """

    steps: tuple[Step, ...]
    today: float | None
    saved: float | None
    left: float


def ladder(summary: Summary) -> Ladder:
    """The bills of a plan's summary."""
    planned, bound = summary.usd_per_hour, summary.bound_usd_per_hour
    today = next((baseline for baseline in summary.baselines if baseline.name == WHOLE_GPUS), None)
    rows: list[tuple[Literal["today", "planned", "bound", "other"], str, str, float, int]] = []
    if today is not None:
        rows.append(("today", "Today", today.note, today.usd_per_hour, today.misfits))
    rows.append(("planned", "Planned", "the nodes drawn below", planned, 0))
    if planned - summary.optimal_usd_per_hour >= 0.005:
        words = "if any replica could go to any pool, and Karpenter packed as we do"
        rows.append(("other", "Cheapest packing", words, summary.optimal_usd_per_hour, 0))
    rows.append(("bound", "Proven least", "nothing within the rules costs less", bound, 0))
    rows += [
        ("other", baseline.name, baseline.note, baseline.usd_per_hour, baseline.misfits)
        for baseline in summary.baselines
        if baseline.name != WHOLE_GPUS
    ]
    most = max(row[3] for row in rows) or 1.0
    steps = tuple(Step(kind, name, note, usd, usd / most, misfits) for kind, name, note, usd, misfits in rows)
    before = None if today is None else today.usd_per_hour
    return Ladder(steps, before, None if before is None else before - planned, max(planned - bound, 0.0))
