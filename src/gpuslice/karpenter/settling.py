"""What is left of a fleet once Karpenter has consolidated it as far as it will."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gpuslice.karpenter.binding import Binder
from gpuslice.karpenter.consolidation import Command, next_command
from gpuslice.karpenter.lifecycle import come_up, started
from gpuslice.karpenter.model import Node, Pod
from gpuslice.karpenter.provision import NewNode, provision
from gpuslice.karpenter.templates import Pools
from gpuslice.karpenter.times import LOOK_SECONDS, VALIDATION_SECONDS

_MOST_COMMANDS: Final = 1000


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """A command, and when it was carried out: seconds from the start."""

    at: float
    command: Command


@dataclass(frozen=True, slots=True, eq=False)
class Settled:
    """A fleet that Karpenter leaves as it is.

    Attributes:
        nodes: with their pods.
        unbound: pods that fit nowhere.
        steps: how it came about.
        stuck: whether the last command can never succeed, so that Karpenter tries it for ever.
    """

    nodes: tuple[Node, ...]
    unbound: tuple[Pod, ...]
    steps: tuple[Step, ...]
    stuck: bool

    @property
    def price(self) -> int:
        """Micro-dollars an hour."""
        return sum(node.price for node in self.nodes)


def settled(pools: Pools, nodes: Sequence[Node], pending: Sequence[Pod], seed: int) -> Settled:
    """Consolidate until nothing more is found, each command after every pool's consolidateAfter.

    Pods of a node that goes are made anew by their owners, and bound by kube-scheduler wherever they fit.

    Args:
        pools: of the cluster.
        nodes: ready ones. They are changed.
        pending: pods without a node.
        seed: of all chance.
    """
    chance = random.Random(seed)
    left, waiting = list(nodes), list(pending)
    now = max((node.initialized_at or 0 for node in left), default=0)
    pause = max((pool.consolidate_after or 0 for pool in pools.by_name.values()), default=0) + LOOK_SECONDS
    steps: list[Step] = []
    stuck = False
    while len(steps) < _MOST_COMMANDS:
        now += pause
        command = next_command(pools, left, waiting, now=now)
        if command is None:
            break
        now += VALIDATION_SECONDS
        stuck = command.replacement is not None and command.replacement.launch is None
        if stuck:
            break
        steps.append(Step(now, command))
        going = set(command.nodes)
        left = [node for node in left if node not in going]
        if command.replacement is not None:
            left.append(_node(pools, command.replacement, chance, now))
        moving = [pod for node in command.nodes for pod in node.pods]
        again = [Pod(pod.kind, int(now), f"{chance.getrandbits(64):016x}") for pod in moving]
        left, waiting = _bound(pools, left, [*waiting, *again], chance, now)
        for node in left:
            node.last_pod_event = now
    return Settled(tuple(left), tuple(waiting), tuple(steps), stuck)


def _bound(
    pools: Pools, nodes: list[Node], pods: list[Pod], chance: random.Random, now: float
) -> tuple[list[Node], list[Pod]]:
    """Bind pods to nodes, and make nodes for those that are left."""
    binder = Binder(pools, chance)
    for node in nodes:
        binder.add(node, ())
    waiting = [pod for pod in pods if not binder.bind(pod)]
    made = [
        _node(pools, node, chance, now)
        for node in (provision(pools, nodes, waiting).new if waiting else ())
        if node.launch is not None
    ]
    for node in made:
        waiting = binder.add(node, waiting)
    return [*nodes, *made], waiting


def _node(pools: Pools, new: NewNode, chance: random.Random, now: float) -> Node:
    node = started(pools, new, f"{new.pool}-{chance.getrandbits(25):05x}", now)
    come_up(node, now)
    return node
