"""What kube-scheduler does once nodes are there: it binds pods by its own scores, not as Karpenter planned.

Karpenter makes nodes for pods and promises nothing to anybody: whoever comes first gets the place. kube-scheduler
(v1.35, default profile) takes pods by priority, then age, and puts each on the node with the highest score: the one
with most CPU and memory left, evenly used, and with the fewest pods of the same owner. Slices don't count. So pods of
unequal needs may end up other than planned, and a node more may be needed.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

from gpuslice.karpenter.model import CPU, MEMORY, Node, Pod, hostname, labels_of
from gpuslice.karpenter.requirements import HOSTNAME, obstacle
from gpuslice.karpenter.shapes import Shape
from gpuslice.karpenter.templates import Pools

_LEAST_CPU: Final = 100
_LEAST_MEMORY: Final = 200
"""What scoring takes for a pod that asks for none (milli-CPU, MiB): kube-scheduler's non-zero requests."""
_SPREAD_WEIGHT: Final = 2
_HOST_SKEW: Final = 3
_ZONE_SKEW: Final = 5
"""kube-scheduler's default spread constraints: how many more of an owner's pods it minds little."""


class Place:
    """A ready node, and what of it is left."""

    __slots__ = (
        "asked_cpu",
        "asked_memory",
        "cpu",
        "free",
        "kinds",
        "memory",
        "node",
        "state",
        "used_cpu",
        "used_memory",
    )

    def __init__(self, node: Node, state: int) -> None:
        """Begin with the node's own pods.

        Args:
            node: itself.
            state: number of its labels.
        """
        self.node = node
        self.state = state
        self.free = node.free()
        self.cpu = max(1, node.allocatable.get(CPU, 0))
        self.memory = max(1, node.allocatable.get(MEMORY, 0))
        # `used` reckons with something for pods that ask for nothing, `asked` doesn't.
        self.used_cpu = self.asked_cpu = node.daemons.get(CPU, 0)
        self.used_memory = self.asked_memory = node.daemons.get(MEMORY, 0)
        self.kinds: dict[object, int] = {}
        for pod in node.pods:
            self._count(pod)

    def fits(self, shape: Shape) -> bool:
        """Whether the resources are there."""
        free = self.free
        for resource, amount in shape.requests:  # noqa: SIM110  a generator takes twice the time
            if amount > free.get(resource, 0):
                return False
        return True

    def take(self, pod: Pod, shape: Shape) -> None:
        """Bind a pod."""
        self.node.pods.append(pod)
        for resource, amount in shape.requests:
            self.free[resource] -= amount
        self._count(pod)

    def score(self, pod: Pod) -> int:
        """NodeResourcesFit (least allocated) and NodeResourcesBalancedAllocation, 0 to 100 each."""
        asks_cpu, asks_memory = pod.kind.requests.get(CPU, 0), pod.kind.requests.get(MEMORY, 0)
        cpu = self.used_cpu + (asks_cpu or _LEAST_CPU)
        memory = self.used_memory + (asks_memory or _LEAST_MEMORY)
        left = max(0, 100 * (self.cpu - cpu) // self.cpu), max(0, 100 * (self.memory - memory) // self.memory)
        if not asks_cpu and not asks_memory:
            return sum(left) // 2  # balance isn't looked at
        shares = (self.asked_cpu + asks_cpu) / self.cpu, (self.asked_memory + asks_memory) / self.memory
        apart = abs(min(1.0, shares[0]) - min(1.0, shares[1]))
        return sum(left) // 2 + math.floor(100 * (1 - apart / 2))

    def _count(self, pod: Pod) -> None:
        requests = pod.kind.requests
        self.asked_cpu += requests.get(CPU, 0)
        self.asked_memory += requests.get(MEMORY, 0)
        self.used_cpu += requests.get(CPU, 0) or _LEAST_CPU
        self.used_memory += requests.get(MEMORY, 0) or _LEAST_MEMORY
        self.kinds[pod.kind] = self.kinds.get(pod.kind, 0) + 1


class Binder:
    """kube-scheduler, over the nodes that are ready."""

    def __init__(self, pools: Pools, chance: random.Random) -> None:
        """Begin without nodes.

        Args:
            pools: by which shapes are known.
            chance: decides between equal scores.
        """
        self._pools = pools
        self._chance = chance
        self._places: list[Place] = []

    def add(self, node: Node, waiting: Iterable[Pod]) -> list[Pod]:
        """A node is ready: bind pods that were waiting, in their order. What is left of them.

        They fitted no other node, and no other node has got emptier, so only this one is looked at.
        """
        place = Place(node, self._pools.state_of(node))
        self._places.append(place)
        full: set[Shape] = set()
        left = []
        for pod in waiting:
            shape = self._pools.shapes(pod.kind)[0]
            if shape not in full and place.fits(shape) and self._suited(shape, place):
                place.take(pod, shape)
            else:
                full.add(shape)
                left.append(pod)
        return left

    def bind(self, pod: Pod) -> bool:
        """Bind a pod that has just come, if it fits anywhere."""
        best = self.best(pod)
        if best:
            chosen = best[0] if len(best) == 1 else self._chance.choice(best)
            chosen.take(pod, self._pools.shapes(pod.kind)[0])
        return bool(best)

    def best(self, pod: Pod) -> list[Place]:
        """The places with the highest score of those where a pod fits."""
        shape = self._pools.shapes(pod.kind)[0]
        fitting = [place for place in self._places if place.fits(shape) and self._suited(shape, place)]
        if len(fitting) < 2:
            return fitting
        spread = self._spread(pod, fitting)
        scores = [
            place.score(pod) + _SPREAD_WEIGHT * more for place, more in zip(fitting, spread, strict=True)
        ]
        most = max(scores)
        return [place for place, score in zip(fitting, scores, strict=True) if score == most]

    def _spread(self, pod: Pod, fitting: Sequence[Place]) -> list[int]:
        """PodTopologySpread's score for pods without constraints of their own, which the default ones then spread.

        The fewer pods of its owner on the node and in its zone, the better.
        """
        in_zone: Counter[str] = Counter()
        for place in self._places:
            in_zone[place.node.zone] += place.kinds.get(pod.kind, 0)
        host_weight = math.log(len(fitting) + 2)
        zone_weight = math.log(len({place.node.zone for place in fitting}) + 2)
        scores = [
            round(
                place.kinds.get(pod.kind, 0) * host_weight
                + (_HOST_SKEW - 1)
                + in_zone[place.node.zone] * zone_weight
                + (_ZONE_SKEW - 1)
            )
            for place in fitting
        ]
        most, least = max(scores), min(scores)
        return [100 * (most + least - score) // most for score in scores]

    def put(self, pod: Pod, name: str) -> None:
        """Bind a pod to the node of this name, as somebody else decided."""
        place = next(place for place in self._places if place.node.name == name)
        place.take(pod, self._pools.shapes(pod.kind)[0])

    def _suited(self, shape: Shape, place: Place) -> bool:
        node = place.node
        if shape.hostname is not None and not shape.hostname.has(hostname(node)):
            return False
        key = (shape, place.state, node.taints)
        suited = self._pools.suits.get(key)
        if suited is None:
            taints = tuple(taint for taint in node.taints if taint.effect != "PreferNoSchedule")
            wanted = {
                requirement.key: requirement for requirement in shape.strict if requirement.key != HOSTNAME
            }
            suited = shape.tolerates(taints) and obstacle(labels_of(node), wanted, undefined=False) is None
            self._pools.suits[key] = suited
        return suited
