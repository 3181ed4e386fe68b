"""Demand over time: which pods there are from when to when, from traces, counts of replicas, or a daily wave.

openb       arrivals and departures, second by second.
GenTD26     a pod is there from its first minute to its last.
counts      time,workload,replicas: seconds from the start, a workload of workloads.yaml, how many from then on.
Prometheus  such counts, as it answers a range query of kube_deployment_spec_replicas.
A wave      between `now` and `peak` replicas of workloads.yaml, highest in the afternoon; with a seed.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from math import cos, pi
from typing import TYPE_CHECKING, Final

from gpuslice.artefacts.quoting import quoted
from gpuslice.errors import InputError
from gpuslice.hardware.gpus import gpu_named
from gpuslice.workloads.csv_rows import Bad, Rows, number, read_text
from gpuslice.workloads.replica_series import LATEST, replica_series, uncounted
from gpuslice.workloads.traces import (
    GENTD26_HEADER,
    OPENB_HEADER,
    POD_CPU_MILLI,
    POD_MEMORY_MIB,
    OpenbClass,
    from_trace,
    gentd26_name,
    gentd26_readings,
    gentd26_workloads,
    openb_pods,
    openb_workload,
    rounded_duty,
    rounded_memory,
)

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping, Sequence

    from gpuslice.workloads.artefact import WorkloadSet
    from gpuslice.workloads.model import Workload

COUNTS_HEADER: Final = ("time", "workload", "replicas")
_DAY: Final = 86_400
_UNKNOWN_NAMED: Final = 5
_STEP: Final = 900  # seconds between the wave's changes: autoscalers seldom act more often for long
_PEAK_HOUR: Final = 15
_NOISE: Final = 0.08  # standard deviation of the wave, as a share of its height


@dataclass(frozen=True, slots=True)
class Life:
    """One pod: of which workload, and from when to when, in seconds from the start; end None: it stays."""

    workload: str
    start: int
    end: int | None


@dataclass(frozen=True, slots=True)
class Timeline:
    """Demand over time.

    Attributes:
        source: what it is, in a few words.
        workloads: with the most replicas that there are at once; services sized by load are there all the time, and
            how many replicas that takes is not said here.
        lives: by start, then in the order read.
        seconds: how long it lasts.
        notes: what was left out, and what was taken for granted.
    """

    source: str
    workloads: tuple[Workload, ...]
    lives: tuple[Life, ...]
    seconds: int
    notes: tuple[str, ...] = ()


def from_file(path: str, *, workloads: WorkloadSet | None = None, today: str | None = None) -> Timeline:
    """The demand of a trace; its kind is told by its header.

    Args:
        path: CSV, or JSON of Prometheus; plain or packed by gzip.
        workloads: for counts: whom they are of.
        today: for GenTD26: the GPU model that its pods ran on.

    Raises:
        InputError: unreadable, not a known trace, no usable row, or something that belongs to it is missing.
    """
    text = read_text(path)
    if text.lstrip()[:1] == "{":
        known, services = _known(path, workloads)
        counts = replica_series(path, text, known, services)
        return _with_services(_counted(path, known, counts.points, counts.notes), services)
    rows = Rows(path, text)
    if rows.header == OPENB_HEADER:
        return _openb(rows)
    if rows.header == GENTD26_HEADER:
        return _gentd26(rows, today)
    if rows.header == COUNTS_HEADER:
        known, services = _known(path, workloads)
        return _with_services(_counts(rows, known, services), services)
    raise InputError(
        f"is no known trace: its first line is {quoted(','.join(rows.header))}",
        where=path,
        fix=f"known are openb, GenTD26 ({','.join(GENTD26_HEADER)}) and counts ({','.join(COUNTS_HEADER)}; "
        "or JSON of Prometheus)",
    )


def _openb(rows: Rows) -> Timeline:
    pods: list[tuple[OpenbClass, int, int]] = []
    without_gpu, backwards, twice = 0, Bad(), Bad()

    def timed(row: Sequence[str]) -> bool:
        return number(row[8]) is not None and number(row[9]) is not None

    for line, row, a_class in openb_pods(rows, twice, timed):
        start, end = int(row[8]), int(row[9])
        if a_class.gpus == 0:
            without_gpu += 1
        elif end <= start:
            backwards.add(line)
        else:
            pods.append((a_class, start, end))
    if not pods:
        raise InputError("has no pod with a GPU and a time", where=rows.path, fix="name a whole trace")
    counts: dict[OpenbClass, int] = {}
    for a_class, _, _ in pods:
        counts[a_class] = counts.get(a_class, 0) + 1
    ordered = sorted(counts, key=lambda count: (-counts[count], count))
    made = {
        a_class: openb_workload(index, a_class, counts[a_class]) for index, a_class in enumerate(ordered, 1)
    }
    lives = [Life(made[row].name, start, end) for row, start, end in pods]
    notes = [f"{without_gpu:,} pods without a GPU: left out"] if without_gpu else []
    notes += [rows.bad.note("rows that are no pod, or have no times")] if rows.bad.count else []
    notes += [backwards.note("pods that end before they start, or at once")] if backwards.count else []
    notes += [twice.note("pods of a name that another had before")] if twice.count else []
    return _timeline(f"openb, {len(lives):,} pods", made.values(), lives, notes)


def _gentd26(rows: Rows, today: str | None) -> Timeline:
    if today is None:
        from_trace(rows.path)  # says what is missing
        raise AssertionError
    gpu = gpu_named(today)
    seen: dict[str, tuple[int, int]] = {}
    no_minute = Bad()
    for line, (pod, cell, *_) in rows:
        minute = number(cell, digits=7)
        if not pod or minute is None:
            no_minute.add(line)
            continue
        first, last = seen.get(pod, (minute, minute))
        seen[pod] = min(first, minute), max(last, minute)
    read = Rows(rows.path)
    readings, blank_duty, blank_memory = gentd26_readings(read)
    made = {
        gentd26_workload.name: gentd26_workload
        for gentd26_workload in gentd26_workloads(readings, gpu, POD_CPU_MILLI, POD_MEMORY_MIB)
    }
    lives = []
    for pod, (first, last) in sorted(seen.items()):
        if pod not in readings:
            continue
        memory, duty = rounded_memory(readings[pod], gpu), rounded_duty(readings[pod])
        name = f"gentd26/{pod if memory is None or duty is None else gentd26_name(memory, duty)}"
        lives.append(Life(name, first * 60, (last + 1) * 60))
    notes = [f"duty and memory are read as of one {gpu.name}"]
    if blank_duty or blank_memory:
        notes.append(
            f"{blank_duty:,} blank duty and {blank_memory:,} blank memory readings: left out of mean and peak; "
            "their pods are taken to run on"
        )
    if unread := sorted(set(seen) - set(readings)):
        notes.append(
            f"{len(unread):,} pods without a usable reading left out: {', '.join(map(quoted, unread[:5]))}"
        )
    notes += [no_minute.note("rows without a pod or a minute")] if no_minute.count else []
    notes += [read.bad.note("rows that are no reading")] if read.bad.count else []
    return _timeline(f"GenTD26, {len(lives)} pods", made.values(), lives, notes)


def _known(path: str, workloads: WorkloadSet | None) -> tuple[dict[str, Workload], dict[str, Workload]]:
    """By name, the workloads whose replicas are counted, and the services sized by load."""
    if workloads is None:
        raise InputError("counts replicas of workloads", where=path, fix="name them: -f workloads.yaml")
    return _apart(workloads)


def _apart(workloads: WorkloadSet) -> tuple[dict[str, Workload], dict[str, Workload]]:
    """By name, workloads with replicas, and services sized by load."""
    counted = {workload.name: workload for workload in workloads.workloads if workload.service is None}
    services = {workload.name: workload for workload in workloads.workloads if workload.service is not None}
    return counted, services


def _with_services(timeline: Timeline, services: Mapping[str, Workload]) -> Timeline:
    """Demand with services whose load is one figure: they are there from the beginning to the end."""
    if not services:
        return timeline
    one = len(services) == 1
    note = (
        f"{len(services)} {'service is' if one else 'services are'} sized by load, which is one figure: as many "
        f"replicas as that takes under each policy, at all times"
    )
    return replace(
        timeline, workloads=(*timeline.workloads, *services.values()), notes=(*timeline.notes, note)
    )


def _counts(rows: Rows, known: Mapping[str, Workload], services: Container[str]) -> Timeline:
    points: dict[str, dict[int, int]] = {}
    unknown: dict[str, Bad] = {}
    others, twice = Bad(), Bad()
    for line, (cell, name, replicas) in rows:
        time, count = number(cell), number(replicas, digits=6)
        if time is None or count is None or time > LATEST:
            rows.bad.add(line)
        elif name not in known:
            named = len(unknown) < _UNKNOWN_NAMED or name in unknown
            (unknown.setdefault(name, Bad()) if named else others).add(line)
        elif time in points.setdefault(name, {}):
            twice.add(line)
        else:
            points[name][time] = count
    notes = [
        bad.note(f"rows of {quoted(name)}, which is {uncounted(name, services)}")
        for name, bad in unknown.items()
    ]
    notes += [others.note("rows of other names that are no workload")] if others.count else []
    notes += [rows.bad.note("rows without a time and a count")] if rows.bad.count else []
    notes += [twice.note("rows that count a workload a second time at one moment")] if twice.count else []
    return _counted(rows.path, known, points, notes)


def _counted(
    path: str, known: Mapping[str, Workload], points: Mapping[str, Mapping[int, int]], notes: Sequence[str]
) -> Timeline:
    """Pods from the counts of each workload."""
    if not points:
        raise InputError("has no usable row", where=path, fix="name counts of these workloads' replicas")
    lives = [life for name, counts in points.items() for life in _lives(name, counts)]
    timeline = _timeline(f"replicas of {len(points)} workloads", known.values(), lives, notes)
    seconds = max(timeline.seconds, *(max(counts) for counts in points.values()))
    if not seconds:
        raise InputError(
            "covers no time: all its counts are of one moment",
            where=path,
            fix="add a row for the end, such as that of a day: 86400,WORKLOAD,REPLICAS",
        )
    return replace(timeline, seconds=seconds)


def wave(workloads: WorkloadSet, peaks: Mapping[str, int], days: int, seed: int) -> Timeline:
    """Replicas that rise and fall each day.

    Args:
        workloads: with the replicas of a quiet night.
        peaks: replicas of the afternoon, by workload; those not there stay as they are.
        days: how many.
        seed: of the noise. The same seed gives the same demand.
    """
    rng = random.Random(seed)
    lives: list[Life] = []
    counted, services = _apart(workloads)
    for workload in counted.values():
        low, high = workload.replicas, max(peaks.get(workload.name, workload.replicas), workload.replicas)
        counts: dict[int, int] = {0: low}
        for time in range(0, days * _DAY, _STEP):
            height = (1 + cos(2 * pi * (time / _DAY - _PEAK_HOUR / 24))) / 2 + rng.gauss(0, _NOISE)
            count = round(low + (high - low) * min(max(height, 0.0), 1.0))
            if high > low:
                counts[time] = count
        lives += _lives(workload.name, counts)
    ends = [replace(live, end=days * _DAY if live.end is None else live.end) for live in lives]
    source = f"a daily wave of {days} day{'s' * (days != 1)}, seed {seed}"
    demand = replace(_timeline(source, counted.values(), ends, ()), seconds=days * _DAY)
    return _with_services(demand, services)


def _lives(name: str, counts: Mapping[int, int]) -> list[Life]:
    """Pods from counts over time: the youngest go first, as a Deployment's do."""
    running: list[int] = []
    lives: list[Life] = []
    for time in sorted(counts):
        while len(running) < counts[time]:
            running.append(time)
        while len(running) > counts[time]:
            lives.append(Life(name, running.pop(), time))
    return lives + [Life(name, start, None) for start in running]


def _timeline(
    source: str, workloads: Iterable[Workload], lives: Sequence[Life], notes: Sequence[str]
) -> Timeline:
    """Lives in order, and each workload with the most of its replicas that there are at once."""
    ordered = tuple(sorted(lives, key=lambda live: live.start))
    most = most_at_once(ordered)
    sized = tuple(
        replace(workload, replicas=most[workload.name]) for workload in workloads if most.get(workload.name)
    )
    seconds = max((life.end if life.end is not None else life.start for life in ordered), default=0)
    return Timeline(source, sized, ordered, seconds, tuple(notes))


def most_at_once(lives: Iterable[Life]) -> dict[str, int]:
    """The most pods of each workload that there are at any moment."""
    changes: dict[str, list[tuple[int, int]]] = {}
    for live in lives:
        listed = changes.setdefault(live.workload, [])
        listed.append((live.start, 1))
        if live.end is not None:
            listed.append((live.end, -1))
    most: dict[str, int] = {}
    for name, listed in changes.items():
        count = best = 0
        for _, change in sorted(listed):
            count += change
            best = max(best, count)
        most[name] = best
    return most
