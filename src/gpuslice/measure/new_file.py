"""Measured needs as a new set of workloads, where there is no workloads.yaml yet to write them into."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from gpuslice.hardware.need import Need, Source
from gpuslice.measure.statistics import Measured
from gpuslice.workloads.artefact import SERVICE_SLOWDOWN_MILLI, WorkloadSet
from gpuslice.workloads.model import Workload
from gpuslice.workloads.target import Target

NAMESPACE: Final = "trace"  # of pods for which none is told


def new_workloads(needs: Mapping[str, Measured], *, region: str, notes: tuple[str, ...]) -> WorkloadSet:
    """A workload for each need, with as many replicas as were read.

    A trace says no requests: its pods are taken to ask for nothing but their GPU, which the notes say.
    """
    names = _names(needs)
    workloads = tuple(_workload(name, names[name], measured) for name, measured in needs.items())
    assumed = "the readings say no requests of CPU and memory: none are taken; state them under `pod`"
    return WorkloadSet(region, workloads, (assumed, *notes))


def _workload(name: str, full: str, measured: Measured) -> Workload:
    namespace, _, _ = full.partition("/")
    how = measured.measurement
    return Workload(
        name=full,
        replicas=how.replicas,
        cpu_milli=0,
        memory_mib=0,
        need=Need(
            memory_mib=None if measured.suspicion else measured.memory_mib,
            duty_ppm=measured.duty_ppm,
            on=measured.on,
            source=Source.MEASURED,
            max_slowdown_milli=SERVICE_SLOWDOWN_MILLI,
            limitable=measured.suspicion is None,
        ),
        target=Target(kind="Deployment" if "/" in name else "Pod"),
        tenant=namespace,
        slowdown_defaulted=True,
        preallocates=measured.suspicion is not None,
        measurement=how,
        notes=() if measured.suspicion is None else (measured.suspicion.note,),
    )


def _names(texts: Iterable[str]) -> dict[str, str]:
    """Names such as Kubernetes has: a trace may call its pods anything. Those that become alike are numbered."""
    names: dict[str, str] = {}
    taken: set[str] = set()
    for text in texts:
        first, slash, rest = text.partition("/")
        namespace, own = (_label(first, 63) or NAMESPACE, rest) if slash else (NAMESPACE, text)
        name = full = f"{namespace}/{_label(own, 200) or 'pod'}"
        number = 1
        while full in taken:
            number += 1
            full = f"{name}-{number}"
        taken.add(full)
        names[text] = full
    return names


def _label(text: str, longest: int) -> str:
    return re.sub(r"[^a-z0-9-]+", "-", text.lower()).strip("-")[:longest].strip("-")
