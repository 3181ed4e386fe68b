"""Plans of any size, made without planning: every node another mix of pods, and every rule kept."""

import random
from collections import Counter

from gpuslice.cloud import snapshot
from gpuslice.cloud.catalog import Catalog, Purchase
from gpuslice.hardware import cut
from gpuslice.hardware.fit import fit
from gpuslice.hardware.gpus import GPUS
from gpuslice.hardware.mechanisms import Mechanism
from gpuslice.hardware.need import Need, Source
from gpuslice.plan.artefact import (
    API_VERSION,
    Assignment,
    Baseline,
    CatalogReference,
    Extended,
    Layout,
    Node,
    OptimalNode,
    Overhead,
    Plan,
    Pool,
    Summary,
)
from gpuslice.workloads.model import Workload

_SLOTS = 4
_POOLS = 25


def large(nodes: int, seed: int = 0) -> tuple[Plan, tuple[Workload, ...], Catalog]:
    """A plan of so many nodes in 25 pools, what it was made for, and its catalog."""
    rng = random.Random(seed)
    catalog = snapshot.bundled()
    machine = catalog.by_name()["g6.xlarge"]
    price = machine.prices[Purchase.ON_DEMAND]
    layout = Layout("L4", "time-slicing", replicas=_SLOTS)
    slice_ = cut.slot(GPUS["L4"], Mechanism.TIME_SLICING, _SLOTS)
    pools, assignments, workloads, optimal = [], [], [], []
    for number in range(_POOLS):
        tenant = f"team-{number:02d}"
        names = [f"{tenant}/model-{each:02d}" for each in range(12)]
        mixes = Counter(
            tuple(sorted(rng.choices(names, k=rng.randint(2, _SLOTS)))) for _ in range(nodes // _POOLS)
        )
        alike = [
            Node("g6.xlarge", "on-demand", count, price / 1e6, dict(Counter(mix)))
            for mix, count in mixes.items()
        ]
        pools.append(
            Pool(
                f"{tenant}-l4-ts4",
                layout,
                ("g6.xlarge",),
                ("on-demand",),
                tuple(alike),
                "device-plugin",
                tenant=tenant,
            )
        )
        optimal += [
            OptimalNode("g6.xlarge", "on-demand", n.count, price / 1e6, layout, n.pods) for n in alike
        ]
        replicas: Counter[str] = Counter()
        for mix, count in mixes.items():
            for name in mix:
                replicas[name] += count
        for name, count in sorted(replicas.items()):
            need = Need(
                memory_mib=rng.randint(500, 5000),
                duty_ppm=rng.randint(10_000, 150_000),
                on="L4",
                source=Source.MEASURED,
            )
            workloads.append(Workload(name, count, 500, 1024, need, tenant=tenant))
            answer = fit(need, slice_)
            assert answer.slowdown is not None
            assert answer.utilisation is not None
            assignments.append(
                Assignment(
                    name,
                    pools[-1].name,
                    count,
                    slice_.name,
                    Extended("nvidia.com/gpu.shared", 1),
                    "so",
                    expected_slowdown=round(float(answer.slowdown), 2),
                    utilisation=round(float(answer.utilisation), 3),
                )
            )
    total = sum(node.count for pool in pools for node in pool.nodes) * price / 1e6
    today = sum(each.replicas for each in workloads) * price / 1e6
    plan = Plan(
        api_version=API_VERSION,
        kind="Plan",
        catalog=CatalogReference(catalog.region, catalog.prices_date),
        stack="al2023",
        overhead=Overhead("185m", "184Mi", 10),
        summary=Summary(
            "optimal",
            "gap",
            total,
            total,
            total,
            0.0,
            baselines=(Baseline("whole-gpu", today, 0, "whole GPUs"),),
        ),
        pools=tuple(pools),
        assignments=tuple(assignments),
        optimal_nodes=tuple(optimal),
        assumptions=("made by hand",),
    )
    return plan, tuple(workloads), catalog
