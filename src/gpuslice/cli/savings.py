"""What one change would save: the part of `gpuslice explain` that plans again, within a time of its own."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Final

import typer

from gpuslice.cli.console import print_table, print_text, progress_of, say
from gpuslice.cli.interruption import INTERRUPTED, interruptible
from gpuslice.units import HOURS_A_MONTH

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gpuslice.advice.savings import Change, Changes, Saving
    from gpuslice.cli.planning import Planned
    from gpuslice.cloud.catalog import Catalog
    from gpuslice.plan.artefact import Plan, Summary
    from gpuslice.workloads.model import Workload
    from gpuslice.workloads.policy import Policy

DEFAULT_SAVINGS_LIMIT: Final = 60.0
_ESTIMATING: Final = 0.3  # of the time, at most: the rest is for planning again
_AGAIN: Final = 30  # changes to plan with: a longer list is nobody's list
_SLOWER: Final = 1.5  # than the slowest so far: time to leave for one more
_ESTIMATED_SHOWN: Final = 10
_CENT: Final = 0.01

SavingsOption = Annotated[
    bool,
    typer.Option(
        "--savings",
        help="Also list what one change would save: another GPU allowed, less isolation, less memory and so on. "
        "Plans again with each.",
    ),
]
SavingsLimitOption = Annotated[
    float,
    typer.Option(
        "--savings-limit",
        metavar="SECONDS",
        help="When to stop planning again; changes not reached are estimated.",
        min=0,
    ),
]


@dataclass(slots=True)
class Savings:
    """The changes that would make a plan cheaper.

    Attributes:
        changes: with their estimates, those not worth a look left out.
        confirmed: planned with, whatever came out.
        estimated: not planned with.
        interrupted: whether somebody wanted no more.
    """

    changes: Changes
    confirmed: list[Saving] = field(default_factory=list)
    estimated: list[Change] = field(default_factory=list)
    interrupted: bool = False

    @property
    def worth(self) -> list[Saving]:
        """Of those planned with, what saves something, the most first by what bills and estimates agree on.

        A change for many workloads is left out where one of them alone saves as much.
        """
        from gpuslice.advice.savings import LEAST_WORTH

        alone = {
            (confirmed.change.kind, confirmed.change.whose): confirmed.usd_per_hour
            for confirmed in sorted(self.confirmed, key=lambda saving: saving.usd_per_hour)
        }
        worthwhile = [
            saving
            for saving in self.confirmed
            if saving.usd_per_hour * HOURS_A_MONTH >= LEAST_WORTH
            and not any(
                alone.get((saving.change.kind, member.name), 0.0) >= saving.usd_per_hour
                for member in (saving.change.workloads if len(saving.change.workloads) > 1 else ())
            )
        ]
        return sorted(
            worthwhile,
            key=lambda saving: (-round(saving.agreed, 6), saving.change.whose, saving.change.words),
        )


def find_savings(
    planned: Planned, *, effort: float, time_limit: float, limit: float, name: str = ""
) -> Savings:
    """Estimate every change, and plan again with the best.

    Args:
        planned: as things are.
        effort: that the plan was made with: each one made again has as much.
        time_limit: seconds that the plan had, likewise.
        limit: seconds for everything.
        name: of the workload to look at alone; empty: all, and the policy.
    """
    from gpuslice.advice.savings import changes, saving
    from gpuslice.planner.clock import Clock

    ends = time.monotonic() + limit
    workloads, solution = planned.workloads.workloads, planned.solution
    estimating = time.monotonic() + _ESTIMATING * limit
    with interruptible() as interrupted, progress_of("planning again …") as done:
        estimated = changes(
            solution,
            workloads,
            planned.catalog,
            planned.settings,
            clock=Clock(_ESTIMATING * limit, lambda: 0.0 if interrupted() else estimating - time.monotonic()),
            name=name,
        )
        result = Savings(estimated)
        slowest = 0.0
        for at, change in enumerate(estimated.promising):
            left = ends - time.monotonic()
            if interrupted() or at >= _AGAIN or left <= min(time_limit, _SLOWER * slowest):
                result.estimated = list(estimated.promising[at:])
                break
            done(at, min(len(estimated.promising), _AGAIN))
            started = time.monotonic()
            again = _again(planned, effort, started + min(time_limit, left), interrupted)
            planned_with = saving(change, solution.plan, workloads, again)
            slowest = max(slowest, time.monotonic() - started)
            if planned_with is None or interrupted():
                result.estimated.append(change)
            else:
                result.confirmed.append(planned_with)
        result.interrupted = interrupted()
    return result


def _again(
    planned: Planned, effort: float, ends: float, interrupted: Callable[[], bool]
) -> Callable[[Sequence[Workload], Policy], Plan]:
    from gpuslice.planner import budget
    from gpuslice.planner.clock import Clock
    from gpuslice.planner.solve import solve

    def again(workloads: Sequence[Workload], policy: Policy) -> Plan:
        return solve(
            workloads,
            planned.catalog,
            replace(planned.settings, policy=policy),
            clock=Clock(budget.SECONDS * effort, lambda: 0.0 if interrupted() else ends - time.monotonic()),
        ).plan

    return again


def savings_data(savings: Savings) -> list[dict[str, object]]:
    """Savings for programs: those that were planned with come first."""
    listed = [
        _entry(saving.change)
        | {
            "usdPerHour": round(saving.usd_per_hour, 6),
            "usdPerMonth": round(saving.usd_per_hour * HOURS_A_MONTH, 2),
            "provenUsdPerHour": round(saving.proven, 6),
            "confirmed": True,
        }
        for saving in savings.worth
    ]
    return listed + [_entry(change) | {"confirmed": False} for change in savings.estimated]


def _entry(change: Change) -> dict[str, object]:
    return {
        "whose": change.whose,
        "kind": change.kind.value,
        "change": change.words,
        "workloads": [workload.name for workload in change.workloads],
        "estimatedUsdPerHour": round(change.estimate, 6),
    }


def print_savings(savings: Savings, summary: Summary, catalog: Catalog) -> None:
    """What would save something, the most first; what was only estimated; and what the rest comes to."""
    from gpuslice.cloud.catalog import Purchase

    if savings.worth:
        _print_confirmed(savings.worth, summary)
    if savings.estimated:
        print_text("\nEstimated by the prices of the proof, not planned again:")
        print_table(
            ("$ a month", "whose", "change"),
            [
                (_month(change.estimate), change.whose, change.words)
                for change in savings.estimated[:_ESTIMATED_SHOWN]
            ],
            right=("$ a month",),
        )
        if len(savings.estimated) > _ESTIMATED_SHOWN:
            say(f"{len(savings.estimated) - _ESTIMATED_SHOWN} more changes: -o json lists them all")
    print_text("\n" + _rest(savings))
    if not any(Purchase.SPOT in kind.prices for kind in catalog.instance_types):
        say("spot is left out, as the catalog has no prices for it: see gpuslice catalog refresh")


def _print_confirmed(worth: Sequence[Saving], summary: Summary) -> None:
    proven = any(saving.proven for saving in worth)
    print_text("\nWhat one change would save, planned again with it and nothing else changed:")
    print_table(
        ("$ a month", "estimate", *(["proven"] if proven else []), "whose", "change"),
        [
            (
                _month(saving.usd_per_hour),
                _month(saving.change.estimate),
                *([_month(saving.proven) if saving.proven else None] if proven else []),
                saving.change.whose,
                saving.change.words,
            )
            for saving in worth
        ],
        right=("$ a month", "estimate", "proven"),
    )
    open_ = (summary.usd_per_hour - summary.bound_usd_per_hour) * HOURS_A_MONTH
    if open_ < _CENT:
        doubt = "no plan is cheaper than this one as things are, so that these savings are proven"
    else:
        doubt = (
            f"as things are, a plan might be found that costs up to ${open_:,.2f} a month less than this one: "
            + ("what goes beyond that is proven" if proven else "so none of these savings is proven")
        )
    say(
        f"listed by the smaller of saving and estimate; {doubt}. Savings of several changes don't add up: plan again "
        "after each"
    )


def _rest(savings: Savings) -> str:
    """What the changes that aren't listed come to."""
    asked, missed, tried = savings.changes.asked, savings.changes.missed, len(savings.confirmed)
    useless = tried - len(savings.worth)
    parts = []
    if savings.worth or savings.estimated:
        parts.append(f"{asked} changes were priced; by the prices of the proof no other saves $1 a month.")
        if useless:
            parts.append(f"{useless} of the {tried} planned with save nothing.")
    elif asked:
        parts.append(f"Of {asked} changes, none would save $1 a month.")
    elif not missed:
        parts.append("Nothing that is placed has a rule to loosen.")
    if missed:
        most = _month(savings.changes.most)
        parts.append(
            f"There was no time for {len(missed)} workload{'s' * (len(missed) != 1)}; a change of one of these saves "
            f"${most} a month at most, as it adds no more to the least possible bill."
        )
    return " ".join(parts)


def _month(usd_per_hour: float) -> str:
    return f"{usd_per_hour * HOURS_A_MONTH:,.2f}"


def exit_after(savings: Savings | None) -> None:
    """After Ctrl-C, end as shells expect it, with all said that was found.

    Raises:
        typer.Exit: it was pressed.
    """
    if savings is not None and savings.interrupted:
        raise typer.Exit(INTERRUPTED)
