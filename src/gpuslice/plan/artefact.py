"""plan.yaml: pools, who goes where, nodes, dollars, the bound, baselines, reasons, assumptions.

These structs are the schema: docs/reference has the JSON Schema that is generated from them.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, get_args

from msgspec import UNSET, Meta, UnsetType, field

from gpuslice.artefacts.part import Part
from gpuslice.hardware.resource_names import seat_of
from gpuslice.workloads.policy import Policy
from gpuslice.workloads.requirements import Requirement
from gpuslice.workloads.target import Target

Version = Literal["gpuslice.io/v1alpha2"]
API_VERSION: Final[Version] = get_args(Version)[0]

CarrierName = Literal["device-plugin"]

Name = Annotated[str, Meta(min_length=1, max_length=253)]
Count = Annotated[int, Meta(ge=0, le=10_000_000)]
Positive = Annotated[int, Meta(ge=1, le=10_000_000)]
Usd = Annotated[float, Meta(ge=0)]
Termination = Literal["gap", "work-limit", "time-limit", "interrupted", "exhausted"]
Figure = Annotated[float, Meta(gt=0)]


class Metered(Part, frozen=True):
    """A single GPU whose memory and time are counted by the scheduler."""

    memory: str
    """`gpuslice.io/gpu-memory` of a node: a Kubernetes quantity, such as "21Gi" or "21504Mi"."""
    time: Annotated[int, Meta(ge=1, le=1000)]
    """`gpuslice.io/gpu-time` of a node: thousandths of the GPU's time."""


class GeometryEntry(Part, frozen=True):
    """So many MIG instances of one profile on one GPU."""

    profile: str
    count: Annotated[int, Meta(ge=1, le=8)]


Geometry = tuple[GeometryEntry, ...]


class Layout(Part, frozen=True):
    """How every GPU of a node is cut."""

    gpu: str
    mechanism: Literal["whole", "time-slicing", "mps", "mig", "fractional"]
    replicas: Annotated[int, Meta(ge=2, le=48)] | UnsetType = UNSET
    """Time-slicing and MPS: slots per GPU; metered: the most pods that may share."""
    slot_time: Annotated[int, Meta(ge=1, le=1000)] | UnsetType = UNSET
    """Equal slots: thousandths of the GPU's time that no pod of the pool may exceed, so that any mix is right."""
    metered: Metered | UnsetType = UNSET
    geometry: Geometry | UnsetType = UNSET
    """MIG, where all GPUs of a node are cut alike."""
    geometries: tuple[Geometry, ...] | UnsetType = UNSET
    """MIG, one list per GPU index, where they differ."""


class Node(Part, frozen=True):
    """Nodes that are alike: what one costs and carries."""

    instance_type: Name
    purchase: Literal["on-demand", "spot", "reserved"]
    count: Positive
    usd_per_hour: Usd
    """Price of one node."""
    pods: dict[str, Positive]
    """What one such node carries: replicas by workload."""


class OptimalNode(Part, frozen=True):
    """Nodes of the cheapest packing, which have no pool: each says its layout itself."""

    instance_type: Name
    purchase: Literal["on-demand", "spot", "reserved"]
    count: Positive
    usd_per_hour: Usd
    layout: Layout
    pods: dict[str, Positive]
    slices: dict[str, dict[str, Positive]] = field(default_factory=dict)
    """Of services sized by load, how many of these pods are on which slice: what each does depends on it."""


class Pool(Part, frozen=True):
    """What realises one layout for one group of workloads."""

    name: Annotated[str, Meta(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")]
    layout: Layout
    instance_types: tuple[Name, ...]
    purchases: tuple[Literal["on-demand", "spot", "reserved"], ...]
    nodes: tuple[Node, ...]
    carrier: CarrierName
    """Who hands out its GPUs."""
    requires: tuple[Requirement, ...] = ()
    """What its nodes are since pods there require it: in which zones, and the labels of the cluster's owner that they
    carry, one value each."""
    as_shared: bool = False
    """With seats: whole GPUs are offered by the name of shared ones, as somebody with a seat here has seats on shared
    GPUs too, and one template for all."""
    tenant: str = ""
    """The only tenant admitted; empty where tenants may mix (whole GPUs, MIG, fractional)."""
    seats: dict[Name, Positive] = field(default_factory=dict)
    """What one node offers of places for replicas, by workload, each workload's a resource of its own, so that nobody
    else can take them; empty: whoever names the pool goes wherever there is room."""
    seat_names: dict[Name, str] = field(default_factory=dict)
    """By workload, the extended resource that stands for its seats: another one for another need, so that nobody takes
    a seat of the wrong size."""
    max_nodes: Positive | UnsetType = UNSET
    """With seats: Karpenter launches no more, and prefers this pool as long as there are fewer. Absent in the pool of a
    workload alone, where whoever finds no other seat goes."""

    def seat_of(self, workload: str) -> str:
        """The extended resource of a workload's seats, where it has some here."""
        return self.seat_names.get(workload, seat_of(workload))


class Extended(Part, frozen=True, tag_field="by", tag="extended-resources"):
    """What a pod asks a device plugin for: extended resources."""

    resource: str
    """The one that stands for its slice."""
    count: Positive
    """How many of it: more than one only for several whole GPUs."""
    gpu_memory: str | UnsetType = UNSET
    """On a metered pool without seats, `gpuslice.io/gpu-memory`: a Kubernetes quantity."""
    gpu_time: Annotated[int, Meta(ge=1, le=1000)] | UnsetType = UNSET
    """On a metered pool without seats, `gpuslice.io/gpu-time`: thousandths."""
    seat: str = ""
    """In a pool with seats, the extended resource that stands for a place of this workload, of which each pod asks for
    one. All assignments of the workload then have one template."""


Asks = Extended
"""What a pod asks for. Each form says by what: in files, `by`."""


class Served(Part, frozen=True):
    """What the replicas of a service sized by its load can do, as measured."""

    demand: Figure
    unit: str
    throughput: Figure
    """Of one replica: the rate of its profile x the processes."""
    latency_ms: Figure
    """Of a batch, in milliseconds."""
    limit_ms: Figure
    """Which that must be below."""
    batch: Positive
    processes: Positive
    """That the pod has to run side by side in its slice."""


class Assignment(Part, frozen=True):
    """Where a workload goes and why. Several for one workload only with seats, or with a template for each replica."""

    workload: Name
    pool: Name
    replicas: Positive
    slice: str
    """Such as "L4/time-slicing/4", "H100/mig/1g.10gb"."""
    asks: Asks
    """What each of its pods asks for."""
    because: str
    target: Target = Target()
    expected_slowdown: float | UnsetType = UNSET
    """Against the GPU that the need was read on; absent where the need is not known."""
    utilisation: float | UnsetType = UNSET
    """Mean share of its slice that it keeps busy; absent where the need is not known."""
    memory_limit: str | UnsetType = UNSET
    """What the framework must keep to, where it preallocates and the mechanism doesn't enforce: a quantity."""
    service: Served | UnsetType = UNSET
    """Where `replicas` is the planner's choice: the workload's patch sets it."""


class Unplaced(Part, frozen=True):
    """A workload that fits nothing, and why."""

    workload: Name
    replicas: Count
    reason: str
    stays: bool = False
    """Whether it is left where it is, which is no fault of the plan."""
    whole_gpus_usd_per_hour: Usd | UnsetType = UNSET
    """What whole GPUs for it would cost, where it is left; absent: that isn't known."""


class Baseline(Part, frozen=True):
    """What another way to run the same workloads would cost."""

    name: str
    usd_per_hour: Usd
    misfits: Count
    """Workloads that it would run outside their rules, or not at all; its price has them in."""
    note: str = ""
    on_spot: Count = 0
    """Of these workloads, those that run on spot nodes, or may: they don't pay its price, which is on demand."""


class Now(Part, frozen=True, kw_only=True):
    """What is paid now for all GPU nodes of the cluster, as it was read there."""

    usd_per_hour: Usd
    """As far as prices are known."""
    unpriced: Count = 0
    """Nodes whose price isn't known: they are in none of these figures but this and the next."""
    unpriced_on_demand_usd_per_hour: Usd = 0.0
    """What those would come to on demand, as far as that is known."""
    staying_usd_per_hour: Usd = 0.0
    """Of `usdPerHour`, nodes that go on beside the plan's: they carry pods that this plan leaves where they are."""
    idle_usd_per_hour: Usd = 0.0
    """Of `usdPerHour`, nodes without a pod that has a GPU: they can go without any plan."""
    nodes: Count
    read: str = ""
    """On which day; empty: the input didn't say."""
    prices: str = ""
    """Of which day they are."""

    @property
    def known(self) -> bool:
        """Whether the price of every node is known."""
        return not self.unpriced


class CatalogReference(Part, frozen=True):
    """Which catalog the plan was made with."""

    region: str
    prices: str


class Overhead(Part, frozen=True):
    """What daemonsets take of every node before any workload: Kubernetes quantities."""

    cpu: str
    memory: str
    pods: Count


class ModelsToday(Part, frozen=True):
    """GPU models that workloads run on today, by workload, where nothing in what was planned says them."""

    stated: dict[Name, str] = field(default_factory=dict)
    """By whoever planned."""
    assumed: dict[Name, str] = field(default_factory=dict)
    """By the plan: that of the cheapest machine which Karpenter launches for a pod as it is. Each has whole GPUs of it,
    and of no other."""


NO_MODELS: Final = ModelsToday()


class BillSpread(Part, frozen=True):
    """What Karpenter's bill comes to, as pods arrive in one order or another."""

    lowest: Usd
    mean: Usd
    highest: Usd


class Change(Part, frozen=True):
    """What this plan keeps of the one before, and what the other choice would have been."""

    kept: bool
    """Whether everybody who may stays where it is; else it was worth moving."""
    kept_usd_per_hour: Usd
    """With everybody who may where it is."""
    free_usd_per_hour: Usd
    """With everybody where it is cheapest."""
    restarts: Count
    """Replicas whose pod template changes, in this plan."""
    free_restarts: Count
    """Replicas whose pod template would change with everybody where it is cheapest."""
    min_saving: Annotated[float, Meta(ge=0, le=1)]
    """Share of the bill that moving must save."""


class OnePoolEach(Part, frozen=True):
    """What the plan would be without seats, each workload in one pool."""

    usd_per_hour: Usd
    pools: Count


class Summary(Part, frozen=True):
    """The plan in numbers."""

    status: Literal["optimal", "feasible", "infeasible"]
    termination: Termination
    """gap: within the tolerance asked for; work-limit: it has done all the work that it may; time-limit: the clock
    stopped it, so that the same input may give another plan; exhausted: nothing left to try, the gap is what it is."""
    usd_per_hour: Usd
    """Realised: what Karpenter launches for these pools, in the order of arrival whose bill is nearest to the mean."""
    optimal_usd_per_hour: Usd
    """The cheapest packing found, replicas of a workload going to several pools if that is cheaper."""
    bound_usd_per_hour: Usd
    """Proven: no plan within the rules costs less."""
    gap: Annotated[float, Meta(ge=0, le=1)]
    """(optimal - bound) / optimal."""
    now: Now | UnsetType = UNSET
    """What is paid now, where workloads were read from a cluster; absent: nothing is known of it."""
    baselines: tuple[Baseline, ...] = ()
    """Hypothetical ways to run what is planned."""
    change: Change | UnsetType = UNSET
    """Against the previous plan, where one was given and anybody may stay."""
    any_pools_usd_per_hour: Usd | UnsetType = UNSET
    """What it costs with as many pools as pay for themselves; absent where policy.maxPools asks for no fewer."""
    one_pool_each: OnePoolEach | UnsetType = UNSET
    """Of a plan with seats: what it would be without."""
    spread: BillSpread | UnsetType = UNSET
    """The realised bill over orders of arrival, dollars per hour; absent where there is nothing to place."""

    @property
    def after_usd_per_hour(self) -> float:
        """What will be paid: the plan's nodes, and those that go on beside them."""
        return self.usd_per_hour + (self.now.staying_usd_per_hour if self.now is not UNSET else 0.0)


class MissingType(Part, frozen=True):
    """What it means while EC2 is out of an instance type that the plan launches."""

    instance_type: Name
    usd_per_hour: float
    """What all pools together then cost more; on average over orders of arrival."""
    waiting: Count
    """Replicas that have no other instance type in their pool, and stay pending."""


class Plan(Part, frozen=True, kw_only=True):
    """plan.yaml."""

    api_version: Version
    kind: Literal["Plan"]
    catalog: CatalogReference
    stack: Literal["al2023", "bottlerocket"]
    """What nodes run: which layouts are possible, and how they are rendered."""
    overhead: Overhead
    policy: Policy = Policy()
    """What it was allowed to buy."""
    models_today: ModelsToday = NO_MODELS
    """What it takes for known of workloads, beside what they say themselves."""
    summary: Summary
    pools: tuple[Pool, ...]
    assignments: tuple[Assignment, ...]
    unplaced: tuple[Unplaced, ...] = ()
    optimal_nodes: tuple[OptimalNode, ...] = ()
    missing: tuple[MissingType, ...] = ()
    """Types that are launched; without those of pools about which the model of Karpenter wasn't asked."""
    assumptions: tuple[str, ...] = ()
