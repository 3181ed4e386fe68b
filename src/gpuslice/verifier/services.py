"""What the verifier asks of services sized by load: that what was measured carries the demand, and no replica too many.

Like the rest of the verifier it shares no code with the parts of the planner that make plans: which profiles meet the
objective, and what a replica does on a slice, is worked out here again.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING

from msgspec import UNSET

from gpuslice.hardware.gpus import GPUS
from gpuslice.verifier.layouts import Violation

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from gpuslice.hardware.mig_profiles import MigProfile
    from gpuslice.hardware.need import Need
    from gpuslice.plan.artefact import Assignment, OptimalNode
    from gpuslice.workloads.model import Service, ServiceProfile, Workload


def measured_need(workload: Workload) -> Need:
    """The need of a replica; of a service, with the slices on which a profile says that it does well enough."""
    service = workload.service
    if service is None:
        return workload.need
    named: set[str] = set()
    for measured in _done(service):
        gpu = measured.split("/")[0]
        table = GPUS[gpu].mig
        instances = [f"{gpu}/mig/{profile.name}" for profile in table.profiles] if table is not None else []
        named |= {name for name in (measured, f"{gpu}/whole", *instances) if _holds(name, measured)}
    # Where none does, no slice is right; a name that no slice has says so.
    return replace(workload.need, slices=frozenset(named) or frozenset({"none"}))


def throughput_on(service: Service, slice_: str) -> Fraction:
    """What one replica does on a slice, by the best profile that holds there; 0: none meets the objective."""
    return max(
        (done for measured, done in _done(service).items() if _holds(slice_, measured)), default=Fraction(0)
    )


@lru_cache(maxsize=1024)
def _done(service: Service) -> dict[str, Fraction]:
    """The most that one replica does on each slice where a profile meets the objective."""
    rates: dict[str, Fraction] = {}
    for profile in service.profiles:
        if _meets(service, profile):
            done = Fraction(str(profile.rate)) * profile.processes
            rates[profile.slice] = max(rates.get(profile.slice, done), done)
    return rates


def _meets(service: Service, profile: ServiceProfile) -> bool:
    return Fraction(str(profile.latency_ms)) < Fraction(str(service.share)) * Fraction(
        str(service.latency_ms)
    )


def _holds(slice_: str, measured: str) -> bool:
    """Whether what was measured on one slice is true on the other: the same, or one of the GPU with no less of it."""
    if slice_ in {measured, f"{measured.partition('/')[0]}/whole"}:
        return True
    here, there = _instance(slice_), _instance(measured)
    if here is None or there is None or slice_.partition("/")[0] != measured.partition("/")[0]:
        return False
    return (
        here.sms >= there.sms
        and here.memory_mib >= there.memory_mib
        and here.memory_slices >= there.memory_slices
    )


def _instance(slice_: str) -> MigProfile | None:
    gpu, _, rest = slice_.partition("/")
    table = GPUS[gpu].mig if gpu in GPUS else None
    return table.profile(rest.removeprefix("mig/")) if table is not None and rest.startswith("mig/") else None


def replica_violations(
    workload: Workload, assigned: Sequence[Assignment], *, unplaced: bool
) -> Iterator[Violation]:
    """Whether a service has the replicas that its demand takes, and says of them what was measured."""
    service, name = workload.service, workload.name
    if service is None:
        return
    demand = Fraction(str(service.rate))
    if unplaced or not demand:
        if assigned:
            yield Violation("replicas", name, "has replicas where none are wanted")
        return
    done = Fraction(0)
    for assignment in assigned:
        profile = _relied_on(service, assignment)
        if profile is None:
            yield Violation(
                "profile", name, "what it is said to do was not measured there, or misses its objective"
            )
            continue
        one = Fraction(str(profile.rate)) * profile.processes
        done += one * assignment.replicas
        if one * (assignment.replicas - 1) >= demand:
            yield Violation("replicas", name, "one replica fewer would do")
        yield from _figures(service, assignment)
    if done < demand:
        yield Violation("demand", name, f"its replicas do {float(done):g} of {service.rate:g} {service.unit}")


def _relied_on(service: Service, assignment: Assignment) -> ServiceProfile | None:
    """The profile that an assignment speaks of, if it holds on its slice and meets the objective."""
    stated = assignment.service
    if stated is UNSET:
        return None
    good = (
        profile
        for profile in service.profiles
        if (profile.batch, profile.processes, profile.latency_ms)
        == (stated.batch, stated.processes, stated.latency_ms)
        and _meets(service, profile)
        and _holds(assignment.slice, profile.slice)
        and _near(stated.throughput, profile.rate * profile.processes)
    )
    return next(good, None)


def _figures(service: Service, assignment: Assignment) -> Iterator[Violation]:
    stated = assignment.service
    if stated is UNSET:
        return
    if (stated.demand, stated.unit) != (service.rate, service.unit):
        yield Violation("figures", assignment.workload, f"the demand is {service.rate:g} {service.unit}")
    if not _near(stated.limit_ms, service.latency_ms * service.share):
        yield Violation(
            "figures", assignment.workload, f"the limit is {service.latency_ms * service.share:g} ms"
        )


def neighbour_violations(workloads: Iterable[Workload], where: str) -> Iterator[Violation]:
    """On a GPU shared by turns or by MPS: a service was measured beside its own replicas, and nobody else."""
    names = sorted({workload.name for workload in workloads})
    services = sorted({workload.name for workload in workloads if workload.service is not None})
    if services and len(names) > 1:
        yield Violation("neighbours", where, f"{services[0]} was measured beside its own replicas only")


def packing_violations(
    nodes: Sequence[OptimalNode], workloads: Mapping[str, Workload], served: Iterable[str]
) -> Iterator[Violation]:
    """Whether the cheapest packing carries the demand of every service that is served.

    Args:
        nodes: of the packing.
        workloads: by name.
        served: names of services that have an assignment.
    """
    done: dict[str, Fraction] = dict.fromkeys(served, Fraction(0))
    for node in nodes:
        sized = {name for name in node.pods if name in workloads and workloads[name].service is not None}
        if node.slices.keys() != sized or any(
            sum(node.slices[name].values()) != node.pods[name] for name in sized
        ):
            yield Violation(
                "slices", f"optimal node {node.instance_type}", "services aren't all on a slice each"
            )
        for name in sized & node.slices.keys():
            service = workloads[name].service
            for slice_, count in node.slices[name].items() if service is not None else ():
                one = throughput_on(service, slice_) if service is not None else Fraction(0)
                done[name] = done.get(name, Fraction(0)) + one * count * node.count
    for name, total in done.items():
        service = workloads[name].service
        if service is not None and total < Fraction(str(service.rate)):
            yield Violation("demand", name, f"the cheapest packing does {float(total):g} of {service.rate:g}")
        if name not in served:
            yield Violation("replicas", name, "the cheapest packing carries it, and the plan doesn't")


def _near(stated: float, computed: float) -> bool:
    return abs(stated - computed) <= 1e-9 * max(abs(computed), 1.0)
