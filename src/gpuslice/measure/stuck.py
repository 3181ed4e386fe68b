"""Whose activity stands at zero while their GPU computes: a fault of the DCGM exporter's that lasts for weeks.

Profiling may stop without a word, and then every activity is zero (NVIDIA/dcgm-exporter, issue 662). Utilisation goes
on being counted, so the two contradict each other. Taken for a reading, such a zero would be a need of nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from gpuslice.measure.pods import Source, source_of
from gpuslice.measure.prometheus import Server, ask_in_halves, spans

BUSY_PERCENT: Final = 5
"""Mean utilisation of an hour beside which the engine can't have rested: a kernel that counts there runs on it."""

_HOUR: Final = 3600
_STEPS: Final = 500  # of one answer: few series contradict themselves


def read_stuck(
    server: Server,
    selectors: Sequence[str],
    jobs: Collection[str],
    *,
    busy: str,
    utilisation: str,
    start: int,
    end: int,
) -> frozenset[Source]:
    """Sources with an hour in which utilisation says busy and activity is zero throughout.

    Args:
        server: to ask.
        selectors: of the namespaces to ask about.
        jobs: scrape jobs whose pods are spelled `exported_pod`.
        busy: the metric of activity, 0 to 1.
        utilisation: the metric of utilisation, in percent.
        start: of the window, seconds since 1970.
        end: likewise.

    Raises:
        EnvironmentFailedError: the server fails.
    """
    sources = set()
    window = f"[{_HOUR * 1000 - 1}ms]"
    for selector in selectors:
        query = (
            f"avg_over_time({utilisation}{{{selector}}}{window}) > {BUSY_PERCENT} "
            f"and max_over_time({busy}{{{selector}}}{window}) == 0"
        )
        first = end - (end - start - 1) // _HOUR * _HOUR
        for span in spans(first, end, _HOUR, _STEPS):
            for answer in ask_in_halves(server, query, span, _HOUR):
                sources |= {
                    source_of(one_series.metric, exported=one_series.metric.get("job", "") in jobs)
                    for one_series in answer
                }
    return frozenset(source for source in sources if source is not None)
