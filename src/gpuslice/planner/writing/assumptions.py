"""What a plan rests on and nobody has checked: prices, readings, sizes of daemonsets, what hardware is said to do."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from gpuslice.cloud.allocatable import EFA, EPHEMERAL_STORAGE, ROOT_VOLUME_GIB
from gpuslice.cloud.description import mig_confidence
from gpuslice.hardware.facts import Confidence
from gpuslice.hardware.gpus import GPUS
from gpuslice.units import first_of, format_cpu, format_memory

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuslice.cloud.catalog import Catalog, DaemonsetOverhead
    from gpuslice.plan.artefact import Pool
    from gpuslice.planner.model.classes import WorkloadClass

_NAMED = 5  # workloads listed by name before the rest is counted


def assumptions(
    pools: Sequence[Pool],
    classes: Sequence[WorkloadClass],
    catalog: Catalog,
    overhead: DaemonsetOverhead | None,
    notes: Sequence[str],
    models: str = "",
) -> tuple[str, ...]:
    """The assumptions of a plan, one a line.

    Args:
        pools: of the plan.
        classes: that it places.
        catalog: its prices.
        overhead: of daemonsets, where that is our default; None: the user stated it.
        notes: of reading the workloads.
        models: which GPU models are assumed for workloads of which nothing says; empty: none.
    """
    words = [
        *filter(None, (models,)),
        f"prices of {catalog.prices_date} in {catalog.region}: {catalog.source}",
    ]
    if overhead is not None:
        words.append(
            f"daemonsets take {format_cpu(overhead.cpu_milli)} CPU, {format_memory(overhead.memory_mib)} and "
            f"{overhead.pods} pods of each node (assumed)"
        )
    members = [(a_class, member) for a_class in classes for member in a_class.members]
    defaulted = sum(member.slowdown_defaulted for _, member in members if member.service is None)
    if defaulted:
        one = "1 service states" if defaulted == 1 else f"{defaulted} services state"
        words.append(f"{one} no maxSlowdown: 2 is taken")
    sized = sum(member.service is not None for _, member in members)
    if sized:
        words.append(
            f"what replicas of {sized} {'services' if sized > 1 else 'service'} do on a slice is what their profiles "
            "say; a larger slice of the same GPU does no less"
        )
    unknown = [
        member.name
        for workload, member in members
        if workload.need.gpus == 1 and not workload.need.known and member.service is None
    ]
    if unknown:
        words.append(f"needs not known, so whole GPUs: {first_of(unknown, _NAMED)}")
    sources = Counter(
        workload.need.source.value
        for workload, member in members
        if workload.need.known and member.service is None
    )
    if sources:
        listed = ", ".join(f"{count} {source}" for source, count in sorted(sources.items()))
        words.append(f"needs by source: {listed}")
    taken = {take.resource for a_class in classes for take in a_class.takes}
    if EPHEMERAL_STORAGE in taken:
        words.append(
            f"disks of nodes: their instance stores together, or else a root volume of {ROOT_VOLUME_GIB}Gi, as rendered"
        )
    if EFA in taken:
        words.append(
            f"nodes give out {EFA} once AWS's device plugin for EFA runs there, which isn't rendered"
        )
    # Pods of a trace have notes on where they come from, which nobody needs here.
    remarks = [f"{m.name}: {note}" for _, m in members if m.target.kind != "Pod" for note in m.notes]
    return (*words, *_hardware(pools, catalog), *notes, *remarks)


def _hardware(pools: Sequence[Pool], catalog: Catalog) -> list[str]:
    """What is inferred of the hardware that the plan uses."""
    types = catalog.by_name()
    notes: dict[str, None] = {}
    for pool in pools:
        gpu, layout = GPUS[pool.layout.gpu], pool.layout
        inferred = sorted(fact.field for fact in gpu.facts if fact.confidence is Confidence.INFERRED)
        if inferred:
            words = ", ".join(name.replace("_", " ") for name in inferred)
            notes[f"{gpu.name}: {words} inferred, not published or read from a card"] = None
        if layout.mechanism == "fractional":
            notes[
                "fractional GPUs need a GRID driver, which the AL2023 NVIDIA image may lack: try one node first"
            ] = None
        if layout.mechanism != "mig" or gpu.mig is None:
            continue
        used = {
            entry.profile for geometry in layout.geometries or (layout.geometry or (),) for entry in geometry
        }
        guessed = sorted(
            name
            for name in used
            if (profile := gpu.mig.profile(name)) is not None and profile.confidence is Confidence.INFERRED
        )
        if guessed:
            notes[f"{gpu.name}: memory or SMs of MIG {', '.join(guessed)} inferred"] = None
        for name in pool.instance_types:
            if mig_confidence(types[name]) is Confidence.INFERRED:
                notes[f"MIG on {name}: plausible, not confirmed for a size with one GPU"] = None
    return list(notes)
