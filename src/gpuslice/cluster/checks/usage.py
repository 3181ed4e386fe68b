"""Pods on shared GPUs that use more than they asked for, by what somebody measured.

Of a time-sliced GPU everybody but NVML on the node tells the sum over all that share it. So a sum is held against what
all of them asked for together, and no pod is blamed for it; a pod is, for what its own processes hold.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from gpuslice.cluster.checks.finding import Check, Finding, Seen, Severity
from gpuslice.cluster.client.api import joined
from gpuslice.cluster.client.resources import NODE, POD
from gpuslice.cluster.seen.asks import memory_asked, time_asked
from gpuslice.cluster.seen.inventory import INSTANCE_TYPE, requests_of
from gpuslice.units import format_memory

if TYPE_CHECKING:
    from gpuslice.cluster.client.objects import Node, Pod

_TOLERANCE: Final = 50
"""Thousandths of a GPU's time by which a mean over a quarter of an hour may differ from one over days."""


def _asked(node: Node, seen: Seen) -> list[tuple[Pod, int]]:
    """The pods of a node that share a GPU, each with the memory that it asked for, MiB."""
    kind = seen.catalog.by_name().get(node.labels.get(INSTANCE_TYPE, ""))
    pods = [(pod, memory_asked(pod, node, kind)) for pod in seen.cluster.pods_by_node.get(node.name, ())]
    return [(pod, memory) for pod, memory in pods if memory is not None]


def _together(seen: Seen) -> Iterator[Finding]:
    """Nodes of one GPU: what is in use on it is what its pods use together."""
    for node in seen.cluster.nodes:
        use = seen.use.get(node.name)
        asked = [] if use is None else _asked(node, seen)
        if use is None or not asked or not _on_one_gpu(node, asked, seen):
            continue
        memory = sum(number for _, number in asked)
        time = sum(time_asked(pod) for pod, _ in asked)
        beyond = []
        if use.memory_mib is not None and use.memory_mib > memory:
            beyond.append(
                f"{format_memory(use.memory_mib)} of its GPU's memory are in use, asked for are "
                f"{format_memory(memory)}"
            )
        if time and use.busy is not None and use.busy * 1000 > time + _TOLERANCE:
            beyond.append(
                f"its GPU is busy {use.busy:.0%} of the time, asked for are {int(time)} thousandths"
            )
        if beyond:
            names = [pod.name for pod, _ in asked]
            yield Finding(
                f"Node {node.name}", f"{'; '.join(beyond)} (by {joined(names)})", _CONSEQUENCE, _MEASURE
            )


def _on_one_gpu(node: Node, asked: Sequence[tuple[Pod, int]], seen: Seen) -> bool:
    """Whether all of a node's pods that use a GPU are on one GPU, and what each asked for is known."""
    kind = seen.catalog.by_name().get(node.labels.get(INSTANCE_TYPE, ""))
    users = [pod for pod in seen.cluster.pods_by_node.get(node.name, ()) if requests_of(pod)]
    return kind is not None and kind.gpu_count <= 1 and len(users) == len(asked)


def _each(seen: Seen) -> Iterator[Finding]:
    for node in seen.cluster.nodes if seen.held else ():
        for pod, asked in _asked(node, seen):
            held = seen.held.get(pod.metadata.uid, 0)
            if held > asked:
                yield Finding(
                    f"Pod {pod.name}",
                    f"its processes hold {format_memory(held)} of a shared GPU's memory on node {node.name}, asked for "
                    f"are {format_memory(asked)}",
                    _CONSEQUENCE,
                    _MEASURE,
                )


_CONSEQUENCE: Final = (
    "nothing holds a pod to its request: the next one that the scheduler puts there can be without memory, and all of "
    "them are slower than planned"
)
_MEASURE: Final = "measure what these pods need (gpuslice measure prometheus), and plan again with that"
CHECKS: Final = (
    Check(
        "GS307",
        "Pods on a shared GPU use together no more than they asked for (where DCGM's readings are given)",
        Severity.RISK,
        (POD, NODE),
        _together,
    ),
    Check(
        "GS308",
        "No pod holds more of a shared GPU's memory than it asked for (where NVML's readings are given)",
        Severity.RISK,
        (POD, NODE),
        _each,
    ),
)
