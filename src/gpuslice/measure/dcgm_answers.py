"""What the server answers about pods, added up: some questions at once, any number of answers to each."""

from __future__ import annotations

import math
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Final

import numpy as np

from gpuslice.errors import InputError
from gpuslice.hardware.gpus import Gpu, gpu_named
from gpuslice.measure.dcgm_metrics import ACTIVITY, BUSY, UTILISATION
from gpuslice.measure.pods import Source, source_of
from gpuslice.measure.prometheus import Series
from gpuslice.measure.readings import BIN_SECONDS, NOT_NAMED, Memory, Readings
from gpuslice.measure.shared_gpus import Shared

_PROFILED: Final = frozenset({BUSY, *ACTIVITY.values()})
NO_GPU_MIB: Final = 1024 * 1024
"""A terabyte: no reading of memory."""
# Counters over an interval that isn't quite what they were divided by: a little above 1 is all of the time, no blank.
_FULL: Final = 1.05


@dataclass(frozen=True, slots=True)
class Question:
    """One metric, how the server is to aggregate it, which values it is to answer, and where they go."""

    metric: str
    function: str
    step: int
    into: str
    only: str = ""

    def query(self, selector: str) -> str:
        """Of the pods of a selector, in PromQL."""
        # A millisecond less: before Prometheus 3, a range has both its ends, and a reading there would count twice.
        return f"{self.function}({self.metric}{{{selector}}}[{self.step * 1000 - 1}ms]){self.only}"

    def query_of_possible(self, selector: str, *, every: int) -> str:
        """Of memory, only readings that a GPU can give, looked at every so many seconds: dear for the server."""
        possible = f"{self.metric}{{{selector}}} >= 0 < {NO_GPU_MIB}"
        return f"{self.function}(({possible})[{self.step * 1000 - 1}ms:{every}s])"


@dataclass(slots=True)
class _Folded:
    """What has come back about one pod on one GPU, so far."""

    duty: dict[str, list[tuple[np.ndarray, np.ndarray]]] = field(default_factory=dict)
    peaks: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)
    means: dict[str, list[np.ndarray]] = field(default_factory=dict)
    counts: dict[str, list[tuple[np.ndarray, np.ndarray]]] = field(default_factory=dict)
    impossible: int = 0


class Answers:
    """Answers about pods, each on one GPU. They may be added from several threads: sums are made one at a time."""

    def __init__(self, sources: Iterable[Source], jobs: Container[str], stuck: Container[Source]) -> None:
        """Begin with no answer.

        Args:
            sources: of which pods answers count.
            jobs: of Prometheus whose exporters put the pods' labels behind "exported_".
            stuck: pods whose profiled metrics stand still, and don't count.
        """
        self._folded = {source: _Folded() for source in sources}
        self._jobs, self._stuck = jobs, stuck
        self._lock = Lock()

    def add(self, answer: Iterable[Series], question: Question) -> None:
        """Add an answer to what there is."""
        with self._lock:
            for series in answer:
                source = source_of(series.metric, exported=series.metric.get("job", "") in self._jobs)
                if source in self._folded and not (source in self._stuck and question.metric in _PROFILED):
                    _fold(self._folded[source], question, series)

    def readings(self, source: Source, shared: Shared, usual: Mapping[str, int]) -> Readings:
        """What all answers come to for one pod.

        Args:
            source: the pod.
            shared: pods and nodes that are known to share GPUs.
            usual: readings of a five-minute window, by metric, where no answer says another number.
        """
        return _readings(source, self._folded[source], shared, usual)


def _fold(folded: _Folded, question: Question, series: Series) -> None:
    times = np.array([point[0] for point in series.values], dtype=np.int64)
    values = np.array([point[1] for point in series.values], dtype=np.float64)
    match question.into:
        case "counts":
            folded.counts.setdefault(question.metric, []).append((times - BIN_SECONDS, values))
            return
        case "memory":
            good = (values >= 0) & (values < NO_GPU_MIB)
            folded.peaks.append((times[good], values[good]))
        case "duty":
            values = values / 100 if question.metric == UTILISATION else values
            good = (values >= 0) & (values <= _FULL)
            folded.duty.setdefault(question.metric, []).append(
                (times[good] - BIN_SECONDS, np.minimum(values[good], 1.0))
            )
        case name:
            good = (values >= 0) & (values <= _FULL)
            folded.means.setdefault(name, []).append(np.minimum(values[good], 1.0))
    folded.impossible += int(values.size - good.sum())


def _readings(
    source: Source,
    folded: _Folded,
    shared: Shared,
    usual: Mapping[str, int],
) -> Readings:
    gpu = _gpu(source.model)
    metric = BUSY if BUSY in folded.duty else UTILISATION
    bins, duty = _most_at_each(folded.duty.get(metric, []))
    _, peaks = _most_at_each(folded.peaks)
    means = {
        name: float(np.concatenate(parts).mean())
        for name, parts in folded.means.items()
        if sum(part.size for part in parts)
    }
    told = (source.namespace, source.pod) in shared.pods or source.node in shared.nodes
    weights = np.full(bins.size, usual.get(metric, 1), np.int64)
    others, counts = _most_at_each(folded.counts.get(metric, []))
    _, at, of = np.intersect1d(bins, others, assume_unique=True, return_indices=True)
    weights[at] = counts[of]
    samples = int(weights.sum())
    running = peaks[peaks > 0]
    return Readings(
        f"{source.namespace}/{source.pod}",
        gpu=source.gpu,
        model=None if gpu is None else gpu.name,
        capacity_mib=_capacity(gpu, source.profile),
        mig_profile=source.profile,
        bins=bins,
        duty=duty,
        weights=weights,
        memory=Memory(
            float(peaks.max()),
            float(running.min()) if running.size else 0.0,
            max(samples, peaks.size),
            int(peaks.size),
        )
        if peaks.size
        else None,
        sm=means.get("sm"),
        tensor=means.get("tensor"),
        dram=means.get("dram"),
        coarse=metric == UTILISATION and bool(bins.size),
        sharers=frozenset({NOT_NAMED}) if told else frozenset(),
        impossible=folded.impossible,
    )


def _most_at_each(parts: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """One value at each time, in order: where an exporter is scraped twice, or was restarted, the larger."""
    if not parts:
        return np.empty(0, np.int64), np.empty(0)
    times = np.concatenate([part[0] for part in parts])
    values = np.concatenate([part[1] for part in parts])
    order = np.lexsort((values, times))
    times, values = times[order], values[order]
    last = np.append(times[1:] != times[:-1], True) if times.size else np.empty(0, bool)
    return times[last], values[last]


def _gpu(name: str) -> Gpu | None:
    try:
        return gpu_named(name) if name else None
    except InputError:
        return None  # said by the statistics: which model it ran on is not known


def _capacity(gpu: Gpu | None, profile: str) -> int | None:
    if gpu is None:
        return None
    if not profile:
        return gpu.memory_mib
    profiles = gpu.mig.profiles if gpu.mig is not None else ()
    return next((math.floor(kind.memory_mib) for kind in profiles if kind.name == profile), None)
