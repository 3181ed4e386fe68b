"""Workloads as a plan took them, where nothing in them says which GPU they run on today."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from gpuslice.hardware.gpus import GPUS
from gpuslice.units import first_of
from gpuslice.workloads.models_today import unsaid

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gpuslice.plan.artefact import ModelsToday, Plan
    from gpuslice.workloads.model import Workload

_NAMED: Final = 3
"""Workloads of a model by name; the rest are counted."""


def as_planned(workloads: Iterable[Workload], plan: Plan) -> tuple[Workload, ...]:
    """Workloads on the GPU models that a plan was told or assumed for those of which nothing says."""
    return tuple(_as_planned(workload, plan.models_today) for workload in workloads)


def _as_planned(workload: Workload, models: ModelsToday) -> Workload:
    need, name = workload.need, workload.name
    stated, assumed = models.stated.get(name), models.assumed.get(name)
    if stated in GPUS and need.on is None:
        return replace(workload, need=replace(need, on=stated))
    if assumed in GPUS and unsaid(workload):
        return replace(workload, need=replace(need, assumed_on=assumed))
    return workload


def assumed_in_words(models: ModelsToday) -> str:
    """Which models a plan assumes, of how many workloads, and how to say better; empty: it assumes none."""
    by_model: dict[str, list[str]] = {}
    for name, model in models.assumed.items():
        by_model.setdefault(model, []).append(name)
    parts = []
    for model, names in sorted(by_model.items(), key=lambda entry: (-len(entry[1]), entry[0])):
        parts.append(f"{model} for {first_of(names, _NAMED)}")
    if not parts:
        return ""
    count = len(models.assumed)
    who = "1 workload doesn't say which GPU it runs on"
    if count > 1:
        who = f"{count} workloads don't say which GPU they run on"
    return (
        f"{who}: {'; '.join(parts)} is assumed, the cheapest that Karpenter launches for such a pod as it is, and each "
        "keeps whole GPUs. Who knows better states gpuslice.io/gpu-model, or --today GPU"
    )
