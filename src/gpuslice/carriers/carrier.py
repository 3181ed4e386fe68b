"""The seam between a plan and whoever hands out GPUs: how a layout becomes something that a pod can ask for.

What boots (the stack) and who hands out GPUs (the carrier) are two things: a pool names its carrier, a plan its stack.
Everyone who plans, renders or looks at a cluster asks a `Carrier`, got from `carriers.table`; what resources are called
is its own business. Pure: nothing here reads a file or a cluster.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from gpuslice.errors import InputError
from gpuslice.units import parse_quantity

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from gpuslice.carriers.objects.files import RenderedFile
    from gpuslice.cloud.catalog import InstanceType
    from gpuslice.hardware.mechanisms import Mechanism
    from gpuslice.hardware.slices import Slice
    from gpuslice.plan.artefact import Asks, CarrierName, Layout, Pool
    from gpuslice.workloads.target import Target


@dataclass(frozen=True, slots=True, order=True)
class Ask:
    """What a pod template says to get a slice. A value to compare: pods with equal asks can have the same slices.

    Attributes:
        name: of what is asked for, whatever the carrier calls it. Nobody else takes it apart.
        gpu: the only model that it may come from; empty: any.
        mechanism: the only one that gives it; None: several do. It follows from the name.
    """

    name: str
    gpu: str = ""
    mechanism: Mechanism | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Share:
    """What a pod takes of a metered GPU.

    Attributes:
        memory_mib: MiB.
        time_milli: thousandths of its time.
    """

    memory_mib: int
    time_milli: int


@dataclass(frozen=True, slots=True)
class Offer:
    """What one node has for pods to ask for.

    Attributes:
        pieces: how many of each thing that is counted; 0: none, where there would otherwise be some.
        shares: Kubernetes quantities of what is shared out in any amounts.
    """

    pieces: Mapping[str, int]
    shares: Mapping[str, str] = field(default_factory=dict)

    @property
    def quantities(self) -> dict[str, str]:
        """All of it as Kubernetes quantities, pieces first."""
        return {name: str(count) for name, count in self.pieces.items()} | dict(self.shares)

    @property
    def amounts(self) -> dict[str, int]:
        """All of it in whole numbers of its own unit: pieces, bytes, thousandths."""
        return dict(self.pieces) | amounts(self.shares)


def amounts(quantities: Mapping[str, str]) -> dict[str, int]:
    """Kubernetes quantities in whole numbers of their own units: pieces, bytes, thousandths."""
    return {name: int(parse_quantity(text)) for name, text in quantities.items()}


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a layout can't be had.

    Attributes:
        reason: in words.
        where: the field of the pool that is at odds: ".layout".
        fix: what to do; empty: nothing is known.
    """

    reason: str
    where: str = ""
    fix: str = ""

    def error(self) -> InputError:
        """The refusal as an error of the one who wrote the plan."""
        return InputError(self.reason, where=self.where, fix=self.fix)


@dataclass(frozen=True, slots=True)
class NodeSide:
    """What a pool's nodes are told.

    Attributes:
        boot: names how they boot: pools with equal ones share an EC2NodeClass; empty: as the stack does by itself.
        user_data: for their first boot; empty: none.
        labels: of the nodes.
        promises: whether Karpenter has to be told by overlays what they offer, as it can't know it from EC2.
    """

    boot: str
    user_data: str
    labels: Mapping[str, str]
    promises: bool


@dataclass(frozen=True, slots=True)
class PodChange:
    """How a container's resources change.

    Attributes:
        limits: what it asks for from now on, by resource.
        gone_from_limits: names that its limits may have today, and that the plan decides about.
        gone_from_requests: names that its requests may have today, and that the plan decides about.
    """

    limits: Mapping[str, str]
    gone_from_limits: frozenset[str]
    gone_from_requests: frozenset[str]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of objects.

    Attributes:
        group: of its API; empty: Kubernetes' core.
        name: such as "ConfigMap".
        pruned: whether an object goes when no plan has it any more; else only fields of it are a plan's.
    """

    group: str
    name: str
    pruned: bool = False


class Carrier(Protocol):
    """One way to hand out GPUs, on nodes of one stack."""

    @property
    def name(self) -> CarrierName:
        """How a plan names it in a pool's `carrier`."""

    @property
    def kinds(self) -> Sequence[Kind]:
        """Kinds of its own objects, in the order in which they are written: before anything that brings nodes."""

    @property
    def seats(self) -> bool:
        """Whether its nodes can offer places for replicas of certain workloads."""

    def refuses_slice(self, slice_: Slice) -> Refusal | None:
        """Why no node can be cut into such slices; None where some can."""

    def instances(self, gpu: str) -> Mapping[str, int] | None:
        """Where all GPUs of a node have to be cut by MIG into one profile: how many each gives. None: any geometry."""

    def refuses(self, pool: Pool, types: Sequence[InstanceType]) -> Refusal | None:
        """Why a pool can't be carried on machines of these types; None where it can.

        Raises:
            InputError: the layout contradicts itself.
        """

    def meters(self, gpus: int) -> bool:
        """Whether pods can share out memory and time of a node with so many GPUs in any amounts."""

    def ask(self, slice_: Slice) -> Ask:
        """By what a pod gets a slice."""

    def second_ask(self, slice_: Slice, gpus: int) -> Ask | None:
        """By what else it could be had on a node with so many GPUs where seats keep others away; None: by nothing."""

    def ask_in(self, asks: Asks, layout: Layout) -> Ask:
        """By what pods of a plan get a slice of a layout, as `ask` and `second_ask` say it."""

    def asks(self, ask: Ask, count: int, share: Share | None = None, seat: str = "") -> Asks:
        """What a plan has a pod ask for.

        Args:
            ask: by what it gets its slices.
            count: of them.
            share: of a metered GPU, where that is counted pod by pod.
            seat: the name of its seat, where it has one.
        """

    def share(self, asks: Asks) -> Share | None:
        """What a pod asks for of a metered GPU; None: that isn't counted."""

    def requests(self, asks: Asks) -> dict[str, str]:
        """What a pod's container asks for beside CPU and memory, as Kubernetes quantities by resource."""

    def offers(self, pool: Pool, machine: InstanceType) -> Offer:
        """What one node of a pool has for pods to ask for."""

    def limits(self, pool: Pool) -> Mapping[str, int]:
        """The most that all nodes of a pool together may offer, by resource; empty where there is no such limit."""

    def node(self, pool: Pool) -> NodeSide:
        """What the nodes of a pool are told."""

    def pod(self, asks: Asks, target: Target) -> PodChange:
        """How the resources of a container change that is to ask for so much."""

    def objects(self, pools: Iterable[Pool], namespace: str) -> Sequence[RenderedFile]:
        """Files with objects of its own that pools need, whichever nodes they run on.

        Args:
            pools: that it carries.
            namespace: of the GPU Operator.
        """
