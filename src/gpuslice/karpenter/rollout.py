"""From pods as they arrive to a fleet: batches, nodes that come up one after another, pods bound by kube-scheduler.

One plan has a spread of bills. With equal CPU and memory Karpenter takes pods by age; a batch ends after a second
without a pod; nodes on their way are full of pods that are not bound yet; and once nodes are ready, others than those
they were made for may get there first. Everything that is left to chance follows from the seed.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from gpuslice.karpenter.binding import Binder
from gpuslice.karpenter.lifecycle import come_up, started
from gpuslice.karpenter.model import Node, Pod, PodClass
from gpuslice.karpenter.provision import provision
from gpuslice.karpenter.templates import Pools
from gpuslice.karpenter.times import READY_SECONDS

RETRY_SECONDS: Final = 10.0
"""After so long Karpenter looks again at pods that are still pending."""
BACKOFF_SECONDS: Final = 10.0
"""kube-scheduler's longest back-off (podMaxBackoffSeconds). While nodes come up one after another, each pod that didn't
fit is tried again only after that. By then several nodes are ready, and pods are spread over them."""
_MOST_PASSES: Final = 500


class Arrivals(Enum):
    """How pods may arrive."""

    AT_ONCE = "all within one second, in any order"
    BY_WORKLOAD = "workload after workload, a second each, as when manifests are applied"
    TRICKLE = "one by one over half a minute"
    HALVES = "two halves, a minute apart"
    ROLLED_OUT = (
        "workload after workload, two minutes each: the nodes of one are ready when the next one comes"
    )


@dataclass(frozen=True, slots=True, eq=False)
class Arrival:
    """A pod, and when it is created: seconds."""

    at: float
    pod: Pod


@dataclass(frozen=True, slots=True, eq=False)
class Fleet:
    """What a rollout comes to.

    Attributes:
        nodes: in the end, with their pods.
        unbound: pods that fit nowhere.
        passes: how often Karpenter decided.
    """

    nodes: tuple[Node, ...]
    unbound: tuple[Pod, ...]
    passes: int

    @property
    def price(self) -> int:
        """Micro-dollars an hour."""
        return sum(node.price for node in self.nodes)


def arrivals(counts: Sequence[tuple[PodClass, int]], pattern: Arrivals, seed: int) -> list[Arrival]:
    """Pods of these classes, so many of each, as they might arrive.

    Args:
        counts: (class, pods), in the order in which they are applied if they are applied in one.
        pattern: of arrival.
        seed: of all chance.
    """
    chance = random.Random(seed)
    kinds = [kind for kind, count in counts for _ in range(count)]
    position = {kind: at for at, (kind, _) in enumerate(counts)}
    match pattern:
        case Arrivals.AT_ONCE:
            times = [chance.random() * 0.9 for _ in kinds]
        case Arrivals.BY_WORKLOAD:
            times = [position[kind] + chance.random() * 0.9 for kind in kinds]
        case Arrivals.TRICKLE:
            times = [chance.random() * 30 for _ in kinds]
        case Arrivals.HALVES:
            times = [chance.random() * 0.9 + (60 if chance.random() < 0.5 else 0) for _ in kinds]
        case Arrivals.ROLLED_OUT:
            times = [position[kind] * 120 + chance.random() * 0.9 for kind in kinds]
    return [
        Arrival(at, Pod(kind, int(at), f"{chance.getrandbits(64):016x}"))
        for at, kind in sorted(zip(times, kinds, strict=True), key=lambda entry: entry[0])
    ]


def rollout(pools: Pools, arriving: Sequence[Arrival], seed: int) -> Fleet:
    """Let pods arrive in an empty cluster, until nothing changes any more.

    Args:
        pools: of the cluster.
        arriving: pods, by time.
        seed: of names, of how long nodes take, and of equal scores.
    """
    return _Rollout(pools, random.Random(seed)).run(arriving)


@dataclass(slots=True)
class _Rollout:
    """The cluster while pods arrive."""

    pools: Pools
    chance: random.Random
    nodes: list[Node] = field(default_factory=list)
    pending: list[Pod] = field(default_factory=list)
    coming: list[tuple[float, str, Node]] = field(default_factory=list)
    passes: int = 0
    batch_from: float | None = None
    batch_to: float = 0
    binder: Binder = field(init=False)

    def __post_init__(self) -> None:
        self.binder = Binder(self.pools, self.chance)

    def run(self, arriving: Sequence[Arrival]) -> Fleet:
        at = 0
        while self.passes < _MOST_PASSES:
            times = [
                arriving[at].at if at < len(arriving) else None,
                self.coming[0][0] if self.coming else None,
                self.batch_to if self.batch_from is not None else None,
            ]
            known = [time for time in times if time is not None]
            if not known:
                break
            now = min(known)
            if times[0] == now:
                self._arrive(arriving[at].pod, now)
                at += 1
            elif times[1] == now:
                self._ready(now)
            else:
                self._decide(now)
        return Fleet(tuple(self.nodes), tuple(self.pending), self.passes)

    def _arrive(self, pod: Pod, now: float) -> None:
        if not self.binder.bind(pod):
            self.pending.append(pod)
            self._trigger(now)

    def _trigger(self, now: float) -> None:
        settings = self.pools.settings
        if self.batch_from is None:
            self.batch_from = now
        self.batch_to = min(now + settings.batch_idle, self.batch_from + settings.batch_max)

    def _ready(self, now: float) -> None:
        """The nodes that are ready by now get the pods that have waited, as back-offs end: in any order."""
        while self.coming and self.coming[0][0] <= now:
            _, _, node = heapq.heappop(self.coming)
            come_up(node, now)
            self.binder.add(node, ())
        waiting = len(self.pending)
        bound: set[Pod] = set()
        full: set[PodClass] = set()  # whoever found no place now, so do its equals
        for pod in self.chance.sample(self.pending, waiting):
            if pod.kind not in full:
                (bound.add(pod) if self.binder.bind(pod) else full.add(pod.kind))
        self.pending = [pod for pod in self.pending if pod not in bound]
        if self.pending and (len(self.pending) < waiting or not self.coming):
            # Some have a place now, perhaps one that was meant for others: Karpenter looks at these again.
            self._trigger(now + self.chance.random() * RETRY_SECONDS)

    def _decide(self, now: float) -> None:
        self.batch_from = None
        self.passes += 1
        if not self.pending:
            return
        for new in provision(self.pools, self.nodes, self.pending).new:
            if new.launch is None:
                continue
            node = started(self.pools, new, f"{new.pool}-{self.chance.getrandbits(25):05x}", now)
            self.nodes.append(node)
            ready = now + self.chance.uniform(*READY_SECONDS)
            seen = math.ceil(ready / BACKOFF_SECONDS) * BACKOFF_SECONDS
            heapq.heappush(self.coming, (seen, node.name, node))
