"""The verifier: recomputes every constraint of a plan in integers, from plan.yaml and workloads.yaml alone.

It shares no code with the parts of the planner that make plans (options, patterns, pricing, master, realise): only the
tables of hardware and the rule `fit`. Every plan passes it before it leaves the planner, and anyone can run it on a
plan that was edited by hand.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from msgspec import UNSET

from gpuslice.cloud.catalog import Purchase
from gpuslice.errors import InputError
from gpuslice.hardware import cut as cuts
from gpuslice.hardware.fit import fit
from gpuslice.hardware.gpus import GPUS
from gpuslice.hardware.mig import Geometry, check_geometry
from gpuslice.hardware.sharing import MEMORY_MARGIN, sustained_milli
from gpuslice.hardware.slices import Mechanism
from gpuslice.hardware.stacks import mig_resource, why_not
from gpuslice.units import MIB, micro_usd, parse_cpu_milli, parse_memory_mib, parse_quantity

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from gpuslice.cloud.catalog import Catalog, InstanceType
    from gpuslice.hardware.slices import Slice
    from gpuslice.planner.plan import Assignment, Layout, Node, OptimalNode, Plan, Pool
    from gpuslice.workloads.model import Workload


@dataclass(frozen=True, slots=True)
class Violation:
    """One rule that a plan breaks, where, and by how much."""

    rule: str
    where: str
    message: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.where}: {self.message}"


def verify(plan: Plan, workloads: Sequence[Workload], catalog: Catalog) -> list[Violation]:
    """Every rule that the plan breaks; none: it may be carried out.

    Args:
        plan: to check.
        workloads: that it was made for.
        catalog: that it names.
    """
    return list(_Check(plan, workloads, catalog).all())


class _Check:
    def __init__(self, plan: Plan, workloads: Sequence[Workload], catalog: Catalog) -> None:
        self.plan = plan
        self.workloads = {each.name: each for each in workloads}
        self.types = catalog.by_name()
        self.catalog = catalog
        self.pools = {each.name: each for each in plan.pools}
        self.assigned: dict[str, list[Assignment]] = defaultdict(list)
        self.admitted: dict[str, list[Assignment]] = defaultdict(list)
        for each in plan.assignments:
            self.assigned[each.workload].append(each)
            self.admitted[each.pool].append(each)
        self.overhead = (
            parse_cpu_milli(plan.overhead.cpu),
            parse_memory_mib(plan.overhead.memory) if parse_quantity(plan.overhead.memory) else 0,
            plan.overhead.pods,
        )

    def all(self) -> Iterator[Violation]:
        yield from self._catalog()
        yield from self._everyone_placed()
        for pool in self.plan.pools:
            yield from self._pool(pool)
        yield from self._metered_pools_differ()
        for assignment in self.plan.assignments:
            yield from self._assignment(assignment)
        yield from self._optimal_nodes()
        yield from self._sums()

    def _catalog(self) -> Iterator[Violation]:
        here = (self.catalog.region, self.catalog.prices_date)
        if (self.plan.catalog.region, self.plan.catalog.prices) != here:
            yield Violation("catalog", "catalog", f"made with another catalog than {here[0]} of {here[1]}")
        if len(self.pools) != len(self.plan.pools):
            yield Violation("pool-names", "pools", "two pools have one name")

    def _everyone_placed(self) -> Iterator[Violation]:
        unplaced = {each.workload for each in self.plan.unplaced}
        for name, workload in self.workloads.items():
            placed = sum(each.replicas for each in self.assigned.get(name, ()))
            wanted = 0 if name in unplaced else workload.replicas
            if placed != wanted:
                yield Violation("replicas", name, f"{placed} replicas are assigned, not {wanted}")
            if len(self.assigned.get(name, ())) > 1 and not workload.splittable:
                yield Violation("one-home", name, "its replicas share a template and can't go to several pools")
        for name in self.assigned:
            if name not in self.workloads:
                yield Violation("replicas", name, "no such workload")
        carried: Counter[tuple[str, str]] = Counter()
        for pool in self.plan.pools:
            for node in pool.nodes:
                for name, count in node.pods.items():
                    carried[name, pool.name] += count * node.count
        wanted_there: Counter[tuple[str, str]] = Counter()
        for each in self.plan.assignments:
            wanted_there[each.workload, each.pool] += each.replicas
        for key in sorted(carried.keys() | wanted_there.keys()):
            if carried[key] != wanted_there[key]:
                yield Violation(
                    "replicas", f"{key[0]} in {key[1]}", f"nodes carry {carried[key]}, assigned are {wanted_there[key]}"
                )

    def _pool(self, pool: Pool) -> Iterator[Violation]:
        layout, where = pool.layout, f"pool {pool.name}"
        mechanism = Mechanism(layout.mechanism)
        if layout.gpu not in GPUS:
            yield Violation("layout", where, f"no GPU is called {layout.gpu}")
            return
        yield from self._layout(layout, where)
        tenants = {self.workloads[each.workload].tenant for each in self.admitted[pool.name] if each.workload in self.workloads}
        if mechanism in {Mechanism.TIME_SLICING, Mechanism.MPS} and (len(tenants) > 1 or tenants - {pool.tenant}):
            yield Violation("tenants", where, f"{', '.join(sorted(tenants))} would share a GPU that isolates too little")
        for node in pool.nodes:
            if node.instance_type not in pool.instance_types:
                yield Violation("instance-types", where, f"{node.instance_type} is not among the pool's types")
            if node.purchase not in pool.purchases:
                yield Violation("purchases", where, f"{node.purchase} is not among the pool's purchases")
            yield from self._node(layout, node, f"{where}, {node.instance_type}", pool)
        for name in pool.instance_types:
            if name not in self.types:
                yield Violation("instance-types", where, f"the catalog has no {name}")
        if Purchase.SPOT.value in pool.purchases:
            for each in self.admitted[pool.name]:
                if each.workload in self.workloads and not self.workloads[each.workload].interruptible:
                    yield Violation("interruptible", each.workload, f"may not be interrupted, and {pool.name} has spot")

    def _layout(self, layout: Layout, where: str) -> Iterator[Violation]:
        gpu, mechanism = GPUS[layout.gpu], Mechanism(layout.mechanism)
        if mechanism not in gpu.mechanisms and mechanism is not Mechanism.WHOLE:
            yield Violation("layout", where, f"{gpu.name} has no {mechanism.value}")
            return
        geometries = [Geometry.of({e.profile: e.count for e in each}) for each in _geometries(layout)]
        if (mechanism is Mechanism.MIG) != bool(geometries):
            yield Violation("geometry", where, "a geometry belongs to MIG, and MIG needs one")
        for geometry in geometries:
            try:
                check_geometry(gpu, geometry)
            except InputError as error:
                yield Violation("geometry", where, error.message)
        refused = why_not(
            self.plan.stack, gpu.name, mechanism, metered=layout.metered is not UNSET, geometries=geometries
        )
        if refused:
            yield Violation("stack", where, refused)
        if mechanism in {Mechanism.TIME_SLICING, Mechanism.MPS}:
            replicas = 0 if layout.replicas is UNSET else layout.replicas
            if not 2 <= replicas <= cuts.most_slots(gpu, mechanism):
                yield Violation("layout", where, f"{replicas} replicas are not possible")
        elif layout.replicas is not UNSET or layout.slot_time is not UNSET or layout.metered is not UNSET:
            yield Violation("layout", where, f"replicas, slotTime and metered don't go with {mechanism.value}")
        if layout.metered is not UNSET:
            if mechanism is not Mechanism.TIME_SLICING:
                yield Violation("layout", where, "only time-slicing can be metered")
            most = int(gpu.memory_mib * (1 - MEMORY_MARGIN)) * MIB
            if parse_quantity(layout.metered.memory) > most:
                yield Violation("memory", where, f"promises {layout.metered.memory}, more than the GPU less its margin")
            if layout.metered.time > sustained_milli(mechanism):
                yield Violation("load", where, f"promises {layout.metered.time} thousandths, more than is sustained")

    def _metered_pools_differ(self) -> Iterator[Violation]:
        seen: dict[object, str] = {}
        for pool in self.plan.pools:
            if pool.layout.metered is not UNSET:
                key = pool.layout.replicas
                if key in seen:
                    yield Violation(
                        "metered", f"pool {pool.name}", f"has as many replicas as {seen[key]}: nodes can't be told apart"
                    )
                seen[key] = pool.name

    def _assignment(self, each: Assignment) -> Iterator[Violation]:
        workload, pool = self.workloads.get(each.workload), self.pools.get(each.pool)
        if workload is None:
            return
        if pool is None:
            yield Violation("pool-names", each.workload, f"no pool is called {each.pool}")
            return
        slice_ = self._slice(each, pool)
        if slice_ is None:
            yield Violation("slice", each.workload, f"{each.pool} has no slice {each.slice}")
            return
        if each.quantity != workload.need.gpus:
            yield Violation("quantity", each.workload, f"asks for {each.quantity}, needs {workload.need.gpus}")
        if each.resource != _resource(slice_, self.plan.stack):
            yield Violation("resource", each.workload, f"{each.slice} is not asked for as {each.resource}")
        answer = fit(workload.need, slice_)
        if not answer.fits:
            yield Violation(f"fit/{answer.binds}", each.workload, answer.reason)
        if (slice_.metered_milli is not None) != (each.request is not UNSET):
            yield Violation("request", each.workload, "a request belongs to metered pools, and they need one")
        if each.request is not UNSET and answer.time_milli is not None:
            memory = (workload.need.memory_mib or 0) * MIB
            if parse_quantity(each.request.memory) < memory or each.request.time < answer.time_milli:
                yield Violation("request", each.workload, "asks for less than it needs")
        if workload.preallocates and slice_.mechanism is Mechanism.TIME_SLICING:
            yield from self._limit(each, workload, slice_)

    def _limit(self, each: Assignment, workload: Workload, slice_: Slice) -> Iterator[Violation]:
        own = int(slice_.memory_mib * (1 - MEMORY_MARGIN)) * MIB
        if each.request is not UNSET:
            own = int(parse_quantity(each.request.memory))
        if each.memory_limit is UNSET:
            yield Violation("memory-limit", each.workload, "takes all memory it sees, and is given no limit")
        elif parse_quantity(each.memory_limit) > own:
            yield Violation("memory-limit", each.workload, f"may take {each.memory_limit}, more than its part")
        elif parse_quantity(each.memory_limit) < (workload.need.memory_mib or 0) * MIB:
            yield Violation("memory-limit", each.workload, f"may take only {each.memory_limit}, less than it needs")

    def _slice(self, each: Assignment, pool: Pool) -> Slice | None:
        """The slice as plan.yaml describes it, with the heaviest neighbours that its pool admits."""
        layout = pool.layout
        gpu, mechanism = GPUS.get(layout.gpu), Mechanism(layout.mechanism)
        if gpu is None:
            return None
        slice_: Slice | None = None
        try:
            match mechanism:
                case Mechanism.WHOLE:
                    slice_ = cuts.whole(gpu)
                case Mechanism.FRACTIONAL:
                    fractions = {self.types[n].gpu_fraction for n in pool.instance_types if n in self.types}
                    slice_ = cuts.fractional(gpu, min(fractions)) if len(fractions) == 1 else None
                case Mechanism.MIG:
                    name = each.slice.rpartition("/")[2]
                    profile = gpu.mig.profile(name) if gpu.mig is not None else None
                    offered = {entry.profile for geometry in _geometries(layout) for entry in geometry}
                    slice_ = cuts.mig(gpu, profile) if profile is not None and name in offered else None
                case _ if layout.replicas is UNSET:
                    return None
                case _ if layout.metered is not UNSET:
                    slice_ = cuts.metered(gpu, layout.metered.time, layout.replicas)
                case _:
                    time = None if layout.slot_time is UNSET else layout.slot_time
                    slice_ = cuts.slot(gpu, mechanism, layout.replicas, time)
        except InputError:
            return None
        # A metered pool's own number of replicas only caps how many share.
        return slice_ if slice_ is not None and slice_.name == each.slice else None

    def _node(self, layout: Layout, node: Node | OptimalNode, where: str, pool: Pool | None) -> Iterator[Violation]:
        instance_type = self.types.get(node.instance_type)
        if instance_type is None:
            yield Violation("instance-types", where, f"the catalog has no {node.instance_type}")
            return
        if instance_type.gpu != layout.gpu or (instance_type.gpu_count == 0) != (layout.mechanism == "fractional"):
            yield Violation("instance-types", where, f"has no {layout.gpu} for {layout.mechanism}")
        price = instance_type.prices.get(Purchase(node.purchase))
        if price is None or price != micro_usd(node.usd_per_hour):
            yield Violation("price", where, f"{node.usd_per_hour} is not the catalog's price {price}")
        known = {name: count for name, count in node.pods.items() if name in self.workloads}
        if len(known) != len(node.pods):
            yield Violation("replicas", where, "carries a workload that isn't there")
        yield from self._room(instance_type, known, where)
        yield from self._units(layout, node, instance_type, known, where, pool)

    def _room(self, instance_type: InstanceType, pods: Mapping[str, int], where: str) -> Iterator[Violation]:
        cpu = sum(self.workloads[name].cpu_milli * count for name, count in pods.items())
        memory = sum(self.workloads[name].memory_mib * count for name, count in pods.items())
        for rule, used, have in (
            ("cpu", cpu, instance_type.allocatable_cpu_milli - self.overhead[0]),
            ("node-memory", memory, instance_type.allocatable_memory_mib - self.overhead[1]),
            ("pods", sum(pods.values()), instance_type.max_pods - self.overhead[2]),
        ):
            if used > have:
                yield Violation(rule, where, f"{used} is asked for, {have} is left")
        for name in pods:
            if self.workloads[name].arch != instance_type.arch:
                yield Violation("arch", where, f"{name} is {self.workloads[name].arch}")

    def _units(
        self,
        layout: Layout,
        node: Node | OptimalNode,
        instance_type: InstanceType,
        pods: Mapping[str, int],
        where: str,
        pool: Pool | None,
    ) -> Iterator[Violation]:
        gpus = max(instance_type.gpu_count, 1)
        mechanism = Mechanism(layout.mechanism)
        if mechanism is Mechanism.MIG:
            geometries = _geometries(layout)
            if layout.geometries is not UNSET and len(geometries) != gpus:
                yield Violation("geometry", where, f"{len(geometries)} geometries for {gpus} GPUs")
            if pool is not None:
                yield from self._instances(geometries, gpus, node, pool, where)
            elif sum(pods.values()) > sum(e.count for g in geometries for e in g) * (gpus if len(geometries) == 1 else 1):
                yield Violation("slots", where, "more pods than MIG instances")
            return
        per_gpu = layout.replicas if layout.replicas is not UNSET else 1
        used = sum(self.workloads[name].need.gpus * count for name, count in pods.items())
        if used > per_gpu * gpus:
            yield Violation("slots", where, f"{used} are asked for, {per_gpu * gpus} are there")
        if layout.metered is not UNSET:
            yield from self._meters(layout, instance_type, pods, where)

    def _instances(
        self, geometries: Sequence[Sequence[object]], gpus: int, node: Node | OptimalNode, pool: Pool, where: str
    ) -> Iterator[Violation]:
        offered: Counter[str] = Counter()
        for geometry in _geometries(pool.layout) * (gpus if len(geometries) == 1 else 1):
            for entry in geometry:
                offered[entry.profile] += entry.count
        used: Counter[str] = Counter()
        for each in self.admitted[pool.name]:
            used[each.slice.rpartition("/")[2]] += node.pods.get(each.workload, 0)
        for profile, count in used.items():
            if count > offered[profile]:
                yield Violation("slots", where, f"{count} instances {profile} are asked for, {offered[profile]} are there")

    def _meters(
        self, layout: Layout, instance_type: InstanceType, pods: Mapping[str, int], where: str
    ) -> Iterator[Violation]:
        if layout.metered is UNSET:
            return
        if instance_type.gpu_count != 1:
            yield Violation("metered", where, "only nodes with one GPU can be metered")
        slice_ = cuts.metered(GPUS[layout.gpu], layout.metered.time)
        memory = time = 0
        for name, count in pods.items():
            need = self.workloads[name].need
            memory += (need.memory_mib or 0) * count
            time += max(fit(need, slice_).time_milli or 0, 1) * count
        if memory * MIB > parse_quantity(layout.metered.memory):
            yield Violation("memory", where, f"{memory} MiB of GPU memory are asked for, {layout.metered.memory} are there")
        if time > layout.metered.time:
            yield Violation("load", where, f"{time} thousandths are asked for, {layout.metered.time} are there")

    def _optimal_nodes(self) -> Iterator[Violation]:
        carried: Counter[str] = Counter()
        for node in self.plan.optimal_nodes:
            where = f"optimal node {node.instance_type}"
            if node.layout.gpu not in GPUS:
                yield Violation("layout", where, f"no GPU is called {node.layout.gpu}")
                continue
            yield from self._layout(node.layout, where)
            yield from self._node(node.layout, node, where, None)
            for name, count in node.pods.items():
                carried[name] += count * node.count
            tenants = {self.workloads[name].tenant for name in node.pods if name in self.workloads}
            if node.layout.mechanism in {"time-slicing", "mps"} and len(tenants) > 1:
                yield Violation("tenants", where, f"{', '.join(sorted(tenants))} would share a GPU")
        if self.plan.optimal_nodes:
            for name in self.assigned:
                wanted = self.workloads[name].replicas if name in self.workloads else 0
                if carried[name] != wanted:
                    yield Violation("replicas", name, f"the cheapest packing carries {carried[name]}, not {wanted}")

    def _sums(self) -> Iterator[Violation]:
        summary = self.plan.summary
        bill = sum(micro_usd(node.usd_per_hour) * node.count for pool in self.plan.pools for node in pool.nodes)
        best = sum(micro_usd(node.usd_per_hour) * node.count for node in self.plan.optimal_nodes)
        bound = micro_usd(summary.bound_usd_per_hour)
        for word, stated, summed in (
            ("usdPerHour", summary.usd_per_hour, bill),
            ("optimalUsdPerHour", summary.optimal_usd_per_hour, best),
        ):
            if micro_usd(stated) != summed:
                yield Violation("price", f"summary.{word}", f"{stated} is not the sum of the nodes, {summed / 1e6}")
        if not bound <= best <= bill:
            yield Violation("bound", "summary", "bound, optimal and realised price are out of order")
        gap = Fraction(best - bound, best) if best else Fraction(0)
        if abs(float(gap) - summary.gap) > 1e-5:
            yield Violation("bound", "summary.gap", f"{summary.gap} is not (optimal - bound) / optimal")
        if self.plan.unplaced and summary.status != "infeasible":
            yield Violation("status", "summary.status", "somebody is unplaced, so it is infeasible")


def _geometries(layout: Layout) -> tuple[tuple[object, ...], ...]:
    if layout.geometries is not UNSET:
        return layout.geometries
    return () if layout.geometry is UNSET else (layout.geometry,)


def _resource(slice_: Slice, stack: str) -> str:
    if slice_.profile is not None:
        return mig_resource(stack, slice_.profile.name)
    return "nvidia.com/gpu.shared" if slice_.sharers > 1 else "nvidia.com/gpu"
