"""Counts of replicas over time as Prometheus answers a range query (`/api/v1/query_range`), kept in a file.

kube-state-metrics has them: kube_deployment_spec_replicas, kube_statefulset_replicas, kube_replicaset_spec_replicas. A
series is of the workload that its labels name. A gap keeps the count before it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from gpuslice.artefacts.quoting import quoted
from gpuslice.errors import InputError
from gpuslice.workloads.csv_rows import number

if TYPE_CHECKING:
    from collections.abc import Collection, Container

LATEST: Final = 10 * 366 * 86_400
"""Seconds, ten years: more is another unit."""
_OWNERS: Final = ("deployment", "statefulset", "replicaset")
_NAMED: Final = 5
_DIGITS: Final = 6


class _Series(msgspec.Struct):
    metric: dict[str, str]
    values: list[tuple[float, str]]


class _Data(msgspec.Struct, rename="camel"):
    result_type: Literal["matrix"]
    result: list[_Series]


class _Answer(msgspec.Struct):
    status: Literal["success"]
    data: _Data


@dataclass(frozen=True, slots=True)
class Counts:
    """Replicas over time.

    Attributes:
        points: of each workload, how many from which second on; the first sample of all is at 0.
        notes: what was left out.
    """

    points: dict[str, dict[int, int]]
    notes: tuple[str, ...]


def uncounted(name: str, services: Container[str]) -> str:
    """What a name is whose replicas aren't replayed as they were counted."""
    return "sized by load" if name in services else "no workload"


def replica_series(path: str, text: str, known: Collection[str], services: Container[str] = ()) -> Counts:
    """The counts in an answer of Prometheus.

    Args:
        path: of the file, for messages.
        text: of the file.
        known: names of the workloads that are replayed.
        services: names of those that are sized by their load: how many there were is no matter.

    Raises:
        InputError: it is no answer to a range query.
    """
    try:
        series = msgspec.json.decode(text, type=_Answer).data.result
    except (msgspec.DecodeError, RecursionError) as error:
        raise InputError(
            f"is no answer of Prometheus to a range query: {str(error)[:200]}",
            where=path,
            fix="keep what /api/v1/query_range answers to kube_deployment_spec_replicas",
        ) from None
    start = min((one_series.values[0][0] for one_series in series if one_series.values), default=0.0)
    points: dict[str, dict[int, int]] = {}
    strangers: dict[str, dict[str, int]] = {}  # by what they are: samples by name
    bad = twice = 0
    for one_series in series:
        owner = next((one_series.metric[kind] for kind in _OWNERS if kind in one_series.metric), "")
        name = f"{one_series.metric.get('namespace', '')}/{owner}"
        if name not in known:
            alike = strangers.setdefault(uncounted(name, services), {})
            alike[name] = alike.get(name, 0) + len(one_series.values)
            continue
        for time, value in one_series.values:
            count = number(value, _DIGITS)
            second = round(time - start)
            if count is None or not 0 <= second <= LATEST:
                bad += 1
            elif second in points.setdefault(name, {}):
                twice += 1
            else:
                points[name][second] = count
    notes = []
    for what, names in strangers.items():
        listed = ", ".join(map(quoted, list(names)[:_NAMED])) + ", …" * (len(names) > _NAMED)
        notes.append(
            f"{sum(names.values()):,} samples of {len(names):,} names that are {what} skipped: {listed}"
        )
    notes += [f"{bad:,} samples that are no count skipped"] if bad else []
    notes += [f"{twice:,} samples that count a workload a second time at one moment skipped"] if twice else []
    return Counts(points, tuple(notes))
