"""simulation.json: what a replay came to, policy by policy. These structs are the schema."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from gpuslice.artefacts.part import ApiVersion, Part

Amount = Annotated[float, Meta(ge=0)]
Count = Annotated[int, Meta(ge=0)]


class Waits(Part, frozen=True):
    """Seconds that pods waited for a place, of those that got one."""

    p50: Amount
    p95: Amount
    p99: Amount
    longest: Amount


class Over(Part, frozen=True):
    """How it looked over time: means of equally long bins."""

    usd_per_hour: tuple[Amount, ...]
    gpus: tuple[Amount, ...]
    pending: tuple[Amount, ...]


class Outcome(Part, frozen=True):
    """What one policy came to."""

    name: str
    note: str
    usd: Amount
    """The sum over all nodes of price times life, within the replay."""
    usd_per_month: Amount
    """What the mean rate of the replay, kept up for 730 hours, comes to."""
    gpu_hours_bought: Amount
    gpu_hours_used: Amount
    """Of slices with a pod in them, each as large as its share of the card's memory."""
    pending: Waits
    never_placed: Count
    """Pods that waited until they left or the replay ended, or that have no place under the policy."""
    evictions: Count
    """Pods that Karpenter moved: each a restart."""
    exposed_gpu_hours: Amount
    """GPUs, times hours, whose pods together would hold more memory than it has, with nothing to hold them back."""
    misfits: Count
    """Workloads that run outside their rules."""
    nodes_launched: Count
    nodes_at_most: Count
    over_time: Over
    interruptions: Count = 0
    """Pods whose spot node EC2 took back: each a restart."""
    replanned: Count = 0
    """Pods that a new plan moved: each a restart."""


class Demand(Part, frozen=True):
    """What was replayed."""

    source: str
    seconds: Count
    pods: Count
    workloads: Count
    notes: tuple[str, ...] = ()


class Simulation(Part, frozen=True, kw_only=True):
    """simulation.json."""

    api_version: ApiVersion
    kind: Literal["Simulation"]
    region: str
    prices: str
    demand: Demand
    plan: str = ""
    """Digest of the plan that was replayed, where one was; see `digest`."""
    outcomes: tuple[Outcome, ...]
    assumptions: tuple[str, ...] = ()
