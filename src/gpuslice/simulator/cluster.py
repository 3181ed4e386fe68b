"""The replayed cluster: a scheduler that binds pods, Karpenter's model that buys and takes away nodes, and a clock.

Event-driven. What Karpenter decides comes from `gpuslice.karpenter`; what is here is when it looks, how long nodes
take, and what becomes of pods. Assumed, and said in the results: a node takes BOOT_SECONDS from launch until its slices
are there; a pod that is evicted starts again at once wherever there is room; pools are consolidated one at a time,
those that share pods together.
"""

from __future__ import annotations

import heapq
import random
from collections import defaultdict
from typing import TYPE_CHECKING, Final

from gpuslice.karpenter.consolidation import Command, next_command
from gpuslice.karpenter.launch import SPOT
from gpuslice.karpenter.lifecycle import come_up, started
from gpuslice.karpenter.model import Pod
from gpuslice.karpenter.provision import provision
from gpuslice.karpenter.times import BOOT_SECONDS, LOOK_SECONDS, VALIDATION_SECONDS
from gpuslice.simulator.ledger import Ledger
from gpuslice.simulator.machines import Machine, Running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from gpuslice.cloud.catalog import InstanceType
    from gpuslice.karpenter.model import Node
    from gpuslice.simulator.policies import ReplayPolicy
    from gpuslice.workloads.timelines import Life

_HOUR: Final = 3600

Together = tuple[str, ...]
"""Pools that share pods, the preferred ones first: what happens in one of them concerns all."""


class Cluster:
    """One replay of one policy.

    Attributes:
        policy: by which it is run now.
        ledger: what it came to.
        wanted: pods that have come.
        unplaced: those of workloads that have no place under the policy.
    """

    def __init__(
        self,
        policy: ReplayPolicy,
        types: Mapping[str, InstanceType],
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
            seconds: how long the replay lasts.
            boot: seconds from a node's launch until it is ready.
            look: seconds between looks for something to consolidate.
            spot_interruptions: how often EC2 takes a spot node back, times per hour of its life.
            seed: of when it does so.
        """
        self.policy = policy
        self.ledger = Ledger(seconds)
        self.wanted = 0
        self.unplaced = 0
        self._types = types
        self._seconds = seconds
        self._boot = boot
        self._look = look
        self._spot_interruptions = spot_interruptions
        self._seed = seed
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = 0
        self._now = 0.0
        self._machines: dict[str, dict[str, Machine]] = defaultdict(dict)  # by pool, by name
        self._pending: dict[Together, dict[str, Running]] = defaultdict(dict)  # by UID
        self._running: dict[str, Running] = {}
        self._standing: dict[str, int] = defaultdict(int)  # pods of services sized by load, by workload
        self._batch_since: dict[Together, float] = {}
        self._batch_at: dict[Together, float] = {}
        self._looking: set[Together] = set()
        self._made = 0

    def replay(
        self, lives: Iterable[Life], replans: Iterable[tuple[float, Callable[[], ReplayPolicy]]] = ()
    ) -> Ledger:
        """Run all pods from their starts to their ends.

        Args:
            lives: of the pods.
            replans: when another policy is adopted, and which: asked for when its time has come.
        """
        for time, policy in replans:
            self._at(time, lambda policy=policy: self.adopt(policy()))  # type: ignore[misc]  # bound now
        self._at(0.0, self._stand)
        for number, life in enumerate(lives):
            uid = f"{number:08d}"
            self._at(life.start, lambda uid=uid, life=life: self._arrive(uid, life.workload))  # type: ignore[misc]  # bound now
            if (
                life.end is not None and life.end < self._seconds
            ):  # who is there to the end frees nothing for others
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

    def _arrive(self, uid: str, workload: str) -> None:
        self.wanted += 1
        place = self.policy.places.get(workload)
        if place is None:
            self.unplaced += 1
            return
        running = Running(Pod(place.kind, int(self._now), uid), workload, place, self._now)
        self._running[uid] = running
        self._want(running)

    def _stand(self) -> None:
        """Services sized by their load get as many replicas as the policy gives them."""
        for workload in sorted({*self._standing, *self.policy.standing}):
            wanted = self.policy.standing.get(workload, 0)
            for number in range(self._standing[workload], wanted):
                self._arrive(f"{workload} {number:08d}", workload)
            for number in range(wanted, self._standing[workload]):
                self._depart(f"{workload} {number:08d}")
            self._standing[workload] = wanted

    def adopt(self, policy: ReplayPolicy) -> None:
        """From now on another policy: whoever has another place under it stops, and starts again there.

        Pools of both may share pods only if they did so before.
        """
        self.policy = policy
        for uid, running in sorted(self._running.items()):
            place = policy.places.get(running.workload)
            now = running.pod.kind
            if place is None or (place.kind.selector, place.kind.requests) == (now.selector, now.requests):
                continue
            together = self._together(running)
            if running.machine is None:
                del self._pending[together][uid]
                self.ledger.pending.add(self._now, -1)
            else:
                running.machine.leave(running, self._now)
                self.ledger.replanned += 1
                self._wake(together)
            running.place, running.pod = place, Pod(place.kind, int(self._now), uid)
            self._want(running)
        self._stand()

    def _together(self, running: Running) -> Together:
        """The pools in which a pod may be, and those that share pods with them."""
        return self.policy.together[next(iter(running.place.shares))]

    def _machines_of(self, together: Together) -> Iterator[Machine]:
        for pool in together:
            yield from self._machines[pool].values()

    def _want(self, running: Running) -> None:
        """A pod without a place: the scheduler takes what is there, else Karpenter hears of it."""
        together = self._together(running)
        if not self._bind(running, together):
            self._pending[together][running.pod.uid] = running
            self.ledger.pending.add(self._now, 1)
            self._batch(together)

    def _bind(self, running: Running, together: Together) -> bool:
        """The first node with room, by pool and name. kube-scheduler would spread; both keep every constraint."""
        for machine in self._machines_of(together):
            if machine.node.pool in running.place.shares and machine.holds(running.pod):
                machine.take(running, self._now)
                return True
        return False

    def _depart(self, uid: str) -> None:
        running = self._running.pop(uid, None)
        if running is None:
            return  # it never had a place to ask for
        together = self._together(running)
        if running.machine is None:
            del self._pending[together][uid]
            self.ledger.pending.add(self._now, -1)
            return
        running.machine.leave(running, self._now)
        self._wake(together)
        self._fill(together)

    def _fill(self, together: Together) -> None:
        """Who waits takes what has become free."""
        for uid, running in list(self._pending[together].items()):
            if self._bind(running, together):
                del self._pending[together][uid]
                self.ledger.pending.add(self._now, -1)

    # Karpenter: provisioning

    def _batch(self, together: Together) -> None:
        """Karpenter waits until no pod has come for a second, ten at most."""
        settings = self.policy.pools.settings
        since = self._batch_since.setdefault(together, self._now)
        at = min(self._now + settings.batch_idle, since + settings.batch_max)
        self._batch_at[together] = at
        self._at(at, lambda: self._provision(together, at))

    def _provision(self, together: Together, at: float) -> None:
        if self._batch_at.get(together) != at:
            return  # more pods came
        del self._batch_at[together]
        del self._batch_since[together]
        pending = [running.pod for running in self._pending[together].values()]
        if not pending:
            return
        # Nodes that are ready have no room for them: the scheduler looked. But they count towards limits.
        pools = self.policy.pools.by_name
        nodes = [
            machine.node
            for machine in self._machines_of(together)
            if not machine.node.initialized or pools[machine.node.pool].limits
        ]
        for new in provision(self.policy.pools, nodes, pending).new:
            if new.launch is not None:
                node = started(self.policy.pools, new, self._name(), self._now)
                machine = self._launch(node)
                self._at(self._now + self._boot, lambda machine=machine: self._ready(machine))  # type: ignore[misc]  # bound now

    def _name(self) -> str:
        self._made += 1
        return f"node-{self._made:08d}"

    def _launch(self, node: Node) -> Machine:
        machine = Machine(node, self._types[node.instance_type], self.ledger)
        self._machines[node.pool][node.name] = machine
        self.ledger.launched += 1
        self.ledger.rate.add(self._now, node.price)
        self.ledger.bought.add(self._now, machine.cards)
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
        together = self.policy.together[node.pool]
        if self._pending[together]:
            self._batch(together)

    def _ready(self, machine: Machine) -> None:
        node = machine.node
        if node.name not in self._machines[node.pool]:
            return  # taken back on its way up
        come_up(node, self._now)
        machine.come_up()
        together = self.policy.together[node.pool]
        self._fill(together)
        if self._pending[together]:
            # The scheduler put pods together otherwise than Karpenter did, and had no room left for these.
            self._batch(together)
        self._wake(together)

    # Karpenter: consolidation

    def _consolidate_after(self, together: Together) -> float | None:
        return self.policy.pools.by_name[together[0]].consolidate_after  # that of all pools

    def _wake(self, together: Together, after: float | None = None) -> None:
        """Something changed: look at the pools when their consolidateAfter is over."""
        wait = self._consolidate_after(together)
        if wait is None or together in self._looking:
            return
        self._looking.add(together)
        pause = max(wait, self._look) if after is None else after
        at = -(-(self._now + pause) // self._look) * self._look
        self._at(at, lambda: self._consolidate(together))

    def _next_command(self, together: Together) -> Command | None:
        nodes = [machine.node for machine in self._machines_of(together)]
        pending = [running.pod for running in self._pending[together].values()]
        return next_command(self.policy.pools, nodes, pending, now=self._now)

    def _consolidate(self, together: Together) -> None:
        self._looking.discard(together)
        nodes = [machine.node for machine in self._machines_of(together)]
        if not nodes:
            return
        command = self._next_command(together)
        # A replacement that EC2 can't give fails for as long as nothing changes.
        if command is None or (command.replacement is not None and command.replacement.launch is None):
            wait = self._consolidate_after(together) or 0.0
            if any(self._settling(node, wait) for node in nodes):
                self._wake(together)
            return
        self._looking.add(together)
        self._at(self._now + VALIDATION_SECONDS, lambda: self._carry_out(together, command))

    def _settling(self, node: Node, wait: float) -> bool:
        """Whether a node will be looked at later than now, without anything else happening."""
        since = node.last_pod_event if node.last_pod_event is not None else node.initialized_at
        return not node.deleting and (not node.initialized or self._now - (since or 0.0) < wait)

    def _carry_out(self, together: Together, command: Command) -> None:
        """The second look: the same command must come out again."""
        self._looking.discard(together)
        again = self._next_command(together)
        if again is None or {node.name for node in again.nodes} != {node.name for node in command.nodes}:
            self._wake(together, self._look)
            return
        replacement = again.replacement
        if replacement is not None and replacement.launch is None:
            self._wake(together, self._look)
            return
        for node in again.nodes:
            node.deleting = True
        if replacement is None:
            self._terminate(together, again)
            return
        machine = self._launch(started(self.policy.pools, replacement, self._name(), self._now))

        def ready() -> None:
            self._ready(machine)
            self._terminate(together, again)

        self._at(self._now + self._boot, ready)

    def _take_away(self, node: Node) -> list[Running]:
        """A node goes; its pods have no place for now."""
        machine = self._machines[node.pool].pop(node.name)
        pods = [self._running[pod.uid] for pod in node.pods]
        for running in pods:
            machine.leave(running, self._now)
        self.ledger.rate.add(self._now, -node.price)
        self.ledger.bought.add(self._now, -machine.cards)
        self.ledger.nodes.add(self._now, -1)
        return pods

    def _terminate(self, together: Together, command: Command) -> None:
        """Nodes go; their pods start again where there is room."""
        moved = [
            running
            for node in command.nodes
            if node.name in self._machines[node.pool]  # EC2 may have been quicker
            for running in self._take_away(node)
        ]
        self.ledger.evictions += len(moved)
        for running in moved:
            self._want(running)
        self._wake(together, self._look)
