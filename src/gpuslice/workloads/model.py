"""What a workload is inside gpuslice: parsed, checked, in integers. Files are read elsewhere in this package."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from gpuslice.workloads.target import Target

if TYPE_CHECKING:
    from gpuslice.hardware.need import Need
    from gpuslice.workloads.measurement import Measurement
    from gpuslice.workloads.node_limits import Take
    from gpuslice.workloads.requirements import Terms

MOST_REPLICAS: Final = 1_000_000  # more is a typing error, and a plan for it means nothing

SLO_SHARE: Final = 0.45
"""Of a latency objective, what a batch may take to run. A request that just misses a batch waits for the whole of it,
so half is the most; a tenth of that is kept for what varies. ParvaGPU (SC 2024) plans with the same figure."""

# Kinds whose pods run to completion: they may be slower, unless told otherwise. All others serve somebody.
JOB_KINDS: Final = frozenset(
    {"Job", "CronJob", "JobSet", "PyTorchJob", "TFJob", "MPIJob", "JAXJob", "RayJob", "Workflow"}
)
# Kinds whose replicas have a template each, so that they need not all go to one pool.
SPLITTABLE_KINDS: Final = frozenset({"Pod"})


@dataclass(frozen=True, slots=True)
class ServiceProfile:
    """Measured behaviour of one replica (a pod) of a service on one slice.

    Attributes:
        slice: its name, see `hardware.slices.Slice.name`.
        batch: requests taken at a time.
        processes: that the pod runs side by side in the slice.
        rate: of each process, in the unit of the service's demand.
        latency_ms: of a batch, with all processes at work.
    """

    slice: str
    batch: int
    processes: int
    rate: float
    latency_ms: float


@dataclass(frozen=True, slots=True)
class Service:
    """A service sized by its load: how many replicas on which slice is the planner's choice.

    Attributes:
        rate: demand, in `unit`; 0: none.
        unit: for people.
        latency_ms: the objective.
        profiles: what was measured, at least one.
        share: of the objective, below which a profile's latency must be.
    """

    rate: float
    unit: str
    latency_ms: float
    profiles: tuple[ServiceProfile, ...]
    share: float = SLO_SHARE


@dataclass(frozen=True, slots=True)
class Workload:
    """Pods from one template, how many of them, and what each needs.

    Attributes:
        name: "namespace/name", unique in a file.
        target: the object that owns its pods.
        replicas: how many, 1..MOST_REPLICAS (0 is allowed and places nothing).
        most_replicas: how many at its peak, where something scales it; 0: not known, or never more.
        tenant: workloads of different tenants never share a time-sliced or MPS GPU.
        cpu_milli, memory_mib: requests of a whole pod, all containers.
        need: what one replica needs of a GPU, and the rules for the slice that it gets.
        slowdown_defaulted: True where the limit was not asked for but is the default for services.
        interruptible: may run on spot.
        on_spot: whether its pods ask for spot nodes now, or are on some.
        arch: "amd64" or "arm64".
        preallocates: whether it takes most of the memory that it sees.
        service: demand and profiles, where it is sized by load.
        measurement: how its need was measured, where it was; planning doesn't read it.
        notes: what reading it showed that a person should know.
        takes: what a pod takes of its node beside CPU, memory and GPUs, ascending.
        stays: why it is left where it is; empty: it may be planned.
    """

    name: str
    replicas: int
    cpu_milli: int
    memory_mib: int
    need: Need
    target: Target = Target()
    tenant: str = ""
    slowdown_defaulted: bool = False
    interruptible: bool = False
    on_spot: bool = False
    arch: str = "amd64"
    preallocates: bool = False
    service: Service | None = None
    measurement: Measurement | None = None
    notes: tuple[str, ...] = field(default=())
    most_replicas: int = 0
    takes: tuple[Take, ...] = ()
    stays: tuple[str, ...] = ()

    @property
    def namespace(self) -> str:
        """The part of the name before the slash."""
        return self.name.partition("/")[0]

    @property
    def requires(self) -> Terms:
        """What its pods require of a node's labels; see `Target.requires`."""
        return self.target.requires

    @property
    def splittable(self) -> bool:
        """Whether its replicas may go to several pools: each has a template of its own."""
        return self.target.kind in SPLITTABLE_KINDS
