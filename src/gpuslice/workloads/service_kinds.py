"""The ways in which a service sized by its load can be served: which slice, and how much one replica does there."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING

from gpuslice.cloud.catalog import Purchase
from gpuslice.hardware.gpus import GPUS
from gpuslice.hardware.mechanisms import Mechanism
from gpuslice.hardware.sharing import SEES_ALL
from gpuslice.workloads.model import MOST_REPLICAS
from gpuslice.workloads.slice_names import parse_slice

if TYPE_CHECKING:
    from gpuslice.cloud.catalog import Catalog
    from gpuslice.workloads.model import Service, ServiceProfile, Workload


@dataclass(frozen=True, slots=True)
class Kind:
    """One way to serve.

    Attributes:
        service: name of the workload.
        profile: the measurement that it relies on.
        throughput: of one replica: the rate of each process x processes, in the unit of the demand.
        slices: names of those that will do: the one measured, and those that have no less of anything.
        replicas: that carry the whole demand.
    """

    service: str
    profile: ServiceProfile
    throughput: Fraction
    slices: frozenset[str]
    replicas: int


def exactly(figure: float) -> Fraction:
    """A figure as it was written: 0.1 is a tenth."""
    return Fraction(Decimal(str(figure)))


def throughput(profile: ServiceProfile) -> Fraction:
    """What one replica does on its slice, in the unit of the demand."""
    return exactly(profile.rate) * profile.processes


def latency_limit(service: Service) -> Fraction:
    """Milliseconds that a profile's latency must be below."""
    return exactly(service.latency_ms) * exactly(service.share)


@lru_cache(maxsize=1024)
def admissible(service: Service) -> tuple[ServiceProfile, ...]:
    """The profiles that meet the objective, those with the highest throughput first."""
    limit = latency_limit(service)
    good = [profile for profile in service.profiles if exactly(profile.latency_ms) < limit]
    return tuple(sorted(good, key=throughput, reverse=True))


def kinds_of(workload: Workload) -> tuple[tuple[Kind, ...], str]:
    """The ways to serve a workload that is sized by its load; none: why not, in words.

    Of the profiles that a slice can rely on, the one with the highest throughput counts; a slice on which a replica
    does no more than on a smaller one is no way of its own.
    """
    service = workload.service
    if service is None:
        return (), "not sized by load"
    good = admissible(service)
    if not good:
        fastest = min(service.profiles, key=lambda profile: profile.latency_ms)
        limit = f"{float(latency_limit(service)):g}"
        return (), (
            f"no profile's latency is below {limit} ms, {service.share:g} of its objective: the fastest takes "
            f"{fastest.latency_ms:g} ms on {fastest.slice}"
        )
    if workload.preallocates and workload.need.memory_mib is None:
        good = tuple(profile for profile in good if parse_slice(profile.slice).mechanism not in SEES_ALL)
        if not good:
            return (), (
                "it takes all the memory that it sees, which on the slices measured is the whole GPU's: state "
                "need.memory, or measure it on MIG or a whole GPU"
            )
    best: dict[frozenset[str], ServiceProfile] = {}
    for fitting in good:
        best.setdefault(at_least(fitting.slice), fitting)
    kinds = [
        kind_by(workload.name, service, profile)
        for profile in sorted(best.values(), key=lambda profile: profile.slice)
    ]
    worthwhile = tuple(
        kind
        for kind in kinds
        if not any(kind.slices < other.slices and kind.throughput <= other.throughput for other in kinds)
    )
    few = tuple(kind for kind in worthwhile if kind.replicas <= MOST_REPLICAS)
    if not few:
        least = min(kind.replicas for kind in worthwhile)
        return (), f"its load would take {least:,} replicas; {MOST_REPLICAS:,} are the most that are planned"
    return few, ""


def kind_by(workload: str, service: Service, profile: ServiceProfile) -> Kind:
    """The way to serve that relies on a profile."""
    done = throughput(profile)
    return Kind(workload, profile, done, at_least(profile.slice), -int(-exactly(service.rate) // done))


@lru_cache(maxsize=1024)
def at_least(name: str) -> frozenset[str]:
    """The slice of this name and others of the same GPU that have no less of anything: MIG instances, the whole GPU."""
    gpu, _, rest = name.partition("/")
    table = GPUS[gpu].mig
    mine = table.profile(rest.removeprefix("mig/")) if table is not None and rest.startswith("mig/") else None
    more = {name, f"{gpu}/whole"}
    if table is None or mine is None:
        return frozenset(more)
    return frozenset(more).union(
        f"{gpu}/mig/{profile.name}"
        for profile in table.profiles
        if profile.memory_mib >= mine.memory_mib
        and profile.memory_slices >= mine.memory_slices
        and profile.compute_slices >= mine.compute_slices
    )


def on_whole_gpus(workload: Workload, catalog: Catalog) -> Workload | None:
    """The workload as replicas that have a GPU each, of the cheapest model for it; None: none has a price."""
    best: tuple[Fraction, Kind] | None = None
    for machine in catalog.instance_types:
        price = machine.prices.get(Purchase.ON_DEMAND)
        for kind in kinds_of(workload)[0] if price is not None and machine.gpu_count else ():
            name = f"{machine.gpu}/whole"
            if name in kind.slices:
                cost = Fraction(price or 0, machine.gpu_count) * kind.replicas
                if best is None or cost < best[0]:
                    best = cost, replace(kind, slices=frozenset({name}))
    return None if best is None else as_replicas(workload, best[1], best[1].replicas)


def kind_of(workload: Workload) -> Kind | None:
    """The kind that replicas made by `as_replicas` are of; None for a workload that isn't sized by load."""
    kinds = kinds_of(workload)[0] if workload.service is not None else ()
    return next((kind for kind in kinds if kind.slices == workload.need.slices), None)


def as_replicas(workload: Workload, kind: Kind, replicas: int) -> Workload:
    """The workload as so many replicas of one kind, for planning like any other."""
    shared = parse_slice(kind.profile.slice).mechanism in {Mechanism.TIME_SLICING, Mechanism.MPS}
    need = replace(workload.need, slices=kind.slices, beside=workload.name if shared else "")
    return replace(workload, need=need, replicas=replicas)
