"""workloads.yaml as it is read: what people write and review, and what `scan` writes for them.

`entries` has its form; here is checked what a schema can't say, and what comes out are `Workload`s.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Final, Literal, ParamSpec, TypeVar

from msgspec import UNSET, UnsetType

from gpuslice.artefacts.documents import Document, read_documents
from gpuslice.artefacts.quoting import quoted, shorten, shown
from gpuslice.artefacts.strict import decode
from gpuslice.errors import InputError
from gpuslice.hardware.gpus import gpu_named
from gpuslice.hardware.need import ANY_GPU, Need, Source
from gpuslice.units import PPM, parse_cpu_milli, parse_memory_mib, parse_quantity
from gpuslice.workloads.entries import Quantity, Replicas, ServiceEntry, TakeEntry, WorkloadEntry, Workloads
from gpuslice.workloads.model import JOB_KINDS, MOST_REPLICAS, Service, ServiceProfile, Workload
from gpuslice.workloads.names import LONGEST_NAMESPACE, LONGEST_OBJECT_NAME, is_namespace, is_object_name
from gpuslice.workloads.node_limits import EPHEMERAL_STORAGE, Take
from gpuslice.workloads.policy import FREE, Policy
from gpuslice.workloads.slice_names import slice_name
from gpuslice.workloads.target import Target
from gpuslice.workloads.today import Today, check_today

SERVICE_SLOWDOWN_MILLI: Final = 2000  # of whom somebody waits for: half as fast is bearable, and cuts well

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class WorkloadSet:
    """Workloads that are planned together.

    Attributes:
        region: where they run.
        workloads: names unique.
        notes: what a person should know about all of them.
        policy: what plans for them may buy.
        today: what runs and is paid for; None: nothing of it was read.
    """

    region: str
    workloads: tuple[Workload, ...]
    notes: tuple[str, ...] = ()
    policy: Policy = FREE
    today: Today | None = None


def default_slowdown(kind: str) -> tuple[int | None, bool]:
    """The limit, thousandths, for a kind of object where nobody stated one; and whether that limits anything."""
    return (None, False) if kind in JOB_KINDS else (SERVICE_SLOWDOWN_MILLI, True)


def read_workloads(
    path: str | Path, *, at: Literal["now", "peak"] = "now", accept_assumed: bool = False
) -> WorkloadSet:
    """Workloads from a file.

    Args:
        path: of the file; "-" is standard input.
        at: which replicas count where an entry has both.
        accept_assumed: believe figures whose source is `assumed`; else they count as not known, with a note.

    Raises:
        InputError: with file, path of the field, what was found and what would be right.
    """
    return parse_workloads(read_documents(path), at=at, accept_assumed=accept_assumed)


def parse_workloads(
    documents: Sequence[Document], *, at: Literal["now", "peak"] = "now", accept_assumed: bool = False
) -> WorkloadSet:
    """Workloads from the one document of a file.

    Args:
        documents: as they were read.
        at: which replicas count where an entry has both.
        accept_assumed: believe figures whose source is `assumed`; else they count as not known, with a note.

    Raises:
        InputError: with file, path of the field, what was found and what would be right.
    """
    if len(documents) != 1:
        where = documents[1].where if documents else ""
        raise InputError(
            f"{len(documents)} documents, where one is wanted", where=where, fix="keep one in the file"
        )
    where = documents[0].where
    artefact = decode(documents[0].data, Workloads, where=where)
    seen: dict[str, int] = {}
    workloads = []
    for index, entry in enumerate(artefact.workloads):
        place = f"{where}: workloads[{index}]"
        if entry.name in seen:
            raise InputError(
                f"name {quoted(entry.name)} is that of workloads[{seen[entry.name]}] too",
                where=place,
                fix="give each workload a name of its own",
            )
        seen[entry.name] = index
        workloads.append(_Reading(f"{place} ({shorten(entry.name)})", at, accept_assumed).workload(entry))
    _check_takes(workloads, f"{where}: workloads")
    today = None if isinstance(artefact.today, UnsetType) else artefact.today
    if today is not None:
        check_today(today, f"{where}: today")
    return WorkloadSet(artefact.region, tuple(workloads), artefact.notes, artefact.policy, today)


def _check_takes(workloads: Sequence[Workload], where: str) -> None:
    """Whether all who take of a resource say the same of what a node has of it."""
    known: dict[str, tuple[int, str]] = {}
    for workload in workloads:
        for take in workload.takes:
            most, first = known.setdefault(take.resource, (take.most, workload.name))
            if most != take.most:
                raise InputError(
                    f"of {quoted(take.resource)} a node has {most or 'what its type has'} by {first}, and "
                    f"{take.most or 'what its type has'} by {workload.name}",
                    where=where,
                    fix="write the same `most` in both",
                )


@dataclass(frozen=True, slots=True)
class _Reading:
    """One entry being read: where it is, and what was asked for."""

    where: str
    at: Literal["now", "peak"]
    accept_assumed: bool

    def workload(self, entry: WorkloadEntry) -> Workload:
        """The entry, checked."""
        _check_name(entry.name, f"{self.where}.name")
        need = self._need(entry)
        limit, defaulted = default_slowdown(entry.target.kind)
        if not isinstance(entry.max_slowdown, UnsetType):
            limit = None if entry.max_slowdown == "none" else round(Decimal(str(entry.max_slowdown)) * 1000)
            defaulted = False
        memory = entry.pod.memory
        workload = Workload(
            name=entry.name,
            replicas=self._replicas(entry),
            most_replicas=entry.replicas.peak
            if isinstance(entry.replicas, Replicas)
            and self.at == "now"
            and entry.replicas.peak > entry.replicas.now
            else 0,
            cpu_milli=self._parsed("pod.cpu", parse_cpu_milli, entry.pod.cpu),
            memory_mib=0 if memory is None else self._memory("pod.memory", memory),
            need=replace(need, max_slowdown_milli=limit),
            target=entry.target,
            tenant=entry.name.partition("/")[0] if isinstance(entry.tenant, UnsetType) else entry.tenant,
            slowdown_defaulted=defaulted,
            interruptible=entry.interruptible,
            on_spot=entry.on_spot,
            arch=entry.pod.arch,
            preallocates=entry.preallocates,
            service=self._service(entry.service) if isinstance(entry.service, ServiceEntry) else None,
            measurement=entry.need.measurement,
            notes=entry.notes,
            takes=self._takes(entry.takes),
            stays=entry.stays,
        )
        return workload if self.accept_assumed else without_assumed(workload)

    def _parsed(self, path: str, parse: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return parse(*args, **kwargs)
        except InputError as error:
            raise error.inside(f"{self.where}.{path}") from None

    def _memory(self, path: str, text: Quantity) -> int:
        return self._parsed(path, parse_memory_mib, text, require_unit=True)

    def _replicas(self, entry: WorkloadEntry) -> int:
        place = f"{self.where}.replicas"
        match entry.replicas:
            case UnsetType():
                if entry.service is UNSET:
                    fix = (
                        f"add replicas: a whole number from 0 to {MOST_REPLICAS:,}, or {{now: 12, peak: 20}}"
                    )
                    raise InputError("has no replicas", where=self.where, fix=fix)
                return 0
            case _ if entry.service is not UNSET:
                fix = "leave out replicas, which are then the planner's choice, or the service"
                raise InputError("stands beside a service, which is sized by its load", where=place, fix=fix)
            case Replicas(now=now, peak=peak):
                if peak < now:
                    fix = f"write a peak of at least {now:,}"
                    raise InputError(f"the peak, {peak:,}, is below now, {now:,}", where=place, fix=fix)
                return now if self.at == "now" else peak
            case int(count):
                return count

    def _need(self, entry: WorkloadEntry) -> Need:
        stated = entry.need
        on = stated.on
        capability = entry.gpu.min_compute_capability
        return Need(
            gpus=stated.gpus,
            memory_mib=None if stated.memory is None else self._memory("need.memory", stated.memory),
            duty_ppm=None if stated.duty is None else max(1, round(Decimal(str(stated.duty)) * PPM)),
            on=None if on is None else self._parsed("need.on", gpu_named, on).name,
            source=stated.source,
            isolation=entry.isolation,
            allow=self._allow(entry.gpu.allow),
            min_compute_capability=None if capability is None else _capability(capability),
            features=frozenset(entry.gpu.features),
            limitable=limitable(entry.target, preallocates=entry.preallocates),
            gang=stated.gang,
        )

    def _takes(self, entries: tuple[TakeEntry, ...]) -> tuple[Take, ...]:
        takes: dict[str, Take] = {}
        for index, entry in enumerate(entries):
            path = f"takes[{index}]"
            if entry.resource in takes:
                raise InputError(
                    f"{quoted(entry.resource)} is listed twice",
                    where=f"{self.where}.{path}",
                    fix="add the two up",
                )
            if entry.resource == EPHEMERAL_STORAGE:
                amount = self._memory(f"{path}.amount", entry.amount)
            else:
                amount = self._whole(f"{path}.amount", entry.amount)
            if amount:
                most = 0 if isinstance(entry.most, UnsetType) else entry.most
                takes[entry.resource] = Take(entry.resource, amount, most)
        return tuple(sorted(takes.values()))

    def _whole(self, path: str, text: Quantity) -> int:
        amount = self._parsed(path, parse_quantity, text)
        if amount.denominator != 1 or amount < 0:
            raise InputError(
                f"{shown(text)} is no whole number", where=f"{self.where}.{path}", fix="write 1, 2, …"
            )
        return int(amount)

    def _allow(self, names: tuple[str, ...]) -> frozenset[str]:
        if ANY_GPU in names and len(set(names)) > 1:
            fix = f"write [{ANY_GPU}], or the models"
            raise InputError("says any GPU and names some", where=f"{self.where}.gpu.allow", fix=fix)
        return frozenset(
            name if name == ANY_GPU else self._parsed(f"gpu.allow[{index}]", gpu_named, name).name
            for index, name in enumerate(names)
        )

    def _service(self, entry: ServiceEntry) -> Service:
        profiles = tuple(
            ServiceProfile(
                slice=self._parsed(f"service.profiles[{index}].slice", slice_name, profile.slice),
                batch=profile.batch,
                processes=profile.processes,
                rate=profile.rate,
                latency_ms=profile.latency_ms,
            )
            for index, profile in enumerate(entry.profiles)
        )
        seen: dict[tuple[str, int, int], int] = {}
        for index, measured in enumerate(profiles):
            key = (measured.slice, measured.batch, measured.processes)
            if key in seen:
                raise InputError(
                    f"measures {measured.slice}, batch {measured.batch}, processes {measured.processes}, as "
                    f"profiles[{seen[key]}] does",
                    where=f"{self.where}.service.profiles[{index}]",
                    fix="keep the one that you believe",
                )
            seen[key] = index
        demand, slo = entry.demand, entry.slo
        return Service(demand.rate, demand.unit, slo.latency_ms, profiles, slo.share)


def without_assumed(workload: Workload) -> Workload:
    """The workload, with a need that is only assumed taken for not known, and a note: nothing is sliced on a guess."""
    need = workload.need
    if need.source is not Source.ASSUMED or not (need.memory_mib or need.duty_ppm):
        return workload
    note = "its need is only assumed, and so counts as not known: measure it, or accept assumed needs"
    return replace(
        workload, need=replace(need, memory_mib=None, duty_ppm=None), notes=(*workload.notes, note)
    )


def limitable(target: Target, *, preallocates: bool) -> bool:
    """Whether a workload can be kept to a share of the GPU memory that it sees; see `Need.limitable`."""
    if target.framework is not None:
        return target.framework.limit != "none"
    return not preallocates


def at_peak(workload: Workload) -> Workload:
    """The workload with as many replicas as there may be of it."""
    return replace(workload, replicas=max(workload.replicas, workload.most_replicas))


def _check_name(name: str, where: str) -> None:
    namespace, slash, of = name.partition("/")
    if not slash:
        raise InputError(f"{quoted(name)} has no namespace", where=where, fix="write namespace/name")
    if not is_namespace(namespace):
        raise InputError(
            f"namespace {quoted(namespace)} is no DNS label",
            where=where,
            fix=f"write up to {LONGEST_NAMESPACE} lower-case letters, digits or '-', beginning and ending with one of "
            "the first two",
        )
    if not is_object_name(of):
        raise InputError(
            f"name {quoted(of)} is no DNS name",
            where=where,
            fix=f"write up to {LONGEST_OBJECT_NAME} lower-case letters, digits, '-' or '.', as Kubernetes has it",
        )


def _capability(text: str) -> tuple[int, int]:
    major, _, minor = text.partition(".")
    return int(major), int(minor)
