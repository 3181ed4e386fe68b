"""Which GPUs workloads run on today, where nothing in them says: by `--today`, asked on a terminal, or assumed."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Final

import typer

from gpuslice.cli.console import say
from gpuslice.errors import InputError
from gpuslice.units import first_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuslice.cloud.catalog import Catalog
    from gpuslice.plan.artefact import ModelsToday
    from gpuslice.planner.settings import Settings
    from gpuslice.workloads.artefact import WorkloadSet
    from gpuslice.workloads.model import Workload
    from gpuslice.workloads.models_today import StatedModels

ModelsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--today",
        metavar="[NAMESPACE/NAME=]GPU",
        help="The GPU that workloads run on where nothing else says: of all, or of those that a pattern such as "
        "shop/* names; may be given several times.",
    ),
]
_NAMED: Final = 3


def stated_for(texts: Sequence[str], workloads: WorkloadSet) -> tuple[WorkloadSet, dict[str, str]]:
    """Workloads on the models that options state, and what was taken from them, by name.

    Raises:
        InputError: an option names no model, or no workload.
    """
    from gpuslice.workloads.models_today import stated

    models = stated(texts)
    models.refuse_unused([workload.name for workload in workloads.workloads])
    return _given(models, workloads)


def _given(models: StatedModels, workloads: WorkloadSet) -> tuple[WorkloadSet, dict[str, str]]:
    pairs = [(workload, models.given_to(workload)) for workload in workloads.workloads]
    taken = {
        after.name: after.need.on
        for before, after in pairs
        if after is not before and after.need.on is not None
    }
    return replace(workloads, workloads=tuple(after for _, after in pairs)), taken


def with_models(
    workloads: WorkloadSet, texts: Sequence[str], catalog: Catalog, settings: Settings, *, ask: bool
) -> tuple[WorkloadSet, ModelsToday]:
    """Workloads that all have a model, as far as some machine holds them; and whence those without one have it.

    Args:
        workloads: as read.
        texts: of `--today`.
        catalog: types and prices.
        settings: whose overhead and policy count.
        ask: whether somebody may be asked.

    Raises:
        InputError: an option names no model, or no workload.
    """
    from gpuslice.plan.artefact import ModelsToday
    from gpuslice.workloads.models_today import StatedModels, assumed

    workloads, told = stated_for(texts, workloads)
    there = {node.instance_type for node in workloads.today.nodes} if workloads.today is not None else ()
    after = [
        assumed(workload, catalog, settings.overhead, settings.policy, there)
        if workload.replicas and not workload.stays
        else workload
        for workload in workloads.workloads
    ]
    open_ones = [workload for workload in after if workload.need.assumed_on is not None]
    if open_ones and ask and sys.stdin.isatty() and sys.stderr.isatty():
        answer = _asked(open_ones)
        if answer:
            only_open = StatedModels(patterns=tuple((workload.name, answer) for workload in open_ones))
            workloads, answered = _given(only_open, workloads)
            return workloads, ModelsToday(told | answered)
    taken = {
        workload.name: workload.need.assumed_on
        for workload in open_ones
        if workload.need.assumed_on is not None
    }
    return replace(workloads, workloads=tuple(after)), ModelsToday(told, taken)


def _asked(workloads: Sequence[Workload]) -> str:
    """The model that somebody at the terminal names for all of them; empty: what is assumed will do."""
    from gpuslice.hardware.gpus import gpu_named

    names = [workload.name for workload in workloads]
    assumed = ", ".join(sorted({workload.need.assumed_on or "" for workload in workloads}))
    say(f"{len(names)} workloads don't say which GPU they run on: {first_of(names, _NAMED)}")
    while True:
        text = str(
            typer.prompt(
                f"Which GPU do they have today? (such as A10G; Enter: assume {assumed}, the cheapest for such pods)",
                default="",
                show_default=False,
                err=True,
            )
        )
        if not text.strip():
            return ""
        try:
            return gpu_named(text).name
        except InputError as error:
            say(str(error))
