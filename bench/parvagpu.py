"""ParvaGPU's published scenarios as services: eleven models of inference, six sets of load and latency objectives.

Their figures (https://github.com/MunQ-Lee/ParvaGPU_SC24, MIT licence, for "ParvaGPU", SC 2024): throughput of one
process and latency of a batch for each MIG instance of an A100 80GB, batch size and number of processes side by side.
"""

from __future__ import annotations

import csv
import time
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from gpuslice.cloud.allocatable import daemonset_overhead
from gpuslice.cloud.catalog import Catalog, Purchase
from gpuslice.cloud.selection import choose
from gpuslice.hardware.need import Need
from gpuslice.planner.clock import Clock
from gpuslice.planner.model.options import node_options
from gpuslice.planner.services.mixing import size_services
from gpuslice.planner.settings import Settings
from gpuslice.planner.solve import solve
from gpuslice.units import MICRO_USD
from gpuslice.workloads.model import Service, ServiceProfile, Workload

MODELS: Final = (
    "bert",
    "densenet121",
    "densenet169",
    "densenet201",
    "inceptionv3",
    "mobilenetv2",
    "resnet101",
    "resnet152",
    "resnet50",
    "vgg16",
    "vgg19",
)
"""In the order of their tables of objectives and rates."""
FEWEST: Final = (2, 3, 5, 7, 12, 15)
"""GPUs that scenarios 1 to 6 take at the least."""
THEIRS: Final = (2, 3, 5, 7, 13, 16)
"""GPUs that ParvaGPU's own deployments take."""
INSTANCES: Final = {"1": "1g.10gb", "2": "2g.20gb", "3": "3g.40gb", "4": "4g.40gb", "7": "7g.80gb"}
_NONE: Final = "N/A"
_PATIENCE: Final = 60.0  # seconds, never reached


def scenarios(folder: Path) -> tuple[tuple[Workload, ...], ...]:
    """The six scenarios from a folder with SLO/*.csv and prof_data/*.csv, or with all profiles in profiles.csv."""
    profiles: dict[str, list[ServiceProfile]] = defaultdict(list)
    for path in [*sorted(folder.glob("prof_data/*.csv")), *folder.glob("profiles.csv")]:
        for row in csv.DictReader(path.read_text(encoding="utf-8").splitlines()):
            profiles[row.get("Model") or path.stem].append(
                ServiceProfile(
                    f"A100-80GB/mig/{INSTANCES[row['Mig instance']]}",
                    int(row["Batch size"]),
                    int(row["Workload Number"]),
                    float(row["Throughput"]),
                    round(float(row["Latency"]) * 1000, 3),
                )
            )
    limits, rates = (
        list(csv.reader((folder / "SLO" / name).read_text(encoding="utf-8").splitlines()))
        for name in ("SLO_latency.csv", "SLO_req_rate.csv")
    )
    return tuple(
        tuple(
            Workload(
                f"inference/{model}",
                replicas=0,
                cpu_milli=0,
                memory_mib=0,
                need=Need(),
                tenant="inference",
                service=Service(float(rate), "requests/s", float(limit), tuple(profiles[model])),
            )
            for model, limit, rate in zip(MODELS, of_limits, of_rates, strict=True)
            if rate != _NONE
        )
        for of_limits, of_rates in zip(limits, rates, strict=True)
    )


def one_gpu_a_node(catalog: Catalog) -> Catalog:
    """A catalog in which the fewest dollars are the fewest GPUs: an eighth of a p4de.24xlarge, for a dollar."""
    machine = catalog.by_name()["p4de.24xlarge"]
    eighth = replace(
        machine, name="p4de.24xlarge-eighth", gpu_count=1, prices={Purchase.ON_DEMAND: MICRO_USD}
    )
    return replace(catalog, instance_types=(eighth,))


@dataclass(frozen=True)
class Solved:
    """One scenario, solved.

    Attributes:
        services: how many.
        gpus: of the cheapest packing found.
        proven: fewer than that there are none.
        one_slice: GPUs of the plan, where each service keeps to one kind of slice.
        theirs: of ParvaGPU's own deployment.
        choosing: seconds for kinds, replicas and the proof: the best of some runs.
        seconds: for the whole plan, verified: the best of some runs.
    """

    services: int
    gpus: int
    proven: int
    one_slice: int
    theirs: int
    choosing: float
    seconds: float


def solved(folder: Path, runs: int = 3) -> tuple[Solved, ...]:
    """All scenarios, solved to a gap of 0 in this process."""
    catalog = one_gpu_a_node(choose("", "us-east-1"))
    settings = Settings(daemonset_overhead(), gap=0.0)
    found = []
    for services, theirs in zip(scenarios(folder), THEIRS, strict=True):
        plans, choosing = [], []
        for _ in range(runs):
            started = time.perf_counter()
            size_services(
                services,
                (),
                lambda classes: node_options(classes, catalog, settings.overhead, settings.carrier),
                gap=0.0,
                clock=Clock(_PATIENCE),
            )
            choosing.append(time.perf_counter() - started)
            started = time.perf_counter()
            plan = solve(services, catalog, settings, clock=Clock(_PATIENCE)).plan
            plans.append((time.perf_counter() - started, plan.summary))
        seconds, summary = min(plans, key=lambda each: each[0])
        found.append(
            Solved(
                len(services),
                round(summary.optimal_usd_per_hour),
                round(summary.bound_usd_per_hour),
                round(summary.usd_per_hour),
                theirs,
                min(choosing),
                seconds,
            )
        )
    return tuple(found)
