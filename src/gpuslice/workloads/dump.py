"""workloads.yaml as it is written, by `scan` and for whoever measures."""

from __future__ import annotations

from typing import Literal

from msgspec import UNSET, UnsetType

from gpuslice.artefacts.documents import dump_yaml, to_plain
from gpuslice.artefacts.part import API_VERSION
from gpuslice.units import PPM, format_cpu, format_memory
from gpuslice.workloads.artefact import WorkloadSet, default_slowdown
from gpuslice.workloads.entries import (
    Demand,
    GpuRules,
    NeedEntry,
    Objective,
    PodRequests,
    Profile,
    Replicas,
    ServiceEntry,
    TakeEntry,
    WorkloadEntry,
)
from gpuslice.workloads.model import Service, Workload
from gpuslice.workloads.node_limits import EPHEMERAL_STORAGE, Take
from gpuslice.workloads.policy import FREE


def to_artefact(workloads: WorkloadSet) -> dict[str, object]:
    """The plain data of workloads.yaml, in the order that people read it; what has its default is left out.

    Reading it back gives an equal set, for workloads that keep the rules of the file (a tenant, names of
    Kubernetes) and with assumed needs accepted.
    """
    return {
        "apiVersion": API_VERSION,
        "kind": "Workloads",
        "region": workloads.region,
        **({"notes": list(workloads.notes)} if workloads.notes else {}),
        **({"policy": to_plain(workloads.policy)} if workloads.policy != FREE else {}),
        **({"today": to_plain(workloads.today)} if workloads.today is not None else {}),
        "workloads": [_to_entry(workload) for workload in workloads.workloads],
    }


def dump(workloads: WorkloadSet) -> str:
    """workloads.yaml."""
    return dump_yaml(to_artefact(workloads))


def _to_entry(workload: Workload) -> object:
    need, service = workload.need, workload.service
    slowdown: float | Literal["none"] | UnsetType = UNSET
    if (need.max_slowdown_milli, workload.slowdown_defaulted) != default_slowdown(workload.target.kind):
        slowdown = "none" if need.max_slowdown_milli is None else _number(need.max_slowdown_milli, 1000)
    plain = to_plain(
        WorkloadEntry(
            name=workload.name,
            target=workload.target,
            replicas=_replicas(workload) if service is None else UNSET,
            tenant=workload.tenant if workload.tenant not in {"", workload.namespace} else UNSET,
            isolation=need.isolation,
            pod=PodRequests(
                cpu=format_cpu(workload.cpu_milli),
                memory=format_memory(workload.memory_mib) if workload.memory_mib else None,
                arch="arm64" if workload.arch == "arm64" else "amd64",
            ),
            need=NeedEntry(
                gpus=need.gpus,
                memory=None if need.memory_mib is None else format_memory(need.memory_mib),
                duty=None if need.duty_ppm is None else _number(need.duty_ppm, PPM),
                on=need.on,
                source=need.source,
                measurement=workload.measurement,
                gang=need.gang,
            ),
            gpu=GpuRules(
                allow=tuple(sorted(need.allow)),
                min_compute_capability=None
                if need.min_compute_capability is None
                else ".".join(str(number) for number in need.min_compute_capability),
                features=tuple(sorted(need.features)),
            ),
            max_slowdown=slowdown,
            interruptible=workload.interruptible,
            on_spot=workload.on_spot,
            preallocates=workload.preallocates,
            service=UNSET if service is None else _to_service_entry(service),
            takes=tuple(_to_take_entry(take) for take in workload.takes),
            stays=workload.stays,
            notes=workload.notes,
        )
    )
    # What kind of object it is matters to a reader, even where it is the default.
    match plain:
        case {"name": name, **rest}:
            stated = to_plain(workload.target)
            target = {"kind": workload.target.kind, **(stated if isinstance(stated, dict) else {})}
            return {"name": name, "target": target} | rest | {"target": target}
        case _:
            return plain


def _to_take_entry(take: Take) -> TakeEntry:
    stored = take.resource == EPHEMERAL_STORAGE
    return TakeEntry(
        resource=take.resource,
        amount=format_memory(take.amount) if stored else take.amount,
        most=take.most or UNSET,
    )


def _replicas(workload: Workload) -> int | Replicas:
    if workload.most_replicas <= workload.replicas:
        return workload.replicas
    return Replicas(now=workload.replicas, peak=workload.most_replicas)


def _to_service_entry(service: Service) -> ServiceEntry:
    return ServiceEntry(
        demand=Demand(rate=_tidy(service.rate), unit=service.unit),
        slo=Objective(latency_ms=_tidy(service.latency_ms), share=_tidy(service.share)),
        profiles=tuple(
            Profile(
                slice=profile.slice,
                batch=profile.batch,
                processes=profile.processes,
                rate=_tidy(profile.rate),
                latency_ms=_tidy(profile.latency_ms),
            )
            for profile in service.profiles
        ),
    )


def _number(count: int, of: int) -> float:
    return count // of if count % of == 0 else count / of


def _tidy(value: float) -> float:
    return int(value) if value == int(value) else value
