"""What the verbs that plan have in common: their options, and the way from those to a solution."""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from gpuslice.cli.console import progress
from gpuslice.errors import InputError

if TYPE_CHECKING:
    from gpuslice.cloud.catalog import Catalog
    from gpuslice.planner.solve import Settings, Solution
    from gpuslice.workloads.artefact import WorkloadSet


class StackName(StrEnum):
    """What nodes run."""

    AL2023 = "al2023"
    BOTTLEROCKET = "bottlerocket"


class Moment(StrEnum):
    """Which replicas to plan for."""

    NOW = "now"
    PEAK = "peak"


WorkloadsOption = Annotated[
    str,
    typer.Option(
        "-f", "--filename", metavar="FILE", help="workloads.yaml, or manifests (a file or a directory); - is stdin."
    ),
]
StackOption = Annotated[StackName, typer.Option("--stack", help="What nodes run.")]
OverheadOption = Annotated[
    str,
    typer.Option("--overhead", metavar="cpu=,memory=,pods=", help="What daemonsets take of each node."),
]
MomentOption = Annotated[
    Moment, typer.Option("--at", help="Replicas to plan for, where workloads.yaml has now and peak.")
]
AssumedOption = Annotated[
    bool, typer.Option("--accept-assumed", help="Believe needs whose source is `assumed`; else they count as unknown.")
]
GapOption = Annotated[
    float, typer.Option("--gap", metavar="SHARE", help="How near the proven least is near enough.", min=0, max=1)
]
TimeLimitOption = Annotated[
    float,
    typer.Option("--time-limit", metavar="SECONDS", help="When to stop looking; the best plan so far comes out.", min=0),
]


@dataclass(frozen=True)
class Planned:
    """Everything that a verb may want to show."""

    workloads: WorkloadSet
    catalog: Catalog
    settings: Settings
    solution: Solution


def make_plan(
    path: str,
    *,
    catalog_file: str = "",
    stack: StackName = StackName.AL2023,
    overhead: str = "",
    at: Moment = Moment.NOW,
    accept_assumed: bool = False,
    gap: float = 0.005,
    time_limit: float = 10.0,
) -> Planned:
    """Read, plan, verify.

    Raises:
        GpusliceError: the input, the catalog or an option is wrong.
    """
    started = time.monotonic()
    from gpuslice.workloads.sources import read

    workloads = read(path, at=at.value, accept_assumed=accept_assumed)
    catalog, settings = setting(workloads, catalog_file, stack, overhead, gap)
    if not any(each.replicas for each in workloads.workloads):
        raise InputError("holds no workload with replicas", where=path, fix="gpuslice scan --from MANIFESTS")
    from gpuslice.planner.solve import solve

    with progress("planning …"):
        solution = solve(
            workloads.workloads,
            catalog,
            settings,
            remaining=lambda: started + time_limit - time.monotonic(),
            notes=workloads.notes,
        )
    return Planned(workloads, catalog, settings, solution)


def setting(
    workloads: WorkloadSet, catalog_file: str, stack: StackName, overhead: str, gap: float
) -> tuple[Catalog, Settings]:
    """The catalog of the workloads' region, and the rules."""
    from gpuslice.cloud.allocatable import daemonset_overhead, parse_overhead
    from gpuslice.cloud.selection import choose
    from gpuslice.hardware.stacks import Stack
    from gpuslice.planner.solve import Settings

    catalog = choose(catalog_file, workloads.region)
    taken = parse_overhead(overhead) if overhead else daemonset_overhead()
    return catalog, Settings(taken, overhead_assumed=not overhead, stack=Stack(stack.value), gap=gap)
