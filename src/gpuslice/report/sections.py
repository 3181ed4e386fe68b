"""What the page says of pools and workloads, ready to be written down."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from msgspec import UNSET

from gpuslice.advice.words import refusals
from gpuslice.costs.alternatives import alternatives, offers, ranked
from gpuslice.costs.pool_use import pool_uses
from gpuslice.costs.shares import overhead, paid_by_slice
from gpuslice.hardware.need import Need, Source
from gpuslice.hardware.stacks import Stack
from gpuslice.plan.words import layout_in_words, load_in_words, need_in_words
from gpuslice.planner.model.classes import classes_of
from gpuslice.report.changes import Change, changes, loosened
from gpuslice.report.drawing import Drawing, draw
from gpuslice.workloads.model import Workload

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gpuslice.costs.alternatives import Offer
    from gpuslice.costs.pool_use import PoolUse
    from gpuslice.costs.shares import Bill
    from gpuslice.plan.artefact import Assignment, Plan
    from gpuslice.report.fleet import NodePicture, PoolPicture
    from gpuslice.report.subject import Subject

HUES: Final = 8
"""Colours that people with any colour vision can tell apart; who comes after them is grey."""
MOST_PICTURES: Final = 400
"""Drawn nodes, alike ones counting once; what is beyond is listed in words, so that the page stays light."""
ALL_EXPLAINED: Final = 80
"""Kinds of workloads up to which each has all its alternatives: looking for them takes a while."""
DEAREST_EXPLAINED: Final = 12
"""With more kinds, those without a place and the dearest have theirs, so many in all."""
_OFFERS_SHOWN: Final = 5
_CHANGES_SHOWN: Final = 3


class Colours:
    """Which hue stands for which tenant, and for which workload: the dearest have one of their own.

    Attributes:
        tenants, workloads: those with a hue, dearest first.
    """

    def __init__(self, bill: Bill, tenant_of: Mapping[str, str]) -> None:
        self._tenant_of = tenant_of
        self.tenants = tuple(tenant.name for tenant in bill.tenants[:HUES])
        self.workloads = tuple(workload.name for workload in bill.workloads[:HUES])
        self.more_tenants = len(bill.tenants) - len(self.tenants)
        self.more_workloads = len(bill.workloads) - len(self.workloads)

    @property
    def by_tenant(self) -> bool:
        """Whether tenants are what a reader first wants to tell apart."""
        return len(self.tenants) + self.more_tenants > 1

    def of_tenant(self, name: str) -> str:
        """The style sheet's classes for a tenant: t0 is grey."""
        return f"own t{_place(name, self.tenants)}"

    def of_workload(self, name: str) -> str:
        """The style sheet's classes for a workload, whichever of the two colourings is on."""
        tenant = _place(self._tenant_of.get(name, ""), self.tenants)
        return f"t{tenant} w{_place(name, self.workloads)}"


def _place(name: str, names: tuple[str, ...]) -> int:
    return names.index(name) + 1 if name in names else 0


@dataclass(frozen=True, slots=True)
class Mark:
    """A workload wherever it stands: its number on the page, and its hues.

    Attributes:
        number: of its row.
        name: its own.
        hues: classes of the style sheet.
    """

    number: int
    name: str
    hues: str


@dataclass(frozen=True, slots=True)
class Picture:
    """Nodes that are alike: drawn, and in words.

    Attributes:
        nodes: that it shows.
        drawing: None where it is only listed.
        pods: each workload on one of them, how many, and whether its need is known.
        marks: of the drawing's shapes, in their order.
    """

    nodes: NodePicture
    drawing: Drawing | None
    pods: tuple[tuple[Mark, int, bool], ...]
    marks: tuple[Mark, ...]


@dataclass(frozen=True, slots=True)
class PoolSection:
    """A pool on the page.

    Attributes:
        pool: its picture.
        layout: in words.
        machines: its nodes in words.
        use: how full it is.
        pictures: of its nodes.
    """

    pool: PoolPicture
    layout: str
    machines: str
    use: PoolUse
    pictures: tuple[Picture, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """A workload on the page.

    Attributes:
        mark: its number and hues.
        tenant: its own.
        replicas: how many.
        assignments: where they go.
        refused: why it has no place; "": it has one.
        need: in words; "" where the workloads weren't given.
        before, planned: dollars an hour, as in the bill; None: not known.
        offers: the cheapest slices that would do, and the plan's own with the dollars an hour that it pays for those.
        changes: what one change would save.
        refusals: slices that won't do, and why.
        notes: on reading it.
        explained: whether offers, changes and refusals were looked for, as far as they can be.
    """

    mark: Mark
    tenant: str
    replicas: int
    assignments: tuple[Assignment, ...]
    refused: str
    need: str
    before: float | None
    planned: float | None
    offers: tuple[tuple[Offer, float | None], ...]
    changes: tuple[Change, ...]
    refusals: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    explained: bool

    @property
    def slices(self) -> str:
        """Where its replicas are, in few words."""
        return ", ".join(dict.fromkeys(assignment.slice for assignment in self.assignments))

    @property
    def slowdown(self) -> float | None:
        """Expected, of the slowest of its replicas."""
        known = [
            assignment.expected_slowdown
            for assignment in self.assignments
            if assignment.expected_slowdown is not UNSET
        ]
        return max(known) if known else None


def from_plan(plan: Plan) -> tuple[Workload, ...]:
    """What a plan itself says of the workloads that it was made for: where they are, and nothing of their needs."""
    tenants = {pool.name: pool.tenant for pool in plan.pools}
    workloads: dict[str, Workload] = {}
    for assignment in plan.assignments:
        before = workloads[assignment.workload].replicas if assignment.workload in workloads else 0
        workloads[assignment.workload] = Workload(
            assignment.workload,
            before + assignment.replicas,
            cpu_milli=0,
            memory_mib=0,
            need=Need(gpus=assignment.asks.count, source=Source.ASSUMED),
            target=assignment.target,
            tenant=tenants.get(assignment.pool, "") or assignment.workload.partition("/")[0],
        )
    return tuple(workloads.values())


def pools(
    fleet: Sequence[PoolPicture], subject: Subject, bill: Bill, colours: Colours
) -> tuple[PoolSection, ...]:
    """The pools, each with its nodes."""
    marks = _marks(subject, bill, colours)
    uses = {
        pool_use.pool: pool_use for pool_use in pool_uses(subject.plan, subject.workloads, subject.catalog)
    }
    busy = {
        assignment.workload
        for assignment in subject.plan.assignments
        if assignment.utilisation is not UNSET or assignment.service is not UNSET
    }
    views = []
    left = MOST_PICTURES
    for pool in fleet:
        pictures = []
        for nodes in pool.nodes:
            drawing = draw(nodes) if left > 0 else None
            left -= 1
            pods = sorted(nodes.node.pods.items(), key=lambda entry: (-entry[1], entry[0]))
            shapes = () if drawing is None else drawing.shapes
            pictures.append(
                Picture(
                    nodes,
                    drawing,
                    tuple((marks[name], count, name in busy) for name, count in pods),
                    tuple(marks[shape.workload] for shape in shapes),
                )
            )
        views.append(
            PoolSection(
                pool,
                layout_in_words(pool.pool.layout),
                _machines(pool),
                uses[pool.pool.name],
                tuple(pictures),
            )
        )
    return tuple(views)


def _machines(pool: PoolPicture) -> str:
    counts: dict[str, int] = {}
    for node in pool.nodes:
        bought = "" if node.node.purchase == "on-demand" else f" ({node.node.purchase})"
        name = node.node.instance_type + bought
        counts[name] = counts.get(name, 0) + node.node.count
    return ", ".join(f"{count:,} {name}" for name, count in counts.items())


def workload_rows(subject: Subject, bill: Bill, colours: Colours) -> tuple[Row, ...]:
    """Every workload, the dearest first, those without a place at the end."""
    plan = subject.plan
    marks = _marks(subject, bill, colours)
    by_name = {workload.name: workload for workload in subject.workloads}
    refused = {left_out.workload: left_out for left_out in plan.unplaced}
    costs = {workload.name: workload for workload in bill.workloads}
    known = _explained(subject, bill) if subject.given else {}
    paid: dict[str, dict[str, float]] = defaultdict(dict)
    uses = pool_uses(plan, subject.workloads, subject.catalog)
    for (name, slice_), usd in paid_by_slice(plan, uses).items():
        paid[name][slice_] = usd
    rows = []
    for name, mark in marks.items():
        workload = by_name.get(name)
        cost = costs.get(name)
        beside = known.get(name, _Known())
        assigned = tuple(assignment for assignment in plan.assignments if assignment.workload == name)
        rows.append(
            Row(
                mark,
                workload.tenant if workload is not None else name.partition("/")[0],
                _replicas(workload, assigned) if workload is not None else refused[name].replicas,
                assigned,
                refused[name].reason if name in refused else "",
                _needs(workload) if workload is not None and subject.given else "",
                None if cost is None else cost.before,
                None if cost is None else cost.planned,
                _shown(beside.offers, paid.get(name, {})),
                beside.changes[:_CHANGES_SHOWN],
                beside.refusals,
                workload.notes if workload is not None else (),
                name in known or workload is None,
            )
        )
    return tuple(rows)


def _replicas(workload: Workload, assigned: Sequence[Assignment]) -> int:
    """Of a service sized by its load, those that the plan gives it."""
    return (
        workload.replicas if workload.service is None else sum(assignment.replicas for assignment in assigned)
    )


def _needs(workload: Workload) -> str:
    return need_in_words(workload.need) if workload.service is None else load_in_words(workload.service)


def _shown(offered: Sequence[Offer], paid: Mapping[str, float]) -> tuple[tuple[Offer, float | None], ...]:
    """The cheapest offers, and the plan's own wherever it stands."""
    return tuple(
        (offer, planned)
        for index, (offer, planned) in enumerate(ranked(offered, paid))
        if index < _OFFERS_SHOWN or planned is not None
    )


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of a workload beside the plan."""

    offers: tuple[Offer, ...] = ()
    changes: tuple[Change, ...] = ()
    refusals: tuple[tuple[str, str], ...] = ()


def _explained(subject: Subject, bill: Bill) -> dict[str, _Known]:
    """Offers, changes and refusals by workload; those that nothing tells apart are asked about once."""
    plan, catalog = subject.plan, subject.catalog
    taken = overhead(plan)
    stack = Stack(plan.stack)
    cost = {workload.name: workload.planned for workload in bill.workloads}
    unplaced = {unplaced.workload for unplaced in plan.unplaced}
    layouts = {pool.name: pool.layout for pool in plan.pools}
    pools: dict[str, set[str]] = defaultdict(set)
    for placed in plan.assignments:
        pools[placed.workload].add(placed.pool)
    classes = classes_of(
        workload for workload in subject.workloads if workload.name in cost or workload.name in unplaced
    )
    dearest = sorted(
        classes,
        key=lambda alike: (
            all(member.name not in unplaced for member in alike.members),
            -sum(cost.get(member.name, 0.0) for member in alike.members),
        ),
    )
    known = {}
    for alike in dearest[: ALL_EXPLAINED if len(dearest) <= ALL_EXPLAINED else DEAREST_EXPLAINED]:
        theirs = sorted({pool for member in alike.members for pool in pools[member.name]})
        given = [layouts[their] for their in theirs]
        listed = alternatives(alike.members[0], catalog, taken, stack, given, policy=plan.policy)
        after = loosened(alike.members[0], catalog, taken, stack, plan.policy)
        why = tuple(refusals(listed))
        for member in alike.members:
            now = offers(listed, member.replicas)
            better = changes(after, now, member.replicas, cost.get(member.name, 0.0))
            known[member.name] = _Known(now, better, why)
    return known


def _marks(subject: Subject, bill: Bill, colours: Colours) -> dict[str, Mark]:
    """Every workload of the page, in its order: the dearest first, those without a place at the end."""
    names = [workload.name for workload in bill.workloads]
    names += [left_out.workload for left_out in subject.plan.unplaced if left_out.workload not in set(names)]
    return {
        name: Mark(number, name, colours.of_workload(name))
        for number, name in enumerate(dict.fromkeys(names), 1)
    }
