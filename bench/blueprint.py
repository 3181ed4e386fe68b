"""What Karpenter makes of GPU pods as people run them today, by the model: dollars and misfits beside a plan's.

Two ways: one wide NodePool of all GPU types with whole GPUs, and the same with an overlay that promises four slices for
every GPU, as the public blueprint for time-slicing on EKS has it. Run: `python -m bench.blueprint examples/fleet …`
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from gpuslice.cloud.allocatable import daemonset_overhead
from gpuslice.cloud.catalog import Purchase
from gpuslice.cloud.selection import choose
from gpuslice.hardware import cut
from gpuslice.hardware.fit import fit
from gpuslice.hardware.gpus import GPUS
from gpuslice.hardware.mechanisms import Mechanism
from gpuslice.hardware.resource_names import WHOLE_GPU
from gpuslice.launches.bill import PRICED_ORDERS, Launched, Realiser
from gpuslice.launches.pools import PodAsk, PoolOffer
from gpuslice.planner.clock import Clock
from gpuslice.planner.settings import Settings
from gpuslice.planner.solve import solve
from gpuslice.workloads.sources import read

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gpuslice.cloud.catalog import Catalog
    from gpuslice.workloads.model import Workload

_SLICES: Final = 4  # of every GPU, in the blueprint and in most tutorials
_SECONDS: Final = 60.0  # told to the planner, which never gets there


def today(workloads: Sequence[Workload], catalog: Catalog, slices: int) -> tuple[float, int]:
    """Dollars an hour, the mean over orders of arrival, and the workloads that run outside their rules in some order.

    Args:
        workloads: to run, one GPU or slice a pod; pods with several whole GPUs keep them.
        catalog: types, all of which the NodePool may launch.
        slices: of a GPU; 1: whole.
    """
    types = [each for each in catalog.instance_types if each.gpu_count and Purchase.ON_DEMAND in each.prices]
    offer = PoolOffer(
        "wide",
        tuple((each, {WHOLE_GPU: each.gpu_count * slices}) for each in types),
        frozenset({Purchase.ON_DEMAND}),
    )
    known = {each.name: each for each in workloads}
    load = tuple(
        (
            PodAsk(
                each.name,
                each.cpu_milli,
                each.memory_mib,
                ((WHOLE_GPU, each.need.gpus * (slices if each.need.gpus > 1 else 1)),),
            ),
            each.replicas,
        )
        for each in workloads
        if each.replicas
    )
    gpu_of = {each.name: each.gpu for each in types}
    realiser = Realiser(daemonset_overhead())
    misfits: set[str] = set()
    for order in PRICED_ORDERS:
        misfits |= _misfits(realiser.nodes(offer, load, order), known, gpu_of, slices)
    return realiser.spread([(offer, load)], PRICED_ORDERS).mean / 1e6, len(misfits)


def _misfits(
    nodes: Sequence[Launched], known: Mapping[str, Workload], gpu_of: Mapping[str, str], slices: int
) -> set[str]:
    """Workloads of which a replica has a slice that doesn't fit, or a neighbour of another tenant."""
    found = set()
    for node in nodes:
        gpu = GPUS[gpu_of[node.instance_type]]
        tenants = {known[ask.workload].tenant for ask, _ in node.pods}
        for ask, _ in node.pods:
            need = known[ask.workload].need
            shared = slices > 1 and need.gpus == 1
            slice_ = cut.slot(gpu, Mechanism.TIME_SLICING, slices, None) if shared else cut.whole(gpu)
            if not fit(need, slice_).fits or (shared and len(tenants) > 1):
                found.add(ask.workload)
    return found


def main(paths: Sequence[str]) -> None:
    """Print a table in Markdown."""
    print(
        "| fleet | plan | whole GPUs, one wide NodePool | four slices a GPU, by an overlay |\n|---|---|---|---|"
    )
    for path in paths:
        found = read(path, at="now", accept_assumed=False, region="us-east-1")
        catalog = choose("", found.region)
        plan = solve(found.workloads, catalog, Settings(daemonset_overhead()), clock=Clock(_SECONDS)).plan
        whole, sliced = (today(found.workloads, catalog, slices) for slices in (1, _SLICES))
        cells = [f"${usd:,.2f}, {misfits} misfits" for usd, misfits in (whole, sliced)]
        print(f"| {path} | ${plan.summary.usd_per_hour:,.2f}, 0 misfits | {' | '.join(cells)} |")


if __name__ == "__main__":
    main(sys.argv[1:])
