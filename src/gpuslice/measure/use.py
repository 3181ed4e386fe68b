"""How much of its GPU each node uses right now, by the DCGM exporter's metrics in a Prometheus."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import Final

from gpuslice.measure.dcgm_metrics import BUSY, MEMORY
from gpuslice.measure.prometheus import Series, Server

MINUTES: Final = 15
_BY: Final = "Hostname, node, exported_node, UUID"


@dataclass(frozen=True, slots=True)
class Lately:
    """The last quarter of an hour of a node; of several GPUs the most of one.

    Attributes:
        memory_mib: the most in use; None: no reading.
        busy: mean share of time; None: no reading.
    """

    memory_mib: int | None
    busy: float | None


def lately(server: Server, now: int) -> dict[str, Lately]:
    """By node's name, as the exporter has it.

    Args:
        server: a Prometheus.
        now: seconds since 1970.

    Raises:
        EnvironmentFailedError: it doesn't answer.
        TooMuchError: it can't answer so large a question.
    """
    memory = _most(server.range(f"max by ({_BY}) (max_over_time({MEMORY}[{MINUTES}m]))", now, now, 60))
    busy = _most(server.range(f"max by ({_BY}) (avg_over_time({BUSY}[{MINUTES}m]))", now, now, 60))
    return {
        node: Lately(int(memory[node]) if node in memory else None, busy.get(node))
        for node in sorted(memory.keys() | busy.keys())
    }


def _most(answer: list[Series]) -> dict[str, float]:
    most: dict[str, float] = defaultdict(float)
    for series in answer:
        labels = series.metric
        # What the exporter itself calls its node comes first: `node` may be that of whoever scrapes.
        name = labels.get("Hostname") or labels.get("exported_node") or labels.get("node", "")
        for _, value in series.values:
            if name and 0 <= float(value) < math.inf:  # no number is none
                most[name] = max(most[name], float(value))
    return most
