"""NVIDIA's device plugin as a carrier: extended resources, promised by NodeOverlays and made on the nodes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

from msgspec import UNSET

from gpuslice.carriers.carrier import Ask, Kind, NodeSide, Offer, PodChange, Refusal, Share
from gpuslice.carriers.device_plugin import (
    bottlerocket,
    manifests,
    metering,
    mig_parted,
    plugin_config,
    refusals,
    seats,
    terms,
)
from gpuslice.hardware.mechanisms import Mechanism
from gpuslice.hardware.resource_names import GPU_MEMORY, GPU_TIME, SHARED_GPU, WHOLE_GPU
from gpuslice.hardware.stacks import Stack, uniform_geometries, why_not
from gpuslice.plan.artefact import Extended
from gpuslice.plan.layouts import mechanism
from gpuslice.units import MIB, format_memory, parse_quantity
from gpuslice.workloads.annotations import PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from gpuslice.carriers.objects.files import RenderedFile
    from gpuslice.cloud.catalog import InstanceType
    from gpuslice.hardware.slices import Slice
    from gpuslice.plan.artefact import CarrierName, Layout, Pool
    from gpuslice.workloads.target import Target

NAME: Final = "device-plugin"
_NO_OPERANDS: Final = "nvidia.com/gpu.deploy.operands"
_SHARED: Final = Ask(SHARED_GPU)


@dataclass(frozen=True, slots=True)
class DevicePlugin:
    """The device plugin on nodes of one stack: NVIDIA's, by the GPU Operator, or Bottlerocket's own.

    Attributes:
        stack: what nodes run.
    """

    stack: Stack

    name: ClassVar[CarrierName] = NAME
    kinds: ClassVar = (
        Kind("", "ConfigMap"),
        Kind("nfd.k8s-sigs.io", "NodeFeatureRule", pruned=True),
        Kind("nvidia.com", "ClusterPolicy"),
    )

    @property
    def seats(self) -> bool:
        """No file of ours can be put on Bottlerocket's nodes, so nothing tells Node Feature Discovery of seats."""
        return self.stack is Stack.AL2023

    def refuses_slice(self, slice_: Slice) -> Refusal | None:
        """Why no node of the stack can be cut into such slices."""
        metered = slice_.metered_milli is not None
        reason = why_not(self.stack, slice_.gpu.name, slice_.mechanism, metered=metered)
        return None if reason is None else Refusal(reason, ".layout")

    def instances(self, gpu: str) -> Mapping[str, int] | None:
        """Bottlerocket's MIG manager cuts all GPUs of a node into one profile; mig-parted cuts in any way."""
        return uniform_geometries(gpu) if self.stack is Stack.BOTTLEROCKET else None

    def refuses(self, pool: Pool, types: Sequence[InstanceType]) -> Refusal | None:
        """Why a pool can't be carried on machines of these types."""
        return refusals.refusal(pool, self.stack, types)

    def meters(self, gpus: int) -> bool:
        """Only with one GPU: with several the kubelet chooses, and a node's sums say nothing about one of them."""
        return refusals.meters(gpus)

    def ask(self, slice_: Slice) -> Ask:
        """By which extended resource a pod gets a slice."""
        if slice_.profile is not None:
            resource = terms.mig_resource(self.stack, slice_.profile.name)
            return Ask(resource, mechanism=Mechanism.MIG)
        return _SHARED if slice_.sharers > 1 else Ask(WHOLE_GPU)

    def second_ask(self, slice_: Slice, gpus: int) -> Ask | None:
        """A whole GPU that is its node's only one can be offered as a shared one; of several, two pods may get one."""
        return _SHARED if slice_.mechanism is Mechanism.WHOLE and gpus == 1 else None

    def ask_in(self, asks: Extended, layout: Layout) -> Ask:
        """By which extended resource pods get their slice."""
        return Ask(asks.resource, mechanism=Mechanism.MIG if mechanism(layout) is Mechanism.MIG else None)

    def asks(self, ask: Ask, count: int, share: Share | None = None, seat: str = "") -> Extended:
        """What a plan has a pod ask for, by extended resources."""
        if share is None:
            return Extended(ask.name, count, seat=seat)
        return Extended(ask.name, count, format_memory(share.memory_mib), share.time_milli, seat)

    def share(self, asks: Extended) -> Share | None:
        """What a pod asks for of a metered GPU."""
        if asks.gpu_memory is UNSET or asks.gpu_time is UNSET:
            return None
        return Share(-int(-parse_quantity(asks.gpu_memory) // MIB), asks.gpu_time)

    def requests(self, asks: Extended) -> dict[str, str]:
        """What a pod's container asks for, by extended resource."""
        asked = {asks.resource: str(asks.count)}
        if asks.gpu_memory is not UNSET:
            asked[GPU_MEMORY] = asks.gpu_memory
        if asks.gpu_time is not UNSET:
            asked[GPU_TIME] = str(asks.gpu_time)
        if asks.seat:
            asked[asks.seat] = "1"
        return asked

    def offers(self, pool: Pool, machine: InstanceType) -> Offer:
        """What one node of a pool offers, by extended resource."""
        return terms.offer(pool, self.stack, machine)

    def limits(self, pool: Pool) -> Mapping[str, int]:
        """The most seats that all nodes of a pool together may offer."""
        return terms.seat_limits(pool)

    def node(self, pool: Pool) -> NodeSide:
        """What the nodes of a pool are told. Whole GPUs without seats Karpenter knows from EC2."""
        layout = pool.layout
        promises = mechanism(layout) is not Mechanism.WHOLE or bool(pool.seats)
        if self.stack is Stack.BOTTLEROCKET:
            boot = "-".join(filter(None, ("bottlerocket", bottlerocket.layout_name(layout))))
            # It brings its own device plugin: the GPU Operator, if there is one, must leave its nodes alone.
            return NodeSide(boot, bottlerocket.user_data(layout), {_NO_OPERANDS: "false"}, promises)
        labels = {plugin_config.CONFIG_LABEL: plugin_config.config_key(terms.configured(pool))}
        if mechanism(layout) is Mechanism.MIG:
            labels[mig_parted.CONFIG_LABEL] = mig_parted.entry_name(layout)
        if pool.seats:
            return NodeSide(seats.seats_name(pool), seats.user_data(pool), labels, promises)
        if layout.metered is not UNSET:
            boot = metering.layout_name(layout, layout.metered)
            return NodeSide(boot, metering.user_data(layout, layout.metered), labels, promises)
        return NodeSide(self.stack.value, "", labels, promises)

    def pod(self, asks: Extended, target: Target) -> PodChange:
        """How the extended resources of a container change.

        A pod that goes on asking for whole GPUs keeps them: which of its containers asks for how many is its own
        affair.
        """
        asked = self.requests(asks)
        limits, requests = frozenset(target.gpu_limits), frozenset(target.gpu_requests)
        today = {name for name in limits | requests if not name.startswith(PREFIX)}
        if asks.resource == WHOLE_GPU and today == {WHOLE_GPU}:
            del asked[WHOLE_GPU]
            return PodChange(asked, limits - {WHOLE_GPU}, requests - {WHOLE_GPU})
        return PodChange(asked, limits, requests)

    def objects(self, pools: Iterable[Pool], namespace: str) -> Sequence[RenderedFile]:
        """The GPU Operator's settings, where the stack needs it, and rules for Node Feature Discovery."""
        pools = [*pools]
        files = manifests.operator_files(pools, namespace) if self.stack is Stack.AL2023 else []
        return files + manifests.feature_files(pools)
