"""What limits pods on a node, as pods say it: requests, host ports, anti-affinity and spreads by host."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gpuslice.units import format_memory
from gpuslice.workloads.neighbours import HOST
from gpuslice.workloads.node_limits import EPHEMERAL_STORAGE, HOST_PORT, SPREAD, by_rule

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gpuslice.workloads.node_limits import Take


@dataclass(frozen=True, slots=True)
class PodLimits:
    """Parts of a pod.

    Attributes:
        requests: of its container, to be its limits too.
        ports: of its container.
        labels: by which its own rules know it.
        spec: fields of the pod's spec.
    """

    requests: dict[str, str]
    ports: list[dict[str, Any]]
    labels: dict[str, str]
    spec: dict[str, Any]


def rules_of(takes: Iterable[Take]) -> PodLimits:
    """The parts of a pod that takes so much of its node."""
    requests: dict[str, str] = {}
    ports: list[dict[str, Any]] = []
    labels: dict[str, str] = {}
    apart: list[dict[str, Any]] = []
    spreads: list[dict[str, Any]] = []
    for take in takes:
        if not by_rule(take.resource):
            stored = take.resource == EPHEMERAL_STORAGE
            requests[take.resource] = format_memory(take.amount) if stored else str(take.amount)
            continue
        kind, _, rest = take.resource.partition("/")
        if kind == HOST_PORT:
            protocol, _, port = rest.partition("/")
            ports.append({"containerPort": int(port), "hostPort": int(port), "protocol": protocol})
            continue
        label = re.sub(r"[^a-z0-9]+", "-", take.resource.lower())[-63:].strip("-")
        labels[label] = "true"
        term = {"labelSelector": {"matchLabels": {label: "true"}}, "topologyKey": HOST}
        if kind == SPREAD:
            spreads.append({**term, "maxSkew": take.most, "whenUnsatisfiable": "DoNotSchedule"})
        else:
            apart.append(term)
    spec: dict[str, Any] = {}
    if apart:
        spec["affinity"] = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": apart}}
    if spreads:
        spec["topologySpreadConstraints"] = spreads
    return PodLimits(requests, ports, labels, spec)
