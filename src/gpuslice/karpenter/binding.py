"""What kube-scheduler does once nodes are there: it binds pods by its own scores, not as Karpenter planned.

Karpenter makes nodes for pods and promises nothing to anybody: whoever comes first gets the place. kube-scheduler
(v1.35, default profile) takes pods by priority, then age, and puts each on the node with the highest score: the one
with most CPU and memory left, evenly used, and with the fewest pods of the same owner. Slices don't count. So pods of
unequal needs may end up other than planned, and a node more may be needed.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Sequence
from typing import Final

from gpuslice.karpenter.model import CPU, MEMORY, Node, Pod, Taint, hostname, labels_of
from gpuslice.karpenter.requirements import HOSTNAME, obstacle
from gpuslice.karpenter.shapes import Shape
from gpuslice.karpenter.templates import Pools

_LEAST_CPU: Final = 100
_LEAST_MEMORY: Final = 200
"""What scoring takes for a pod that asks for less (milli-CPU, MiB): kube-scheduler's non-zero requests."""
_SPREAD_WEIGHT: Final = 2


class Place:
    """A ready node, and what of it is left."""

    __slots__ = ("cpu", "free", "kinds", "memory", "node", "taken", "used_cpu", "used_memory")

    def __init__(self, node: Node) -> None:
        """Begin with the node's own pods."""
        self.node = node
        self.free = node.free()
        self.cpu = max(1, node.allocatable.get(CPU, 0))
        self.memory = max(1, node.allocatable.get(MEMORY, 0))
        self.used_cpu = node.daemons.get(CPU, 0)
        self.used_memory = node.daemons.get(MEMORY, 0)
        self.kinds: dict[object, int] = {}
        for pod in node.pods:
            self._count(pod)

    def fits(self, shape: Shape) -> bool:
        """Whether the resources are there."""
        free = self.free
        return all(amount <= free.get(resource, 0) for resource, amount in shape.requests)

    def take(self, pod: Pod, shape: Shape) -> None:
        """Bind a pod."""
        self.node.pods.append(pod)
        for resource, amount in shape.requests:
            self.free[resource] -= amount
        self._count(pod)

    def score(self, pod: Pod) -> float:
        """NodeResourcesFit (least allocated) and NodeResourcesBalancedAllocation, 0 to 100 each."""
        requests = pod.kind.requests
        cpu = min(1.0, (self.used_cpu + max(_LEAST_CPU, requests.get(CPU, 0))) / self.cpu)
        memory = min(1.0, (self.used_memory + max(_LEAST_MEMORY, requests.get(MEMORY, 0))) / self.memory)
        return 50 * (2 - cpu - memory) + 100 * (1 - abs(cpu - memory) / 2)

    def _count(self, pod: Pod) -> None:
        requests = pod.kind.requests
        self.used_cpu += max(_LEAST_CPU, requests.get(CPU, 0))
        self.used_memory += max(_LEAST_MEMORY, requests.get(MEMORY, 0))
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
        self._suits: dict[tuple[Shape, int, tuple[Taint, ...]], bool] = {}

    def add(self, node: Node, waiting: Iterable[Pod]) -> list[Pod]:
        """A node is ready: bind pods that were waiting, in their order. What is left of them.

        They fitted no other node, and no other node has got emptier, so only this one is looked at.
        """
        place = Place(node)
        self._places.append(place)
        full: set[Shape] = set()
        left = []
        for pod in waiting:
            shape = self._pools.shapes(pod.kind)[0]
            if shape not in full and place.fits(shape) and self._suited(shape, node):
                place.take(pod, shape)
            else:
                full.add(shape)
                left.append(pod)
        return left

    def bind(self, pod: Pod) -> bool:
        """Bind a pod that has just come, if it fits anywhere."""
        shape = self._pools.shapes(pod.kind)[0]
        fitting = [each for each in self._places if each.fits(shape) and self._suited(shape, each.node)]
        if fitting:
            self._best(pod, fitting).take(pod, shape)
        return bool(fitting)

    def _best(self, pod: Pod, fitting: Sequence[Place]) -> Place:
        if len(fitting) == 1:
            return fitting[0]
        spread = _spread([each.kinds.get(pod.kind, 0) for each in fitting])
        scores = [
            math.floor(each.score(pod)) + _SPREAD_WEIGHT * more
            for each, more in zip(fitting, spread, strict=True)
        ]
        best = max(scores)
        equal = [each for each, score in zip(fitting, scores, strict=True) if score == best]
        return equal[0] if len(equal) == 1 else self._chance.choice(equal)

    def _suited(self, shape: Shape, node: Node) -> bool:
        if shape.hostname is not None and not shape.hostname.has(hostname(node)):
            return False
        key = (shape, self._pools.state_of(node), node.taints)
        found = self._suits.get(key)
        if found is None:
            taints = tuple(each for each in node.taints if each.effect != "PreferNoSchedule")
            wanted = {each.key: each for each in shape.strict if each.key != HOSTNAME}
            found = shape.tolerates(taints) and obstacle(labels_of(node), wanted, undefined=False) is None
            self._suits[key] = found
        return found


def _spread(counts: Sequence[int]) -> list[float]:
    """PodTopologySpread's score by host names for pods without constraints of their own: fewer of a kind is better."""
    most, least = max(counts), min(counts)
    weight = math.log(len(counts) + 2)
    highest, lowest = most * weight + 2, least * weight + 2
    return [math.floor(100 * (highest + lowest - (count * weight + 2)) / highest) for count in counts]
