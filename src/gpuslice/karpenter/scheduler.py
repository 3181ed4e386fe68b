"""One scheduling pass: which pods go to which nodes, and which nodes have to be made.

Karpenter v1.14.1, pkg/controllers/provisioning/scheduling. Pods are taken by CPU, then memory, both descending, then by
age. Each goes to the first node that is there, else to the NodeClaim with the fewest pods that it fits, else to a new
NodeClaim of the first NodePool, by weight, that it fits. A NodeClaim keeps every instance type that still fits.

Whoever a node or NodeClaim has refused once it refuses for ever, as it only gets fuller and narrower. So refusals are
remembered by shape, and pods that are equal don't ask again. Only spreads and affinities among pods can change that.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from gpuslice.karpenter.claim_order import restore, restore_stable
from gpuslice.karpenter.model import NODES, MinValues, Node, Pod, hostname
from gpuslice.karpenter.requirements import HOSTNAME, NODE_POOL, Requirements, among
from gpuslice.karpenter.shapes import Shape
from gpuslice.karpenter.templates import Pools, Template, bits
from gpuslice.karpenter.topologies import Bound, Topologies

_IMPOSSIBLE: Final = -1


class Claim:
    """A NodeClaim in the making.

    Attributes:
        number: in the order of opening.
        template: of its pool.
        pods: in the order of coming.
        count: of them.
        types: set of those that still fit.
        state: number of its requirements.
        used: what its pods ask for.
        refused: shapes that it has refused, one bit each.
        hostname: a name that no node has.
    """

    __slots__ = (
        "count",
        "hostname",
        "number",
        "pods",
        "refused",
        "state",
        "template",
        "types",
        "used",
    )

    def __init__(self, number: int, template: Template, types: int) -> None:
        """Begin without pods."""
        self.number = number
        self.template = template
        self.types = types
        self.state = template.state
        self.pods: list[Pod] = []
        self.count = 0
        self.used: dict[str, int] = {}
        self.refused = 0
        self.hostname = f"new-{number}"


class Existing:
    """A node that is there or on its way, and what of it is left in this pass."""

    __slots__ = ("free", "node", "pods", "shut", "state")

    def __init__(self, node: Node, state: int, *, shut: bool) -> None:
        """Begin with what is free now.

        Args:
            node: itself.
            state: number of its labels.
            shut: whether pods that have a node must not come, since its pool's consolidateAfter isn't over.
        """
        self.node = node
        self.state = state
        self.shut = shut
        self.pods: list[Pod] = []
        free = node.free()
        # Less than nothing of any one resource, and Karpenter puts nothing there any more.
        self.free = {} if min(free.values(), default=0) < 0 else free


class Pass:
    """One pass over pending pods.

    Attributes:
        claims: opened, in order.
        existing: nodes, in the order in which they are tried.
        failed: pods that nothing fits, each as relaxed as it gets.
    """

    def __init__(
        self,
        pools: Pools,
        nodes: Sequence[Node] = (),
        *,
        shut: frozenset[str] = frozenset(),
        movers: frozenset[Pod] = frozenset(),
    ) -> None:
        """Begin with the nodes that stay.

        Args:
            pools: of the cluster.
            nodes: that are there or on their way, without those that are going.
            shut: names of nodes to which no movers may come.
            movers: pods to be placed that have a node which need not go.
        """
        self._pools = pools
        self._settings = pools.settings
        self.claims: list[Claim] = []
        self._order: list[Claim] = []
        self._restore = restore if self._settings.exact_ties else restore_stable
        self.existing = [
            Existing(node, pools.state_of(node), shut=node.name in shut)
            for node in sorted(nodes, key=lambda node: (not node.initialized, node.name))
        ]
        self._movers = movers
        self._remaining = _remaining(pools, nodes)
        self._within: dict[str, int] = {}
        self._numbers: dict[tuple[Shape, bool], int] = {}
        self._first: list[int] = []  # by shape: the first node that may still take it
        self._topologies = Topologies(
            tuple(pools.by_name.values()), nodes, lambda pod: pools.shapes(pod.kind)[0], self._settings.seed
        )
        self.failed: dict[Pod, Shape] = {}

    def place(self, pods: Iterable[Pod]) -> None:
        """Place pods, those that fail again and again as long as there is progress."""
        listed = list(pods)
        kinds = dict.fromkeys(pod.kind for pod in listed)
        shapes = {kind: self._pools.shapes(kind) for kind in kinds}
        left_alone = {kind for kind, steps in shapes.items() if _left_alone(steps[0])}
        keys = {kind: self._pools.key(kind) for kind in kinds}
        queue = deque(sorted(listed, key=lambda pod: (keys[pod.kind], pod.created, pod.uid)))
        for steps in shapes.values():
            self._topologies.know(steps[0])
        last: dict[Pod, int] = {}
        while queue and last.get(queue[0]) != len(queue):
            pod = queue.popleft()
            steps = shapes[pod.kind]
            if pod.kind in left_alone:
                self.failed[pod] = steps[0]
            elif self._try(pod, steps[0]) or any(self._try(pod, shape) for shape in steps[1:]):
                self.failed.pop(pod, None)
            else:
                self.failed[pod] = steps[-1]
                queue.append(pod)
                last[pod] = len(queue)

    def _try(self, pod: Pod, shape: Shape) -> bool:
        moves = pod in self._movers
        number = self._number(shape, moves=moves)
        bound = None
        if shape.spreads or shape.near or shape.apart:
            self._topologies.know(shape)
        bound = self._topologies.bound(shape)
        return (
            self._to_existing(pod, shape, number, bound, moves=moves)
            or self._to_claim(pod, shape, number, bound)
            or self._to_new(pod, shape, bound)
        )

    def _number(self, shape: Shape, *, moves: bool) -> int:
        key = (shape, moves)
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self._first)
            self._first.append(0)
        return number

    def _to_existing(self, pod: Pod, shape: Shape, number: int, bound: Bound | None, *, moves: bool) -> bool:
        start = self._first[number]
        for at in range(start, len(self.existing)):
            held = self.existing[at]
            free = held.free
            for resource, amount in shape.requests:
                if amount > free.get(resource, 0):
                    break
            else:
                if (moves and held.shut) or not self._pools.tolerates(shape, held.node.taints):
                    continue
                state = self._state_on(held, shape, bound)
                if state != _IMPOSSIBLE:
                    held.state = state
                    held.pods.append(pod)
                    for resource, amount in shape.requests:
                        free[resource] -= amount
                    if bound is None:
                        self._first[number] = at
                    else:
                        self._topologies.record(bound, self._on(held, state))
                    return True
        if bound is None:
            self._first[number] = len(self.existing)
        return False

    def _state_on(self, existing: Existing, shape: Shape, bound: Bound | None) -> int:
        """The requirements of a node with the pod, or that it can't be there."""
        if shape.hostname is not None and not shape.hostname.has(hostname(existing.node)):
            return _IMPOSSIBLE
        states = self._pools.nodes
        state = states.after(existing.state, self._pools.want_of_node(shape))
        if bound is None or state == _IMPOSSIBLE:
            return state
        domains = self._topologies.narrowed(bound, shape, self._on(existing, state))
        if domains is None:
            return _IMPOSSIBLE
        domains.pop(HOSTNAME, None)
        return states.after(state, states.number(domains))

    def _on(self, existing: Existing, state: int) -> Requirements:
        return {**self._pools.nodes[state], HOSTNAME: among(HOSTNAME, hostname(existing.node))}

    def _to_claim(self, pod: Pod, shape: Shape, number: int, bound: Bound | None) -> bool:
        bit = 1 << number
        for at, claim in enumerate(self._order):
            if claim.refused & bit:
                continue
            if self._join(claim, pod, shape, bound, relax=False):
                self._restore(self._order, at)
                return True
            if bound is None:
                claim.refused |= bit
        return False

    def _to_new(self, pod: Pod, shape: Shape, bound: Bound | None) -> bool:
        relax = self._settings.min_values is MinValues.BEST_EFFORT
        for template in self._pools.templates:
            types = self.left(template)
            if not types:
                continue
            claim = Claim(len(self.claims), template, types)
            if self._join(claim, pod, shape, bound, relax=relax):
                self.claims.append(claim)
                self._order.append(claim)
                self._restore(self._order, len(self._order) - 1)
                self._reserve(claim)
                return True
        return False

    def _join(self, claim: Claim, pod: Pod, shape: Shape, bound: Bound | None, *, relax: bool) -> bool:
        """Add a pod to a NodeClaim, if it fits."""
        template = claim.template
        if not self._pools.tolerated(shape, template) or (
            shape.hostname is not None and not shape.hostname.has(claim.hostname)
        ):
            return False
        states = self._pools.claims
        state = states.after(claim.state, self._pools.want_of_claim(shape))
        if state == _IMPOSSIBLE:
            return False
        if bound is not None:
            state = self._bound_state(claim, state, shape, bound)
            if state == _IMPOSSIBLE:
                return False
        types = claim.types if state == claim.state and claim.pods else claim.types & template.under(state)
        used = claim.used
        for resource, amount in shape.requests:
            types &= template.fitting(resource, used.get(resource, 0) + amount)
            if not types:
                return False
        if template.has_min_values(state):
            short = template.short_of(state, types)
            if short and not relax:
                return False
            state = self._lowered(state, short)
        claim.types, claim.state = types, state
        claim.pods.append(pod)
        claim.count += 1
        for resource, amount in shape.requests:
            used[resource] = used.get(resource, 0) + amount
        if bound is not None or claim.count == 1:
            self._topologies.register(claim.hostname)
        if bound is not None:
            self._topologies.record(bound, _with_host(states[state], claim))
        return True

    def _bound_state(self, claim: Claim, state: int, shape: Shape, bound: Bound) -> int:
        """Requirements narrowed to the domains that spreads and affinities leave, or that they leave none."""
        states = self._pools.claims
        domains = self._topologies.narrowed(bound, shape, _with_host(states[state], claim))
        if domains is None:
            return _IMPOSSIBLE
        domains.pop(HOSTNAME, None)
        return states.after(state, states.number(domains))

    def _lowered(self, state: int, short: Mapping[str, int]) -> int:
        """Requirements with minValues as low as they were kept: a node is held to what its first pod left."""
        if not short:
            return state
        states = self._pools.claims
        return states.number(
            replace(requirement, min_values=short.get(key, requirement.min_values))
            for key, requirement in states[state].items()
        )

    def left(self, template: Template) -> int:
        """The types that the pool's limits still allow."""
        name = template.pool.name
        remaining = self._remaining.get(name)
        if remaining is None:
            return template.all
        if name not in self._within:
            no_node = remaining.get(NODES) == 0
            self._within[name] = 0 if no_node else template.within(remaining)
        return self._within[name]

    def _reserve(self, claim: Claim) -> None:
        """Take of the limits what the largest of its types would."""
        name = claim.template.pool.name
        remaining = self._remaining.get(name)
        if remaining is not None:
            kinds = [claim.template.types[at] for at in bits(claim.types)]
            for key in remaining:
                remaining[key] -= max(kind.capacity.get(key, 0) for kind in kinds)
            self._within.pop(name, None)


def _left_alone(shape: Shape) -> bool:
    """Whether a pod must not run on Karpenter's nodes: then it isn't tried at all, preferences or not."""
    return any(
        requirement.key == NODE_POOL and not requirement.values and not requirement.complement
        for requirement in shape.wanted
    )


def _with_host(requirements: Requirements, claim: Claim) -> Requirements:
    return {**requirements, HOSTNAME: among(HOSTNAME, claim.hostname)}


def _remaining(pools: Pools, nodes: Iterable[Node]) -> dict[str, dict[str, int]]:
    """What the limits of each pool that has any leave beside its nodes."""
    remaining = {
        template.pool.name: dict(template.pool.limits) for template in pools.templates if template.pool.limits
    }
    for node in nodes:
        left = remaining.get(node.pool, {})
        for key in left:
            left[key] -= 1 if key == NODES else node.capacity.get(key, 0)
    return remaining
