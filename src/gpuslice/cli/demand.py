"""What `gpuslice simulate` replays: plan and workloads of its files, prices, and demand over time, as it is or if."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gpuslice.errors import AnswerIsNoError, InputError, nearest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuslice.cloud.catalog import Catalog
    from gpuslice.plan.artefact import Plan
    from gpuslice.workloads.artefact import WorkloadSet
    from gpuslice.workloads.policy import Policy
    from gpuslice.workloads.timelines import Timeline


def inputs_of(
    files: list[str], *, accept_assumed: bool
) -> tuple[Plan | None, WorkloadSet | None, dict[str, int]]:
    """The plan and the workloads among the files, and the workloads' peaks."""
    from gpuslice.artefacts.documents import read_documents
    from gpuslice.plan.reading import plan_in
    from gpuslice.workloads.artefact import parse_workloads

    plan: Plan | None = None
    workloads: WorkloadSet | None = None
    peaks: dict[str, int] = {}
    for path in files:
        documents = read_documents(path)
        match documents[0].data:
            case {"kind": "Plan"} if plan is None:
                plan = plan_in(documents)
            case _ if workloads is None:
                workloads = parse_workloads(documents, accept_assumed=accept_assumed)
                peak = parse_workloads(documents, at="peak", accept_assumed=accept_assumed)
                peaks = {workload.name: workload.replicas for workload in peak.workloads}
            case _:
                raise InputError(
                    "is one file too many", where=path, fix="name one plan and one workloads.yaml"
                )
    return plan, workloads, peaks


def market_of(
    plan: Plan | None, workloads: WorkloadSet | None, catalog_file: str, prices: str
) -> tuple[Catalog, Policy]:
    """The catalog with the prices that are to be paid, and what may be bought of it.

    Args:
        plan: to replay; None: one will be made.
        workloads: that a plan would be made for.
        catalog_file: "" for the bundled catalog.
        prices: a file of prices in place of the catalog's; "" for none.

    Raises:
        InputError: of another region or date than the plan's, or a policy or prices that are none.
        AnswerIsNoError: the plan breaks a rule.
    """
    from gpuslice.cloud.selection import choose
    from gpuslice.workloads.policy import FREE, check_policy, priced

    catalog = choose(catalog_file, workloads.region if workloads is not None else "")
    if plan is not None:
        rules = plan.policy
        catalog = priced(rules, catalog)
        _accept(plan, catalog, catalog_file)
    else:
        rules = FREE if workloads is None else workloads.policy
        check_policy(rules, catalog, "policy")
        catalog = priced(rules, catalog)
    if prices:
        from gpuslice.cloud.what_if import with_prices

        catalog = with_prices(catalog, prices)
    return catalog, rules


def _accept(plan: Plan, catalog: Catalog, catalog_file: str) -> None:
    """A plan that breaks a rule, or is of other prices, is not replayed as if it were one."""
    from gpuslice.verifier.verify import verify_alone

    if (catalog.region, catalog.prices_date) != (plan.catalog.region, plan.catalog.prices):
        raise InputError(
            f"has prices of {catalog.region} of {catalog.prices_date}, the plan is of "
            f"{plan.catalog.region[:40]} of {plan.catalog.prices[:40]}",
            where=catalog_file or "the bundled catalog",
            fix="name the catalog that the plan was made with: --catalog FILE; or plan again",
        )
    violations = verify_alone(plan, catalog)
    if violations:
        more = f" (and {len(violations) - 1} more)" if len(violations) > 1 else ""
        raise AnswerIsNoError(
            f"the plan breaks a rule: {violations[0]}{more}",
            fix="plan again; gpuslice report shows every rule that it breaks",
        )


def timeline_of(
    trace: str, today: str, days: int, seed: int, workloads: WorkloadSet | None, peaks: dict[str, int]
) -> Timeline:
    """Demand over time: of a trace, or a daily wave between the workloads' replicas and their peaks."""
    from gpuslice.workloads.timelines import from_file, wave

    if bool(trace) == bool(days):
        raise InputError(
            "neither a trace nor days are named" if not trace else "a trace and days are both named",
            where="--trace",
            fix="name --trace FILE, or --days N with -f workloads.yaml",
        )
    if trace:
        return from_file(trace, workloads=workloads, today=today or None)
    if workloads is None:
        raise InputError("days are replayed of workloads", where="--days", fix="name them: -f workloads.yaml")
    return wave(workloads, peaks, days, seed)


def check_policies(names: Sequence[str], where: str) -> None:
    """Accept names of policies, before any of them is replayed.

    Raises:
        InputError: one stands for none.
    """
    from gpuslice.plan.tutorials import TUTORIALS, tutorial_name
    from gpuslice.simulator.replanning import hours_of

    known = [*TUTORIALS, "plan"]
    for name in names:
        if tutorial_name(name) not in known and hours_of(name) is None:
            raise InputError(
                f"no policy is called {name[:60]!r}",
                where=where,
                fix=nearest(name, known) or f"there are {', '.join([*known, 'replan-6h'])}",
            )


def what_if(timeline: Timeline, allow: str, isolation: str) -> Timeline:
    """A timeline whose workloads have other rules, their demand as it was."""
    from gpuslice.hardware.gpus import gpu_named
    from gpuslice.hardware.mechanisms import Isolation

    try:
        models = frozenset(gpu_named(model).name for model in allow.split(",") if model.strip())
    except InputError as error:
        raise error.inside("--allow") from None
    if allow and not models:
        raise InputError("names no GPU model", where="--allow", fix="name some: --allow L4,A10G")
    levels = [str(isolation.value) for isolation in Isolation]
    if isolation and isolation not in levels:
        raise InputError(
            f"no isolation is called {isolation[:40]!r}",
            where="--isolation",
            fix=f"write {', '.join(levels)}",
        )
    changed = []
    for workload in timeline.workloads:
        need = replace(workload.need, allow=models) if models else workload.need
        changed.append(
            replace(workload, need=replace(need, isolation=Isolation(isolation)) if isolation else need)
        )
    notes = (
        *((f"what if: every workload might run on {', '.join(sorted(models))}",) if models else ()),
        *((f"what if: every workload asked for isolation {isolation}",) if isolation else ()),
    )
    return replace(timeline, workloads=tuple(changed), notes=(*timeline.notes, *notes))
