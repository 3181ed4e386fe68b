"""Why a workload is where it is, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuslice.workloads.service_kinds import latency_limit

if TYPE_CHECKING:
    from gpuslice.workloads.model import Service
    from gpuslice.workloads.service_kinds import Kind


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
