"""What a check of the cluster found: a code, the evidence, what follows from it, and what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from gpuslice.cloud.catalog import Catalog
    from gpuslice.cluster.client.resources import Resource
    from gpuslice.cluster.seen.snapshot import Snapshot
    from gpuslice.plan.artefact import Plan


PATIENCE: Final = 15 * 60
"""Seconds until a node without its slices is called stuck: the operator's operands and MIG take minutes."""


class Severity(StrEnum):
    """How bad it is."""

    BROKEN = "broken"
    """Something doesn't work, now or at the next pod."""
    RISK = "risk"
    """It works, and will cost money or somebody's neighbour."""
    UNKNOWN = "unknown"
    """Whether it works couldn't be looked at."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        subject: the object: "NodeOverlay search-l4-1gpu".
        evidence: what the live objects say.
        consequence: what follows, in plain words.
        fix: what to do, where possible a command.
        code: of the check.
        severity: of the check.
    """

    subject: str
    evidence: str
    consequence: str
    fix: str
    code: str = ""
    severity: Severity = Severity.BROKEN


@dataclass(frozen=True, slots=True)
class Use:
    """How much of a node's GPU was in use lately, as its monitoring says.

    Attributes:
        memory_mib: the most; None: no reading.
        busy: mean share of the time; None: no reading.
    """

    memory_mib: int | None
    busy: float | None


@dataclass(frozen=True, slots=True)
class Reading:
    """What a GPU held at one moment, as the exporter on its node says.

    Attributes:
        node: as the exporter calls it.
        pods: that it names beside it, as (namespace, pod): not all that are on it.
        memory_mib: in use, by whomever.
    """

    node: str
    pods: frozenset[tuple[str, str]]
    memory_mib: int


@dataclass(frozen=True, slots=True)
class Seen:
    """What checks look at.

    Attributes:
        cluster: at one moment.
        catalog: what instance types are.
        plan: that the cluster should be as; None: nobody gave one.
        use: by node, where somebody measures; of nodes with several GPUs the most of one.
        held: GPU memory, MiB by the pod's uid, where somebody measures on nodes.
    """

    cluster: Snapshot
    catalog: Catalog
    plan: Plan | None = None
    use: Mapping[str, Use] = field(default_factory=dict)
    held: Mapping[str, int] = field(default_factory=dict)

    def labelled(self, label: str) -> Iterator[tuple[str, str]]:
        """Who has a label, and its value: nodes, and NodePools for nodes to come."""
        for node in self.cluster.nodes:
            if label in node.labels:
                yield f"Node {node.name}", node.labels[label]
        for pool in self.cluster.node_pools:
            if label in pool.labels:
                yield f"NodePool {pool.name}", pool.labels[label]

    def age(self, created: str) -> float:
        """Seconds since then; endless where nobody knows."""
        try:
            taken = datetime.fromisoformat(self.cluster.taken)
            return (taken - datetime.fromisoformat(created)).total_seconds()
        except ValueError:
            return float("inf")


@dataclass(frozen=True, slots=True)
class Check:
    """One question to a cluster.

    Attributes:
        code: for people to look up and for programs to filter; never given to another check.
        title: what holds where nothing is found.
        severity: of what it finds.
        reads: kinds without which it can't answer.
        find: the answers.
    """

    code: str
    title: str
    severity: Severity
    reads: tuple[Resource, ...]
    find: Callable[[Seen], Iterable[Finding]]
