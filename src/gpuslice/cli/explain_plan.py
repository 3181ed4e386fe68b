"""`gpuslice explain` without a workload: what binds the whole plan, how full its nodes are, where the money goes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gpuslice.cli.console import Output, print_data, print_list, print_names, print_table, print_text, say
from gpuslice.cli.explain_workload import dollars
from gpuslice.cli.savings import print_savings, savings_data

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuslice.advice.habits import Habits
    from gpuslice.cli.planning import Planned
    from gpuslice.cli.savings import Savings
    from gpuslice.costs.pool_use import PoolUse
    from gpuslice.costs.shares import Bill
    from gpuslice.plan.artefact import MissingType, Summary
    from gpuslice.report.subject import Subject

_RESOURCES: Final = ("slots", "cpu", "memory", "gpu-memory", "gpu-time")
_DRIVERS_SHOWN: Final = 15
_SHOWN: Final = 0.005  # dollars an hour: less isn't worth a line
_HABITS: Final = {
    "template": "pods of one template all go to one pool: --seats avoids that",
    "packing": "Karpenter packs by CPU, memory and age, and kube-scheduler spreads pods over nodes",
    "chance": "the order of arrival that the plan is priced by, against the mean",
}
_CHOICES: Final = {
    "instanceTypes": "since pools list few instance types: of all with their GPUs, batches would get larger ones",
    "moves": "since workloads are in pools where Karpenter packs them better",
}


def explain_plan(
    subject: Subject, output: Output, planned: Planned | None = None, savings: Savings | None = None
) -> None:
    """Print what the plan costs and why, how full its nodes are, and where the money goes.

    Args:
        subject: the plan, and the workloads that it was made of.
        output: the form.
        planned: how it was made, where it was made just now: then prices of the proof tell what drives the bill.
        savings: of changes, where they were asked for.
    """
    from gpuslice.costs.pool_use import pool_uses
    from gpuslice.costs.shares import bill

    plan = subject.plan
    uses = pool_uses(plan, subject.workloads, subject.catalog)
    drivers = [] if planned is None else _drivers(planned)
    split = bill(plan, subject.workloads, subject.catalog)
    costs = None if planned is None else _habits(planned)
    match output:
        case Output.NAME:
            print_names(use.pool for use in uses)
        case Output.TABLE:
            _print_prices(plan.summary, costs)
            if uses:
                _print_uses(uses)
            if drivers:
                _print_drivers(drivers)
            elif split.workloads:
                _print_shares(split)
            _print_missing(plan.missing)
            print_list("Not placed", [f"{left.workload}: {left.reason}" for left in plan.unplaced])
            if savings is not None:
                print_savings(savings, plan.summary, subject.catalog)
        case _:
            print_data(
                {
                    "summary": plan.summary,
                    "pools": [_plain_use(use) for use in uses],
                    **(_plain_drivers(drivers, costs) if planned is not None else _plain_shares(split)),
                    "missing": plan.missing,
                    "unplaced": plan.unplaced,
                    **({} if savings is None else {"savings": savings_data(savings)}),
                },
                output,
            )


def _habits(planned: Planned) -> Habits | None:
    from gpuslice.advice.habits import habits

    solution = planned.solution
    if solution.carried is None:
        return None
    return habits(
        solution.plan,
        solution.carried,
        planned.workloads.workloads,
        planned.catalog,
        planned.settings.overhead,
    )


def _plain_use(use: PoolUse) -> dict[str, object]:
    return {
        "name": use.pool,
        "usdPerHour": use.price / 1e6,
        "binds": use.binds,
        "used": {name: round(share, 4) for name, share in use.used.items()},
        "idleUsdPerHour": use.idle / 1e6,
    }


def _plain_drivers(drivers: Sequence[tuple[str, float, float]], costs: Habits | None) -> dict[str, object]:
    return {
        "drivers": [
            {"workload": name, "usdPerHourPerReplica": one, "usdPerHour": total}
            for name, one, total in drivers
        ],
        "habits": {} if costs is None else {"cost": _parts(costs), "avoided": _avoided(costs)},
    }


def _plain_shares(split: Bill) -> dict[str, object]:
    return {
        "workloads": [
            {"workload": cost.name, "usdPerHour": round(cost.planned, 6)} for cost in split.workloads
        ],
        "idleUsdPerHour": round(split.idle, 6),
    }


def _print_shares(split: Bill) -> None:
    print_text(f"\nWhat the money goes to: each pays its part of its nodes, and ${split.idle:,.2f} is idle:")
    shown = split.workloads[:_DRIVERS_SHOWN]
    print_table(
        ("workload", "$ an hour"),
        [(cost.name, f"{cost.planned:,.2f}") for cost in shown],
        right=("$ an hour",),
    )
    if len(split.workloads) > len(shown):
        say(f"{len(split.workloads) - len(shown)} more workloads: -o json lists them all")


def _print_missing(missing: Sequence[MissingType]) -> None:
    if missing:
        print_text("\nWhat it means while EC2 is out of an instance type:")
        print_table(
            ("missing", "$ an hour more", "pods that wait"),
            [(each.instance_type, f"{each.usd_per_hour:+.2f}", each.waiting) for each in missing],
            right=("$ an hour more", "pods that wait"),
        )


def _print_prices(summary: Summary, costs: Habits | None) -> None:
    from msgspec import UNSET

    planned, optimal, bound = summary.usd_per_hour, summary.optimal_usd_per_hour, summary.bound_usd_per_hour
    print_text(f"planned: ${planned:,.2f} an hour")
    if planned - optimal >= _SHOWN:
        parts = (
            {} if costs is None else {name: usd for name, usd in _parts(costs).items() if abs(usd) >= _SHOWN}
        )
        print_text(
            f"  ${planned - optimal:,.2f} more than the cheapest packing, ${optimal:,.2f}{':' if parts else ''}"
        )
        for name, usd in parts.items():
            print_text(f"    {usd:+,.2f}  {_HABITS[name]}")
    if costs is not None:
        for name, usd in _avoided(costs).items():
            if usd >= _SHOWN:
                print_text(f"  avoided: ${usd:,.2f}, {_CHOICES[name]}")
    if summary.spread is not UNSET and summary.spread.highest - summary.spread.lowest >= _SHOWN:
        low, high = summary.spread.lowest, summary.spread.highest
        print_text(f"  as pods arrive, Karpenter's bill comes to ${low:,.2f} to ${high:,.2f}")
    print_text(f"  proven: no plan within the rules costs less than ${bound:,.2f}")


def _parts(costs: Habits) -> dict[str, float]:
    """What habits cost, dollars an hour, by name."""
    return {
        "template": costs.template / 1e6,
        "packing": costs.packing / 1e6,
        "chance": costs.chance / 1e6,
    }


def _avoided(costs: Habits) -> dict[str, float]:
    """What choices avoid, dollars an hour, by name."""
    return {"instanceTypes": costs.by_types / 1e6, "moves": costs.by_moves / 1e6}


def _print_uses(uses: Sequence[PoolUse]) -> None:
    shown = [name for name in _RESOURCES if any(name in use.used for use in uses)]
    print_text(
        "\nHow full the nodes of each pool are, what binds them, and what its fullest resource leaves idle:"
    )
    print_table(
        ("pool", "$ an hour", "binds", *shown, "idle $"),
        [
            (
                use.pool,
                dollars(use.price),
                use.binds,
                *(f"{use.used[name]:.0%}" if name in use.used else None for name in shown),
                dollars(use.idle),
            )
            for use in uses
            if use.used
        ],
        right=("$ an hour", *shown, "idle $"),
    )
    spare = sum(not use.used for use in uses)
    if spare:
        say(f"{spare} more pool{'s' * (spare != 1)} without nodes, where pods go that find no other seat")


def _print_drivers(drivers: Sequence[tuple[str, float, float]]) -> None:
    print_text(
        "\nWhat the money goes to: what one more replica adds to the least possible bill, times replicas:"
    )
    print_table(
        ("workload", "$ an hour per replica", "$ an hour"),
        [(name, f"{one:.4f}", f"{total:.2f}") for name, one, total in drivers[:_DRIVERS_SHOWN]],
        right=("$ an hour per replica", "$ an hour"),
    )
    if len(drivers) > _DRIVERS_SHOWN:
        say(f"{len(drivers) - _DRIVERS_SHOWN} more workloads: -o json lists them all")


def _drivers(planned: Planned) -> list[tuple[str, float, float]]:
    """Workloads by what they add to the least possible bill: the duals of the bound are prices per replica."""
    solution = planned.solution
    if solution.relaxation is None:
        return []
    found = [
        (member.name, float(price), float(price) * member.replicas)
        for a_class, price in zip(solution.classes, solution.relaxation.duals, strict=True)
        for member in a_class.members
    ]
    return sorted(found, key=lambda entry: (-entry[2], entry[0]))
