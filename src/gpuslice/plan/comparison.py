"""What a plan's bill is put beside: what is paid now where that was read, else whole GPUs, and then it says so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from msgspec import UNSET

from gpuslice.plan.tutorials import WHOLE_GPUS

if TYPE_CHECKING:
    from gpuslice.plan.artefact import Baseline, BillSpread, Now, Summary

_NOTHING: Final = 0.001  # of the bill: less is rounding
A_CENT: Final = 0.01
STAYING: Final = "nodes of today that carry pods of whom this plan leaves where they are"


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two bills, dollars an hour.

    Attributes:
        name: of what the plan is put beside: "now" or "whole GPUs".
        before: what that comes to.
        after: what is paid once the plan is carried out: beside `now`, with the nodes that go on.
        on_spot: workloads for which `before` is the on-demand price, and which run on spot or may.
        idle: of `before`, nodes without a pod that has a GPU.
    """

    name: str
    before: float
    after: float
    on_spot: int = 0
    idle: float = 0.0

    @property
    def saved(self) -> float:
        """Dollars an hour; below nothing where the plan costs more."""
        return self.before - self.after

    @property
    def in_words(self) -> str:
        """What the plan saves: "35.4% less than now: $54.67 an hour"."""
        if abs(self.saved) < self.before * _NOTHING:
            return (
                f"as much as {self.name}: slicing saves nothing here, and gpuslice explain tells what binds"
                + self._of_spot
            )
        share = abs(self.saved) / self.before if self.before else 1.0
        words = f"{share:.1%} {'less' if self.saved > 0 else 'more'} than {self.name}: ${abs(self.saved):,.2f} an hour"
        if self.idle >= A_CENT and self.saved > 0:
            words += f", ${min(self.idle, self.saved):,.2f} of it for nodes without a GPU pod"
        return words + self._of_spot

    @property
    def _of_spot(self) -> str:
        """That `before` isn't what is paid by workloads on spot; empty where there are none."""
        if not self.on_spot:
            return ""
        some = "1 workload that is" if self.on_spot == 1 else f"{self.on_spot} workloads that are"
        return f"; for {some} on spot now, or may be, on-demand prices aren't what is paid: leaving spot may cost more"


def comparison(summary: Summary) -> Comparison | None:
    """What a plan is put beside; None where nothing is known to put it beside."""
    now, whole = summary.now, whole_gpus(summary)
    if now is not UNSET and now.known:
        return Comparison("now", now.usd_per_hour, summary.after_usd_per_hour, idle=now.idle_usd_per_hour)
    if whole is None or not whole.usd_per_hour:
        return None
    return Comparison("whole GPUs", whole.usd_per_hour, summary.usd_per_hour, whole.on_spot)


def whole_gpus(summary: Summary) -> Baseline | None:
    """The hypothetical bill with whole GPUs for each pod; None where it can't be priced."""
    return next((baseline for baseline in summary.baselines if baseline.name == WHOLE_GPUS), None)


def dearer_than_now(summary: Summary) -> str:
    """That a plan costs more than what is paid now, in words; empty: it doesn't, or that isn't known."""
    now = summary.now
    if now is UNSET or (now.unpriced and not now.unpriced_on_demand_usd_per_hour):
        return ""
    # A spot node costs no more than on demand.
    most = now.usd_per_hour + now.unpriced_on_demand_usd_per_hour
    after = summary.after_usd_per_hour
    if after < most + max(A_CENT, most * _NOTHING):
        return ""
    least = "at most " if now.unpriced else ""
    return (
        f"dearer than now: ${after:,.2f} an hour instead of {least}${most:,.2f}, {after / most - 1:.0%} more"
        if most
        else f"dearer than now: ${after:,.2f} an hour instead of nothing"
    )


def now_in_words(now: Now) -> str:
    """What `now` is of, and what of it isn't known."""
    when = f", read {now.read}" if now.read else ""
    words = f"{now.nodes:,} GPU node{'s' * (now.nodes != 1)}{when}"
    if not now.unpriced:
        return words
    words += f"; not in this sum, as their price isn't known: {now.unpriced:,} of them"
    if now.unpriced_on_demand_usd_per_hour:
        words += f", which on demand are ${now.unpriced_on_demand_usd_per_hour:,.2f} an hour"
    return words


def spread_in_words(spread: BillSpread) -> str:
    """How far Karpenter's bill depends on the order in which pods come."""
    return f"as pods arrive, Karpenter's bill comes to ${spread.lowest:,.2f} to ${spread.highest:,.2f}"
