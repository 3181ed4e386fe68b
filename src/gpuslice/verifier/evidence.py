"""What a plan is checked against: the workloads and the catalog that it was made of, looked up once."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING

from msgspec import UNSET

from gpuslice.hardware.fit import fit
from gpuslice.hardware.resource_names import SHARED_GPU, WHOLE_GPU, mig_instance
from gpuslice.hardware.stacks import Stack
from gpuslice.units import MIB, parse_cpu_milli, parse_quantity
from gpuslice.verifier.layouts import Ask, slices_of
from gpuslice.verifier.seats import renamed
from gpuslice.verifier.services import measured_need
from gpuslice.workloads.policy import priced

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gpuslice.cloud.catalog import Catalog
    from gpuslice.hardware.slices import Slice
    from gpuslice.plan.artefact import Assignment, Layout, Plan, Pool
    from gpuslice.workloads.model import Workload


class Evidence:
    """A plan beside the workloads and the catalog that it was made of.

    Attributes:
        plan: to check.
        workloads: by name.
        types: by name, with the prices that the plan's policy states.
        catalog: that the plan names.
        pools: by name.
        slices: of each pool, by name.
        assigned: of each workload.
        admitted: assignments to each pool.
        overhead: of daemonsets on each node: milli-CPU, MiB, pods.
        needs: of each workload, with what was measured of it.
    """

    def __init__(self, plan: Plan, workloads: Sequence[Workload], catalog: Catalog) -> None:
        """Look everything up once."""
        self.plan = plan
        self.workloads = {workload.name: workload for workload in workloads}
        self.types = priced(plan.policy, catalog).by_name()
        self.catalog = catalog
        self.pools = {pool.name: pool for pool in plan.pools}
        self.slices = {pool.name: slices_of(pool.layout, self.fractions(pool)) for pool in plan.pools}
        self.assigned: dict[str, list[Assignment]] = defaultdict(list)
        self.admitted: dict[str, list[Assignment]] = defaultdict(list)
        for assignment in plan.assignments:
            self.assigned[assignment.workload].append(assignment)
            self.admitted[assignment.pool].append(assignment)
        memory = parse_quantity(plan.overhead.memory)
        self.overhead = parse_cpu_milli(plan.overhead.cpu), -int(-memory // MIB), plan.overhead.pods
        self._asked: dict[tuple[str, Layout, Fraction], Ask] = {}
        self.needs = {workload.name: measured_need(workload) for workload in workloads}

    def fractions(self, pool: Pool) -> frozenset[Fraction]:
        """The parts of a card that the types of a pool have."""
        return frozenset(self.types[name].gpu_fraction for name in pool.instance_types if name in self.types)

    def seats(self, pool: str) -> Mapping[str, int]:
        """The seats on each node of a pool, by workload; none where there is no such pool."""
        return self.pools[pool].seats if pool in self.pools else {}

    def resource(self, pool: Pool, slice_: Slice) -> str:
        """The resource by which pods ask for a slice of a pool."""
        return SHARED_GPU if pool.seats and renamed(pool) else _plain_resource(slice_, self.plan.stack)

    def ask_assigned(self, workload: Workload, assignments: Sequence[Assignment]) -> Ask:
        """What one replica asks for by the plan, the most of all assignments; any of their slices will do."""
        asks = [assignment.asks for assignment in assignments]
        return Ask(
            frozenset(assignment.slice for assignment in assignments),
            workload.need.gpus,
            workload.cpu_milli,
            workload.memory_mib,
            max((parse_quantity(ask.gpu_memory) for ask in asks if ask.gpu_memory), default=Fraction(0)),
            max((ask.gpu_time for ask in asks if ask.gpu_time), default=0),
        )

    def ask_seated(self, workload: Workload, pool: Pool, fraction: Fraction) -> Ask:
        """What it asks for where it has a seat: one resource wherever it goes, of which just its need is its own."""
        ask = self.ask_optimal(workload, pool.layout, fraction)
        named = {assignment.asks.resource for assignment in self.assigned[workload.name]}
        slices = self.slices[pool.name]
        return replace(
            ask,
            slices=frozenset(slice_ for slice_ in ask.slices if self.resource(pool, slices[slice_]) in named),
        )

    def ask_optimal(self, workload: Workload, layout: Layout, fraction: Fraction) -> Ask:
        """What it would ask for on a node that has no pool: any slice that fits, and just its need."""
        key = (workload.name, layout, fraction)
        if key not in self._asked:
            answers = {
                name: answer
                for name, slice_ in slices_of(layout, frozenset({fraction})).items()
                if (answer := fit(self.needs[workload.name], slice_)).fits
            }
            metered = layout.metered is not UNSET
            self._asked[key] = Ask(
                frozenset(answers),
                workload.need.gpus,
                workload.cpu_milli,
                workload.memory_mib,
                Fraction((workload.need.memory_mib or 0) * MIB if metered else 0),
                max((max(answer.time_milli or 0, 1) for answer in answers.values() if metered), default=0),
            )
        return self._asked[key]


def _plain_resource(slice_: Slice, stack: str) -> str:
    """The resource by which a device plugin offers a slice."""
    if slice_.profile is not None:
        return WHOLE_GPU if stack == Stack.BOTTLEROCKET else mig_instance(slice_.profile.name)
    return SHARED_GPU if slice_.sharers > 1 else WHOLE_GPU
