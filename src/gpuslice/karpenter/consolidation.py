"""Consolidation: which nodes Karpenter takes away, and by what it replaces them.

Karpenter v1.14.1, pkg/controllers/disruption. Empty nodes go first, all at once. Then as many nodes as possible at
once, for at most one new one, found by bisection over the most worthwhile hundred; then one node for one. Nothing is
ever replaced by two. What commands save is not compared: the first that works is carried out, after a second look 15
seconds later.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from gpuslice.karpenter.candidates import Candidate, budgets, candidates, settling, within_budgets
from gpuslice.karpenter.launch import ON_DEMAND, SPOT, by_price, choose, worst_price
from gpuslice.karpenter.model import InstanceType, Node, Pod, Reason
from gpuslice.karpenter.provision import NewNode, new_node
from gpuslice.karpenter.requirements import (
    CAPACITY_TYPE,
    Requirement,
    Requirements,
    among,
    combined,
    labelled,
    obstacle,
)
from gpuslice.karpenter.scheduler import Pass
from gpuslice.karpenter.templates import Pools, bits

_MOST_AT_ONCE: Final = 100
_SPOT_CHOICE: Final = 15
"""A spot node is replaced by spot only where so many types are cheaper (core, for single nodes)."""


class Method(StrEnum):
    """In the order in which they are tried."""

    EMPTY = "empty"
    MULTI_NODE = "multi-node"
    SINGLE_NODE = "single-node"


@dataclass(frozen=True, slots=True, eq=False)
class Command:
    """Nodes to take away, and the node that replaces them, if any.

    Attributes:
        method: that found it.
        nodes: to go.
        replacement: made before they go. Where its launch is None, the command fails, and comes again.
        moves: (pod, name of the node that it goes to); an empty name stands for the replacement.
        saves: micro-dollars an hour.
        because: in words.
    """

    method: Method
    nodes: tuple[Node, ...]
    replacement: NewNode | None
    moves: tuple[tuple[Pod, str], ...]
    saves: int
    because: str


@dataclass(frozen=True, slots=True)
class _Try:
    """What taking candidates away would take."""

    done: Pass
    replacement: NewNode | None
    types: tuple[InstanceType, ...]
    requirements: Requirements


def next_command(
    pools: Pools, nodes: Sequence[Node], pending: Sequence[Pod] = (), *, now: float = 0
) -> Command | None:
    """What Karpenter would do next to these nodes; None where it leaves them as they are.

    Args:
        pools: of the cluster.
        nodes: all of them.
        pending: pods without a node.
        now: seconds, to which the nodes' times refer.
    """
    empty, _ = within_budgets(
        candidates(pools, nodes, now, Reason.EMPTY), budgets(pools, nodes, Reason.EMPTY)
    )
    if empty:
        return Command(
            Method.EMPTY,
            tuple(candidate.node for candidate in empty),
            None,
            (),
            sum(candidate.price for candidate in empty),
            f"{len(empty)} nodes without pods",
        )
    listed = candidates(pools, nodes, now, Reason.UNDERUTILIZED)
    left = budgets(pools, nodes, Reason.UNDERUTILIZED)
    look = _Look(pools, nodes, pending, now)
    return look.several(within_budgets(listed, left)[0]) or look.single(
        candidate
        for candidate in _interleaved(listed, pools.settings.seed)
        if left.get(candidate.node.pool, 0)
    )


class _Look:
    """One look at a cluster: tries that share its state."""

    def __init__(self, pools: Pools, nodes: Sequence[Node], pending: Sequence[Pod], now: float) -> None:
        self._pools = pools
        self._nodes = nodes
        self._pending = pending
        self._shut = frozenset(
            node.name
            for node in nodes
            if (pool := pools.by_name.get(node.pool)) is not None and settling(pool, node, now)
        )

    def several(self, listed: Sequence[Candidate]) -> Command | None:
        """Take away as many of the first as one new node, or none, can replace."""
        low, high = 1, min(len(listed) - 1, _MOST_AT_ONCE)
        if len(listed) < 2:
            return None
        best = None
        while low <= high:
            middle = (low + high) // 2
            tried = listed[: middle + 1]
            command = self._command(tried, Method.MULTI_NODE)
            if command is not None:
                best, low = command, middle + 1
            else:
                high = middle - 1
        return best

    def single(self, listed: Iterable[Candidate]) -> Command | None:
        """Take away the first that can be spared, or that something cheaper can replace."""
        for candidate in listed:
            command = self._command([candidate], Method.SINGLE_NODE)
            if command is not None:
                return command
        return None

    def _command(self, tried: Sequence[Candidate], method: Method) -> Command | None:
        outcome = self._try(tried)
        if outcome is None:
            return None
        names = ", ".join(candidate.node.instance_type for candidate in tried[:3])
        what = names if len(tried) <= 3 else f"{names} and {len(tried) - 3} more"
        price = sum(candidate.price for candidate in tried)
        if outcome.replacement is None:
            return self._made(method, tried, outcome, None, price, f"the pods of {what} fit on other nodes")
        kept = self._cheaper(tried, outcome, price)
        if method is Method.MULTI_NODE and kept is not None:
            kept = self._without_the_same(tried, kept)
        if kept is None or not kept.types:
            return None
        chosen = choose(list(kept.types), kept.requirements, self._pools.settings)
        types = tuple(kind.name for kind in kept.types)
        replacement = replace(outcome.replacement, types=types, requirements=kept.requirements, launch=chosen)
        if chosen is None:
            # The provider has nothing of that kind, and Karpenter finds out only when it launches.
            because = (
                f"the pods of {what} fit on one node that is cheaper, but there is no spot offering for it"
            )
            return self._made(method, tried, outcome, replacement, 0, because)
        because = f"the pods of {what} fit on one {chosen.instance_type.name}, which is cheaper"
        return self._made(method, tried, outcome, replacement, price - chosen.price, because)

    def _made(
        self,
        method: Method,
        tried: Sequence[Candidate],
        outcome: _Try,
        replacement: NewNode | None,
        saves: int,
        because: str,
    ) -> Command:
        moving = {pod for candidate in tried for pod in candidate.node.pods}
        moves = [
            (pod, there.node.name) for there in outcome.done.existing for pod in there.pods if pod in moving
        ]
        moves += [(pod, "") for claim in outcome.done.claims for pod in claim.pods if pod in moving]
        return Command(
            method, tuple(candidate.node for candidate in tried), replacement, tuple(moves), saves, because
        )

    def _try(self, tried: Sequence[Candidate]) -> _Try | None:
        """Place the pods of candidates elsewhere; None where some fit nowhere or two new nodes are needed."""
        going = {candidate.node.name for candidate in tried}
        movers = frozenset(pod for candidate in tried for pod in candidate.node.pods)
        others = [pod for node in self._nodes if node.deleting for pod in node.pods]
        staying = [node for node in self._nodes if not node.deleting and node.name not in going]
        done = Pass(self._pools, staying, shut=self._shut, movers=movers)
        done.place([*self._pending, *movers, *others])
        waiting = set(self._pending)
        if len(done.claims) > 1 or any(pod not in waiting for pod in done.failed):
            return None
        if any(pod in movers for there in done.existing if not there.node.initialized for pod in there.pods):
            return None  # whether that node will ever be ready is not known yet
        if not done.claims:
            return _Try(done, None, (), {})
        claim = done.claims[0]
        types = tuple(claim.template.types[at] for at in bits(claim.types))
        return _Try(done, new_node(self._pools, claim), types, self._pools.claims[claim.state])

    def _cheaper(self, tried: Sequence[Candidate], outcome: _Try, price: int) -> _Try | None:
        """The types of a replacement that cost less than what goes."""
        requirements = dict(outcome.requirements)
        allowed = requirements.get(CAPACITY_TYPE, Requirement(CAPACITY_TYPE, frozenset(), complement=True))
        from_spot = all(candidate.node.capacity_type == SPOT for candidate in tried) and allowed.has(SPOT)
        if from_spot:
            if not self._pools.settings.spot_to_spot:
                return None
            requirements = combined(requirements.values(), (among(CAPACITY_TYPE, SPOT),))
        kept = [
            kind
            for kind in by_price(list(outcome.types), requirements)
            if (worst := worst_price(kind, requirements)) is not None and worst < price
        ]
        cheaper = replace(outcome, types=tuple(kept), requirements=requirements)
        if not self._keeps_min_values(cheaper):
            return None
        if from_spot:
            if len(tried) > 1:
                return cheaper
            return replace(cheaper, types=cheaper.types[:_SPOT_CHOICE]) if len(kept) >= _SPOT_CHOICE else None
        if allowed.has(SPOT) and allowed.has(ON_DEMAND):
            narrowed = combined(requirements.values(), (among(CAPACITY_TYPE, SPOT),))
            # The price was that of spot; on demand it might be dearer than what goes.
            return replace(cheaper, requirements=narrowed)
        return cheaper

    def _keeps_min_values(self, outcome: _Try) -> bool:
        claim = outcome.done.claims[0]
        names = {kind.name for kind in outcome.types}
        mask = sum(1 << at for at, kind in enumerate(claim.template.types) if kind.name in names)
        return claim.template.enough_values(claim.state, mask)

    def _without_the_same(self, tried: Sequence[Candidate], outcome: _Try) -> _Try | None:
        """Leave out types as dear as the cheapest node going that has one of the types: better keep that one."""
        prices: dict[str, int] = {}
        for candidate in tried:
            labels = labelled(candidate.node.labels)
            kinds = self._pools.by_name[candidate.node.pool].instance_types
            for offer in next(kind.offerings for kind in kinds if kind.name == candidate.node.instance_type):
                if obstacle(labels, offer.requirements(), undefined=True) is None:
                    before = prices.get(candidate.node.instance_type, offer.price)
                    prices[candidate.node.instance_type] = min(offer.price, before)
        going = {candidate.node.instance_type for candidate in tried}
        same = [prices.get(kind.name, 0) for kind in outcome.types if kind.name in going]
        if not same:
            return outcome
        kept = tuple(
            kind
            for kind in outcome.types
            if (worst := worst_price(kind, outcome.requirements)) is not None and worst < min(same)
        )
        other = replace(outcome, types=kept)
        return other if self._keeps_min_values(other) else None


def _interleaved(listed: Iterable[Candidate], seed: int) -> list[Candidate]:
    """One of each pool in turn; Karpenter takes the pools in any order, which the seed decides here."""
    by_pool: dict[str, list[Candidate]] = {}
    for candidate in listed:
        by_pool.setdefault(candidate.node.pool, []).append(candidate)
    order = sorted(by_pool)
    random.Random(seed).shuffle(order)
    most = max((len(group) for group in by_pool.values()), default=0)
    return [by_pool[name][at] for at in range(most) for name in order if at < len(by_pool[name])]
