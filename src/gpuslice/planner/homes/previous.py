"""A plan that is carried out already: which of its homes still hold, what its pools were called, who would restart."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from msgspec import UNSET

from gpuslice.carriers.table import carrier_of
from gpuslice.cloud.catalog import Purchase
from gpuslice.hardware import cut as cuts
from gpuslice.hardware.fit import fit
from gpuslice.hardware.gpus import GPUS
from gpuslice.hardware.mechanisms import Mechanism
from gpuslice.plan.artefact import Change
from gpuslice.planner.model.cuts import Cut
from gpuslice.planner.model.groups import group_of
from gpuslice.planner.model.layouts import layout_of
from gpuslice.planner.model.options import node_option
from gpuslice.planner.model.places import SliceIndex, numbered
from gpuslice.planner.model.pools import Home, PoolKey
from gpuslice.units import usd
from gpuslice.workloads.policy import Policy, forbids

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from gpuslice.carriers.carrier import Carrier
    from gpuslice.cloud.catalog import Catalog, DaemonsetOverhead, InstanceType
    from gpuslice.hardware.slices import Slice
    from gpuslice.plan.artefact import Assignment, Layout, Plan, Pool
    from gpuslice.planner.model.classes import WorkloadClass
    from gpuslice.planner.model.cuts import GpuGeometry
    from gpuslice.planner.model.groups import Group
    from gpuslice.planner.model.options import NodeOption
    from gpuslice.workloads.requirements import Term


def homes_kept(
    previous: Plan,
    classes: Sequence[WorkloadClass],
    catalog: Catalog,
    overhead: DaemonsetOverhead,
    policy: Policy,
    stack: str,
) -> tuple[dict[str, Home], tuple[NodeOption, ...]]:
    """The homes that workloads have and may keep, and the nodes of those pools.

    A workload keeps its home where its slice still fits it and some type of its pool may still be bought. Replicas that
    have a template each restart alone, and have no home to keep.

    Args:
        previous: plan.
        classes: to be placed now.
        catalog: types and prices.
        overhead: of daemonsets.
        policy: what may be bought.
        stack: what nodes run.
    """
    types = {kind.name: kind for kind in catalog.instance_types if not forbids(policy, kind)}
    numbers = {
        member.name: number
        for number, a_class in numbered(classes)
        if not a_class.splittable
        for member in a_class.members
    }
    homes: dict[str, Home] = {}
    nodes: dict[NodeOption, None] = {}
    for pool in previous.pools:
        if pool.seats:
            continue  # whoever has a seat there may be in other pools as well
        machines = [types[name] for name in pool.instance_types if name in types]
        kept = cut_of(pool, classes, machines, carrier_of(pool, stack), catalog.region) if machines else None
        if kept is None:
            continue
        cut, geometries = kept
        spot = set(pool.purchases) == {Purchase.SPOT.value}
        offered = [
            option
            for machine in machines
            for purchase in machine.prices
            if (purchase is Purchase.SPOT) == spot
            and (option := node_option(machine, purchase, cut, classes, overhead)) is not None
        ]
        here = {
            assignment.workload: assignment.slice
            for assignment in previous.assignments
            if assignment.pool == pool.name and assignment.workload in numbers
        }
        for workload, name in here.items():
            number = numbers[workload]
            index = next((at for at, _ in cut.fits.get(number, ()) if cut.slices[at].name == name), None)
            if index is not None and any(option.admits(number) for option in offered):
                homes[workload] = Home(PoolKey(cut, geometries, spot), index)
                nodes |= dict.fromkeys(offered)
    return homes, tuple(nodes)


def names_kept(previous: Plan, pools: Iterable[tuple[Layout, str, bool, Term]]) -> list[str | None]:
    """For each pool (layout, tenant, on spot, pins), the name that it had before; None: there was none."""
    free: dict[tuple[Layout, str, bool, Term], list[str]] = defaultdict(list)
    for pool in previous.pools:
        if not pool.seats:  # its nodes would go on offering them
            spot = set(pool.purchases) == {Purchase.SPOT.value}
            free[pool.layout, pool.tenant, spot, pool.requires].append(pool.name)
    return [free[key].pop(0) if free[key] else None for key in pools]


def restarts(previous: Plan, assignments: Sequence[Assignment]) -> int:
    """Replicas that run under both plans and whose pod template changes from one to the other."""
    before, after = _by_workload(previous.assignments), _by_workload(assignments)
    return sum(
        min(here.total(), after[name].total()) - (here & after[name]).total()
        for name, here in before.items()
        if name in after
    )


def traded(
    previous: Plan,
    kept: tuple[int, Sequence[Assignment]],
    free: tuple[int, Sequence[Assignment]],
    min_saving: float,
) -> Change:
    """Whether everybody who may stays, and what either choice means.

    Args:
        previous: plan, which is carried out.
        kept: with everybody who may where it is: micro-dollars an hour, and who goes where.
        free: with everybody where it is cheapest: micro-dollars an hour, and who goes where.
        min_saving: share of the bill that moving must save.
    """
    stayed, moved = (restarts(previous, assignments) for _, assignments in (kept, free))
    stays = kept[0] - free[0] <= min_saving * kept[0]
    return Change(
        kept=stays,
        kept_usd_per_hour=usd(kept[0]),
        free_usd_per_hour=usd(free[0]),
        restarts=stayed if stays else moved,
        free_restarts=moved,
        min_saving=min_saving,
    )


def _by_workload(assignments: Iterable[Assignment]) -> Mapping[str, Counter[object]]:
    templates: dict[str, Counter[object]] = defaultdict(Counter)
    for assignment in assignments:
        # With seats a template names no pool. Still a pod has to leave where its pool goes.
        template = (assignment.pool, assignment.asks, str(assignment.memory_limit))
        templates[assignment.workload][template] += assignment.replicas
    return templates


def cut_of(
    pool: Pool,
    classes: Sequence[WorkloadClass],
    machines: Sequence[InstanceType],
    carrier: Carrier,
    region: str,
) -> tuple[Cut, tuple[GpuGeometry, ...]] | None:
    """The pool's cut, for the classes that fit it now; None where it can't be made any more as it was."""
    gpu = GPUS[pool.layout.gpu]
    purchases = {Purchase(purchase) for purchase in pool.purchases}
    group = group_of(classes, pool.requires, machines, purchases, region)
    everyone = group.members
    slice_: Slice
    match Mechanism(pool.layout.mechanism):
        case Mechanism.WHOLE:
            cut, geometries = Cut((cuts.whole(gpu),), classes, everyone, carrier, group=group), ()
        case Mechanism.FRACTIONAL:
            cut = Cut(
                (cuts.fractional(gpu, machines[0].gpu_fraction),), classes, everyone, carrier, group=group
            )
            geometries = ()
        case Mechanism.MIG:
            return _mig_cut(pool.layout, classes, carrier, group)
        case mechanism:
            layout = pool.layout
            if layout.replicas is UNSET:
                return None
            if layout.metered is not UNSET:
                slice_ = cuts.metered(gpu, layout.metered.time)
            else:
                time = None if layout.slot_time is UNSET else layout.slot_time
                slice_ = cuts.slot(gpu, mechanism, layout.replicas, time)
            members = [
                number
                for number in everyone
                if classes[number].tenant == pool.tenant and fit(classes[number].need, slice_).fits
            ]
            cut, geometries = Cut((slice_,), classes, members, carrier, tenant=pool.tenant, group=group), ()
    return (cut, geometries) if layout_of(cut, geometries) == pool.layout else None


def _mig_cut(
    layout: Layout, classes: Sequence[WorkloadClass], carrier: Carrier, group: Group
) -> tuple[Cut, tuple[GpuGeometry, ...]] | None:
    gpu = GPUS[layout.gpu]
    if gpu.mig is None:
        return None
    index = {profile.name: SliceIndex(at) for at, profile in enumerate(gpu.mig.plain)}
    listed = (layout.geometry,) if layout.geometry is not UNSET else layout.geometries
    if listed is UNSET or not all(entry.profile in index for geometry in listed for entry in geometry):
        return None
    geometries = tuple(
        tuple(sorted((index[entry.profile], entry.count) for entry in geometry)) for geometry in listed
    )
    slices = tuple(cuts.mig(gpu, profile) for profile in gpu.mig.plain)
    cut = Cut(
        slices, classes, group.members, carrier, geometries=tuple(dict.fromkeys(geometries)), group=group
    )
    return (cut, geometries) if layout_of(cut, geometries) == layout else None
