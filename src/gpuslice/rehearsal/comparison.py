"""A plan beside what a rehearsal of it made: nodes, slices, pods and dollars, line by line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from msgspec import Struct

from gpuslice.cloud.catalog import Catalog, Purchase
from gpuslice.plan.artefact import Plan

_ELSEWHERE: Final = "all its pods run, some on other seats of theirs"


class _Line(Struct, frozen=True, rename="camel"):
    """Part of what `gpuslice rehearse -o json` prints."""


class NodeLine(_Line, frozen=True):
    """Nodes of one pool, instance type and purchase."""

    pool: str
    instance_type: str
    purchase: str
    planned: int
    launched: int
    usd_per_hour: float
    """The price of one node."""


class SliceLine(_Line, frozen=True):
    """One resource of the nodes of one pool and instance type: what Karpenter was promised, what they registered."""

    pool: str
    instance_type: str
    resource: str
    promised: int
    registered: tuple[int, ...]
    """One figure for each launched node, ascending."""


class WorkloadLine(_Line, frozen=True):
    """The pods of one assignment."""

    workload: str
    pool: str
    replicas: int
    bound: int
    why: str
    """What Karpenter or the scheduler says of a pod that isn't bound; empty where all are here."""


class Comparison(_Line, frozen=True):
    """A plan and its rehearsal."""

    matches: bool
    planned_usd_per_hour: float
    launched_usd_per_hour: float
    nodes: tuple[NodeLine, ...]
    slices: tuple[SliceLine, ...]
    workloads: tuple[WorkloadLine, ...]
    troubles: tuple[str, ...]
    """What went wrong on the way: refused objects, nodes that don't boot, device plugins that don't start."""


@dataclass(frozen=True, slots=True)
class LaunchedNode:
    """A node as it stands at the end.

    Attributes:
        pool, instance_type, purchase: as its labels say.
        registered: amounts by extended resource, as allocatable.
    """

    pool: str
    instance_type: str
    purchase: str
    registered: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a rehearsal left.

    Attributes:
        nodes: launched instances; those that never came up have registered nothing.
        bound: pods that run, by workload and pool.
        why: what is said of pods that are not bound, by workload.
        troubles: as in Comparison.
    """

    nodes: Sequence[LaunchedNode]
    bound: Mapping[tuple[str, str], int]
    why: Mapping[str, str]
    troubles: Sequence[str] = ()


def compare(
    plan: Plan, catalog: Catalog, promised: Mapping[str, Mapping[str, Mapping[str, int]]], outcome: Outcome
) -> Comparison:
    """Put a plan and its rehearsal side by side.

    Args:
        plan: that was rehearsed.
        catalog: prices.
        promised: amounts by pool, instance type and resource.
        outcome: of the rehearsal.
    """
    nodes = tuple(_node_lines(plan, catalog, outcome.nodes))
    slices = tuple(_slice_lines(promised, outcome.nodes))
    workloads = tuple(_workload_lines(plan, outcome))
    same = (
        all(node.planned == node.launched for node in nodes)
        and all(figure == slice_.promised for slice_ in slices for figure in slice_.registered)
        and all(workload.bound == workload.replicas or workload.why == _ELSEWHERE for workload in workloads)
        and not outcome.troubles
    )
    return Comparison(
        same,
        round(sum(node.planned * node.usd_per_hour for node in nodes), 4),
        round(sum(node.launched * node.usd_per_hour for node in nodes), 4),
        nodes,
        slices,
        workloads,
        tuple(outcome.troubles),
    )


def _workload_lines(plan: Plan, outcome: Outcome) -> Iterable[WorkloadLine]:
    planned, running = Counter[str](), Counter[str]()
    for assignment in plan.assignments:
        planned[assignment.workload] += assignment.replicas
    for (workload, _), count in outcome.bound.items():
        running[workload] += count
    for assignment in plan.assignments:
        bound = outcome.bound.get((assignment.workload, assignment.pool), 0)
        why = ""
        if bound != assignment.replicas:
            # Where there are more seats than replicas, kube-scheduler chooses which ones stay free.
            moved = assignment.asks.seat and running[assignment.workload] == planned[assignment.workload]
            why = _ELSEWHERE if moved else outcome.why.get(assignment.workload, "nobody says why")
        yield WorkloadLine(assignment.workload, assignment.pool, assignment.replicas, bound, why)


def _node_lines(plan: Plan, catalog: Catalog, launched: Iterable[LaunchedNode]) -> Iterable[NodeLine]:
    planned = Counter[tuple[str, str, str]]()
    for pool in plan.pools:
        for node in pool.nodes:
            planned[pool.name, node.instance_type, node.purchase] += node.count
    nodes = Counter((machine.pool, machine.instance_type, machine.purchase) for machine in launched)
    types = catalog.by_name()
    for key in sorted({*planned, *nodes}):
        pool_name, name, purchase = key
        usd = types[name].prices[Purchase(purchase)] / 1_000_000
        yield NodeLine(pool_name, name, purchase, planned[key], nodes[key], usd)


def _slice_lines(
    promised: Mapping[str, Mapping[str, Mapping[str, int]]], launched: Iterable[LaunchedNode]
) -> Iterable[SliceLine]:
    nodes = sorted(launched, key=lambda node: (node.pool, node.instance_type))
    for pool, name in sorted({(node.pool, node.instance_type) for node in nodes}):
        alike = [node.registered for node in nodes if (node.pool, node.instance_type) == (pool, name)]
        expected = promised.get(pool, {}).get(name, {})
        # What is registered without a promise is as wrong as the reverse: pods could ask for it.
        for resource in sorted({*expected, *(key for entry in alike for key in entry)}):
            figures = tuple(sorted(entry.get(resource, 0) for entry in alike))
            amount = expected.get(resource, 0)
            if amount or any(figures):
                yield SliceLine(pool, name, resource, amount, figures)
