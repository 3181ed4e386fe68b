"""Readings of the DCGM exporter, asked of Prometheus: the server aggregates, and what comes back is folded together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from gpuslice.errors import AnswerIsNoError, InputError
from gpuslice.measure.caches import read_caches
from gpuslice.measure.dcgm_answers import NO_GPU_MIB, Answers, Question
from gpuslice.measure.dcgm_metrics import ACTIVITY, BUSY, MEMORY, UTILISATION
from gpuslice.measure.pods import Labels, Matcher, Owners, Source, exporting_jobs, source_of
from gpuslice.measure.prometheus import Series, Server, ask_in_halves, labels_in_halves, selected, spans
from gpuslice.measure.readings import BIN_SECONDS, Readings, mark_sharers
from gpuslice.measure.restarts import METRIC as RESTARTS
from gpuslice.measure.restarts import read_restarts
from gpuslice.measure.shared_gpus import read_shared
from gpuslice.measure.stuck import read_stuck
from gpuslice.measure.times import utc
from gpuslice.workloads.model import Workload

HOUR: Final = 3600
# Points of one answer: some 6 MB of JSON, read in a blink and freed.
MOST_POINTS: Final = 200_000
AT_A_TIME: Final = 2  # a Prometheus serves dashboards too
_NAMESPACES_NAMED: Final = 50
_PODS_NAMED: Final = 100
# Labels by which servers of several clusters tell them apart; others can be named by --match.
_CLUSTER: Final = ("cluster", "cluster_name", "k8s_cluster", "k8s_cluster_name", "kubernetes_cluster")
_MOST_STEPS: Final = 10_000  # Prometheus answers up to 11,000


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
    series = _series(server, within, start, end)
    jobs = exporting_jobs(series)
    state = _state(server, within, start, end)
    matcher = Matcher(workloads, Owners(state))
    shared = read_shared(server, series, within, start=start, end=end)
    pods = _pods_among(series, jobs, matcher)
    _refuse_several_clusters(pods.series, server.url)
    spellings = _namespaces({source.namespace for source in pods.near})
    selectors = [f"{spelling},{within}" if within else spelling for spelling in spellings]
    stuck = _stuck(server, pods, selectors, jobs, start, end)
    metrics = {source: names - {BUSY} if source in stuck else names for source, names in pods.metrics.items()}
    usual = {
        metric: _usual_count(server, metric, selectors, start, end)
        for metric in _metrics_of_duty(metrics.values())
    }
    answers = Answers(pods.near, jobs, stuck)
    questions = _questions(set().union(*metrics.values()), usual)
    tasks = _tasks(questions, selectors, len(pods.near), start, end)
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        for done, _ in enumerate(pool.map(partial(_ask, server, answers, usual), tasks), 1):
            progress(done, len(tasks))
    caches = read_caches(server, within, start=start, end=end)
    begun = read_restarts(server, state, selectors, start=start, end=end)
    readings = {
        source: replace(
            answers.readings(source, shared, usual),
            cache=caches.get((source.namespace, source.pod)),
            begun=begun.get((source.namespace, source.pod)),
            stuck=source in stuck,
            unchecked=UTILISATION not in metrics.get(source, ()),
        )
        for source in pods.near
    }
    marked = dict(zip(readings, mark_sharers(readings.values()), strict=True))
    by_workload: dict[str, list[Readings]] = {}
    for source, workload in sorted(pods.wanted.items()):
        by_workload.setdefault(workload, []).append(marked[source])
    return by_workload


def _series(server: Server, within: str, start: int, end: int) -> Sequence[Labels]:
    """Labels of what the DCGM exporter told in the window."""
    names = [MEMORY, BUSY, UTILISATION, *ACTIVITY.values()]
    series = labels_in_halves(server, [selected(name, within) for name in names], start, end)
    if not series:
        labelled = f" with {within}" if within else ""
        raise AnswerIsNoError(
            f"no metric of the DCGM exporter is there from {utc(start)} to {utc(end)}{labelled}",
            where=server.url,
            fix=f"check that {MEMORY} is scraped, with pods (the exporter's option --kubernetes)",
        )
    return series


@dataclass(frozen=True, slots=True)
class _Pods:
    """Whom is asked about: pods, each on one GPU.

    Attributes:
        wanted: those of the workloads, with their workload's name.
        metrics: that there are of each of these.
        series: labels of these metrics.
        near: all pods that were on one of their GPUs, those of no workload too: they matter to who shares it.
    """

    wanted: dict[Source, str]
    metrics: dict[Source, set[str]]
    series: list[Labels]
    near: tuple[Source, ...]


def _pods_among(series: Sequence[Labels], jobs: Container[str], matcher: Matcher) -> _Pods:
    wanted: dict[Source, str] = {}
    metrics: dict[Source, set[str]] = {}
    theirs = []
    told: dict[Source, None] = {}
    for labels in series:
        source = source_of(labels, exported=labels.get("job", "") in jobs)
        if source is None:
            continue
        told[source] = None
        workload = matcher.workload(source)
        if workload is not None:
            wanted[source] = workload
            metrics.setdefault(source, set()).add(labels.get("__name__", ""))
            theirs.append(labels)
    gpus = {source.gpu for source in wanted}
    return _Pods(wanted, metrics, theirs, tuple(source for source in told if source.gpu in gpus))


def _stuck(
    server: Server, pods: _Pods, selectors: Sequence[str], jobs: Collection[str], start: int, end: int
) -> frozenset[Source]:
    """Pods whose share of time busy stands still, where that can be told."""
    if not any({BUSY, UTILISATION} <= metrics for metrics in pods.metrics.values()):
        return frozenset()
    return read_stuck(server, selectors, jobs, busy=BUSY, utilisation=UTILISATION, start=start, end=end)


Task = tuple[Question, str, tuple[int, int]]
"""A question, about the pods of a selector, of a time from and to."""


def _tasks(
    questions: Iterable[Question], selectors: Sequence[str], pods: int, start: int, end: int
) -> list[Task]:
    return [
        (question, selector, span)
        for question in questions
        for selector in selectors
        for span in spans(_first(start, end, question.step), end, question.step, _steps(pods, question))
    ]


def _ask(server: Server, answers: Answers, usual: Mapping[str, int], task: Task) -> None:
    question, selector, span = task
    for answer in _answers(server, question, selector, span, usual):
        answers.add(answer, question)


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
        clusters = sorted({labels[label] for labels in series if labels.get(label)})
        if len(clusters) > 1:
            raise InputError(
                f"has pods of these workloads in several clusters: {', '.join(clusters[:5])}",
                where=url,
                fix=f"name one: --match '{label}=\"{clusters[0]}\"'",
            )


def _state(server: Server, within: str, start: int, end: int) -> list[dict[str, str]]:
    """Labels of what kube-state-metrics tells of pods, where it is scraped."""
    names = ["kube_pod_owner", "kube_replicaset_owner", "kube_job_owner", RESTARTS]
    return labels_in_halves(server, [selected(name, within) for name in names], start, end)


def _usual_count(server: Server, metric: str, selectors: Sequence[str], start: int, end: int) -> int:
    """Readings of a five-minute window that is filled as most are: then only the others' need be asked for."""
    counts: Counter[int] = Counter()
    for selector in selectors:
        query = f"quantile(0.5, {Question(metric, 'count_over_time', BIN_SECONDS, 'counts').query(selector)})"
        for span in spans(_first(start, end, HOUR), end, HOUR, _MOST_STEPS):
            for answer in server.counts(query, span, HOUR):
                counts.update(round(float(value)) for series in answer for _, value in series.values)
    return counts.most_common(1)[0][0] if counts else 1


def _answers(
    server: Server, question: Question, selector: str, span: tuple[int, int], usual: Mapping[str, int]
) -> Iterator[list[Series]]:
    """What the server says to a question, with what blank readings of memory hid."""
    ask = server.counts if question.into == "counts" else partial(ask_in_halves, server)
    for answer in ask(question.query(selector), span, question.step):
        yield answer
        if question.into == "memory" and (
            blank := [one_series.metric for one_series in answer if _blank(one_series)]
        ):
            # The most of an hour with a blank is the blank: the hour's other readings are asked for without it.
            query = question.query_of_possible(
                f"{selector},{_pods(blank)}" if len(blank) <= _PODS_NAMED else selector,
                every=_half_an_interval(usual),
            )
            yield from ask_in_halves(server, query, span, question.step)


def _pods(series: Sequence[Labels]) -> str:
    """A matcher of the pods that these series are about."""
    label = "exported_pod" if any("exported_pod" in entry for entry in series) else "pod"
    names = sorted({entry.get(label, "") for entry in series})
    return f'{label}=~"{"|".join(names)}"'  # names of pods are DNS names: a dot matches more, and harms none


def _blank(series: Series) -> bool:
    return not all(0 <= float(value) < NO_GPU_MIB for _, value in series.values)


def _half_an_interval(usual: Mapping[str, int]) -> int:
    """Seconds in which no two readings are taken."""
    return max(1, BIN_SECONDS // max((*usual.values(), 5)) // 2)


def _metrics_of_duty(metrics: Iterable[set[str]]) -> list[str]:
    """The activity of the graphics engine, and where a pod lacks it, utilisation."""
    sets = list(metrics)
    there = set().union(*sets)
    wanted = (BUSY,) if all(BUSY in names for names in sets) else (BUSY, UTILISATION)
    return [metric for metric in wanted if metric in there]


def _questions(there: set[str], usual: Mapping[str, int]) -> list[Question]:
    """What to ask, given which metrics there are, and how many readings of duty a window usually has."""
    questions = []
    if MEMORY in there:
        questions.append(Question(MEMORY, "max_over_time", HOUR, "memory"))
    for metric, count in usual.items():
        questions.append(Question(metric, "avg_over_time", BIN_SECONDS, "duty"))
        questions.append(Question(metric, "count_over_time", BIN_SECONDS, "counts", f" != {count}"))
    questions += [
        Question(metric, "avg_over_time", HOUR, name) for name, metric in ACTIVITY.items() if metric in there
    ]
    return questions


def _first(start: int, end: int, step: int) -> int:
    """The first time to ask for, so that the windows end with the window asked for and leave none of it out."""
    return end - (end - start - 1) // step * step


def _steps(series: int, question: Question) -> int:
    """Steps of one answer, so that it stays small whatever the number of pods."""
    most = (
        MOST_POINTS if question.step == BIN_SECONDS else MOST_POINTS // 4
    )  # an hour has more samples to read
    return max(1, min(_MOST_STEPS, most // max(series, 1)))
