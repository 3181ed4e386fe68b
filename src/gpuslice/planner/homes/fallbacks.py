"""A second instance type for every pool, and what it costs when EC2 is out of the first one.

A type that EC2 can't give leaves a pool's pods pending, unless its NodePool lists another. A larger type listed beside
a small one may get batches of pods, though: so a second type is listed only where the model of Karpenter says that the
bill stays about the same.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from operator import le
from typing import TYPE_CHECKING, Final

from gpuslice.cloud.allocatable import left_for_workloads
from gpuslice.cloud.description import mig_offered
from gpuslice.hardware.mechanisms import Mechanism
from gpuslice.planner.homes.bills import homeless
from gpuslice.workloads.node_limits import by_rule, room_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from gpuslice.cloud.catalog import DaemonsetOverhead, InstanceType
    from gpuslice.planner.homes.bills import Outcome, PoolBills
    from gpuslice.planner.homes.residence import Residents
    from gpuslice.planner.model.options import NodeOption
    from gpuslice.planner.model.pools import PoolKey

_MOST_DEARER: Final = 100
"""A second type may make a pool's bill dearer by one part in so many."""
_TRIED: Final = 3  # second types asked of the model for one pool, cheapest first


@dataclass(frozen=True, slots=True)
class Missing:
    """What happens while EC2 can't give an instance type.

    Attributes:
        instance_type: that is missing.
        price: micro-dollars an hour that the plan then costs more, on average over orders of arrival.
        unbound: replicas that wait for it.
    """

    instance_type: str
    price: int
    unbound: int


def with_fallback(
    pool: PoolKey,
    residents: Residents,
    outcome: Outcome,
    *,
    bills: PoolBills,
    second: Callable[[NodeOption], Iterable[NodeOption]],
) -> Outcome:
    """The pool with a second instance type, where it has one only and another costs next to nothing.

    Args:
        pool: in question.
        residents: whom it carries.
        outcome: with the types that are cheapest.
        bills: of the model.
        second: nodes that could stand in for one.
    """
    if outcome.packed or len({option.instance_type.name for option in outcome.options}) > 1:
        return outcome
    candidates = sorted(
        second(outcome.options[0]), key=lambda option: (option.price, option.instance_type.name)
    )
    for candidate in candidates[:_TRIED]:
        if not bills.has_time():
            break
        below = outcome.weight * (_MOST_DEARER + 1) // _MOST_DEARER + 1
        tried = bills.tried(pool, residents, (*outcome.options, candidate), below=below)
        if tried is not None:
            return tried
    return outcome


def stand_ins(
    option: NodeOption, types: Iterable[InstanceType], overhead: DaemonsetOverhead
) -> Iterator[NodeOption]:
    """Nodes of other types that have the same GPUs, and at least as much of everything else.

    Args:
        option: the node that may be missing.
        types: to choose from.
        overhead: of daemonsets.
    """
    first = option.instance_type
    for kind in types:
        if (
            kind.name == first.name
            or kind.arch != first.arch
            or option.purchase not in kind.prices
            or (kind.gpu, kind.gpu_count, kind.gpu_fraction)
            != (first.gpu, first.gpu_count, first.gpu_fraction)
            or (option.cut.mechanism is Mechanism.MIG and not mig_offered(kind))
            or not option.cut.group.has(kind, option.purchase)
        ):
            continue
        left = left_for_workloads(kind, overhead)
        # What a rule among pods leaves is the same on every type.
        taken = tuple((name, have if by_rule(name) else 0) for name, have in option.others)
        others = room_of(kind, taken)
        if (
            left.cpu_milli >= option.cpu_milli
            and left.memory_mib >= option.memory_mib
            and left.pods >= option.pods
            and all(map(le, option.others, others))
        ):
            yield replace(
                option,
                instance_type=kind,
                price=kind.prices[option.purchase],
                cpu_milli=left.cpu_milli,
                memory_mib=left.memory_mib,
                pods=left.pods,
                others=others,
            )


def missing_types(
    pools: Mapping[PoolKey, Residents], outcomes: Mapping[PoolKey, Outcome], bills: PoolBills
) -> tuple[Missing, ...]:
    """For every instance type that is launched, what it means if EC2 has none; left out where that isn't known.

    Nothing is known of pools that the model wasn't asked about, nor once time has run out.

    Args:
        pools: whom each carries.
        outcomes: what each comes to.
        bills: of the model.
    """
    launched: dict[str, list[PoolKey]] = {}
    for pool, outcome in outcomes.items():
        names = {kind for bill in outcome.bills for (_, kind, _), _ in bill.nodes}
        for name in names | {pattern.option.instance_type.name for pattern, _ in outcome.packed}:
            launched.setdefault(name, []).append(pool)
    missing = []
    for name in sorted(launched):
        if any(outcomes[pool].packed for pool in launched[name]) or not bills.has_time():
            continue
        price = unbound = 0
        for pool in launched[name]:
            left = tuple(option for option in outcomes[pool].options if option.instance_type.name != name)
            without = bills.tried(pool, pools[pool], left) if left else None
            if without is not None:
                price += (without.total - outcomes[pool].total) // len(without.bills)
            else:
                unbound += homeless(pools[pool], left)
        if bills.has_time():  # else some of these weren't asked about
            missing.append(Missing(name, price, unbound))
    return tuple(missing)
