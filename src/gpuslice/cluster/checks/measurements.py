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
    uses: dict[str, Use] = {}
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
        known = uses.get(node, Use(0, None))
        uses[node] = replace(known, memory_mib=max(known.memory_mib or 0, reading.memory_mib))
    return uses, sorted(strangers)


def most(first: Mapping[str, Use], second: Mapping[str, Use]) -> dict[str, Use]:
    """Two readings of nodes as one: the most memory, and whichever knows how busy they are."""
    uses = dict(first)
    for node, use in second.items():
        known = uses.get(node)
        if known is None:
            uses[node] = use
            continue
        memory = [mib for mib in (known.memory_mib, use.memory_mib) if mib is not None]
        uses[node] = Use(max(memory, default=None), known.busy if use.busy is None else use.busy)
    return uses


def _names(snapshot: Snapshot) -> dict[str, str]:
    """Nodes by all that an exporter may call them; what could mean several means none."""
    nodes_by_name: dict[str, set[str]] = {}
    for pod in snapshot.pods:
        if pod.spec.node_name and not pod.ended:
            nodes_by_name.setdefault(pod.metadata.name, set()).add(pod.spec.node_name)
    for node in snapshot.nodes:
        nodes_by_name.setdefault(node.name.partition(".")[0], set()).add(node.name)
    nodes_by_name |= {node.name: {node.name} for node in snapshot.nodes}
    return {name: nodes.copy().pop() for name, nodes in nodes_by_name.items() if len(nodes) == 1}
