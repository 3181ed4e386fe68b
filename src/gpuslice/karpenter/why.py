"""Why Karpenter decided as it did, in words: why this pool, why this type, why not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuslice.karpenter.model import NODES
from gpuslice.karpenter.requirements import NODE_POOL, labelled, obstacle
from gpuslice.karpenter.templates import bits
from gpuslice.units import format_usd

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gpuslice.karpenter.model import Pod
    from gpuslice.karpenter.provision import Decision, NewNode
    from gpuslice.karpenter.shapes import Shape
    from gpuslice.karpenter.templates import Pools, Template


def why_node(pools: Pools, decision: Decision, node: NewNode) -> tuple[str, ...]:
    """Why a new node is made, why of this pool, and why as this instance type.

    Args:
        pools: of the cluster.
        decision: that it is part of.
        node: of the decision's new ones.
    """
    first, there = node.pods[0], len(decision.done.existing)
    lines = [
        f"made for {first.kind.name}: {there} nodes there and {node.claim.number} to be made don't take it"
    ]
    shape = pools.shapes(first.kind)[0]
    for template in pools.templates:
        if template is node.claim.template:
            break
        lines.append(f"not in {template.pool.name}: {_refusal(pools, template, template.all, shape)}")
    lines.append(_pool_line(pools, node))
    lines += _dropped(pools, node)
    if node.launch is None:
        lines.append("nothing is launched: EC2 is out of every type left")
        return tuple(lines)
    for name, reason in node.launch.left_out:
        lines.append(f"{name} fits but is left out: {reason}")
    others = len(node.launch.named) - 1
    cheapest = f"the cheapest of {others + 1} types left" if others else "the only type left"
    name, price = node.launch.instance_type.name, format_usd(node.launch.price)
    lines.append(f"{name}, {node.launch.capacity_type}, {price} an hour: {cheapest}")
    return tuple(lines)


def why_not(pools: Pools, decision: Decision, pod: Pod) -> tuple[str, ...]:
    """Why a pod that failed fits nothing: one line for each pool.

    Args:
        pools: of the cluster.
        decision: in which it failed.
        pod: one of the decision's failed ones.
    """
    shape = decision.done.failed[pod]
    if not pools.templates:
        return ("no NodePool has any instance type that it may launch",)
    return tuple(
        f"{template.pool.name}: {_refusal(pools, template, decision.done.left(template), shape)}"
        for template in pools.templates
    )


def _pool_line(pools: Pools, node: NewNode) -> str:
    own = pools.by_name[node.pool]
    same = [each.pool.name for each in pools.templates if each.pool.weight == own.weight]
    if len(pools.templates) == 1:
        return f"in {node.pool}: the only NodePool"
    if len(same) == 1:
        return f"in {node.pool}: the first that fits, by its weight of {own.weight}"
    return (
        f"in {node.pool}: the first that fits; among {len(same)} pools of weight {own.weight} the last "
        "name comes first, whatever they cost"
    )


def _dropped(pools: Pools, node: NewNode) -> Iterable[str]:
    """Which types fell out with which pod, as pods were added."""
    template, claim = node.claim.template, node.claim
    used: dict[str, int] = {}
    left = claim.opened_with & template.under(claim.state)
    for number, pod in enumerate(node.pods, 1):
        for resource, amount in pools.shapes(pod.kind)[-1].requests:
            used[resource] = used.get(resource, 0) + amount
            keeps = left & template.fitting(resource, used[resource])
            gone = [template.types[at].name for at in bits(left & ~keeps)]
            if gone:
                named = ", ".join(sorted(gone)[:3]) + (f" and {len(gone) - 3} more" if len(gone) > 3 else "")
                which = "the only pod" if len(node.pods) == 1 else f"pod {number} of {len(node.pods)}"
                yield f"{named} fell out with {which}: not {used[resource]} of {resource}"
            left = keeps


def _refusal(pools: Pools, template: Template, types: int, shape: Shape) -> str:
    pool = template.pool
    for taint in pool.taints:
        if not any(each.tolerates(taint) for each in shape.tolerations):
            return f"the pod doesn't tolerate its taint {taint.key}={taint.value}:{taint.effect}"
    wanted = {each.key: each for each in shape.wanted}
    own = pools.claims[template.state]
    stop = obstacle({**own, **labelled({NODE_POOL: pool.name})}, wanted, undefined=True)
    if stop is not None:
        return f"the pod wants {stop}"
    if not types:
        of = "nodes" if NODES in pool.limits else ", ".join(sorted(pool.limits))
        return f"its limit of {of} is reached"
    state = pools.claims.after(template.state, pools.want_of_claim(shape))
    left = types & template.under(state)
    if not left:
        return "no instance type left has what the pod wants, or EC2 is out of it"
    together = left
    for resource, amount in shape.requests:
        fitting = template.fitting(resource, amount)
        if not fitting & left:
            return f"no instance type has {amount} of {resource} for pods"
        together &= fitting
    if not together:
        return "no instance type has all that the pod asks for together"
    if template.has_min_values(state) and not template.enough_values(state, together):
        return "fewer instance types fit than its minValues ask for"
    return "spreads and affinities among pods leave no domain there"
