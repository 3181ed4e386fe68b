"""A plan as the subject of a report or an explanation: the files that it and its workloads are in, and its catalog."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal

from gpuslice.errors import InputError

if TYPE_CHECKING:
    from gpuslice.plan.artefact import Plan
    from gpuslice.report.subject import Subject
    from gpuslice.workloads.artefact import WorkloadSet


def inputs_of(
    files: list[str], at: Literal["now", "peak"], *, accept_assumed: bool
) -> tuple[Plan, WorkloadSet | None]:
    """The plan among files, and the workloads if they are there.

    Args:
        files: plan.yaml, workloads.yaml or manifests; "-" is standard input, which holds no manifests.
        at: which replicas count.
        accept_assumed: believe needs whose source is `assumed`.

    Raises:
        InputError: a file holds neither, there is no plan, or several of one.
    """
    from gpuslice.artefacts.documents import read_documents
    from gpuslice.plan.reading import plan_in
    from gpuslice.workloads.artefact import parse_workloads
    from gpuslice.workloads.sources import read

    plans: list[Plan] = []
    found: list[WorkloadSet] = []
    manifests: list[str] = []
    for path in files:
        if os.path.isdir(path):  # noqa: PTH112  Path.is_dir raises on a name that is too long
            manifests.append(path)
            continue
        documents = read_documents(path)
        match documents[0].data:
            case {"kind": "Workloads"}:
                found.append(parse_workloads(documents, at=at, accept_assumed=accept_assumed))
            case {"apiVersion": str(version), "kind": str()} if not version.startswith("gpuslice.io/"):
                if path == "-":
                    raise InputError(
                        "holds manifests, which are read from files", where="stdin", fix="name the file"
                    )
                manifests.append(path)
            case _:
                plans.append(plan_in(documents))
    sets = len(found) + len(manifests)
    if len(plans) != 1 or sets > 1:
        raise InputError(
            f"{len(plans)} plans and {sets} sets of workloads are named",
            where="-f",
            fix="name one plan, and at most one file or directory with its workloads",
        )
    region = plans[0].catalog.region
    found += [read(path, at=at, accept_assumed=accept_assumed, region=region) for path in manifests]
    return plans[0], found[0] if found else None


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
