"""What a replay knows of nodes and pods beyond what Karpenter does: who is on which GPU, and what that adds up to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gpuslice.hardware.gpus import GPUS
from gpuslice.karpenter.model import PODS

if TYPE_CHECKING:
    from gpuslice.cloud.catalog import InstanceType
    from gpuslice.karpenter.model import Node, Pod
    from gpuslice.simulator.ledger import Ledger
    from gpuslice.simulator.policies import Place, Share


@dataclass(slots=True, eq=False)
class Running:
    """A pod, whose replica it is, and where it is.

    Attributes:
        pod: as Karpenter knows it.
        workload: its name.
        place: where it may be.
        arrived: seconds from the start.
        machine: None while it waits.
        gpu: index of the one that it shares.
        waited: whether it has had a place before.
    """

    pod: Pod
    workload: str
    place: Place
    arrived: float
    machine: Machine | None = None
    gpu: int = 0
    waited: bool = False


@dataclass(slots=True, eq=False)
class Machine:
    """A node and what this replay knows of it.

    Attributes:
        node: as Karpenter knows it.
        kind: its instance type.
        ledger: in which all is counted.
        free: what pods can still ask for; kept up to date, for it is asked for at every arrival.
    """

    node: Node
    kind: InstanceType
    ledger: Ledger
    free: dict[str, int] = field(init=False)
    _held: list[int] = field(init=False)  # MiB on each GPU where nothing enforces limits
    _slots: list[int] = field(init=False)  # taken on each GPU

    def __post_init__(self) -> None:
        self.free = self.node.free()
        gpus = max(self.kind.gpu_count, 1)
        self._held, self._slots = [0] * gpus, [0] * gpus

    @property
    def cards(self) -> float:
        """How many GPUs, or what fraction of one."""
        return float(self.kind.gpu_count or self.kind.gpu_fraction)

    def come_up(self) -> None:
        """The node offers what it does from now on."""
        self.free = self.node.free()

    def holds(self, pod: Pod) -> bool:
        """Whether the pod can be bound here now."""
        node, free = self.node, self.free
        if not node.initialized or node.deleting or free[PODS] < 1:
            return False
        return all(free.get(resource, 0) >= amount for resource, amount in pod.kind.requests.items())

    def take(self, running: Running, now: float) -> None:
        """A pod is bound."""
        for resource, amount in running.pod.kind.requests.items():
            self.free[resource] = self.free.get(resource, 0) - amount
        self.free[PODS] -= 1
        self.node.pods.append(running.pod)
        self.node.last_pod_event = now
        running.machine = self
        share = self._share(running)
        self.ledger.used.add(now, share.gpus)
        if not running.waited:
            running.waited = True
            self.ledger.waits.append(now - running.arrived)
        if share.slots:
            running.gpu = next((at for at, taken in enumerate(self._slots) if taken < share.slots), 0)
            self._hold(running.gpu, share, 1, now)

    def leave(self, running: Running, now: float) -> None:
        """A pod goes."""
        for resource, amount in running.pod.kind.requests.items():
            self.free[resource] += amount
        self.free[PODS] += 1
        self.node.pods.remove(running.pod)
        self.node.last_pod_event = now
        running.machine = None
        share = self._share(running)
        self.ledger.used.add(now, -share.gpus)
        if share.slots:
            self._hold(running.gpu, share, -1, now)

    def _share(self, running: Running) -> Share:
        return running.place.shares[self.node.pool]

    def _hold(self, at: int, share: Share, sign: int, now: float) -> None:
        """Memory on a GPU whose sharers nothing holds back."""
        room = GPUS[self.kind.gpu].memory_mib
        before = self._slots[at] if self._held[at] > room else 0
        self._held[at] += sign * share.memory_mib
        self._slots[at] += sign
        after = self._slots[at] if self._held[at] > room else 0
        self.ledger.over.add(now, (after > 0) - (before > 0))
