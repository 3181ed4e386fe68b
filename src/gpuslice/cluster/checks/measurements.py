"""Readings of GPUs, brought to the nodes of a cluster."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from gpuslice.cluster.checks.finding import Reading, Use

if TYPE_CHECKING:
    from gpuslice.cluster.seen.snapshot import Snapshot


def on_nodes(readings: Iterable[Reading], snapshot: Snapshot) -> tuple[dict[str, Use], list[str]]:
    """Memory in use by node, of several GPUs the most of one; and what exporters call nodes that aren't there.

    An exporter calls its node by the node's name, or by the first part of it, or where nobody told it (NODE_NAME), by
    the name of its own pod. Else the pods that it names tell where it is.
    """
    names = _names(snapshot)
    found: dict[str, Use] = {}
    strangers: set[str] = set()
    on = {
        (pod.metadata.namespace, pod.metadata.name): pod.spec.node_name
        for pod in snapshot.pods
        if pod.spec.node_name
    }
    for reading in readings:
        node = names.get(reading.node, "")
        if not node:
            of_pods = {on[one] for one in reading.pods if one in on}
            node = of_pods.pop() if len(of_pods) == 1 else ""
        if not node:
            strangers.add(reading.node or "an exporter that names no node")
            continue
        known = found.get(node, Use(0, None))
        found[node] = replace(known, memory_mib=max(known.memory_mib or 0, reading.memory_mib))
    return found, sorted(strangers)


def most(first: Mapping[str, Use], second: Mapping[str, Use]) -> dict[str, Use]:
    """Two readings of nodes as one: the most memory, and whichever knows how busy they are."""
    found = dict(first)
    for node, use in second.items():
        known = found.get(node)
        if known is None:
            found[node] = use
            continue
        memory = [each for each in (known.memory_mib, use.memory_mib) if each is not None]
        found[node] = Use(max(memory, default=None), known.busy if use.busy is None else use.busy)
    return found


def _names(snapshot: Snapshot) -> dict[str, str]:
    """Nodes by all that an exporter may call them; what could mean several means none."""
    found: dict[str, set[str]] = {}
    for pod in snapshot.pods:
        if pod.spec.node_name and not pod.ended:
            found.setdefault(pod.metadata.name, set()).add(pod.spec.node_name)
    for node in snapshot.nodes:
        found.setdefault(node.name.partition(".")[0], set()).add(node.name)
    found |= {node.name: {node.name} for node in snapshot.nodes}
    return {name: nodes.copy().pop() for name, nodes in found.items() if len(nodes) == 1}
