"""Public traces of GPU clusters as workloads: real needs to plan with, where no cluster is at hand.

openb     Alibaba's production GPU cluster (cluster-trace-gpu-v2023): pods with requests, thousands of a GPU each.
GenTD26   Alibaba's image-generation service (cluster-trace-v2026-GenAI), here as one row a pod and minute with the
          GPU's duty cycle in percent and the memory in use.

Neither says all that a plan needs. What is filled in is named here, and in the notes of what is returned.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Final, NamedTuple

from gpuslice.artefacts.quoting import quoted
from gpuslice.errors import InputError
from gpuslice.hardware.gpus import Gpu, gpu_named
from gpuslice.hardware.need import ANY_GPU, Need, Source
from gpuslice.units import PPM, format_cpu, format_memory
from gpuslice.workloads.artefact import SERVICE_SLOWDOWN_MILLI, WorkloadSet
from gpuslice.workloads.csv_rows import Bad, Rows, number
from gpuslice.workloads.model import Workload
from gpuslice.workloads.target import Target

OPENB_HEADER: Final = (
    *("name", "cpu_milli", "memory_mib", "num_gpu", "gpu_milli", "gpu_spec"),
    *("qos", "pod_phase", "creation_time", "deletion_time", "scheduled_time"),
)
GENTD26_HEADER: Final = ("pod", "minute", "duty", "mem_mib")

# openb counts thousandths of a GPU and says no memory and no duty. A share is taken for that share of a T4 (the
# cluster's most frequent GPU with a sibling on EC2): of 14,000 MiB, and of 0.7 of its time, what a GPU well kept in
# use gives away.
OPENB_GPU: Final = "T4"
OPENB_MEMORY_MIB: Final = 14_000
OPENB_DUTY: Final = 0.7
# Values of gpu_spec. The catalog has no V100 with 16 GB; the one with 32 GB does all that it does.
# P100 was never on EC2; G2 and G3 are names for GPUs that the trace doesn't disclose.
OPENB_MODELS: Final = {"T4": "T4", "A10": "A10G", "V100M16": "V100-32GB", "V100M32": "V100-32GB"}
OPENB_ELSEWHERE: Final = frozenset({"P100", "G2", "G3"})

# A need of GenTD26 is a reading, and readings of like pods differ by some MiB: needs are rounded up, which is safe, to
# steps that are small beside the error of a reading, and pods whose needs are then equal are one workload.
GENTD26_MEMORY_STEP_MIB: Final = 1024
GENTD26_DUTY_STEP_PPM: Final = 10_000
# Requests of a pod where the trace has none: a quarter of the smallest machine with a large GPU.
POD_CPU_MILLI: Final = 2000
POD_MEMORY_MIB: Final = 8 * 1024

_LARGEST: Final = 1024 * 1024 * 1024  # MiB that no GPU has


def from_trace(
    path: str,
    *,
    today: str | None = None,
    pod_cpu_milli: int | None = None,
    pod_memory_mib: int | None = None,
    region: str = "us-east-1",
) -> WorkloadSet:
    """The workloads of a trace, a CSV file or one packed by gzip; its kind is told by its header.

    Args:
        path: the file.
        today: for GenTD26: the GPU model that its pods ran on, which the trace doesn't say.
        pod_cpu_milli: for GenTD26: CPU requests of a pod, which the trace doesn't say either.
        pod_memory_mib: and memory requests.
        region: of the workload set.

    Raises:
        InputError: unreadable, not a known trace, without one usable row, or GenTD26 without `today`.
    """
    rows = Rows(path)
    if rows.header == OPENB_HEADER:
        return _openb(rows, region)
    if rows.header == GENTD26_HEADER:
        cpu = POD_CPU_MILLI if pod_cpu_milli is None else pod_cpu_milli
        memory = POD_MEMORY_MIB if pod_memory_mib is None else pod_memory_mib
        return _gentd26(rows, region, today, cpu, memory)
    raise InputError(
        f"is no known trace: its first line is {quoted(','.join(rows.header))}",
        where=path,
        fix=f"known are openb ({','.join(OPENB_HEADER[:4])},…) and GenTD26 ({','.join(GENTD26_HEADER)})",
    )


class OpenbClass(NamedTuple):
    """What pods of openb have in common."""

    cpu_milli: int
    memory_mib: int
    gpus: int
    gpu_milli: int
    gpu_spec: str
    qos: str


def _openb(rows: Rows, region: str) -> WorkloadSet:
    counts: dict[OpenbClass, int] = {}
    without_gpu, twice = 0, Bad()
    for _, _, row in openb_pods(rows, twice):
        if row.gpus == 0:
            without_gpu += 1
        else:
            counts[row] = counts.get(row, 0) + 1
    if not counts:
        raise InputError("has no pod with a GPU", where=rows.path, fix="name a whole trace")
    # The most frequent class comes first; ties by what they ask for, so that a trace always gives the same names.
    ordered = sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))
    workloads = tuple(openb_workload(index, row, count) for index, (row, count) in enumerate(ordered, 1))
    notes = [
        f"openb: {sum(counts.values()):,} pods with a GPU, in {len(counts)} classes of identical requests",
        (
            f"openb says no memory and no duty: a share of a GPU is taken for that share of {OPENB_MEMORY_MIB:,} "
            f"MiB and of {OPENB_DUTY} of a {OPENB_GPU}'s time; whole GPUs are taken to be of any model"
        ),
    ]
    if without_gpu:
        notes.append(f"{without_gpu:,} pods without a GPU: left out")
    elsewhere = sorted(
        {word for count in counts for word in count.gpu_spec.split("|") if word in OPENB_ELSEWHERE}
    )
    if elsewhere:
        notes.append(f"{', '.join(elsewhere)}: not on EC2; pods that ask for nothing else may have any model")
    if rows.bad.count:
        notes.append(rows.bad.note("rows that are no pod"))
    if twice.count:
        notes.append(twice.note("pods of a name that another had before"))
    return WorkloadSet(region=region, workloads=workloads, notes=tuple(notes))


def openb_pods(
    rows: Rows, twice: Bad, usable: Callable[[Sequence[str]], bool] = lambda _: True
) -> Iterator[tuple[int, list[str], OpenbClass]]:
    """The pods of openb, with line and row. What is no pod is counted as bad.

    Args:
        rows: of the trace.
        twice: counts rows of a name that a usable row had before.
        usable: what a row must be besides.
    """
    names: set[str] = set()
    for line, row in rows:
        a_class = openb_class(row)
        if a_class is None or not usable(row):
            rows.bad.add(line)
        elif row[0] in names:
            twice.add(line)
        else:
            names.add(row[0])
            yield line, row, a_class


def openb_class(row: Sequence[str]) -> OpenbClass | None:
    """What a row of openb asks for; None where it is no pod."""
    *numbers, spec, qos = row[1:7]
    cpu, memory, gpus, milli = (number(cell) for cell in numbers)
    if cpu is None or memory is None or gpus is None or milli is None:
        return None
    a_class = OpenbClass(cpu, memory, gpus, milli, spec, qos)
    known = all(word in OPENB_MODELS or word in OPENB_ELSEWHERE for word in spec.split("|") if word)
    part = a_class.gpus == 0 or 0 < a_class.gpu_milli <= 1000
    whole = a_class.gpus <= 1 or a_class.gpu_milli == 1000
    return a_class if known and part and whole and a_class.gpus <= 64 else None


def openb_workload(index: int, row: OpenbClass, count: int) -> Workload:
    """The workload of all pods of a class, the `index`-th by how many they are."""
    shared = row.gpus == 1 and row.gpu_milli < 1000
    models = frozenset(OPENB_MODELS[word] for word in row.gpu_spec.split("|") if word in OPENB_MODELS)
    allow = models or (frozenset() if shared else frozenset({ANY_GPU}))
    need = (
        Need(
            memory_mib=ceil(OPENB_MEMORY_MIB * row.gpu_milli / 1000),
            duty_ppm=ceil(OPENB_DUTY * PPM * row.gpu_milli / 1000),
            on=OPENB_GPU,
            source=Source.DECLARED,
            allow=allow,
        )
        if shared
        else Need(gpus=row.gpus, source=Source.DECLARED, allow=allow)
    )
    size = f"{row.gpu_milli}m" if shared else f"{row.gpus}gpu"
    spec = f", {row.gpu_spec}" if row.gpu_spec else ""
    return Workload(
        name=f"openb/class-{index:04d}-{size}",
        replicas=count,
        cpu_milli=row.cpu_milli,
        memory_mib=row.memory_mib,
        need=need,
        target=Target(kind="Pod"),
        tenant="openb",
        notes=(f"openb: {row.gpus} × {row.gpu_milli}/1000 GPU{spec}, {row.qos}",),
    )


@dataclass(slots=True)
class PodReadings:
    """What GenTD26 says of one pod, summed up."""

    minutes: int = 0
    duty: float = 0.0
    peak_mib: float = 0.0


class _Readings(NamedTuple):
    """What GenTD26 says of all pods, and how many of its fields are blank."""

    pods: dict[str, PodReadings]
    blank_duty: int
    blank_memory: int


def gentd26_readings(rows: Rows) -> _Readings:
    """What GenTD26 says of each pod."""
    pods: dict[str, PodReadings] = {}
    blank_duty = blank_memory = 0
    for line, (pod, _, duty, memory) in rows:
        try:
            busy = float(duty) if duty else 0.0
            used = float(memory) if memory else 0.0
        except ValueError:
            rows.bad.add(line)
            continue
        if not (pod and 0 <= busy <= 100 and 0 <= used < _LARGEST):
            rows.bad.add(line)
            continue
        readings = pods.get(pod)
        if readings is None:
            readings = pods[pod] = PodReadings()
        if duty:
            readings.minutes += 1
            readings.duty += busy
        else:
            blank_duty += 1
        if not memory:
            blank_memory += 1
        elif used > readings.peak_mib:
            readings.peak_mib = used
    if not pods:
        raise InputError("has no usable row", where=rows.path, fix="name a whole trace")
    return _Readings(pods, blank_duty, blank_memory)


def _gentd26(rows: Rows, region: str, today: str | None, cpu_milli: int, memory_mib: int) -> WorkloadSet:
    pods, blank_duty, blank_memory = gentd26_readings(rows)
    peak = ceil(max(pod.peak_mib for pod in pods.values()))
    if today is None:
        raise InputError(
            "GenTD26 doesn't say which GPU its pods ran on",
            where=rows.path,
            fix=f"name the model that the duty holds for, such as --today A100-80GB: pods held up to {peak:,} MiB",
        )
    gpu = gpu_named(today)
    workloads = gentd26_workloads(pods, gpu, cpu_milli, memory_mib)
    notes = [
        f"GenTD26: {len(pods)} pods, each with its mean duty and peak memory on one {gpu.name} (--today)",
        (
            f"needs are rounded up to whole {format_memory(GENTD26_MEMORY_STEP_MIB)} and hundredths of a GPU's time: "
            f"{len(pods)} pods are {len(workloads)} workloads"
        ),
        (
            f"GenTD26 has no requests: each pod is taken to ask for {format_cpu(cpu_milli)} CPU and "
            f"{format_memory(memory_mib)} of memory (--pod)"
        ),
    ]
    if peak > gpu.memory_mib:
        notes.append(f"pods held up to {peak:,} MiB, more than one {gpu.name} has: theirs was a larger card")
    if blank_duty or blank_memory:
        notes.append(
            f"{blank_duty:,} blank duty and {blank_memory:,} blank memory readings: left out of mean and peak"
        )
    if rows.bad.count:
        notes.append(rows.bad.note("rows that are no reading"))
    return WorkloadSet(region=region, workloads=workloads, notes=tuple(notes))


def gentd26_workloads(
    pods: dict[str, PodReadings], gpu: Gpu, cpu_milli: int, memory_mib: int
) -> tuple[Workload, ...]:
    """One workload for all pods of one rounded need, smallest first; at the end one for each pod without a reading."""
    counts: Counter[tuple[int, int]] = Counter()
    unread = []
    for name in sorted(pods):
        readings = pods[name]
        memory, duty = rounded_memory(readings, gpu), rounded_duty(readings)
        if memory is None or duty is None:
            unread.append((name, memory, duty))
        else:
            counts[memory, duty] += 1

    def workload(name: str, replicas: int, memory: int | None, duty: int | None) -> Workload:
        missing = [word for word, value in (("duty", duty), ("memory in use", memory)) if value is None]
        return Workload(
            name=f"gentd26/{name}",
            replicas=replicas,
            cpu_milli=cpu_milli,
            memory_mib=memory_mib,
            need=Need(
                memory_mib=memory,
                duty_ppm=duty,
                on=gpu.name,
                source=Source.MEASURED,
                max_slowdown_milli=SERVICE_SLOWDOWN_MILLI,
            ),
            target=Target(kind="Pod"),
            tenant="gentd26",
            slowdown_defaulted=True,
            notes=tuple(f"no {word} was ever read: not known" for word in missing),
        )

    return (
        *(
            workload(gentd26_name(memory, duty), counts[memory, duty], memory, duty)
            for memory, duty in sorted(counts)
        ),
        *(workload(name, 1, memory, duty) for name, memory, duty in unread),
    )


def gentd26_name(memory_mib: int, duty_ppm: int) -> str:
    """The name, after "gentd26/", of the workload of all pods with that need, such as "38gi-6pct"."""
    return f"{format_memory(memory_mib).lower()}-{duty_ppm * 100 // PPM}pct"


def rounded_memory(readings: PodReadings, gpu: Gpu) -> int | None:
    """MiB, rounded up, but not to more than the GPU has where the reading was within it; None: never read."""
    peak = ceil(readings.peak_mib)
    rounded = ceil(peak / GENTD26_MEMORY_STEP_MIB) * GENTD26_MEMORY_STEP_MIB
    return min(rounded, max(peak, gpu.memory_mib)) or None


def rounded_duty(readings: PodReadings) -> int | None:
    """Parts per million, rounded up; None: never read.

    At least one step: a GPU that was never seen busy still is now and then.
    """
    if not readings.minutes:
        return None
    duty = round(readings.duty / readings.minutes / 100 * PPM)
    return max(1, ceil(duty / GENTD26_DUTY_STEP_PPM)) * GENTD26_DUTY_STEP_PPM
