"""What the verbs that plan have in common: their options, and the way from those to a solution."""

from __future__ import annotations

import gc
import os
import sys
import time
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Final

import typer

from gpuslice.cli.console import progress
from gpuslice.cli.interruption import interruptible
from gpuslice.cli.models_today import with_models
from gpuslice.cli.shown.prices import say_old_prices
from gpuslice.errors import InputError
from gpuslice.hardware.mechanisms import Mechanism
from gpuslice.hardware.stack import Stack
from gpuslice.plan.defaults import DEFAULT_GAP, DEFAULT_MIN_SAVING
from gpuslice.units import first_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuslice.cloud.catalog import Catalog
    from gpuslice.planner.settings import Settings
    from gpuslice.planner.solve import Found, Solution
    from gpuslice.workloads.artefact import WorkloadSet
    from gpuslice.workloads.policy import Policy


DEFAULT_TIME_LIMIT: Final = 120.0  # ten times what the work usually takes
_OBJECTS_BETWEEN_COLLECTIONS: Final = 50_000
_NAMED: Final = 5  # workloads in a question before the rest is counted


class Unwanted(StrEnum):
    """What a plan may be told to leave out. Whole GPUs always remain."""

    TIME_SLICING = Mechanism.TIME_SLICING.value
    METERED = "metered"
    MPS = Mechanism.MPS.value
    MIG = Mechanism.MIG.value
    FRACTIONAL = Mechanism.FRACTIONAL.value


class Moment(StrEnum):
    """Which replicas to plan for."""

    NOW = "now"
    PEAK = "peak"


class Unknown(StrEnum):
    """What becomes of a workload that shares a GPU now, and of which nobody knows what it needs."""

    KEEP = "keep"
    WHOLE = "whole"
    ASK = "ask"


WorkloadsOption = Annotated[
    str,
    typer.Option(
        "-f",
        "--filename",
        metavar="FILE",
        help="workloads.yaml, or manifests (a file or a directory); - is stdin.",
    ),
]
StackOption = Annotated[Stack, typer.Option("--stack", help="What nodes run.")]
OverheadOption = Annotated[
    str,
    typer.Option(
        "--overhead",
        metavar="cpu=,memory=,pods=",
        help="What daemonsets take of each node; default: as EKS and the GPU Operator set them up.",
    ),
]
MomentOption = Annotated[
    Moment, typer.Option("--at", help="Replicas to plan for: now, or the most where they depend on the hour.")
]
AssumedOption = Annotated[
    bool,
    typer.Option(
        "--accept-assumed", help="Believe needs whose source is `assumed`; else they count as unknown."
    ),
]
UnknownOption = Annotated[
    Unknown,
    typer.Option(
        "--unknown",
        help="Workloads of unknown need that have a share of a GPU now: keep leaves them on it, whole plans them on "
        "whole GPUs, ask asks.",
    ),
]
DropSelectorOption = Annotated[
    list[str] | None,
    typer.Option(
        "--drop-selector",
        metavar="KEY",
        help="A label that pods require of their nodes and need not find on new ones: patches take it out of node "
        "selectors and required affinities; several times.",
    ),
]
WithoutOption = Annotated[
    list[Unwanted] | None,
    typer.Option("--without", help="A mechanism that the plan may not use; may be given several times."),
]
FallbackOption = Annotated[
    bool,
    typer.Option(
        "--fallback/--no-fallback",
        help="List a second instance type in a pool, for when EC2 is out of the first, where it costs next to nothing.",
    ),
]
SeatsOption = Annotated[
    bool,
    typer.Option(
        "--seats/--no-seats",
        help="Give each replica a seat of its own on a node, so that a workload's pods may be in many pools: cheaper, "
        "with more pools.",
    ),
]
GapOption = Annotated[
    float,
    typer.Option("--gap", metavar="SHARE", help="How near the proven least is near enough.", min=0, max=1),
]
TimeLimitOption = Annotated[
    float,
    typer.Option(
        "--time-limit",
        metavar="SECONDS",
        help="When to stop, done or not: the best plan so far comes out and says so. --effort ends plans long before, "
        "at the same point on every machine.",
        min=0,
    ),
]
EffortOption = Annotated[
    float,
    typer.Option(
        "--effort",
        metavar="FACTOR",
        help="How much work to put into the search; 1 is up to ten seconds of it on a usual machine.",
        min=0,
    ),
]


PreviousOption = Annotated[
    str,
    typer.Option(
        "--previous",
        metavar="FILE",
        help="The plan that is carried out: kept to, unless moving saves enough.",
    ),
]
MinSavingOption = Annotated[
    float,
    typer.Option(
        "--min-saving", metavar="SHARE", help="Of the bill, for moving to be worth it.", min=0, max=1
    ),
]
ForbidOption = Annotated[
    list[str] | None,
    typer.Option(
        "--forbid", metavar="FAMILY|TYPE", help="Not to be bought, such as p4d or g5.xlarge; several times."
    ),
]
MaxNodesOption = Annotated[
    list[str] | None,
    typer.Option("--max-nodes", metavar="TYPE=COUNT", help="The most nodes of a type; several times."),
]
SpotShareOption = Annotated[
    float | None,
    typer.Option(
        "--max-spot-share", metavar="SHARE", help="The most of the bill that may be spot.", min=0, max=1
    ),
]
ReservedOption = Annotated[
    list[str] | None,
    typer.Option(
        "--reserved",
        metavar="TYPE=COUNT[@USD]",
        help="Capacity reservations that are paid for, or cost so much an hour if used; several times.",
    ),
]


PolicyFileOption = Annotated[
    str,
    typer.Option(
        "--policy",
        metavar="FILE",
        help="What may be bought, in a file of its own: over the workloads' policy, under the options.",
    ),
]
MaxPoolsOption = Annotated[
    int | None,
    typer.Option(
        "--max-pools", metavar="COUNT", help="The most pools; the plan says what that costs.", min=1, max=1000
    ),
]


@dataclass(frozen=True)
class Buying:
    """What the options say may be bought, as written; it is added to the workloads' policy, or replaces its parts.

    Attributes:
        file: of a policy, over that of the workloads and under the other options.
    """

    file: str = ""
    forbid: tuple[str, ...] = ()
    max_nodes: tuple[str, ...] = ()
    max_spot_share: float | None = None
    reserved: tuple[str, ...] = ()
    max_pools: int | None = None


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
    stack: Stack = Stack.AL2023,
    overhead: str = "",
    at: Moment = Moment.NOW,
    today: Sequence[str] = (),
    accept_assumed: bool = False,
    unknown: Unknown = Unknown.KEEP,
    drop_selector: list[str] | None = None,
    without: list[Unwanted] | None = None,
    fallback: bool = True,
    seats: bool = False,
    gap: float = DEFAULT_GAP,
    effort: float = 1.0,
    time_limit: float = DEFAULT_TIME_LIMIT,
    buying: Buying = Buying(),
    previous: str = "",
    min_saving: float = DEFAULT_MIN_SAVING,
) -> Planned:
    """Read, plan, verify.

    Raises:
        GpusliceError: the input, the catalog or an option is wrong.
    """
    started = time.monotonic()
    from gpuslice.cloud.selection import choose
    from gpuslice.plan.reading import read_plan
    from gpuslice.workloads.policy import priced
    from gpuslice.workloads.release import released
    from gpuslice.workloads.sources import DEFAULT_REGION, read

    region = choose(catalog_file).region if catalog_file else DEFAULT_REGION
    workloads = read(path, at=at.value, accept_assumed=accept_assumed, region=region)
    if drop_selector:
        workloads = replace(workloads, workloads=released(workloads.workloads, drop_selector))
    if not any(workload.replicas or workload.service for workload in workloads.workloads):
        beside = os.path.join(path, "workloads.yaml")  # noqa: PTH118  pathlib costs start-up time
        if os.path.isfile(beside):  # noqa: PTH113  as above
            raise InputError(
                "is read as a directory of manifests, and no workload in it asks for a GPU",
                where=path,
                fix=f"name the file in it: -f {beside}",
            )
        raise InputError(
            "holds no workload with replicas that asks for a GPU",
            where="stdin" if path == "-" else path,
            fix=f"gpuslice scan --from {'PATH' if path == '-' else path} says what is in manifests",
        )
    workloads = _with_unknown(workloads, unknown)
    catalog, settings = setting(workloads, catalog_file, stack, overhead, gap)
    say_old_prices(catalog.prices_date)
    settings = replace(
        settings,
        today=workloads.today,
        without=frozenset(unwanted.value for unwanted in without or ()),
        fallback=fallback,
        seats=seats,
        policy=_policy(path, workloads, buying, catalog),
        previous=read_plan(previous) if previous else None,
        min_saving=min_saving,
    )
    catalog = priced(settings.policy, catalog)
    workloads, models = with_models(workloads, today, catalog, settings, ask=path != "-")
    settings = replace(settings, models_today=models)
    from gpuslice.planner import budget
    from gpuslice.planner.clock import Clock
    from gpuslice.planner.solve import solve

    # What is loaded by now stays. Looking through it for garbage again and again took a fifteenth of the time.
    gc.freeze()
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
    with progress("planning …") as say_now, interruptible() as interrupted:
        solution = solve(
            workloads.workloads,
            catalog,
            settings,
            clock=Clock(
                budget.SECONDS * effort,
                lambda: 0.0 if interrupted() else started + time_limit - time.monotonic(),
            ),
            notes=workloads.notes,
            told=lambda progress: say_now(f"planning … {in_words(progress)}"),
            interrupted=interrupted,
        )
    return Planned(workloads, catalog, settings, solution)


def _with_unknown(workloads: WorkloadSet, unknown: Unknown) -> WorkloadSet:
    """The workloads, those of unknown need left on the share of a GPU that they have, or as a person says.

    Raises:
        InputError: there is nobody to ask.
    """
    from gpuslice.workloads.today import left_on_shares

    left = left_on_shares(workloads.workloads, workloads.today)
    concerned = [
        after.name for before, after in zip(workloads.workloads, left, strict=True) if before is not after
    ]
    if unknown is Unknown.ASK and concerned:
        if not _at_a_terminal():
            raise InputError(
                "--unknown ask needs a terminal, to ask in",
                fix="--unknown keep leaves these workloads on the share that they have, whole plans whole GPUs",
            )
        who = first_of(concerned, _NAMED)
        question = f"The need of {who} isn't known, and they share GPUs now. Plan whole GPUs for them?"
        unknown = Unknown.WHOLE if typer.confirm(question, err=True) else Unknown.KEEP
    return workloads if unknown is Unknown.WHOLE else replace(workloads, workloads=left)


def _at_a_terminal() -> bool:
    return sys.stdin.isatty()


def in_words(progress: Found) -> str:
    """How far planning has come: what was found, what is proven, and how far apart they are."""
    gap = max(progress.usd - progress.bound, 0.0) / progress.usd if progress.usd else 0.0
    what = "plan" if progress.whole else "fractional mix"
    return f"{what} ${progress.usd:,.2f}, nothing below ${progress.bound:,.2f} an hour, gap {gap:.1%}"


def _policy(path: str, workloads: WorkloadSet, buying: Buying, catalog: Catalog) -> Policy:
    """The policy of the workloads, over it that of a file, and over both that of the options."""
    from msgspec import UNSET

    from gpuslice.workloads.policy import Policy, check_policy, merged, stated_counts, stated_reservations

    policy = workloads.policy
    check_policy(policy, catalog, f"{'stdin' if path == '-' else path}: policy")
    if buying.file:
        stated, where = _policy_file(buying.file)
        check_policy(stated, catalog, f"{where}: ")
        policy = merged(policy, stated)
    options = Policy(
        forbid=buying.forbid,
        max_nodes=stated_counts(buying.max_nodes),
        max_spot_share=UNSET if buying.max_spot_share is None else buying.max_spot_share,
        reserved=stated_reservations(buying.reserved),
        max_pools=UNSET if buying.max_pools is None else buying.max_pools,
    )
    check_policy(options, catalog, "")
    return merged(policy, options)


def _policy_file(path: str) -> tuple[Policy, str]:
    """The policy of a file, and how messages call the file."""
    from gpuslice.artefacts.documents import read_documents
    from gpuslice.artefacts.strict import decode
    from gpuslice.workloads.policy import PolicyFile

    documents = read_documents(path)
    if len(documents) != 1:
        raise InputError(
            f"{len(documents)} documents, where one is wanted", where=path, fix="keep one in the file"
        )
    return decode(documents[0].data, PolicyFile, where=documents[0].where), documents[0].where


def setting(
    workloads: WorkloadSet, catalog_file: str, stack: Stack, overhead: str, gap: float
) -> tuple[Catalog, Settings]:
    """The catalog of the workloads' region, and the rules."""
    from gpuslice.cloud.allocatable import daemonset_overhead, parse_overhead
    from gpuslice.cloud.selection import choose
    from gpuslice.planner.settings import Settings

    catalog = choose(catalog_file, workloads.region)
    taken = parse_overhead(overhead) if overhead else daemonset_overhead()
    return catalog, Settings(taken, overhead_assumed=not overhead, stack=stack, gap=gap)
