"""The replayed cluster: a scheduler that binds pods, Karpenter's model that buys and takes away nodes, and a clock.

Event-driven. What Karpenter decides comes from `gpuslice.karpenter`; what is here is when it looks, how long nodes
take, and what becomes of pods. Assumed, and said in the results: a node takes BOOT_SECONDS from launch until its slices
are there; a pod that is evicted starts again at once wherever there is room; pools are consolidated one at a time.
"""

from __future__ import annotations

import heapq
import random
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gpuslice.carriers.pools import POOL_LABEL
from gpuslice.karpenter.consolidation import Command, next_command
from gpuslice.karpenter.launch import SPOT
from gpuslice.karpenter.lifecycle import come_up, started
from gpuslice.karpenter.model import Pod
from gpuslice.karpenter.provision import provision
from gpuslice.simulator.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from gpuslice.cloud.catalog import InstanceType
    from gpuslice.karpenter.model import Node
    from gpuslice.simulator.policies import Place, Policy
    from gpuslice.workloads.timelines import Life

BOOT_SECONDS: Final = 180.0
"""Assumed: from a NodeClaim to slices that pods can have: EC2's start, the AMI's boot, driver and device plug-in."""
VALIDATION_SECONDS: Final = 15.0
"""Karpenter looks again so long after it has found something to consolidate (core, disruption controller)."""
_HOUR: Final = 3600
LOOK_SECONDS: Final = 10.0
"""Between Karpenter's looks for something to consolidate (core, disruption controller)."""


@dataclass(slots=True, eq=False)
class _Machine:
    """A node and what this replay knows of it.

    Attributes:
        node: as Karpenter knows it.
        free: what pods can still ask for; kept up to date, for it is asked for at every arrival.
        gpus: memory held on each GPU where nothing enforces limits, MiB.
        slots: slots taken on each GPU.
        cards: how many GPUs, or what fraction of one.
    """

    node: Node
    free: dict[str, int]
    gpus: list[int]
    slots: list[int]
    cards: float


@dataclass(slots=True, eq=False)
class _Running:
    """A pod, who it is replica of, and where it is."""

    pod: Pod
    life: Life
    place: Place
    arrived: float
    machine: _Machine | None = None
    gpu: int = 0
    waited: bool = False


class Cluster:
    """One replay of one policy.

    Attributes:
        ledger: what it came to.
        unplaced: pods of workloads that have no place under the policy.
    """

    def __init__(
        self,
        policy: Policy,
        types: Mapping[str, InstanceType],
        memory_mib: Callable[[str], int],
        seconds: float,
        *,
        boot: float = BOOT_SECONDS,
        look: float = LOOK_SECONDS,
        spot_interruptions: float = 0.0,
        seed: int = 0,
    ) -> None:
        """An empty cluster.

        Args:
            policy: by which it is run.
            types: of the catalog, by name.
            memory_mib: usable memory of a GPU, by model.
            seconds: how long the replay lasts.
            boot: seconds from a node's launch until it is ready.
            look: seconds between looks for something to consolidate.
            spot_interruptions: how often EC2 takes a spot node back, times per hour of its life.
            seed: of when it does so.
        """
        self.policy = policy
        self.ledger = Ledger(seconds)
        self.unplaced = 0
        self._types = types
        self._memory_mib = memory_mib
        self._seconds = seconds
        self._boot = boot
        self._look = look
        self._spot_interruptions = spot_interruptions
        self._seed = seed
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = 0
        self._now = 0.0
        self._machines: dict[str, dict[str, _Machine]] = defaultdict(dict)  # by pool, by name
        self._pending: dict[str, dict[str, _Running]] = defaultdict(dict)  # by pool, by UID
        self._running: dict[str, _Running] = {}
        self._batch_since: dict[str, float] = {}
        self._batch_at: dict[str, float] = {}
        self._looking: set[str] = set()
        self._made = 0

    def replay(
        self, lives: Iterable[Life], replans: Iterable[tuple[float, Callable[[], Policy]]] = ()
    ) -> Ledger:
        """Run all pods from their starts to their ends.

        Args:
            lives: of the pods.
            replans: when another policy is adopted, and which: asked for when its time has come.
        """
        for time, policy in replans:
            self._at(time, lambda policy=policy: self.adopt(policy()))  # type: ignore[misc]  # bound now
        for number, life in enumerate(lives):
            uid = f"{number:08d}"
            self._at(life.start, lambda uid=uid, life=life: self._arrive(uid, life))  # type: ignore[misc]  # bound now
            if life.end is not None:
                self._at(life.end, lambda uid=uid: self._depart(uid))  # type: ignore[misc]  # bound now
        while self._events and self._events[0][0] <= self._seconds:
            self._now, _, happen = heapq.heappop(self._events)
            happen()
        self.ledger.close(self._seconds)
        return self.ledger

    @property
    def waiting(self) -> int:
        """Pods without a place."""
        return sum(map(len, self._pending.values()))

    def _at(self, time: float, happen: Callable[[], None]) -> None:
        self._order += 1
        heapq.heappush(self._events, (time, self._order, happen))

    # Pods

    def _arrive(self, uid: str, life: Life) -> None:
        place = self.policy.places.get(life.workload)
        if place is None:
            self.unplaced += 1
            return
        running = _Running(Pod(place.kind, life.start, uid), life, place, life.start)
        self._running[uid] = running
        self._want(running)

    def adopt(self, policy: Policy) -> None:
        """From now on another policy: whoever has another place under it stops, and starts again there."""
        self.policy = policy
        for uid, running in sorted(self._running.items()):
            place = policy.places.get(running.life.workload)
            now = running.pod.kind
            if place is None or (place.kind.selector, place.kind.requests) == (now.selector, now.requests):
                continue
            pool = now.selector[POOL_LABEL]
            if running.machine is None:
                del self._pending[pool][uid]
                self.ledger.pending.add(self._now, -1)
            else:
                self._leave(running)
                self.ledger.replanned += 1
                self._wake(pool)
            running.place, running.pod = place, Pod(place.kind, int(self._now), uid)
            self._want(running)

    def _want(self, running: _Running) -> None:
        """A pod without a place: the scheduler takes what is there, else Karpenter hears of it."""
        pool = running.pod.kind.selector[POOL_LABEL]
        if not self._bind(running, pool):
            self._pending[pool][running.pod.uid] = running
            self.ledger.pending.add(self._now, 1)
            self._batch(pool)

    def _bind(self, running: _Running, pool: str) -> bool:
        """The first node with room, by name. kube-scheduler would spread; both keep every constraint."""
        wanted = running.pod.kind.requests
        for machine in self._machines[pool].values():
            node = machine.node
            if not node.initialized or node.deleting or machine.free["pods"] < 1:
                continue
            if all(machine.free.get(key, 0) >= amount for key, amount in wanted.items()):
                self._take(machine, running)
                return True
        return False

    def _take(self, machine: _Machine, running: _Running) -> None:
        for key, amount in running.pod.kind.requests.items():
            machine.free[key] = machine.free.get(key, 0) - amount
        machine.free["pods"] -= 1
        machine.node.pods.append(running.pod)
        machine.node.last_pod_event = self._now
        running.machine = machine
        self.ledger.used.add(self._now, running.place.gpus)
        if not running.waited:
            running.waited = True
            self.ledger.waits.append(self._now - running.arrived)
        if running.place.slots:
            full = running.place.slots
            running.gpu = next((at for at, taken in enumerate(machine.slots) if taken < full), 0)
            self._hold(machine, running, 1)

    def _hold(self, machine: _Machine, running: _Running, sign: int) -> None:
        """Memory on a GPU whose sharers nothing holds back."""
        at = running.gpu
        room = self._memory_mib(self._types[machine.node.instance_type].gpu)
        before = machine.slots[at] if machine.gpus[at] > room else 0
        machine.gpus[at] += sign * running.place.memory_mib
        machine.slots[at] += sign
        after = machine.slots[at] if machine.gpus[at] > room else 0
        self.ledger.over.add(self._now, (after > 0) - (before > 0))

    def _leave(self, running: _Running) -> None:
        machine = running.machine
        assert machine is not None  # noqa: S101  it is bound
        for key, amount in running.pod.kind.requests.items():
            machine.free[key] += amount
        machine.free["pods"] += 1
        machine.node.pods.remove(running.pod)
        machine.node.last_pod_event = self._now
        running.machine = None
        self.ledger.used.add(self._now, -running.place.gpus)
        if running.place.slots:
            self._hold(machine, running, -1)

    def _depart(self, uid: str) -> None:
        running = self._running.pop(uid, None)
        if running is None:
            return  # it never had a place to ask for
        pool = running.pod.kind.selector[POOL_LABEL]
        if running.machine is None:
            del self._pending[pool][uid]
            self.ledger.pending.add(self._now, -1)
            return
        self._leave(running)
        self._wake(pool)
        self._fill(pool)

    def _fill(self, pool: str) -> None:
        """Who waits takes what has become free."""
        for uid, running in list(self._pending[pool].items()):
            if self._bind(running, pool):
                del self._pending[pool][uid]
                self.ledger.pending.add(self._now, -1)

    # Karpenter: provisioning

    def _batch(self, pool: str) -> None:
        """Karpenter waits until no pod has come for a second, ten at most."""
        settings = self.policy.pools.settings
        since = self._batch_since.setdefault(pool, self._now)
        at = min(self._now + settings.batch_idle, since + settings.batch_max)
        self._batch_at[pool] = at
        self._at(at, lambda: self._provision(pool, at))

    def _provision(self, pool: str, at: float) -> None:
        if self._batch_at.get(pool) != at:
            return  # more pods came
        del self._batch_at[pool]
        del self._batch_since[pool]
        pending = [each.pod for each in self._pending[pool].values()]
        if not pending:
            return
        # Nodes that are ready have no room for them: the scheduler looked. Those on their way may.
        coming = [each.node for each in self._machines[pool].values() if not each.node.initialized]
        for new in provision(self.policy.pools, coming, pending).new:
            if new.launch is not None:
                node = started(self.policy.pools, new, self._name(), self._now)
                machine = self._launch(node)
                self._at(self._now + self._boot, lambda machine=machine: self._ready(machine))  # type: ignore[misc]  # bound now

    def _name(self) -> str:
        self._made += 1
        return f"node-{self._made:08d}"

    def _launch(self, node: Node) -> _Machine:
        kind = self._types[node.instance_type]
        cards = float(kind.gpu_count or kind.gpu_fraction)
        count = max(kind.gpu_count, 1)
        machine = _Machine(node, node.free(), [0] * count, [0] * count, cards)
        self._machines[node.pool][node.name] = machine
        self.ledger.launched += 1
        self.ledger.rate.add(self._now, node.price)
        self.ledger.bought.add(self._now, cards)
        self.ledger.nodes.add(self._now, 1)
        if self._spot_interruptions and node.capacity_type == SPOT:
            # Of each node for itself: what happens to one doesn't change what would happen to the next.
            chance = random.Random(f"{self._seed} {self.policy.name} {node.name}")
            after = chance.expovariate(self._spot_interruptions / _HOUR)
            self._at(self._now + after, lambda: self._interrupt(node))
        return machine

    def _interrupt(self, node: Node) -> None:
        """EC2 wants a spot node back. Karpenter hears of it two minutes ahead, and has it drained at once."""
        if node.name not in self._machines[node.pool]:
            return
        pods = self._take_away(node)
        self.ledger.interruptions += len(pods)
        for running in pods:
            self._want(running)
        # Who counted on a node on its way needs another one.
        if self._pending[node.pool]:
            self._batch(node.pool)

    def _ready(self, machine: _Machine) -> None:
        if machine.node.name not in self._machines[machine.node.pool]:
            return  # taken back on its way up
        come_up(machine.node, self._now)
        machine.free = machine.node.free()
        self._fill(machine.node.pool)
        self._wake(machine.node.pool)

    # Karpenter: consolidation

    def _wake(self, pool: str, after: float | None = None) -> None:
        """Something changed: look at the pool when its consolidateAfter is over."""
        wait = self.policy.pools.by_name[pool].consolidate_after
        if wait is None or pool in self._looking:
            return
        self._looking.add(pool)
        pause = max(wait, self._look) if after is None else after
        at = -(-(self._now + pause) // self._look) * self._look
        self._at(at, lambda: self._consolidate(pool))

    def _consolidate(self, pool: str) -> None:
        self._looking.discard(pool)
        nodes = [each.node for each in self._machines[pool].values()]
        if not nodes:
            return
        pending = [each.pod for each in self._pending[pool].values()]
        command = next_command(self.policy.pools, nodes, pending, now=self._now)
        # A replacement that EC2 can't give fails for as long as nothing changes.
        if command is None or (command.replacement is not None and command.replacement.launch is None):
            wait = self.policy.pools.by_name[pool].consolidate_after or 0.0
            if any(self._settling(node, wait) for node in nodes):
                self._wake(pool)
            return
        self._looking.add(pool)
        self._at(self._now + VALIDATION_SECONDS, lambda: self._carry_out(pool, command))

    def _settling(self, node: Node, wait: float) -> bool:
        """Whether a node will be looked at later than now, without anything else happening."""
        since = node.last_pod_event if node.last_pod_event is not None else node.initialized_at
        return not node.deleting and (not node.initialized or self._now - (since or 0.0) < wait)

    def _carry_out(self, pool: str, command: Command) -> None:
        """The second look: the same command must come out again."""
        self._looking.discard(pool)
        nodes = [each.node for each in self._machines[pool].values()]
        pending = [each.pod for each in self._pending[pool].values()]
        again = next_command(self.policy.pools, nodes, pending, now=self._now)
        if again is None or {each.name for each in again.nodes} != {each.name for each in command.nodes}:
            self._wake(pool, self._look)
            return
        replacement = again.replacement
        if replacement is not None and replacement.launch is None:
            self._wake(pool, self._look)
            return
        for node in again.nodes:
            node.deleting = True
        if replacement is None:
            self._terminate(pool, again)
            return
        machine = self._launch(started(self.policy.pools, replacement, self._name(), self._now))

        def ready() -> None:
            self._ready(machine)
            self._terminate(pool, again)

        self._at(self._now + self._boot, ready)

    def _take_away(self, node: Node) -> list[_Running]:
        """A node goes; its pods have no place for now."""
        machine = self._machines[node.pool].pop(node.name)
        pods = [self._running[pod.uid] for pod in node.pods]
        for running in pods:
            self._leave(running)
        self.ledger.rate.add(self._now, -node.price)
        self.ledger.bought.add(self._now, -machine.cards)
        self.ledger.nodes.add(self._now, -1)
        return pods

    def _terminate(self, pool: str, command: Command) -> None:
        """Nodes go; their pods start again where there is room."""
        moved = [
            running
            for node in command.nodes
            if node.name in self._machines[pool]  # EC2 may have been quicker
            for running in self._take_away(node)
        ]
        self.ledger.evictions += len(moved)
        for running in moved:
            self._want(running)
        self._wake(pool, self._look)
