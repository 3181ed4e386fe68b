"""What else it could cost: now, the plan, the cheapest packing, the proven least, and the simple ways to share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from msgspec import UNSET

from gpuslice.plan.comparison import A_CENT, STAYING, comparison, now_in_words, spread_in_words, whole_gpus

if TYPE_CHECKING:
    from gpuslice.plan.artefact import Summary
    from gpuslice.plan.comparison import Comparison

Kind = Literal["before", "planned", "bound", "other"]


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

    kind: Kind
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
        before: what the plan is put beside, and what it saves; None where nothing is known.
        left: planned less the proven least: the most that any plan within the rules could still save.
    """

    steps: tuple[Step, ...]
    before: Comparison | None
    left: float


def ladder(summary: Summary) -> Ladder:
    """The bills of a plan's summary."""
    planned, bound = summary.usd_per_hour, summary.bound_usd_per_hour
    now, whole = summary.now, whole_gpus(summary)
    rows: list[tuple[Kind, str, str, float, int]] = []
    hypothetical: list[tuple[Kind, str, str, float, int]] = []
    if whole is not None:
        kind: Kind = "before" if now is UNSET else "other"
        hypothetical.append(
            (kind, "Whole GPUs", f"hypothetical: {whole.note}", whole.usd_per_hour, whole.misfits)
        )
    if now is UNSET:
        rows, hypothetical = hypothetical, rows
    else:
        rows.append(("before", "Now", now_in_words(now), now.usd_per_hour, 0))
    rows.append(("planned", "Planned", "the nodes drawn below", planned, 0))
    if now is not UNSET and now.staying_usd_per_hour:
        rows.append(("other", "Left as it is", STAYING, now.staying_usd_per_hour, 0))
    spread = summary.spread
    if spread is not UNSET and spread.highest - spread.lowest >= A_CENT / 2:
        rows.append(("other", "On average", spread_in_words(spread), spread.mean, 0))
    if planned - summary.optimal_usd_per_hour >= A_CENT / 2:
        words = "if any replica could go to any pool, and Karpenter packed as we do"
        rows.append(("other", "Cheapest packing", words, summary.optimal_usd_per_hour, 0))
    words = "nothing within the rules costs less" if bound or not planned else "nothing is proven"
    rows.append(("bound", "Proven least", words, bound, 0))
    rows += hypothetical
    rows += [
        ("other", baseline.name, baseline.note, baseline.usd_per_hour, baseline.misfits)
        for baseline in summary.baselines
        if baseline is not whole
    ]
    most = max(row[3] for row in rows) or 1.0
    steps = tuple(Step(kind, name, note, usd, usd / most, misfits) for kind, name, note, usd, misfits in rows)
    return Ladder(steps, comparison(summary), max(planned - bound, 0.0))
