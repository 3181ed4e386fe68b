"""The nodes, played: kubelet, nodeadm or Bottlerocket, device plugin, MIG manager, and Node Feature Discovery's worker.

For each instance that Karpenter launches: read its user data, register the Node that the kubelet would, then the
resources that its device plugin would, and report its features. Bound pods run; terminating pods end.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from gpuslice.cloud.allocatable import EFA, EPHEMERAL_STORAGE, allocatable_of, machine_memory_mib
from gpuslice.cloud.catalog import Catalog, InstanceType
from gpuslice.errors import GpusliceError
from gpuslice.hardware.gpus import GPUS
from gpuslice.hardware.stacks import Stack
from gpuslice.rehearsal import device_plugin
from gpuslice.rehearsal.ec2 import NVIDIA
from gpuslice.rehearsal.karpenter import PlayedEc2
from gpuslice.rehearsal.user_data import Boot, boot

_NOT_READY: Final = "node.kubernetes.io/not-ready"
_FEATURE_NAMESPACE: Final = "kube-system"
_FEATURE_NODE: Final = "nfd.node.kubernetes.io/node-name"
_STARTED_S: Final = 30
_ANSWER_S: Final = 60  # sixty nodes that boot at once, on two cores
_BOOTING: Final = 10


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How one node behaves. The default: at once, and right.

    Attributes:
        boot_s: seconds from launch to Ready.
        plugin_s: seconds from Ready until the device plugin registers.
        registers: what of the right resources is registered in the end, by resource; None: all as it should be. An
            empty mapping: the plugin never registers.
    """

    boot_s: float = 0
    plugin_s: float = 0
    registers: Mapping[str, int] | None = None


def obedient(_pool: str, _instance_type: str) -> Behaviour:
    """Every node does at once what it should."""
    return Behaviour()


@dataclass(frozen=True, slots=True)
class _Machine:
    """A launched instance."""

    instance_id: str
    instance_type: str
    zone: str
    name: str
    image: str
    user_data: str


class NodePlayer:
    """Plays all nodes of one cluster, in a thread of its own.

    Attributes:
        behaviour: of a node by its pool and instance type; asked once for each node, and may be replaced at any time.
        troubles: what kept a node from booting or registering, one line each; a real node would log it.

    Args:
        kubeconfig: of an administrator.
        played: the EC2 that has the instances.
        catalog: what the instance types have.
        operator_namespace: where the ConfigMaps of the GPU Operator are.
    """

    def __init__(
        self, kubeconfig: Path, played: PlayedEc2, catalog: Catalog, operator_namespace: str = "gpu-operator"
    ) -> None:
        self.behaviour: Callable[[str, str], Behaviour] = obedient
        self.troubles: list[str] = []
        self._kubeconfig = kubeconfig
        self._played = played
        self._types = catalog.by_name()
        self._namespace = operator_namespace
        self._seen: set[str] = set()
        self._ended: set[str] = set()
        self._plugin: dict[str, dict[str, str]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._images: dict[str, str] = {}
        self._stopped = asyncio.Event()
        self._started = threading.Event()
        self._few = asyncio.Semaphore(_BOOTING)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="node player", daemon=True)

    @contextmanager
    def playing(self) -> Iterator[NodePlayer]:
        """Play until the block is left.

        Raises:
            BaseException: what ended the player before that.
        """
        self._thread.start()
        self._started.wait(_STARTED_S)
        try:
            yield self
        finally:
            if self._loop and self._thread.is_alive():
                self._loop.call_soon_threadsafe(self._stopped.set)
            self._thread.join()
        if self._failure:
            raise self._failure

    def _run(self) -> None:
        try:
            asyncio.run(self._play())
        except BaseException as error:  # noqa: BLE001  told to whoever leaves `playing`
            self._failure = error

    async def _play(self) -> None:
        import boto3
        import httpx2
        from lightkube import AsyncClient, KubeConfig
        from lightkube.operators import not_equal
        from lightkube.resources.core_v1 import Node, Pod

        from gpuslice.rehearsal.kinds import NodeClaim

        self._loop = asyncio.get_running_loop()
        session = boto3.Session("played", "played", region_name=self._played.region)
        # One for all: making one takes longer than all that it is asked.
        self._ec2 = session.client("ec2", endpoint_url=self._played.endpoint)
        config, patient = KubeConfig.from_file(self._kubeconfig), httpx2.Timeout(_ANSWER_S)
        async with AsyncClient(config=config, timeout=patient) as client:
            self._client = client
            watches = (
                self._watch(NodeClaim, self._on_claim),
                self._watch(Node, self._on_node),
                self._watch(Pod, self._on_pod, namespace="*", fields={"spec.nodeName": not_equal("")}),
            )
            running = [asyncio.create_task(watch) for watch in watches]
            self._started.set()
            ended = asyncio.create_task(self._stopped.wait())
            done, _ = await asyncio.wait((*running, ended), return_when=asyncio.FIRST_COMPLETED)
            for task in (*running, *self._tasks, ended):
                task.cancel()
            await asyncio.gather(*running, *self._tasks, ended, return_exceptions=True)
            for task in done - {ended}:
                task.result()  # a watch ends only by an error

    async def _watch(
        self,
        kind: Any,  # noqa: ANN401  lightkube's overloads tell global kinds from namespaced ones
        act: Callable[[str, Any], Coroutine[Any, Any, None] | None],
        **which: Any,  # noqa: ANN401  as above
    ) -> None:
        from lightkube.types import on_error_retry

        async for operation, each in self._client.watch(kind, on_error=on_error_retry, **which):
            work = act(operation, each)
            if work is not None:
                task = asyncio.create_task(self._guarded(work))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        """A node that fails is a trouble of its own; the others go on."""
        from lightkube import ApiError

        try:
            await work
        except ApiError as error:
            if error.status.code not in {404, 409}:  # gone, or changed by another: the next event tells
                self.troubles.append(str(error))
        except GpusliceError as error:
            self.troubles.append(" ".join(str(error).split()))

    def _on_claim(self, operation: str, claim: Any) -> Coroutine[Any, Any, None] | None:  # noqa: ANN401  a dict
        provider_id = (claim.get("status") or {}).get("providerID", "")
        instance_id = provider_id.rpartition("/")[2]
        if operation == "DELETED" or not instance_id or instance_id in self._seen:
            return None
        self._seen.add(instance_id)
        return self._boot(instance_id, provider_id, claim.metadata.labels["karpenter.sh/nodepool"])

    async def _boot(self, instance_id: str, provider_id: str, pool: str) -> None:
        async with self._few:
            machine = await asyncio.to_thread(self._machine, instance_id)
        behaviour = self.behaviour(pool, machine.instance_type)
        await asyncio.sleep(behaviour.boot_s)
        booted = boot(machine.user_data)
        instance = self._types[machine.instance_type]
        async with self._few:
            await self._register(machine, provider_id, booted, instance)
        await asyncio.sleep(behaviour.plugin_s)
        async with self._few:
            await self._start_operands(machine, booted, instance, behaviour)

    def _machine(self, instance_id: str) -> _Machine:
        ec2 = self._ec2
        instance = ec2.describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"][0]
        image = instance["ImageId"]
        if image not in self._images:
            self._images[image] = ec2.describe_images(ImageIds=[image])["Images"][0]["Name"]
        data = ec2.describe_instance_attribute(InstanceId=instance_id, Attribute="userData")
        return _Machine(
            instance_id,
            instance["InstanceType"],
            instance["Placement"]["AvailabilityZone"],
            instance["PrivateDnsName"],
            self._images[image],
            data["UserData"]["Value"],
        )

    async def _register(
        self, machine: _Machine, provider_id: str, booted: Boot, instance: InstanceType
    ) -> None:
        """What the kubelet does: a Node with the labels and taints of its user data, then Ready."""
        from lightkube.resources.core_v1 import Node

        labels = {
            **booted.labels,
            "kubernetes.io/hostname": machine.name,
            "kubernetes.io/arch": instance.arch,
            "kubernetes.io/os": "linux",
            "node.kubernetes.io/instance-type": machine.instance_type,
            "topology.kubernetes.io/zone": machine.zone,
            "topology.kubernetes.io/region": self._played.region,
        }
        node = {
            "metadata": {"name": machine.name, "labels": labels},
            "spec": {"providerID": provider_id, "taints": list(booted.taints)},
        }
        made: Any = Node.from_dict(node)
        await self._client.create(made)
        capacity = {
            "cpu": str(instance.vcpu),
            "memory": f"{machine_memory_mib(instance.memory_mib, instance.arch)}Mi",
            "pods": str(instance.max_pods),
            EPHEMERAL_STORAGE: f"{allocatable_of(instance, EPHEMERAL_STORAGE)}Mi",
            **({EFA: str(instance.efa)} if instance.efa else {}),
        }
        allocatable = capacity | {
            "cpu": f"{instance.allocatable_cpu_milli}m",
            "memory": f"{instance.allocatable_memory_mib}Mi",
        }
        ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", **_now("lastHeartbeatTime")}
        status = {"capacity": capacity, "allocatable": allocatable, "conditions": [ready | _now()]}
        await self._client.patch(Node.Status, machine.name, {"status": status})
        await self._remove_not_ready(machine.name)

    async def _remove_not_ready(self, name: str) -> None:
        """What the node lifecycle controller does, which doesn't run here."""
        from lightkube import ApiError
        from lightkube.resources.core_v1 import Node
        from lightkube.types import PatchType

        while True:
            node = (await self._client.get(Node, name)).to_dict()
            taints = [taint for taint in node["spec"].get("taints", ()) if taint["key"] != _NOT_READY]
            # Karpenter takes its own taints off at the same time: whoever comes second looks again.
            version = {"resourceVersion": node["metadata"]["resourceVersion"]}
            change = {"metadata": version, "spec": {"taints": taints or None}}
            try:
                await self._client.patch(Node, name, change, patch_type=PatchType.MERGE)
                return
            except ApiError as error:
                if error.status.code != 409:
                    raise

    async def _start_operands(
        self, machine: _Machine, booted: Boot, instance: InstanceType, behaviour: Behaviour
    ) -> None:
        """What the device plugin registers, and what Node Feature Discovery and GPU Feature Discovery report."""
        from lightkube.resources.core_v1 import Node

        gpus = max(instance.gpu_count, 1)
        if NVIDIA not in machine.image:
            raise GpusliceError(f"{machine.image} has no NVIDIA driver", where=machine.name)
        if booted.stack is Stack.BOTTLEROCKET:
            right = device_plugin.bottlerocket_registered(instance.gpu, gpus, booted.nvidia)
        else:
            operator = await self._operator()
            right = device_plugin.registered(gpus, booted.labels, operator)
            await self._report(machine.name, booted, instance, gpus, operator)
        offered = right if behaviour.registers is None else behaviour.registers
        amounts = {name: str(count) for name, count in offered.items()}
        if amounts:
            self._plugin[machine.name] = amounts
            status = {"capacity": amounts, "allocatable": amounts}
            await self._client.patch(Node.Status, machine.name, {"status": status})

    async def _operator(self) -> device_plugin.Operator:
        from lightkube.resources.core_v1 import ConfigMap

        from gpuslice.rehearsal.kinds import ClusterPolicy

        policies = [resource async for resource in self._client.list(ClusterPolicy)]
        maps: list[Any] = [
            config_map async for config_map in self._client.list(ConfigMap, namespace=self._namespace)
        ]
        policy: dict[str, Any] = policies[0].get("spec", {}) if policies else {}
        return device_plugin.Operator(
            policy, {config_map.metadata.name: config_map.data or {} for config_map in maps}
        )

    async def _report(
        self, name: str, booted: Boot, instance: InstanceType, gpus: int, operator: device_plugin.Operator
    ) -> None:
        """The NodeFeature object of the node's NFD worker; nfd-master acts on it."""
        from lightkube.resources.core_v1 import Node

        from gpuslice.rehearsal.kinds import NodeFeature

        gpu = GPUS[instance.gpu]
        labels = device_plugin.feature_labels(gpu.product, gpu.memory_mib, gpus, booted.labels, operator)
        node: Any = await self._client.get(Node, name)
        owner = {"apiVersion": "v1", "kind": "Node", "name": name, "uid": node.metadata.uid}
        feature = {
            "apiVersion": "nfd.k8s-sigs.io/v1alpha1",
            "kind": "NodeFeature",
            "metadata": {
                "name": name,
                "namespace": _FEATURE_NAMESPACE,
                "labels": {_FEATURE_NODE: name},
                "ownerReferences": [owner],
            },
            "spec": {
                "labels": {**labels, **booted.feature_labels},
                "features": {
                    "attributes": {"local.feature": {"elements": dict(booted.features)}},
                    "flags": {},
                    "instances": {},
                },
            },
        }
        await self._client.create(NodeFeature.from_dict(feature))

    def _on_node(self, operation: str, node: Any) -> Coroutine[Any, Any, None] | None:  # noqa: ANN401  lightkube's
        """Extended resources that others put into the capacity become allocatable: the kubelet copies them."""
        capacity, allocatable = node.status.capacity or {}, node.status.allocatable or {}
        extended = {name: amount for name, amount in capacity.items() if "/" in name}
        behind = {name: amount for name, amount in extended.items() if allocatable.get(name) != amount}
        gone = {name: None for name in allocatable if "/" in name and name not in extended}
        if operation == "DELETED" or not behind | gone:
            return None
        return self._copy(node.metadata.name, {**behind, **gone})

    async def _copy(self, name: str, amounts: Mapping[str, str | None]) -> None:
        from lightkube.resources.core_v1 import Node

        await self._client.patch(Node.Status, name, {"status": {"allocatable": dict(amounts)}})

    def _on_pod(self, operation: str, pod: Any) -> Coroutine[Any, Any, None] | None:  # noqa: ANN401  lightkube's
        if operation == "DELETED":
            return None
        if pod.metadata.deletionTimestamp:
            # Once: the next pod of a StatefulSet has the same name, and would be ended by a second time.
            if pod.metadata.uid in self._ended:
                return None
            self._ended.add(pod.metadata.uid)
            return self._end_pod(pod)
        return self._run_pod(pod) if pod.status.phase == "Pending" else None

    async def _end_pod(self, pod: Any) -> None:  # noqa: ANN401  lightkube's
        from lightkube.resources.core_v1 import Pod

        await self._client.delete(Pod, pod.metadata.name, namespace=pod.metadata.namespace, grace_period=0)

    async def _run_pod(self, pod: Any) -> None:  # noqa: ANN401  lightkube's
        from lightkube.resources.core_v1 import Pod

        kinds = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")
        running = {"running": {"startedAt": _now()["lastTransitionTime"]}}
        containers = [
            {
                "name": container.name,
                "image": container.image,
                "imageID": "",
                "ready": True,
                "started": True,
                "restartCount": 0,
                "state": running,
            }
            for container in pod.spec.containers
        ]
        status = {
            "phase": "Running",
            "startTime": _now()["lastTransitionTime"],
            "conditions": [{"type": kind, "status": "True", **_now()} for kind in kinds],
            "containerStatuses": containers,
        }
        # Of exactly this pod, not of the next one of its name.
        change = {"metadata": {"uid": pod.metadata.uid}, "status": status}
        await self._client.patch(Pod.Status, pod.metadata.name, change, namespace=pod.metadata.namespace)


def _now(field: str = "lastTransitionTime") -> dict[str, str]:
    return {field: datetime.now(tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}
