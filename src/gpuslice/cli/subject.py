"""A plan as the subject of a report: with its catalog, and verified."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuslice.errors import InputError

if TYPE_CHECKING:
    from gpuslice.plan.artefact import Plan
    from gpuslice.report.subject import Subject
    from gpuslice.workloads.artefact import WorkloadSet


def subject_of(plan: Plan, workloads: WorkloadSet | None, catalog_file: str = "") -> Subject:
    """A plan beside all that a report of it needs, verified.

    Raises:
        InputError: the catalog is another than the plan's.
    """
    from gpuslice.cli.shown.prices import say_old_prices
    from gpuslice.cloud.selection import choose
    from gpuslice.plan.models_today import as_planned
    from gpuslice.report.sections import from_plan
    from gpuslice.report.subject import Subject
    from gpuslice.verifier.verify import verify, verify_alone
    from gpuslice.workloads.policy import priced

    catalog = priced(plan.policy, choose(catalog_file, plan.catalog.region))
    if catalog.prices_date != plan.catalog.prices:
        raise InputError(
            f"has prices of {catalog.prices_date}, the plan is of {plan.catalog.prices[:40]}",
            where=catalog_file or "the bundled catalog",
            fix="name the catalog that the plan was made with: --catalog FILE; or plan again",
        )
    say_old_prices(catalog.prices_date)
    if workloads is None:
        return Subject(plan, catalog, from_plan(plan), False, verify_alone(plan, catalog))
    taken = as_planned(workloads.workloads, plan)
    return Subject(plan, catalog, taken, True, verify(plan, taken, catalog), today=workloads.today)
