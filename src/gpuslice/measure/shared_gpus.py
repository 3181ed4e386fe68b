"""Which pods and nodes share GPUs, by what kube-state-metrics tells where it is scraped.

On a time-sliced GPU the DCGM exporter may name one pod of several, whose reading is then that of all. Signs of it are
a request for a renamed resource, GPU Feature Discovery's label, and a node that offers more GPUs than are read on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gpuslice.measure.pods import Labels
from gpuslice.measure.prometheus import Server, ask_in_halves, labels_in_halves, selected, spans

_REQUESTS: Final = "kube_pod_container_resource_requests"
_LABELS: Final = "kube_node_labels"
_OFFERED: Final = "kube_node_status_capacity"
_HOUR: Final = 3600
_MOST_POINTS: Final = 100_000  # of one answer


@dataclass(frozen=True, slots=True)
class Shared:
    """Pods and nodes that share GPUs.

    Attributes:
        pods: that asked for a shared GPU, by (namespace, pod).
        nodes: whose GPUs are shared.
    """

    pods: frozenset[tuple[str, str]]
    nodes: frozenset[str]


def read_shared(server: Server, readings: Sequence[Labels], within: str, *, start: int, end: int) -> Shared:
    """Pods and nodes that share GPUs between two times.

    Args:
        server: to ask.
        readings: labels of the DCGM exporter's series, those of GPUs without a pod too.
        within: matchers of every series.
        start: of the window, seconds since 1970.
        end: likewise.

    Raises:
        EnvironmentFailedError: the server fails.
    """
    pods, nodes, offering = set(), set(), set()
    offered = f'{_OFFERED}{{resource="nvidia_com_gpu"}}'
    for labels_in_halve in labels_in_halves(
        server,
        [
            selected(f'{_REQUESTS}{{resource=~"nvidia_com_.*_shared"}}', within),
            selected(f'{_LABELS}{{label_nvidia_com_gpu_sharing_strategy=~"time-slicing|mps"}}', within),
            selected(offered, within),
        ],
        start,
        end,
    ):
        match labels_in_halve.get("__name__"):
            case "kube_node_labels":
                nodes.add(_node(labels_in_halve))
            case "kube_node_status_capacity":
                offering.add(_node(labels_in_halve))
            case _:
                pods.add(
                    (
                        labels_in_halve.get("exported_namespace") or labels_in_halve.get("namespace", ""),
                        labels_in_halve.get("exported_pod") or labels_in_halve.get("pod", ""),
                    )
                )
    there = {node: count for node, count in _whole_gpus(readings).items() if node in offering}
    if there:
        query = f"max by (node, exported_node) (max_over_time({selected(offered, within)}[{_HOUR}s]))"
        first = end - (end - start - 1) // _HOUR * _HOUR
        for span in spans(first, end, _HOUR, max(1, _MOST_POINTS // len(offering))):
            for answer in ask_in_halves(server, query, span, _HOUR):
                for series in answer:
                    node = _node(series.metric)
                    most = max((float(value) for _, value in series.values), default=0)
                    # Replicas are the same of every GPU. A GPU that isn't read for a while is no sign.
                    if node in there and most >= 2 * there[node] and not most % there[node]:
                        nodes.add(node)
    return Shared(frozenset(pods), frozenset(nodes))


def _whole_gpus(readings: Sequence[Labels]) -> dict[str, int]:
    """How many GPUs are read on each node that has none cut into MIG instances, which a node may offer as GPUs."""
    gpus: dict[str, set[str]] = {}
    cut = set()
    for reading in readings:
        node = reading.get("Hostname", "")
        gpus.setdefault(node, set()).add(reading.get("UUID") or reading.get("gpu", ""))
        if reading.get("GPU_I_ID"):
            cut.add(node)
    return {node: len(indices) for node, indices in gpus.items() if node and node not in cut}


def _node(labels: Labels) -> str:
    return labels.get("exported_node") or labels.get("node", "")
