"""The form of workloads.yaml: these structs are its schema."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import UNSET, Meta, UnsetType

from gpuslice.artefacts.part import ApiVersion, Part
from gpuslice.artefacts.schema import json_schema
from gpuslice.hardware.features import Feature
from gpuslice.hardware.mechanisms import Isolation
from gpuslice.hardware.need import Source
from gpuslice.workloads.measurement import Measurement
from gpuslice.workloads.model import MOST_REPLICAS, SLO_SHARE
from gpuslice.workloads.policy import Policy
from gpuslice.workloads.target import Target
from gpuslice.workloads.today import Today

SCHEMA_ID: Final = "https://gpuslice.io/schemas/v1alpha1/workloads.json"

# A hint says in a message what a pattern or a range can't say well.
Quantity = str | int | float
Replica = Annotated[int, Meta(ge=0, le=MOST_REPLICAS)]
Positive = Annotated[float, Meta(gt=0, le=1e12)]
Load = Annotated[float, Meta(ge=0, le=1e12)]
Share = Annotated[float, Meta(gt=0, le=1, extra={"hint": "a number above 0, up to 1, such as 0.45"})]
Slowdown = Annotated[float, Meta(ge=1, le=1000)]
Duty = Annotated[float, Meta(gt=0, le=1, extra={"hint": "a number above 0, up to 1, such as 0.18 for 18 %"})]
Models = Annotated[
    tuple[str, ...], Meta(min_length=1, extra={"hint": "a list of GPUs, such as [A10G, L4] or [any]"})
]
Capability = Annotated[str, Meta(pattern=r"^[0-9]{1,2}\.[0-9]$", extra={"hint": 'text such as "8.0"'})]
Region = Annotated[
    str, Meta(pattern=r"^[a-z]{2,}(-[a-z]+)+-[0-9]+$", extra={"hint": "a region, such as us-east-1"})
]
LabelValue = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$",
        extra={"hint": "a label's value: up to 63 letters, digits, '-', '_' or '.'"},
    ),
]


class Replicas(Part, frozen=True, kw_only=True):
    """How many, where that depends on the hour."""

    now: Replica
    peak: Replica


class PodRequests(Part, frozen=True, kw_only=True):
    """Requests of one pod, all containers together. Left out: it requests nothing."""

    cpu: Quantity = "0"
    """Cores: "1500m", 2."""
    memory: Quantity | None = None
    """With its unit: "4Gi"."""
    arch: Literal["amd64", "arm64"] = "amd64"


class TakeEntry(Part, frozen=True, kw_only=True):
    """What one pod takes of its node beside CPU, memory and GPUs."""

    resource: Annotated[str, Meta(min_length=1, max_length=400)]
    """"ephemeral-storage", an extended resource, "host-port/TCP/8080", or a rule: "apart/web/front"."""
    amount: Quantity
    """Storage with its unit, "90Gi"; a whole number of everything else."""
    most: Annotated[int, Meta(ge=1, le=1_000_000)] | UnsetType = UNSET
    """What any node has of it. Left out: what its instance type has."""


class NeedEntry(Part, frozen=True, kw_only=True):
    """What one replica needs of a GPU. Memory, duty and `on` all known: it can be sliced."""

    gpus: Annotated[int, Meta(ge=1, le=64)] = 1
    """Whole GPUs per pod; pods with several are never sliced."""
    memory: Quantity | None = None
    """Peak of one replica, its CUDA context included, with its unit: "5200Mi"."""
    duty: Duty | None = None
    """Mean share of time that it keeps the GPU busy: 0.18."""
    on: str | None = None
    """The GPU that duty was read on, and that it runs on today: "A10G"."""
    source: Source = Source.DECLARED
    """Where the figures come from. Assumed ones are used only if that is asked for."""
    measurement: Measurement | None = None
    """How they were measured, where `gpuslice measure` did."""
    gang: bool = False
    """Its pods are ranks of one job that talk by NCCL, which takes no GPU twice: no two of them share one."""


class GpuRules(Part, frozen=True, kw_only=True):
    """Which GPUs it may run on."""

    allow: Models = ()
    """Models, or "any" alone. Left out: whatever fits."""
    min_compute_capability: Capability | None = None
    """Left out: that of the GPU it runs on today."""
    features: tuple[Feature, ...] = ()


class Demand(Part, frozen=True, kw_only=True):
    """The load to be served."""

    rate: Load
    """Of requests, tokens or whatever else `unit` says; 0 needs no replica."""
    unit: str
    """For people: "requests/s", "tokens/s"."""


class Objective(Part, frozen=True, kw_only=True):
    """The service-level objective."""

    latency_ms: Positive
    """Of one request, from its arrival to its answer."""
    share: Share = SLO_SHARE
    """A profile will do if its latency is below this share of the objective; the rest is for waiting."""


class Profile(Part, frozen=True, kw_only=True):
    """Measured throughput and latency of one replica (a pod) on one slice, the slices beside it as busy as its own."""

    slice: str
    """Such as "A100-80GB/mig/1g.10gb", "L4/time-slicing/4", "L4/whole"."""
    batch: Annotated[int, Meta(ge=1, le=1_000_000)] = 1
    """Requests that it takes at a time."""
    processes: Annotated[int, Meta(ge=1, le=1000)] = 1
    """That the pod runs side by side in its slice."""
    rate: Positive
    """Of each of its processes, in the unit of the demand."""
    latency_ms: Positive
    """Of one batch, with all its processes at work."""


Profiles = Annotated[
    tuple[Profile, ...], Meta(min_length=1, extra={"hint": "a list of at least one profile"})
]


class ServiceEntry(Part, frozen=True, kw_only=True):
    """A service sized by its load: how many replicas on which slice is the planner's choice."""

    demand: Demand
    slo: Objective
    profiles: Profiles


class WorkloadEntry(Part, frozen=True, kw_only=True):
    """Pods from one template, how many of them, and what each needs."""

    name: str
    """namespace/name, unique in the file."""
    target: Target = Target()
    replicas: Replica | Replicas | UnsetType = UNSET
    """Left out only for a service."""
    tenant: LabelValue | UnsetType = UNSET
    """Left out: the namespace."""
    isolation: Isolation = Isolation.NONE
    """The least that is wanted."""
    pod: PodRequests = PodRequests()
    need: NeedEntry = NeedEntry()
    gpu: GpuRules = GpuRules()
    max_slowdown: Slowdown | Literal["none"] | UnsetType = UNSET
    """Expected, against `need.on`, under contention. Left out: 2, and none for jobs."""
    interruptible: bool = False
    """May run on spot."""
    on_spot: bool = False
    """Its pods ask for spot nodes now, or are on some, so that on-demand prices are not what it pays."""
    preallocates: bool = False
    """Takes most of the GPU memory that it sees, so that what it holds is not what it needs."""
    service: ServiceEntry | UnsetType = UNSET
    takes: tuple[TakeEntry, ...] = ()
    """What limits the pods on a node beside CPU, memory and GPUs: storage, ports, anti-affinity and spreads by host."""
    stays: tuple[str, ...] = ()
    """Why it is left where it is; without a reason it is planned."""
    notes: tuple[str, ...] = ()


class Workloads(Part, frozen=True, kw_only=True):
    """What runs on GPUs, and what each needs of one: the file that people review and `gpuslice plan` reads."""

    api_version: ApiVersion
    kind: Literal["Workloads"]
    region: Region
    notes: tuple[str, ...] = ()
    policy: Policy = Policy()
    """What plans for these workloads may buy. Left out: whatever is cheapest."""
    today: Today | UnsetType = UNSET
    """What runs and is paid for, where `gpuslice scan` read it from a cluster."""
    workloads: tuple[WorkloadEntry, ...]


def schema() -> dict[str, object]:
    """JSON Schema of workloads.yaml."""
    return json_schema(Workloads, title="gpuslice Workloads", schema_id=SCHEMA_ID)
