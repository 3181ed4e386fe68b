"""Parts of a plan in words: layouts, needs, and what won't do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuslice.hardware.mechanisms import Isolation
from gpuslice.units import PPM, format_memory

if TYPE_CHECKING:
    from gpuslice.hardware.need import Need
    from gpuslice.plan.artefact import Layout
    from gpuslice.workloads.model import Service


def layout_in_words(layout: Layout) -> str:
    """A layout in a few words: "L4, 4 slots a GPU by time-slicing"."""
    if layout.metered:
        return (
            f"{layout.gpu}, metered: {layout.metered.memory} and {layout.metered.time / 1000:.1%} of its time"
        )
    if layout.replicas:
        return f"{layout.gpu}, {layout.replicas} slots a GPU by {layout.mechanism}"
    if layout.geometry:
        return f"{layout.gpu}, MIG: " + " + ".join(
            f"{entry.count} {entry.profile}" for entry in layout.geometry
        )
    if layout.geometries:
        return f"{layout.gpu}, MIG: {len(set(layout.geometries))} geometries on {len(layout.geometries)} GPUs"
    return f"{layout.gpu}, {layout.mechanism}"


def need_in_words(need: Need) -> str:
    """What a replica needs and the rules for its slice, in a line."""
    if need.gpus > 1:
        return f"{need.gpus} whole GPUs per pod"
    memory = "memory not known" if need.memory_mib is None else format_memory(need.memory_mib)
    duty = "duty not known" if need.duty_ppm is None else f"busy {need.duty_ppm / PPM:.1%} of the time"
    on = need.on or (
        f"{need.assumed_on}, which is assumed," if need.assumed_on else "a GPU that is not known"
    )
    parts = [f"{memory}, {duty}, on {on} ({need.source})"]
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
