"""A CSV of what pods did on GPUs, as readings: a row for each pod and time.

Columns, told by the header, in any order:

    pod                      whose reading it is
    minute | seconds | time  when: minutes or seconds of any start, or a date as in RFC 3339
    duty | duty_share        how busy the GPU was: percent, or 0 to 1
    mem_mib | mem_bytes      GPU memory in use
    workload                 (may be missing) namespace/name: pods of one are pooled
    gpu                      (may be missing) the GPU model

GenTD26 (Alibaba's cluster-trace-v2026-GenAI, as pod,minute,duty,mem_mib) is one of these.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from gpuslice.errors import InputError
from gpuslice.hardware.gpus import Gpu, gpu_named
from gpuslice.measure.readings import TOTAL, Readings, from_samples
from gpuslice.measure.times import utc
from gpuslice.units import MIB, format_memory
from gpuslice.workloads.csv_rows import Rows

_TIMES: Final = ("minute", "seconds", "time")
_DUTIES: Final = ("duty", "duty_share")
_MEMORIES: Final = ("mem_mib", "mem_bytes")
_MOST_MIB: Final = 1024 * 1024  # a terabyte: no GPU has it


@dataclass(frozen=True, slots=True)
class Trace:
    """What a trace says.

    Attributes:
        by_workload: readings of each workload's pods; a pod without a workload is one itself.
        notes: what a person should know of all of it.
        until: UTC of the last reading, where it has dates.
    """

    by_workload: dict[str, list[Readings]]
    notes: tuple[str, ...]
    until: str = ""


@dataclass(slots=True)
class _Series:
    """One pod on one GPU model, row by row."""

    seconds: list[float] = field(default_factory=list)
    duty: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)


def read_trace(path: str, *, today: str = "", pooled: str = "") -> Trace:
    """Readings of a trace.

    Args:
        path: the file, .csv or .csv.gz.
        today: the GPU model, where no column says.
        pooled: take all pods for replicas of this workload.

    Raises:
        InputError: unreadable, columns missing, no usable row, or a GPU that isn't known.
    """
    rows = Rows(path)
    columns = {name: index for index, name in enumerate(rows.header)}
    when, duty, memory = (_one_of(names, columns, rows) for names in (_TIMES, _DUTIES, _MEMORIES))
    if "pod" not in columns:
        raise InputError(
            f"has no column pod: {','.join(rows.header)[:100]}", where=path, fix="name the columns so"
        )
    if "gpu" not in columns and not today:
        raise InputError(
            "doesn't say which GPU its pods ran on",
            where=path,
            fix="name the model that duty holds for: --today A10G",
        )
    at_time = _READ_TIME[when]
    per_duty, per_memory = (100 if duty == "duty" else 1), (MIB if memory == "mem_bytes" else 1)
    series: dict[tuple[str, str, str], _Series] = {}
    for line, row in rows:
        pod = row[columns["pod"]]
        workload = pooled or (row[columns["workload"]] if "workload" in columns else pod)
        model = (row[columns["gpu"]] if "gpu" in columns else "") or today
        seconds = at_time(row[columns[when]])
        busy = _number(row[columns[duty]], per_duty, 1)
        held = _number(row[columns[memory]], per_memory, _MOST_MIB)
        if not pod or not workload or not model or seconds is None or busy is None or held is None:
            rows.bad.add(line)
            continue
        one_series = series.setdefault((workload, pod, model), _Series())
        one_series.seconds.append(seconds)
        one_series.duty.append(busy)
        one_series.memory.append(held)
    if not series:
        raise InputError("has no usable row", where=path, fix="name a whole trace")
    by_workload: dict[str, list[Readings]] = {}
    for workload, pod, model in sorted(series):
        one_series = series[workload, pod, model]
        gpu = _gpu(model, path)
        held = max((value for value in one_series.memory if not math.isnan(value)), default=0.0)
        if held > gpu.memory_mib * TOTAL:
            raise InputError(
                f"{pod} held {format_memory(math.ceil(held))}, which no {gpu.name} has "
                f"({format_memory(gpu.memory_mib)})",
                where=path,
                fix="name the GPU that it ran on (--today, or a column gpu); of several GPUs, the rows of one",
            )
        by_workload.setdefault(workload, []).append(
            from_samples(
                pod,
                np.array(one_series.seconds),
                np.array(one_series.duty),
                np.array(one_series.memory),
                model=gpu.name,
                capacity_mib=gpu.memory_mib,
            )
        )
    notes = (rows.bad.note("rows that are no reading"),) if rows.bad.count else ()
    last = max(max(one_series.seconds) for one_series in series.values())
    return Trace(by_workload, notes, utc(last) if when == "time" else "")


def _gpu(model: str, path: str) -> Gpu:
    try:
        return gpu_named(model)
    except InputError as error:
        raise error.inside(path) from None


def _one_of(names: tuple[str, ...], columns: dict[str, int], rows: Rows) -> str:
    present = [name for name in names if name in columns]
    if len(present) != 1:
        raise InputError(
            f"has {'no' if not present else 'more than one'} column of {', '.join(names)}",
            where=rows.path,
            fix=f"its first line must name one of them; it is {','.join(rows.header)[:100]!r}",
        )
    return present[0]


def _number(text: str, per: float, most: float) -> float | None:
    """A figure in our unit; NaN: blank, so not read; None: no figure at all."""
    if not text:
        return math.nan
    try:
        value = float(text) / per
    except ValueError:
        return None
    return value if 0 <= value <= most else None


def _seconds(per: float) -> Callable[[str], float | None]:
    def read(text: str) -> float | None:
        try:
            value = float(text) * per
        except ValueError:
            return None
        return value if math.isfinite(value) and 0 <= value < 1e12 else None

    return read


def _date(text: str) -> float | None:
    try:
        date = dt.datetime.fromisoformat(text)
    except ValueError:
        return None
    return (date if date.tzinfo else date.replace(tzinfo=dt.UTC)).timestamp()


_READ_TIME: Final = {"minute": _seconds(60), "seconds": _seconds(1), "time": _date}
