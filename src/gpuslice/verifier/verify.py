"""The verifier: recomputes every constraint of a plan in integers, from plan.yaml and workloads.yaml alone.

It shares no code with the parts of the planner that make plans (options, patterns, pricing, master, realise): only the
tables of hardware and the rule `fit`. Every plan passes it before it leaves the planner, and anyone can run it on a
plan that was edited by hand: whatever is wrong with it, the answer is a list, never an exception.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING

from msgspec import UNSET

from gpuslice.cloud.catalog import Purchase
from gpuslice.cloud.labels import node_facts
from gpuslice.hardware.fit import fit
from gpuslice.hardware.mechanisms import Mechanism
from gpuslice.hardware.resource_names import SHARED_GPU, WHOLE_GPU, mig_instance
from gpuslice.hardware.sharing import MEMORY_MARGIN, SEES_ALL
from gpuslice.hardware.stacks import Stack
from gpuslice.plan.artefact import Node
from gpuslice.plan.models_today import as_planned
from gpuslice.units import MIB, parse_cpu_milli, parse_quantity, usd
from gpuslice.verifier.entry import entry_violations, together_violations
from gpuslice.verifier.figures import figure_violations, form_violations, sum_violations
from gpuslice.verifier.layouts import (
    SLOTTED,
    Ask,
    Violation,
    layout_violations,
    node_violations,
    slices_of,
    type_violations,
)
from gpuslice.verifier.node_limits import limit_violations
from gpuslice.verifier.policy import policy_violations
from gpuslice.verifier.seats import counted, misnamed, renamed, seat_violations
from gpuslice.verifier.services import (
    measured_need,
    neighbour_violations,
    packing_violations,
    replica_violations,
)
from gpuslice.workloads.policy import priced

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from gpuslice.cloud.catalog import Catalog, InstanceType
    from gpuslice.hardware.slices import Slice
    from gpuslice.plan.artefact import Assignment, Layout, OptimalNode, Plan, Pool
    from gpuslice.workloads.model import Workload

__all__ = ["Violation", "verify", "verify_alone"]


def verify(plan: Plan, workloads: Sequence[Workload], catalog: Catalog) -> list[Violation]:
    """Every rule that the plan breaks; none: it may be carried out.

    Args:
        plan: to check.
        workloads: that it was made for.
        catalog: that it names.
    """
    # What isn't even a plan can't be asked the other questions.
    return list(form_violations(plan)) or list(_Check(plan, as_planned(workloads, plan), catalog).all())


def verify_alone(plan: Plan, catalog: Catalog) -> list[Violation]:
    """What is wrong with a plan by itself: all that can be said without the workloads that it was made for.

    None found is no proof: whether slices fit needs, only `verify` can tell.
    """
    return list(form_violations(plan)) or list(_Check(plan, (), catalog).alone())


class _Check:
    """One plan beside the workloads and the catalog that it was made of."""

    def __init__(self, plan: Plan, workloads: Sequence[Workload], catalog: Catalog) -> None:
        self.plan = plan
        self.workloads = {workload.name: workload for workload in workloads}
        self.types = priced(plan.policy, catalog).by_name()
        self.catalog = catalog
        self.pools = {pool.name: pool for pool in plan.pools}
        self.slices = {pool.name: slices_of(pool.layout, self._fractions(pool)) for pool in plan.pools}
        self.assigned: dict[str, list[Assignment]] = defaultdict(list)
        self.admitted: dict[str, list[Assignment]] = defaultdict(list)
        for assignment in plan.assignments:
            self.assigned[assignment.workload].append(assignment)
            self.admitted[assignment.pool].append(assignment)
        memory = parse_quantity(plan.overhead.memory)
        self.overhead = parse_cpu_milli(plan.overhead.cpu), -int(-memory // MIB), plan.overhead.pods
        self.asked: dict[tuple[str, Layout, Fraction], Ask] = {}
        self.needs = {workload.name: measured_need(workload) for workload in workloads}

    def all(self) -> Iterator[Violation]:
        yield from self._catalog()
        yield from self._everyone_placed()
        yield from self._nodes_carry_the_assigned()
        for pool in self.plan.pools:
            yield from self._pool(pool)
        for assignment in self.plan.assignments:
            yield from self._assignment(assignment)
        yield from self._optimal_nodes()
        yield from policy_violations(self.plan)
        yield from sum_violations(self.plan)
        yield from seat_violations(self.plan)

    def alone(self) -> Iterator[Violation]:
        yield from self._catalog()
        yield from self._nodes_carry_the_assigned()
        for pool in self.plan.pools:
            where = f"pool {pool.name}"
            yield from layout_violations(pool.layout, self.plan.stack, where)
            for name in sorted({*pool.instance_types, *(node.instance_type for node in pool.nodes)}):
                if name in self.types:
                    yield from type_violations(pool.layout, self.types[name], where)
                else:
                    yield Violation("instance-types", where, f"the catalog has no {name}")
            for node in pool.nodes:
                if node.instance_type in self.types:
                    machine = self.types[node.instance_type]
                    yield from node_violations(node, pool.layout, machine, {}, (0, 0, 0), where)
        for assignment in self.plan.assignments:
            if assignment.pool not in self.pools:
                yield Violation("pool-names", assignment.workload, f"no pool is called {assignment.pool}")
            elif assignment.slice not in self.slices[assignment.pool]:
                yield Violation(
                    "slice", assignment.workload, f"{assignment.pool} has no slice {assignment.slice}"
                )
        yield from policy_violations(self.plan)
        yield from sum_violations(self.plan)
        yield from seat_violations(self.plan)

    def _fractions(self, pool: Pool) -> frozenset[Fraction]:
        return frozenset(self.types[name].gpu_fraction for name in pool.instance_types if name in self.types)

    def _catalog(self) -> Iterator[Violation]:
        here = (self.catalog.region, self.catalog.prices_date)
        if (self.plan.catalog.region, self.plan.catalog.prices) != here:
            yield Violation("catalog", "catalog", f"made with another catalog than {here[0]} of {here[1]}")
        if len(self.pools) != len(self.plan.pools):
            yield Violation("pool-names", "pools", "two pools have one name")

    def _everyone_placed(self) -> Iterator[Violation]:
        unplaced = Counter(unplaced.workload for unplaced in self.plan.unplaced)
        for name, workload in self.workloads.items():
            placed = sum(assignment.replicas for assignment in self.assigned[name])
            wanted = 0 if name in unplaced else workload.replicas
            if workload.service is not None:
                yield from replica_violations(workload, self.assigned[name], unplaced=name in unplaced)
            elif placed != wanted:
                yield Violation("replicas", name, f"{placed} replicas are assigned, not {wanted}")
            if placed and workload.stays:
                yield Violation("stays", name, f"is planned, and stays where it is: {workload.stays[0]}")
            seated = all(self._seats(assignment.pool) for assignment in self.assigned[name])
            if len(self.assigned[name]) > 1 and not workload.splittable and not seated:
                yield Violation(
                    "one-home", name, "its replicas share a template and can't go to several pools"
                )
        for name in self.assigned:
            if name not in self.workloads:
                yield Violation("unknown-workload", name, "no such workload")
        for left_out in self.plan.unplaced:
            known = self.workloads.get(left_out.workload)
            if unplaced[left_out.workload] > 1 or (known is not None and known.replicas != left_out.replicas):
                yield Violation("unplaced", left_out.workload, "not once, with all its replicas")
            if not left_out.reason.strip():
                yield Violation("unplaced", left_out.workload, "no reason is given")

    def _seats(self, pool: str) -> Mapping[str, int]:
        return self.pools[pool].seats if pool in self.pools else {}

    def _nodes_carry_the_assigned(self) -> Iterator[Violation]:
        carried: Counter[tuple[str, str]] = Counter()
        for pool in self.plan.pools:
            for name, count in _carried(pool.nodes).items():
                carried[name, pool.name] += count
        wanted: Counter[tuple[str, str]] = Counter()
        for assignment in self.plan.assignments:
            wanted[assignment.workload, assignment.pool] += assignment.replicas
        for key in sorted(carried.keys() | wanted.keys()):
            if carried[key] != wanted[key]:
                yield Violation(
                    "replicas",
                    f"{key[0]} in {key[1]}",
                    f"nodes carry {carried[key]}, assigned are {wanted[key]}",
                )

    def _pool(self, pool: Pool) -> Iterator[Violation]:
        layout, where, admitted = pool.layout, f"pool {pool.name}", self.admitted[pool.name]
        yield from layout_violations(layout, self.plan.stack, where)
        names = dict.fromkeys([*(assignment.workload for assignment in admitted), *pool.seats])
        workloads = [self.workloads[name] for name in names if name in self.workloads]
        tenants = {workload.tenant for workload in workloads}
        if (Mechanism(layout.mechanism) in SLOTTED or pool.tenant) and tenants - {pool.tenant}:
            yield Violation(
                "tenants", where, f"{', '.join(sorted(tenants))} would share what is for {pool.tenant!r} only"
            )
        if Mechanism(layout.mechanism) in SLOTTED:
            yield from neighbour_violations(workloads, where)
        if pool.as_shared and not (pool.seats and renamed(pool)):
            yield Violation("resource", where, "offers as shared what are no whole GPUs with seats")
        yield from self._choice(pool, workloads, where)
        by_workload: dict[str, list[Assignment]] = defaultdict(list)
        for each in admitted:
            by_workload[each.workload].append(each)
        asks = {
            name: self._ask_assigned(self.workloads[name], assigned)
            for name, assigned in by_workload.items()
            if name in self.workloads
        }
        if pool.seats:
            (fraction, *_) = self._fractions(pool) or (Fraction(1),)
            asks = {workload.name: self._ask_seated(workload, pool, fraction) for workload in workloads}
            yield from self._full_nodes(pool, asks, where)
        for node in pool.nodes:
            if node.instance_type not in pool.instance_types:
                yield Violation(
                    "instance-types", where, f"{node.instance_type} is not among the pool's types"
                )
            if node.purchase not in pool.purchases:
                yield Violation("purchases", where, f"{node.purchase} is not among the pool's purchases")
            yield from self._node(layout, node, asks, f"{where}, {node.instance_type}")

    def _full_nodes(self, pool: Pool, asks: Mapping[str, Ask], where: str) -> Iterator[Violation]:
        """Whether every node that Karpenter may launch carries all that it has seats for."""
        types = [self.types[name] for name in pool.instance_types if name in self.types]
        if misnamed(pool, types):
            yield Violation(
                "resource", where, "whole GPUs by the name of shared ones: one of one node, with one seat"
            )
        for name in sorted({*pool.seats} - self.workloads.keys()):
            yield Violation("unknown-workload", where, f"has seats for {name}, which isn't there")
        here = {assignment.workload for assignment in self.admitted[pool.name]}
        for name in sorted(
            (pool.seats.keys() & asks.keys()) - here
        ):  # nobody yet, as in an own pool without nodes
            for each in self.assigned[name][:1]:
                for slice_ in sorted(asks[name].slices):
                    yield from _limit(each, self.workloads[name], self.slices[pool.name][slice_])
        for name in pool.instance_types:
            for purchase in pool.purchases:
                price = self.types[name].prices.get(Purchase(purchase)) if name in self.types else None
                if price is not None:
                    full = Node(name, purchase, 1, usd(price), dict(pool.seats))
                    yield from self._node(pool.layout, full, asks, f"{where}, {name} with all seats taken")

    def _choice(self, pool: Pool, workloads: Sequence[Workload], where: str) -> Iterator[Violation]:
        """Karpenter may launch any type that the pool lists, bought in any way that it lists."""
        types = [self.types[name] for name in pool.instance_types if name in self.types]
        for name in pool.instance_types:
            if name not in self.types:
                yield Violation("instance-types", where, f"the catalog has no {name}")
        for instance_type in types:
            yield from type_violations(pool.layout, instance_type, where)
            yield from _arch(instance_type, workloads, where)
            for purchase in pool.purchases:
                if Purchase(purchase) in instance_type.prices:
                    labels = node_facts(instance_type, Purchase(purchase), self.catalog.region)
                    yield from entry_violations(
                        workloads, labels, pool.requires, f"{where}, {instance_type.name}"
                    )
        for purchase in pool.purchases:
            if not any(Purchase(purchase) in kind.prices for kind in types):
                yield Violation("price", where, f"none of its types has a price {purchase}")
            yield from _interruption(purchase, workloads, where)

    def _assignment(self, assignment: Assignment) -> Iterator[Violation]:
        workload, pool = self.workloads.get(assignment.workload), self.pools.get(assignment.pool)
        if pool is None:
            yield Violation("pool-names", assignment.workload, f"no pool is called {assignment.pool}")
        if workload is None or pool is None:
            return
        slice_ = self.slices[pool.name].get(assignment.slice)
        if slice_ is None:
            yield Violation(
                "slice", assignment.workload, f"{assignment.pool} has no slice {assignment.slice}"
            )
            return
        if assignment.target != workload.target:
            yield Violation("target", assignment.workload, "its pods come from elsewhere")
        asks = assignment.asks
        if asks.count != workload.need.gpus:
            yield Violation(
                "quantity", assignment.workload, f"asks for {asks.count}, needs {workload.need.gpus}"
            )
        if asks.resource != self._resource(pool, slice_):
            yield Violation(
                "resource", assignment.workload, f"{assignment.slice} is not asked for as {asks.resource}"
            )
        answer = fit(self.needs[workload.name], slice_)
        if not answer.fits:
            yield Violation(f"fit/{answer.binds}", assignment.workload, answer.reason)
            return
        yield from figure_violations(assignment, answer)
        metered = slice_.metered_milli is not None and not pool.seats
        if metered != counted(asks) or (asks.gpu_memory is UNSET) != (asks.gpu_time is UNSET):
            yield Violation(
                "request",
                assignment.workload,
                "memory and time are asked for on metered pools, and both of them",
            )
        elif (
            asks.gpu_memory is not UNSET
            and asks.gpu_time is not UNSET
            and (
                parse_quantity(asks.gpu_memory) < (workload.need.memory_mib or 0) * MIB
                or asks.gpu_time < (answer.time_milli or 0)
            )
        ):
            yield Violation("request", assignment.workload, "asks for less than it needs")
        yield from _limit(assignment, workload, slice_)

    def _node(
        self, layout: Layout, node: Node | OptimalNode, asks: Mapping[str, Ask], where: str
    ) -> Iterator[Violation]:
        instance_type = self.types.get(node.instance_type)
        if instance_type is None:
            yield Violation("instance-types", where, f"the catalog has no {node.instance_type}")
            return
        if not node.pods.keys() <= self.workloads.keys():
            yield Violation("unknown-workload", where, "carries a workload that isn't there")
        workloads = [self.workloads[name] for name in node.pods if name in self.workloads]
        yield from type_violations(layout, instance_type, where)
        yield from _arch(instance_type, workloads, where)
        yield from _interruption(node.purchase, workloads, where)
        cpu, memory, pods = self.overhead
        room = (
            instance_type.allocatable_cpu_milli - cpu,
            instance_type.allocatable_memory_mib - memory,
            instance_type.max_pods - pods,
        )
        yield from node_violations(node, layout, instance_type, asks, room, where)
        yield from limit_violations(node.pods, instance_type, self.workloads, where)

    def _ask_assigned(self, workload: Workload, assignments: Sequence[Assignment]) -> Ask:
        asks = [assignment.asks for assignment in assignments]
        return Ask(
            frozenset(assignment.slice for assignment in assignments),
            workload.need.gpus,
            workload.cpu_milli,
            workload.memory_mib,
            max((parse_quantity(ask.gpu_memory) for ask in asks if ask.gpu_memory), default=Fraction(0)),
            max((ask.gpu_time for ask in asks if ask.gpu_time), default=0),
        )

    def _ask_seated(self, workload: Workload, pool: Pool, fraction: Fraction) -> Ask:
        """What it asks for where it has a seat: one resource wherever it goes, of which just its need is its own."""
        ask = self._ask_optimal(workload, pool.layout, fraction)
        named = {assignment.asks.resource for assignment in self.assigned[workload.name]}
        slices = self.slices[pool.name]
        return replace(
            ask,
            slices=frozenset(
                slice_ for slice_ in ask.slices if self._resource(pool, slices[slice_]) in named
            ),
        )

    def _resource(self, pool: Pool, slice_: Slice) -> str:
        """By which pods ask for a slice of a pool."""
        return SHARED_GPU if pool.seats and renamed(pool) else _resource(slice_, self.plan.stack)

    def _ask_optimal(self, workload: Workload, layout: Layout, fraction: Fraction) -> Ask:
        """What it would ask for on a node that has no pool: any slice that fits, and just its need."""
        key = (workload.name, layout, fraction)
        if key not in self.asked:
            answers = {
                name: answer
                for name, slice_ in slices_of(layout, frozenset({fraction})).items()
                if (answer := fit(self.needs[workload.name], slice_)).fits
            }
            metered = layout.metered is not UNSET
            self.asked[key] = Ask(
                frozenset(answers),
                workload.need.gpus,
                workload.cpu_milli,
                workload.memory_mib,
                Fraction((workload.need.memory_mib or 0) * MIB if metered else 0),
                max((max(answer.time_milli or 0, 1) for answer in answers.values() if metered), default=0),
            )
        return self.asked[key]

    def _optimal_nodes(self) -> Iterator[Violation]:
        checked: set[Layout] = set()
        for node in self.plan.optimal_nodes:
            where = f"optimal node {node.instance_type}"
            if node.layout not in checked:
                checked.add(node.layout)
                yield from layout_violations(node.layout, self.plan.stack, where)
            fraction = (
                self.types[node.instance_type].gpu_fraction
                if node.instance_type in self.types
                else Fraction(1)
            )
            workloads = [self.workloads[name] for name in node.pods if name in self.workloads]
            asks = {
                workload.name: self._ask_optimal(workload, node.layout, fraction) for workload in workloads
            }
            yield from self._node(node.layout, node, asks, where)
            if node.instance_type in self.types:
                kind = self.types[node.instance_type]
                labels = node_facts(kind, Purchase(node.purchase), self.catalog.region)
                yield from together_violations(workloads, labels, where)
            tenants = {workload.tenant for workload in workloads}
            if Mechanism(node.layout.mechanism) in SLOTTED:
                yield from neighbour_violations(workloads, where)
                if len(tenants) > 1:
                    yield Violation("tenants", where, f"{', '.join(sorted(tenants))} would share a GPU")
        sized = {name for name, workload in self.workloads.items() if workload.service is not None}
        served = [name for name, assigned in self.assigned.items() if name in sized and assigned]
        yield from packing_violations(self.plan.optimal_nodes, self.workloads, served)
        carried = _carried(self.plan.optimal_nodes)
        for name in sorted((carried.keys() | self.assigned.keys()) - sized):
            wanted = sum(assignment.replicas for assignment in self.assigned.get(name, ()))
            if carried[name] != wanted:
                yield Violation(
                    "replicas", name, f"the cheapest packing carries {carried[name]}, not {wanted}"
                )


def _carried(nodes: Iterable[Node | OptimalNode]) -> Counter[str]:
    """Replicas by workload on all nodes."""
    carried: Counter[str] = Counter()
    for node in nodes:
        for name, count in node.pods.items():
            carried[name] += count * node.count
    return carried


def _arch(instance_type: InstanceType, workloads: Iterable[Workload], where: str) -> Iterator[Violation]:
    for workload in workloads:
        if workload.arch != instance_type.arch:
            yield Violation(
                "arch",
                where,
                f"{workload.name} is {workload.arch}, {instance_type.name} {instance_type.arch}",
            )


def _interruption(purchase: str, workloads: Iterable[Workload], where: str) -> Iterator[Violation]:
    for workload in workloads:
        if purchase == Purchase.SPOT and not workload.interruptible:
            yield Violation(
                "interruptible", where, f"{workload.name} may not be interrupted, and spot may be"
            )


def _limit(assignment: Assignment, workload: Workload, slice_: Slice) -> Iterator[Violation]:
    """Who takes all memory that it sees is told how much is its own, where nothing else holds it back."""
    if assignment.memory_limit is UNSET:
        if workload.preallocates and slice_.mechanism in SEES_ALL:
            yield Violation(
                "memory-limit", assignment.workload, "takes all memory it sees, and is given no limit"
            )
        return
    own = Fraction(int(slice_.memory_mib * (1 - MEMORY_MARGIN)) * MIB)
    if assignment.asks.gpu_memory is not UNSET:
        own = parse_quantity(assignment.asks.gpu_memory)
    elif slice_.metered_milli is not None:
        own = Fraction((workload.need.memory_mib or 0) * MIB)  # with a seat: as much was reckoned for it
    limit = parse_quantity(assignment.memory_limit)
    if limit > own:
        yield Violation(
            "memory-limit", assignment.workload, f"may take {assignment.memory_limit}, more than its part"
        )
    elif limit < (workload.need.memory_mib or 0) * MIB:
        yield Violation(
            "memory-limit",
            assignment.workload,
            f"may take only {assignment.memory_limit}, less than it needs",
        )


def _resource(slice_: Slice, stack: str) -> str:
    if slice_.profile is not None:
        return WHOLE_GPU if stack == Stack.BOTTLEROCKET else mig_instance(slice_.profile.name)
    return SHARED_GPU if slice_.sharers > 1 else WHOLE_GPU
