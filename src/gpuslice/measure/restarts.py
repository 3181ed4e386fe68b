"""Which pods began anew while they were read, where kube-state-metrics tells.

Their containers restarted, or the pod is another one by the same name. Restarts are a counter of each pod's containers.
It begins again at zero with a new pod, which a StatefulSet names like the one before: that step takes nothing back.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from gpuslice.measure.pods import Labels
from gpuslice.measure.prometheus import Server, ask_in_halves, spans
from gpuslice.measure.readings import Begun

METRIC: Final = "kube_pod_container_status_restarts_total"
_HOUR: Final = 3600
_MOST_POINTS: Final = 100_000  # of one answer

_NO_COUNT: Final = 1e9

Pod = tuple[str, str]


def read_restarts(
    server: Server, listed: Sequence[Labels], selectors: Sequence[str], *, start: int, end: int
) -> dict[Pod, Begun]:
    """Of all pods of which kube-state-metrics counts restarts, by (namespace, pod).

    Args:
        server: to ask.
        listed: labels of series that there are; nothing is asked for where none is of `METRIC`.
        selectors: of the namespaces to ask about.
        start: of the window, seconds since 1970.
        end: likewise.

    Raises:
        EnvironmentFailedError: the server fails.
    """
    there = {_pod(labels) for labels in listed if labels.get("__name__") == METRIC}
    if not there:
        return {}
    # One series a pod, whatever scraped it: the uid tells pods of one name apart.
    by = "namespace, pod, exported_namespace, exported_pod, uid"
    seen: dict[tuple[Pod, str], dict[int, float]] = {}
    first = end - (end - start - 1) // _HOUR * _HOUR
    steps = max(1, _MOST_POINTS // len(there))
    for selector in selectors:
        query = f"max by ({by}) (max_over_time({METRIC}{{{selector}}}[{_HOUR}s]))"
        for span in spans(first, end, _HOUR, steps):
            for answer in ask_in_halves(server, query, span, _HOUR):
                for series in answer:
                    counts = seen.setdefault((_pod(series.metric), series.metric.get("uid", "")), {})
                    for at, value in series.values:
                        if not 0 <= float(value) < _NO_COUNT:
                            continue
                        counts[int(at)] = max(float(value), counts.get(int(at), 0.0))
    return _begun(seen)


def _begun(seen: dict[tuple[Pod, str], dict[int, float]]) -> dict[Pod, Begun]:
    earliest = min((min(counts) for counts in seen.values() if counts), default=0)
    begun: dict[Pod, Begun] = {}
    for (pod, _), counts in seen.items():
        if not counts:
            continue
        ordered = [counts[at] for at in sorted(counts)]
        # What a counter shows when it is first seen is of this window only if others were counted before it.
        own = Begun(*_counted(ordered, anew=min(counts) > earliest))
        before = begun.get(pod)
        begun[pod] = own if before is None else Begun(before.restarts + own.restarts, before.pods + own.pods)
    return begun


def _counted(values: Sequence[float], *, anew: bool) -> tuple[int, int]:
    """(restarts, pods) of a counter's values over time."""
    restarts, pods = values[0] if anew else 0.0, 1
    for before, now in pairwise(values):
        if now < before:
            pods += 1
        restarts += now if now < before else now - before
    return round(restarts), pods


def _pod(labels: Labels) -> Pod:
    # kube-state-metrics speaks of other objects than itself, so its labels may be renamed.
    return (
        labels.get("exported_namespace") or labels.get("namespace", ""),
        labels.get("exported_pod") or labels.get("pod", ""),
    )
