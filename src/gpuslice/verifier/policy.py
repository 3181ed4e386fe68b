"""Whether a plan keeps the policy that it states: what may not be bought, counts, spot's share, what is reserved."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from typing import TYPE_CHECKING

from msgspec import UNSET

from gpuslice.units import micro_usd
from gpuslice.verifier.layouts import Violation

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from gpuslice.plan.artefact import Node, OptimalNode, Plan


def policy_violations(plan: Plan) -> Iterator[Violation]:
    """What the plan buys against its policy: in its pools, and in the cheapest packing."""
    yield from _kept(plan, [node for pool in plan.pools for node in pool.nodes], "pools")
    yield from _kept(plan, plan.optimal_nodes, "optimal nodes")
    if plan.policy.max_pools is not UNSET and len(plan.pools) > plan.policy.max_pools:
        yield Violation(
            "policy/max-pools", "pools", f"{len(plan.pools)} pools, {plan.policy.max_pools} may be"
        )
    for pool in plan.pools:
        for name in pool.instance_types:
            yield from _forbidden(plan, name, f"pool {pool.name}")


def _kept(plan: Plan, nodes: Sequence[Node | OptimalNode], where: str) -> Iterator[Violation]:
    policy = plan.policy
    for name in sorted({node.instance_type for node in nodes}):
        yield from _forbidden(plan, name, where)
    bought = _count(nodes)
    for name, most in policy.max_nodes.items():
        if bought[name] > most:
            yield Violation("policy/max-nodes", where, f"{bought[name]} nodes are {name}, {most} may be")
    held = {reservation.instance_type: reservation.count for reservation in policy.reserved}
    for name, count in sorted(_count(node for node in nodes if node.purchase == "reserved").items()):
        if count > held.get(name, 0):
            yield Violation(
                "policy/reserved", where, f"{count} {name} are used of {held.get(name, 0)} reserved"
            )
    if policy.max_spot_share is not UNSET:
        spot = sum(micro_usd(node.usd_per_hour) * node.count for node in nodes if node.purchase == "spot")
        bill = sum(micro_usd(node.usd_per_hour) * node.count for node in nodes)
        if spot > Fraction(str(policy.max_spot_share)) * bill:
            share = f"{spot / bill:.1%} of the bill is spot, {policy.max_spot_share:.1%} may be"
            yield Violation("policy/spot-share", where, share)


def _forbidden(plan: Plan, name: str, where: str) -> Iterator[Violation]:
    for entry in (name, name.partition(".")[0]):
        if entry in plan.policy.forbid:
            yield Violation("policy/forbidden", where, f"{name} is bought, and {entry} is forbidden")


def _count(nodes: Iterable[Node | OptimalNode]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for node in nodes:
        counts[node.instance_type] += node.count
    return counts
