"""How many replicas there may be of what is autoscaled: by a HorizontalPodAutoscaler, by KEDA, or by its own fields."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from gpuslice.errors import InputError
from gpuslice.workloads.objects import Fields, fields_of, whole_number

if TYPE_CHECKING:
    from gpuslice.workloads.owners import Key, Object
    from gpuslice.workloads.template import Template

AS_WRITTEN: Final = "as its manifest says"
LEAST: Final = "the least"

_KEDAS_MOST: Final = 100  # KEDA, ScaledObject specification: maxReplicaCount


@dataclass(frozen=True, slots=True)
class Bounds:
    """The least and most replicas that an autoscaler may make."""

    least: int
    most: int


def autoscalers(objects: Iterable[Object], refuse: Callable[[Object, InputError], None]) -> dict[Key, Bounds]:
    """The bounds of what autoscalers of the input scale, by its kind, namespace and name.

    Args:
        objects: of the input.
        refuse: takes an autoscaler that can't be understood.
    """
    bounds_of: dict[Key, Bounds] = {}
    for obj in objects:
        try:
            bounds = _bounds(obj)
        except InputError as error:
            refuse(obj, error)
            continue
        if bounds is not None:
            reference = fields_of(obj.data, "spec", "scaleTargetRef")
            kind = str(reference.get("kind") or "Deployment")
            bounds_of[kind, obj.namespace, str(reference.get("name"))] = bounds
    return bounds_of


def _bounds(scaler: Object) -> Bounds | None:
    spec = fields_of(scaler.data, "spec")
    if scaler.kind == "HorizontalPodAutoscaler":
        least = whole_number(spec, "minReplicas", 1, scaler.where)
        return Bounds(least, whole_number(spec, "maxReplicas", least, scaler.where))
    if scaler.kind == "ScaledObject":
        least = whole_number(spec, "minReplicaCount", 0, scaler.where)
        return Bounds(least, whole_number(spec, "maxReplicaCount", max(least, _KEDAS_MOST), scaler.where))
    return None


def scaled(template: Template, data: Fields, bounds: Bounds) -> Template:
    """A template with the replicas that are planned for, the most that there may be, and a note that says so."""
    spec = fields_of(data, "spec")
    stated = spec.get("replicas")
    replicas = stated if isinstance(stated, int) and not isinstance(stated, bool) else None
    # A group of several pods (a leader and its workers) is scaled as one.
    group = max(
        1, template.replicas // replicas if replicas else template.replicas if replicas is None else 1
    )
    now, why = (bounds.least, LEAST) if replicas is None else (replicas, AS_WRITTEN)
    return planned(template, bounds, now, why, group=group)


def planned(template: Template, bounds: Bounds, now: int, why: str, *, group: int = 1) -> Template:
    """A template with `now` replicas (one where that is none), the most that there may be, and a note that says why."""
    planned_for = now
    if not now and bounds.most:
        planned_for, why = 1, "it may be none"
    note = (
        f"autoscaled between {bounds.least} and {bounds.most} replicas: planned for {planned_for} ({why}; "
        f"--at peak: {bounds.most})"
    )
    return replace(
        template,
        replicas=planned_for * group,
        most_replicas=max(bounds.most, planned_for) * group,
        notes=(*template.notes, note),
    )
