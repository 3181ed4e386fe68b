"""Readings of the DCGM exporter, asked of Prometheus: the server aggregates, and what comes back is folded together.

DCGM_FI_DEV_FB_USED               MiB in use: the most of each hour
DCGM_FI_PROF_GR_ENGINE_ACTIVE     share of time busy: five-minute means
DCGM_FI_DEV_GPU_UTIL              the same in percent and coarser, where the former is not scraped
DCGM_FI_PROF_SM_ACTIVE, …PIPE_TENSOR_ACTIVE, …DRAM_ACTIVE     what of the GPU is in use: hourly means
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from threading import Lock
from typing import Final

import numpy as np

from gpuslice.errors import AnswerIsNoError, InputError
from gpuslice.hardware.gpus import Gpu, gpu_named
from gpuslice.measure.caches import read_caches
from gpuslice.measure.pods import Labels, Matcher, Owners, Source, exporting_jobs, source_of
from gpuslice.measure.prometheus import Series, Server, ask_in_halves, labels_in_halves, selected, spans
from gpuslice.measure.readings import BIN_SECONDS, NOT_NAMED, Memory, Readings, mark_sharers
from gpuslice.measure.restarts import METRIC as RESTARTS
from gpuslice.measure.restarts import read_restarts
from gpuslice.measure.shared_gpus import Shared, read_shared
from gpuslice.measure.stuck import read_stuck
from gpuslice.measure.times import utc
from gpuslice.workloads.model import Workload

MEMORY: Final = "DCGM_FI_DEV_FB_USED"
BUSY: Final = "DCGM_FI_PROF_GR_ENGINE_ACTIVE"
UTILISATION: Final = "DCGM_FI_DEV_GPU_UTIL"
ACTIVITY: Final = {
    "sm": "DCGM_FI_PROF_SM_ACTIVE",
    "tensor": "DCGM_FI_PROF_PIPE_TENSOR_ACTIVE",
    "dram": "DCGM_FI_PROF_DRAM_ACTIVE",
}
_PROFILED: Final = frozenset({BUSY, *ACTIVITY.values()})
HOUR: Final = 3600
# Points of one answer: some 6 MB of JSON, read in a blink and freed.
MOST_POINTS: Final = 200_000
AT_A_TIME: Final = 2  # a Prometheus serves dashboards too
_NO_GPU_MIB: Final = 1024 * 1024  # a terabyte
# Counters over an interval that isn't quite what they were divided by: a little above 1 is all of the time, no blank.
_FULL: Final = 1.05
_NAMESPACES_NAMED: Final = 50
_PODS_NAMED: Final = 100
# Labels by which servers of several clusters tell them apart; others can be named by --match.
_CLUSTER: Final = ("cluster", "cluster_name", "k8s_cluster", "k8s_cluster_name", "kubernetes_cluster")
_MOST_STEPS: Final = 10_000  # Prometheus answers up to 11,000


@dataclass(slots=True)
class _Folded:
    """What has come back about one pod on one GPU, so far."""

    duty: dict[str, list[tuple[np.ndarray, np.ndarray]]] = field(default_factory=dict)
    peaks: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)
    means: dict[str, list[np.ndarray]] = field(default_factory=dict)
    counts: dict[str, list[tuple[np.ndarray, np.ndarray]]] = field(default_factory=dict)
    impossible: int = 0


@dataclass(frozen=True, slots=True)
class _Question:
    """One metric, how the server is to aggregate it, which values it is to answer, and where they go."""

    metric: str
    function: str
    step: int
    into: str
    only: str = ""

    def query(self, selector: str) -> str:
        # A millisecond less: before Prometheus 3, a range has both its ends, and a reading there would count twice.
        return f"{self.function}({self.metric}{{{selector}}}[{self.step * 1000 - 1}ms]){self.only}"

    def query_of_possible(self, selector: str, *, every: int) -> str:
        """The same of memory's readings that a GPU can give, looked at every so many seconds: dear for the server."""
        possible = f"{self.metric}{{{selector}}} >= 0 < {_NO_GPU_MIB}"
        return f"{self.function}(({possible})[{self.step * 1000 - 1}ms:{every}s])"


def read_needs(
    server: Server,
    workloads: Sequence[Workload],
    *,
    start: int,
    end: int,
    within: str = "",
    progress: Callable[[int, int], None] = lambda _done, _of: None,
) -> dict[str, list[Readings]]:
    """What the workloads' pods did between two times, seconds since 1970: readings by workload's name.

    Args:
        server: to ask.
        workloads: whose pods are wanted.
        start: of the window, seconds since 1970.
        end: likewise.
        within: PromQL's matchers of labels that every series must have, such as `cluster="prod"`.
        progress: told how many questions are answered, and of how many.

    Raises:
        AnswerIsNoError: no metric of the DCGM exporter is there.
        EnvironmentFailedError: the server fails.
        InputError: the server has pods of several clusters by these names.
    """
    end = end // BIN_SECONDS * BIN_SECONDS
    names = [MEMORY, BUSY, UTILISATION, *ACTIVITY.values()]
    series = labels_in_halves(server, [selected(each, within) for each in names], start, end)
    if not series:
        labelled = f" with {within}" if within else ""
        raise AnswerIsNoError(
            f"no metric of the DCGM exporter is there from {utc(start)} to {utc(end)}{labelled}",
            where=server.url,
            fix=f"check that {MEMORY} is scraped, with pods (the exporter's option --kubernetes)",
        )
    jobs = exporting_jobs(series)
    state = _state(server, within, start, end)
    matcher = Matcher(workloads, Owners(state))
    shared = read_shared(server, series, within, start=start, end=end)
    wanted: dict[Source, str] = {}
    metrics: dict[Source, set[str]] = {}
    theirs = []
    for labels in series:
        source = source_of(labels, exported=labels.get("job", "") in jobs)
        workload = None if source is None else matcher.workload(source)
        if source is not None and workload is not None:
            wanted[source] = workload
            metrics.setdefault(source, set()).add(labels.get("__name__", ""))
            theirs.append(labels)
    _refuse_several_clusters(theirs, server.url)
    # Every pod that was on one of their GPUs matters to who shares it, also those of no workload asked about.
    gpus = {each.gpu for each in wanted}
    every = {each for labels in series if (each := source_of(labels, exported=labels.get("job", "") in jobs))}
    folded = {each: _Folded() for each in every if each.gpu in gpus}
    selector = [
        f"{each},{within}" if within else each for each in _namespaces({each.namespace for each in folded})
    ]
    stuck = (
        read_stuck(server, selector, jobs, busy=BUSY, utilisation=UTILISATION, start=start, end=end)
        if any({BUSY, UTILISATION} <= each for each in metrics.values())
        else frozenset()
    )
    for each in stuck & metrics.keys():
        metrics[each].discard(BUSY)
    usual = {
        metric: _usual_count(server, metric, selector, start, end)
        for metric in _metrics_of_duty(metrics.values())
    }
    questions = _questions(set().union(*metrics.values()), usual)
    tasks = [
        (question, part, span)
        for question in questions
        for part in selector
        for span in spans(
            _first(start, end, question.step), end, question.step, _steps(len(folded), question)
        )
    ]

    one_at_a_time = Lock()  # answers are asked for side by side; sums of them are not made so

    def ask(task: tuple[_Question, str, tuple[int, int]]) -> None:
        question, part, span = task
        for answer in _answers(server, question, part, span, usual):
            with one_at_a_time:
                fold(answer, question)

    def fold(answer: list[Series], question: _Question) -> None:
        for each in answer:
            source = source_of(each.metric, exported=each.metric.get("job", "") in jobs)
            if source in folded and not (source in stuck and question.metric in _PROFILED):
                _fold(folded[source], question, each)

    with ThreadPoolExecutor(AT_A_TIME) as pool:
        for done, _ in enumerate(pool.map(ask, tasks), 1):
            progress(done, len(tasks))
    caches = read_caches(server, within, start=start, end=end)
    begun = read_restarts(server, state, selector, start=start, end=end)
    readings = {
        source: replace(
            _readings(source, each, shared, usual),
            cache=caches.get((source.namespace, source.pod)),
            begun=begun.get((source.namespace, source.pod)),
            stuck=source in stuck,
            unchecked=UTILISATION not in metrics.get(source, ()),
        )
        for source, each in folded.items()
    }
    marked = dict(zip(readings, mark_sharers(readings.values()), strict=True))
    by_workload: dict[str, list[Readings]] = {}
    for source, workload in sorted(wanted.items()):
        by_workload.setdefault(workload, []).append(marked[source])
    return by_workload


def _namespaces(names: set[str]) -> list[str]:
    """Selectors of all that is asked about: one for each spelling of the label."""
    if not names:
        return []
    if len(names) > _NAMESPACES_NAMED:
        return ['namespace!=""']
    pattern = "|".join(sorted(names))  # the API server lets only DNS labels be namespaces: nothing to escape
    return [f'namespace=~"{pattern}",exported_namespace=""', f'exported_namespace=~"{pattern}"']


def _refuse_several_clusters(series: Sequence[Labels], url: str) -> None:
    """Namespaces and workloads have the same names in a cluster for tests and in that for customers."""
    for label in _CLUSTER:
        found = sorted({each[label] for each in series if each.get(label)})
        if len(found) > 1:
            raise InputError(
                f"has pods of these workloads in several clusters: {', '.join(found[:5])}",
                where=url,
                fix=f"name one: --match '{label}=\"{found[0]}\"'",
            )


def _state(server: Server, within: str, start: int, end: int) -> list[dict[str, str]]:
    """Labels of what kube-state-metrics tells of pods, where it is scraped."""
    names = ["kube_pod_owner", "kube_replicaset_owner", "kube_job_owner", RESTARTS]
    return labels_in_halves(server, [selected(each, within) for each in names], start, end)


def _usual_count(server: Server, metric: str, selectors: Sequence[str], start: int, end: int) -> int:
    """Readings of a five-minute window that is filled as most are: then only the others' need be asked for."""
    found: Counter[int] = Counter()
    for selector in selectors:
        query = (
            f"quantile(0.5, {_Question(metric, 'count_over_time', BIN_SECONDS, 'counts').query(selector)})"
        )
        for span in spans(_first(start, end, HOUR), end, HOUR, _MOST_STEPS):
            for answer in server.counts(query, span, HOUR):
                found.update(round(float(value)) for series in answer for _, value in series.values)
    return found.most_common(1)[0][0] if found else 1


def _answers(
    server: Server, question: _Question, selector: str, span: tuple[int, int], usual: Mapping[str, int]
) -> Iterator[list[Series]]:
    """What the server says to a question, with what blank readings of memory hid."""
    ask = server.counts if question.into == "counts" else partial(ask_in_halves, server)
    for answer in ask(question.query(selector), span, question.step):
        yield answer
        if question.into == "memory" and (blank := [each.metric for each in answer if _blank(each)]):
            # The most of an hour with a blank is the blank: the hour's other readings are asked for without it.
            query = question.query_of_possible(
                f"{selector},{_pods(blank)}" if len(blank) <= _PODS_NAMED else selector,
                every=_half_an_interval(usual),
            )
            yield from ask_in_halves(server, query, span, question.step)


def _pods(series: Sequence[Labels]) -> str:
    """A matcher of the pods that these series are about."""
    label = "exported_pod" if any("exported_pod" in each for each in series) else "pod"
    names = sorted({each.get(label, "") for each in series})
    return f'{label}=~"{"|".join(names)}"'  # names of pods are DNS names: a dot matches more, and harms none


def _blank(series: Series) -> bool:
    return not all(0 <= float(value) < _NO_GPU_MIB for _, value in series.values)


def _half_an_interval(usual: Mapping[str, int]) -> int:
    """Seconds in which no two readings are taken."""
    return max(1, BIN_SECONDS // max((*usual.values(), 5)) // 2)


def _metrics_of_duty(metrics: Iterable[set[str]]) -> list[str]:
    """The activity of the graphics engine, and where a pod lacks it, utilisation."""
    found = list(metrics)
    there = set().union(*found)
    wanted = (BUSY,) if all(BUSY in each for each in found) else (BUSY, UTILISATION)
    return [each for each in wanted if each in there]


def _questions(there: set[str], usual: Mapping[str, int]) -> list[_Question]:
    """What to ask, given which metrics there are, and how many readings of duty a window usually has."""
    questions = []
    if MEMORY in there:
        questions.append(_Question(MEMORY, "max_over_time", HOUR, "memory"))
    for metric, count in usual.items():
        questions.append(_Question(metric, "avg_over_time", BIN_SECONDS, "duty"))
        questions.append(_Question(metric, "count_over_time", BIN_SECONDS, "counts", f" != {count}"))
    questions += [
        _Question(metric, "avg_over_time", HOUR, name) for name, metric in ACTIVITY.items() if metric in there
    ]
    return questions


def _first(start: int, end: int, step: int) -> int:
    """The first time to ask for, so that the windows end with the window asked for and leave none of it out."""
    return end - (end - start - 1) // step * step


def _steps(series: int, question: _Question) -> int:
    """Steps of one answer, so that it stays small whatever the number of pods."""
    most = (
        MOST_POINTS if question.step == BIN_SECONDS else MOST_POINTS // 4
    )  # an hour has more samples to read
    return max(1, min(_MOST_STEPS, most // max(series, 1)))


def _fold(folded: _Folded, question: _Question, series: Series) -> None:
    times = np.array([each[0] for each in series.values], dtype=np.int64)
    values = np.array([each[1] for each in series.values], dtype=np.float64)
    match question.into:
        case "counts":
            folded.counts.setdefault(question.metric, []).append((times - BIN_SECONDS, values))
            return
        case "memory":
            good = (values >= 0) & (values < _NO_GPU_MIB)
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
    times = np.concatenate([each[0] for each in parts])
    values = np.concatenate([each[1] for each in parts])
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
    return next((math.floor(each.memory_mib) for each in profiles if each.name == profile), None)
