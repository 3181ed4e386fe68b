"""Ways to run the same workloads, as Karpenter's pools and the pods' requests: a plan's, and those of today.

whole           each pod asks for whole GPUs of the model that it runs on; one NodePool a model, with all its sizes.
time-slicing-4  the same nodes, every GPU in four equal slots, as tutorials do it; each tenant has its own nodes.
all-1g-mig      every pod on the smallest MIG instance, wherever a replica is cheapest.
plan            a plan's pools, with the overlays and requests that `gpuslice render` writes.
(replan-6h and the like: see `simulator.replanning`.)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from msgspec import UNSET

from gpuslice.carriers import table
from gpuslice.carriers.carrier import amounts
from gpuslice.carriers.pools import POOL_LABEL
from gpuslice.carriers.table import carrier_asked, carrier_of
from gpuslice.cloud.catalog import Purchase
from gpuslice.errors import InputError, nearest
from gpuslice.hardware import cut as cuts
from gpuslice.hardware.fit import fit
from gpuslice.hardware.gpus import GPUS
from gpuslice.hardware.mechanisms import Mechanism
from gpuslice.hardware.stacks import Stack
from gpuslice.karpenter.machines import machine
from gpuslice.karpenter.model import CPU, MEMORY, PODS, NodePool, Overlay, PodClass, Taint, Toleration
from gpuslice.karpenter.requirements import CAPACITY_TYPE, INSTANCE_TYPE, NODE_POOL, among
from gpuslice.karpenter.templates import Pools
from gpuslice.plan.artefact import GeometryEntry, Layout, Pool
from gpuslice.plan.layouts import mechanism, replicas

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gpuslice.cloud.catalog import Catalog, DaemonsetOverhead, InstanceType
    from gpuslice.hardware.gpus import Gpu
    from gpuslice.hardware.slices import Slice
    from gpuslice.plan.artefact import Assignment, Plan
    from gpuslice.workloads.model import Workload

_SLOTS: Final = 4  # of the GPU Operator's and AWS's tutorials on time-slicing


@dataclass(frozen=True, slots=True)
class Place:
    """What a pod of a workload has under a policy.

    Attributes:
        kind: its requests and where it may go.
        gpus: the share of a card that its slices are, several whole GPUs counting as such.
        memory_mib: what it holds of a GPU's memory at its peak, where nothing but neighbours limits it; 0 where the
            mechanism enforces, or where it is not known.
        slots: how many slots it takes of how many a GPU has, for counting who shares one; 0: nobody shares.
    """

    kind: PodClass
    gpus: float
    memory_mib: int = 0
    slots: int = 0


@dataclass(frozen=True, slots=True)
class Policy:
    """A way to run workloads.

    Attributes:
        name, note: in words.
        pools: Karpenter's.
        layouts: what they were made of.
        places: by workload; who isn't there has no place.
        misfits: workloads that have a place outside their rules.
    """

    name: str
    note: str
    pools: Pools
    layouts: tuple[PoolLayout, ...]
    places: dict[str, Place]
    misfits: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PoolLayout:
    """A pool to be made: which machines, cut and bought how."""

    name: str
    types: tuple[InstanceType, ...]
    offers: Callable[[InstanceType], dict[str, int]]
    purchases: tuple[str, ...] = (Purchase.ON_DEMAND.value,)


def baseline(
    name: str,
    workloads: Sequence[Workload],
    catalog: Catalog,
    overhead: DaemonsetOverhead,
    consolidate_after: float,
) -> Policy:
    """A policy that people run today.

    Args:
        name: of BASELINES.
        workloads: to run.
        catalog: on-demand prices.
        overhead: of daemonsets.
        consolidate_after: seconds, of every pool.

    Raises:
        InputError: no policy has that name.
    """
    if name not in BASELINES:
        raise InputError(
            f"no policy is called {name[:60]!r}",
            fix=nearest(name, BASELINES) or f"there are {', '.join([*BASELINES, 'plan', 'replan-6h'])}",
        )
    note, cut, per_gpu, anywhere = BASELINES[name]
    carrier = table.carrier(table.DEVICE_PLUGIN, Stack.AL2023)
    layouts: dict[str, PoolLayout] = {}
    places: dict[str, Place] = {}
    misfits = []
    for each in workloads:
        single = each.need.gpus == 1  # several GPUs are never cut, and stay what they are
        chosen = _chosen(each, catalog, overhead, cut if single else cuts.whole, anywhere=anywhere and single)
        if chosen is None:
            chosen = _chosen(each, catalog, overhead, cuts.whole, anywhere=False)
        if chosen is None:
            continue
        gpu, slice_ = chosen
        shares = slice_.mechanism is Mechanism.TIME_SLICING
        count = 1 if slice_.mechanism is Mechanism.WHOLE else per_gpu(gpu)
        pool = "-".join(
            filter(None, (gpu.name.lower(), slice_.mechanism.value, each.tenant if shares else "", each.arch))
        )
        if pool not in layouts:
            types = tuple(
                kind
                for kind in catalog.instance_types
                if kind.gpu == gpu.name
                and kind.gpu_count
                and kind.arch == each.arch
                and Purchase.ON_DEMAND in kind.prices
            )
            planned = Pool(pool, _layout(slice_, count), (), (), (), carrier.name)
            layouts[pool] = PoolLayout(pool, types, _planned(planned, Stack.AL2023))
        if not fit(each.need, slice_).fits:
            misfits.append(each.name)
        places[each.name] = Place(
            _kind(each, pool, amounts(carrier.requests(carrier.asks(carrier.ask(slice_), each.need.gpus)))),
            each.need.gpus / count,
            (each.need.memory_mib or 0) if shares else 0,
            count if shares else 0,
        )
    made = tuple(layouts.values())
    return Policy(name, note, pools_of(made, overhead, consolidate_after), made, places, tuple(misfits))


def of_plan(
    plan: Plan,
    workloads: Sequence[Workload],
    catalog: Catalog,
    overhead: DaemonsetOverhead,
    consolidate_after: float,
    named: Callable[[Pool], str] = lambda pool: pool.name,
) -> Policy:
    """A plan, kept as it is.

    Pools have no limit on nodes here: demand may pass what was planned for.

    Args:
        plan: to be run.
        workloads: of the demand; whom the plan doesn't know has no place.
        catalog: with the plan's types.
        overhead: of daemonsets.
        consolidate_after: seconds, of every pool.
        named: what a pool is called here.

    Raises:
        InputError: its pools have seats: a pod is here in one pool by name.
    """
    seated = next((pool.name for pool in plan.pools if pool.seats), "")
    if seated:
        raise InputError(
            f"pool {seated} has seats, and pods that find their pool by a seat can't be replayed",
            where="plan",
            fix="replay policies that need no plan, or a plan whose pools have no seats",
        )
    types = catalog.by_name()
    layouts = []
    for pool in plan.pools:
        machines = tuple(types[name] for name in pool.instance_types)
        layouts.append(PoolLayout(named(pool), machines, _planned(pool, plan.stack), tuple(pool.purchases)))
    places = {}
    by_name = {each.name: each for each in workloads}
    pools = {pool.name: pool for pool in plan.pools}
    # Replicas with a template each may have several homes; here all go to the one that most of them have.
    for each in sorted(plan.assignments, key=lambda one: one.replicas):
        workload = by_name.get(each.workload)
        if workload is None:
            continue
        requests = amounts(carrier_asked(each.asks).requests(each.asks))
        layout = pools[each.pool].layout
        shares = mechanism(layout) is Mechanism.TIME_SLICING
        places[each.workload] = Place(
            _kind(workload, named(pools[each.pool]), requests),
            _share(each, layout.gpu),
            (workload.need.memory_mib or 0) if shares else 0,
            replicas(layout) if shares else 0,
        )
    return Policy(
        "plan",
        "a plan for the most replicas that there are at once, kept as it is",
        pools_of(layouts, overhead, consolidate_after),
        tuple(layouts),
        places,
        (),
    )


def _share(each: Assignment, gpu: str) -> float:
    """The share of a card that one pod has."""
    kind, _, part = each.slice.partition("/")[2].partition("/")
    model = GPUS[gpu]
    share = carrier_asked(each.asks).share(each.asks)
    if share is not None:
        return min(share.memory_mib / model.memory_mib, 1.0)
    match kind:
        case "time-slicing" | "mps":
            return each.asks.count / int(part)
        case "fractional":
            numerator, _, denominator = part.partition("-")
            return int(numerator) / int(denominator)
        case "mig" if model.mig is not None and (profile := model.mig.profile(part)) is not None:
            return each.asks.count * profile.memory_slices / model.mig.grid
        case _:
            return float(each.asks.count)


def _chosen(
    workload: Workload,
    catalog: Catalog,
    overhead: DaemonsetOverhead,
    cut: Callable[[Gpu], Slice | None],
    *,
    anywhere: bool,
) -> tuple[Gpu, Slice] | None:
    """The model on which a replica is cheapest: today's if there is one, unless any will do."""
    found: list[tuple[bool, float, str]] = []
    slices: dict[str, Slice] = {}
    for kind in catalog.instance_types:
        gpu = GPUS[kind.gpu]
        slice_ = cut(gpu)
        if slice_ is None or not kind.gpu_count or kind.arch != workload.arch:
            continue
        if Purchase.ON_DEMAND not in kind.prices or kind.gpu_count < workload.need.gpus:
            continue
        same = workload.need.on == gpu.name
        if not (anywhere or same or fit(workload.need, cuts.whole(gpu)).fits):
            continue
        if (
            workload.cpu_milli > kind.allocatable_cpu_milli - overhead.cpu_milli
            or workload.memory_mib > kind.allocatable_memory_mib - overhead.memory_mib
        ):
            continue
        slices[gpu.name] = slice_
        found.append((not same and not anywhere, kind.prices[Purchase.ON_DEMAND] / kind.gpu_count, gpu.name))
    if not found:
        return None
    name = min(found)[2]
    return GPUS[name], slices[name]


def _smallest_instance(gpu: Gpu) -> Slice | None:
    return None if gpu.mig is None else cuts.mig(gpu, min(gpu.mig.plain, key=lambda each: each.memory_mib))


def _instances(gpu: Gpu) -> int:
    return 0 if gpu.mig is None else max(each.most for each in gpu.mig.plain)


BASELINES: Final[dict[str, tuple[str, Callable[[Gpu], Slice | None], Callable[[Gpu], int], bool]]] = {
    "whole": (
        "each pod has whole GPUs, of the model that it runs on where that is known",
        cuts.whole,
        lambda _: 1,
        False,
    ),
    "time-slicing-4": (
        f"every GPU in {_SLOTS} equal slots, as tutorials do it; each tenant has its own nodes",
        lambda gpu: cuts.slot(gpu, Mechanism.TIME_SLICING, _SLOTS),
        lambda _: _SLOTS,
        False,
    ),
    "all-1g-mig": ("every pod on the smallest MIG instance", _smallest_instance, _instances, True),
}
"""Note, slice of a GPU, slices on a GPU, and whether another model than today's will do."""


def _layout(slice_: Slice, per_gpu: int) -> Layout:
    """GPUs that are all cut into such slices, so many of each."""
    profile = slice_.profile
    return Layout(
        slice_.gpu.name,
        slice_.mechanism.value,
        replicas=slice_.sharers if slice_.sharers > 1 else UNSET,
        geometry=UNSET if profile is None else (GeometryEntry(profile.name, per_gpu),),
    )


def _planned(pool: Pool, stack: str) -> Callable[[InstanceType], dict[str, int]]:
    def offers(kind: InstanceType) -> dict[str, int]:
        return carrier_of(pool, stack).offers(pool, kind).amounts

    return offers


def _kind(workload: Workload, pool: str, requests: dict[str, int]) -> PodClass:
    return PodClass(
        workload.name,
        {CPU: workload.cpu_milli, MEMORY: workload.memory_mib, **requests},
        selector={POOL_LABEL: pool},
        tolerations=(Toleration(POOL_LABEL, "Equal", pool),),
    )


def pools_of(layouts: Iterable[PoolLayout], overhead: DaemonsetOverhead, consolidate_after: float) -> Pools:
    """Karpenter's pools and overlays, as `gpuslice render` scopes them."""
    pools: list[NodePool] = []
    overlays: list[Overlay] = []
    for layout in layouts:
        pools.append(
            NodePool(
                layout.name,
                tuple(machine(kind) for kind in layout.types),
                requirements=(
                    among(INSTANCE_TYPE, *(kind.name for kind in layout.types)),
                    among(CAPACITY_TYPE, *layout.purchases),
                ),
                labels={POOL_LABEL: layout.name},
                taints=(Taint(POOL_LABEL, layout.name),),
                consolidate_after=consolidate_after,
            )
        )
        for kind in layout.types:
            scope = (among(NODE_POOL, layout.name), among(INSTANCE_TYPE, kind.name))
            overlays.append(
                Overlay(f"{layout.name}-{kind.name}", scope, layout.offers(kind), weight=len(overlays) + 1)
            )
    # Daemonsets tolerate everything. Their pods are one here, and the rest of the places taken off below.
    daemon = PodClass(
        "daemonsets",
        {CPU: overhead.cpu_milli, MEMORY: overhead.memory_mib, PODS: max(overhead.pods - 1, 0)},
        tolerations=(Toleration("", "Exists"),),
    )
    return Pools(pools, overlays=overlays, daemons=[daemon])
