"""Parts of a plan in words: layouts, needs, and what won't do."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

from gpuslice.hardware.slices import Isolation
from gpuslice.planner.service_kinds import latency_limit
from gpuslice.units import PPM, format_memory

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuslice.hardware.need import Need
    from gpuslice.planner.explain import Alternative
    from gpuslice.planner.plan import Layout
    from gpuslice.planner.service_kinds import Kind
    from gpuslice.workloads.model import Service

_SLICES_NAMED: Final = 3


def layout_in_words(layout: Layout) -> str:
    """A layout in a few words: "L4, 4 slots a GPU by time-slicing"."""
    if layout.metered:
        return (
            f"{layout.gpu}, metered: {layout.metered.memory} and {layout.metered.time / 1000:.1%} of its time"
        )
    if layout.replicas:
        return f"{layout.gpu}, {layout.replicas} slots a GPU by {layout.mechanism}"
    if layout.geometry:
        return f"{layout.gpu}, MIG: " + " + ".join(f"{each.count} {each.profile}" for each in layout.geometry)
    if layout.geometries:
        return f"{layout.gpu}, MIG: {len(set(layout.geometries))} geometries on {len(layout.geometries)} GPUs"
    return f"{layout.gpu}, {layout.mechanism}"


def need_in_words(need: Need) -> str:
    """What a replica needs and the rules for its slice, in a line."""
    if need.gpus > 1:
        return f"{need.gpus} whole GPUs per pod"
    memory = "memory not known" if need.memory_mib is None else format_memory(need.memory_mib)
    duty = "duty not known" if need.duty_ppm is None else f"busy {need.duty_ppm / PPM:.1%} of the time"
    parts = [f"{memory}, {duty}, on {need.on or 'a GPU that is not known'} ({need.source})"]
    if need.isolation is not Isolation.NONE:
        parts.append(f"isolation {need.isolation}")
    if need.max_slowdown_milli is not None:
        parts.append(f"at most {need.max_slowdown_milli / 1000:g}x slower")
    if need.allow:
        parts.append(f"GPUs allowed: {', '.join(sorted(need.allow))}")
    return "; ".join(parts)


def load_in_words(service: Service) -> str:
    """What a service has to do: "829 requests/s within 204 ms"."""
    return f"{service.rate:g} {service.unit} within {service.latency_ms:g} ms"


def served_in_words(service: Service, kind: Kind, replicas: int) -> str:
    """What so many replicas of a kind do, against what is asked: with the profile that says so."""
    profile = kind.profile
    done = float(kind.throughput * replicas)
    each = (
        f"{profile.rate:g}"
        if profile.processes == 1
        else f"{profile.processes} processes of {profile.rate:g}"
    )
    return (
        f"{replicas} x {each} = {done:g} {service.unit} for the {service.rate:g} asked; "
        f"{profile.latency_ms:g} ms a batch of {profile.batch}, below {float(latency_limit(service)):g}"
    )


def refusals(found: Sequence[Alternative]) -> list[tuple[str, str]]:
    """What won't do, and why: slices in few words, and the one reason that refuses them all."""
    refused: dict[str, list[str]] = defaultdict(list)
    for each in found:
        if each.price is None:
            gpu = each.slice.partition("/")[0]
            reason = each.answer.reason.removeprefix(f"{gpu} is ").removeprefix(f"{gpu} ")
            refused[reason or "no instance type with a price holds a pod"].append(each.slice)
    gpus = [each.slice.partition("/")[0] for each in found]
    return [(_together(slices, gpus), reason) for reason, slices in refused.items()]


def _together(slices: Sequence[str], gpus: Sequence[str]) -> str:
    """Slices that one reason refuses: all of a GPU by its name, and no more than some."""
    by_gpu: dict[str, list[str]] = defaultdict(list)
    for each in slices:
        by_gpu[each.partition("/")[0]].append(each)
    words = []
    for gpu, names in by_gpu.items():
        words += [gpu] if len(names) == gpus.count(gpu) else names
    shown = ", ".join(words[:_SLICES_NAMED])
    return shown if len(words) <= _SLICES_NAMED else f"{shown} and {len(words) - _SLICES_NAMED} more"
