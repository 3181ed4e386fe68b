"""The tutorials' ways to run workloads, as Karpenter's pools and the pods' requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import UNSET

from gpuslice.carriers import table
from gpuslice.carriers.carrier import amounts
from gpuslice.cloud.allocatable import left_for_workloads
from gpuslice.cloud.catalog import Purchase
from gpuslice.errors import InputError, nearest
from gpuslice.hardware import cut as cuts
from gpuslice.hardware.fit import fit
from gpuslice.hardware.gpus import GPUS
from gpuslice.hardware.mechanisms import Mechanism
from gpuslice.hardware.stack import Stack
from gpuslice.launches.pools import PoolOffer, pod_ask, pod_class
from gpuslice.plan.artefact import GeometryEntry, Layout, Pool
from gpuslice.plan.tutorials import TUTORIALS, tutorial_name
from gpuslice.simulator.policies import Place, ReplayPolicy, Share, pools_of
from gpuslice.workloads.node_limits import room_for, room_of, taken_by
from gpuslice.workloads.service_kinds import on_whole_gpus

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gpuslice.cloud.catalog import Catalog, DaemonsetOverhead
    from gpuslice.hardware.gpus import Gpu
    from gpuslice.hardware.slices import Slice
    from gpuslice.workloads.model import Workload
    from gpuslice.workloads.node_limits import Room

CARRIER: Final = table.carrier(table.DEVICE_PLUGIN, Stack.AL2023)
"""Tutorials know one way to hand out GPUs."""


def baseline(
    name: str,
    workloads: Sequence[Workload],
    catalog: Catalog,
    overhead: DaemonsetOverhead,
    consolidate_after: float,
) -> ReplayPolicy:
    """A policy that people run today. Services sized by load are as many replicas as they take on whole GPUs.

    Args:
        name: of a tutorial.
        workloads: to run.
        catalog: on-demand prices.
        overhead: of daemonsets.
        consolidate_after: seconds, of every pool.

    Raises:
        InputError: no policy has that name.
    """
    tutorial = TUTORIALS.get(tutorial_name(name))
    if tutorial is None:
        raise InputError(
            f"no policy is called {name[:60]!r}",
            fix=nearest(name, TUTORIALS) or f"there are {', '.join([*TUTORIALS, 'plan', 'replan-6h'])}",
        )
    offers: dict[str, PoolOffer] = {}
    places: dict[str, Place] = {}
    misfits = []
    taken = taken_by(take for workload in workloads for take in workload.takes)
    standing: dict[str, int] = {}
    for stated in workloads:
        workload = stated if stated.service is None else on_whole_gpus(stated, catalog)
        if workload is None:
            continue
        single = workload.need.gpus == 1  # several GPUs are never cut, and stay what they are
        chosen = None
        if single:
            chosen = _chosen(workload, catalog, overhead, tutorial.slice_of, anywhere=tutorial.anywhere)
        if chosen is None:
            chosen = _chosen(workload, catalog, overhead, cuts.whole, anywhere=False)
        if chosen is None:
            continue
        gpu, slice_ = chosen
        shares = slice_.mechanism is Mechanism.TIME_SLICING
        count = 1 if slice_.mechanism is Mechanism.WHOLE else tutorial.per_gpu(gpu)
        parts = (gpu.name.lower(), slice_.mechanism.value, workload.tenant if shares else "", workload.arch)
        pool = "-".join(filter(None, parts))
        if pool not in offers:
            offers[pool] = _offer(pool, slice_, count, workload.arch, catalog, taken)
        if not fit(workload.need, slice_).fits:
            misfits.append(workload.name)
        asks = CARRIER.asks(CARRIER.ask(slice_), workload.need.gpus)
        asked = amounts(CARRIER.requests(asks))
        places[workload.name] = Place(
            pod_class(
                pool,
                pod_ask(workload.name, workload.cpu_milli, workload.memory_mib, asked, workload.takes),
            ),
            {
                pool: Share(
                    workload.need.gpus / count,
                    (workload.need.memory_mib or 0) if shares else 0,
                    count if shares else 0,
                )
            },
        )
        if workload.service is not None:
            standing[workload.name] = workload.replicas
    made = tuple(offers.values())
    return ReplayPolicy(
        tutorial.name,
        tutorial.note,
        made,
        pools_of(made, overhead, consolidate_after),
        places,
        tuple(misfits),
        standing,
    )


def _chosen(
    workload: Workload,
    catalog: Catalog,
    overhead: DaemonsetOverhead,
    slice_of: Callable[[Gpu], Slice | None],
    *,
    anywhere: bool,
) -> tuple[Gpu, Slice] | None:
    """The model on which a replica is cheapest: today's if there is one, unless any will do."""
    candidates: list[tuple[bool, float, str]] = []
    slices: dict[str, Slice] = {}
    for kind in catalog.instance_types:
        gpu = GPUS[kind.gpu]
        slice_ = slice_of(gpu)
        if slice_ is None or not kind.gpu_count or kind.arch != workload.arch:
            continue
        if Purchase.ON_DEMAND not in kind.prices or kind.gpu_count < workload.need.gpus:
            continue
        same = workload.need.on == gpu.name
        if not (anywhere or same or fit(workload.need, cuts.whole(gpu)).fits):
            continue
        if not left_for_workloads(kind, overhead).holds(workload.cpu_milli, workload.memory_mib):
            continue
        if any(room_for(take, kind) < take.amount for take in workload.takes):
            continue
        slices[gpu.name] = slice_
        price = kind.prices[Purchase.ON_DEMAND] / kind.gpu_count
        candidates.append((not same and not anywhere, price, gpu.name))
    if not candidates:
        return None
    name = min(candidates)[2]
    return GPUS[name], slices[name]


def _offer(
    name: str,
    slice_: Slice,
    per_gpu: int,
    arch: str,
    catalog: Catalog,
    taken: Room,
) -> PoolOffer:
    """A pool of all sizes of a model, bought on demand."""
    pool = Pool(name, _layout(slice_, per_gpu), (), (), (), CARRIER.name)
    return PoolOffer(
        name,
        tuple(
            (kind, {**CARRIER.offers(pool, kind).amounts, **dict(room_of(kind, taken))})
            for kind in catalog.instance_types
            if kind.gpu == slice_.gpu.name
            and kind.gpu_count
            and kind.arch == arch
            and Purchase.ON_DEMAND in kind.prices
        ),
        frozenset({Purchase.ON_DEMAND}),
    )


def _layout(slice_: Slice, per_gpu: int) -> Layout:
    """GPUs that are all cut into such slices, so many of each."""
    profile = slice_.profile
    return Layout(
        slice_.gpu.name,
        slice_.mechanism.value,
        replicas=slice_.sharers if slice_.sharers > 1 else UNSET,
        geometry=UNSET if profile is None else (GeometryEntry(profile.name, per_gpu),),
    )
