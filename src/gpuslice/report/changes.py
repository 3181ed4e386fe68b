"""What else a workload could have, on nodes of its own, and what one change to it would save.

A change is a rule of its own loosened, or its need measured. A plan mixes workloads on nodes, so that this says where
to look first; planning again tells exactly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from gpuslice.costs.alternatives import alternatives, offers
from gpuslice.hardware.mechanisms import Isolation
from gpuslice.hardware.need import ANY_GPU
from gpuslice.units import HOURS_A_MONTH
from gpuslice.workloads.policy import FREE, Policy

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gpuslice.cloud.catalog import Catalog, DaemonsetOverhead
    from gpuslice.costs.alternatives import Alternative, Offer
    from gpuslice.hardware.need import Need
    from gpuslice.hardware.stacks import Stack
    from gpuslice.workloads.model import Workload

_LEAST_WORTH: Final = 1.0  # dollars a month: less is no reason to touch anything


@dataclass(frozen=True, slots=True)
class Change:
    """One change, and the slice that would do then.

    Attributes:
        words: the change, to follow "if": "it may share memory without isolation".
        slice: the cheapest then.
        usd_per_hour: saved, all replicas together.
        most: whether that is only the most that it can be.
    """

    words: str
    slice: str
    usd_per_hour: float
    most: bool = False


@dataclass(frozen=True, slots=True)
class After:
    """What a workload could have after one change.

    Attributes:
        words: what changes.
        most: whether what it saves is only the most that it can be.
        alternatives: then.
    """

    words: str
    most: bool
    alternatives: tuple[Alternative, ...]


def loosened(
    workload: Workload,
    catalog: Catalog,
    overhead: DaemonsetOverhead,
    stack: Stack,
    policy: Policy = FREE,
) -> tuple[After, ...]:
    """Each single change that could make a workload cheaper, and its alternatives then.

    Args:
        workload: as it is; who is like it in need and pod size gets the same answer.
        catalog: prices.
        overhead: of daemonsets.
        stack: what nodes run.
        policy: what may be bought.
    """
    return tuple(
        After(
            words, most, alternatives(replace(workload, need=need), catalog, overhead, stack, policy=policy)
        )
        for words, need, most in _loosened(workload.need)
    )


def changes(after: Sequence[After], now: Sequence[Offer], replicas: int, paid: float) -> tuple[Change, ...]:
    """The changes that would save something, the best first.

    Args:
        after: what it could have then.
        now: what it could have as it is.
        replicas: how many there are.
        paid: dollars an hour that the plan pays for all of them.
    """
    if not now:
        return ()
    # It may pay more than it would alone, where replicas don't fill their node: no change of a rule mends that.
    today = min(paid, _alone(now[0]))
    found = []
    for loosening in after:
        then = offers(loosening.alternatives, replicas)
        if then:
            # The most that measuring can save has others on its nodes too.
            best = min(then, key=_shared if loosening.most else _alone)
            price = _shared(best) if loosening.most else _alone(best)
            found.append(Change(loosening.words, best.slice, today - price, loosening.most))
    worth = [change for change in found if change.usd_per_hour * HOURS_A_MONTH >= _LEAST_WORTH]
    return tuple(sorted(worth, key=lambda change: (-change.usd_per_hour, change.words)))


def _alone(offer: Offer) -> float:
    """Dollars an hour of whole nodes; endless where there may not be so many."""
    return math.inf if offer.alone_price is None else offer.alone_price / 1e6


def _shared(offer: Offer) -> float:
    return offer.shared_price / 1e6


def _loosened(need: Need) -> Iterator[tuple[str, Need, bool]]:
    """Each single change, the need after it, and whether its price is only the least that it can be."""
    if need.gpus > 1:
        return
    if not need.known:
        if need.on is not None:
            # The smallest need there is: whatever is measured, it can't become cheaper than this.
            yield "its need were measured", replace(need, memory_mib=1, duty_ppm=1), True
        return
    if need.isolation is not Isolation.NONE:
        loosened = replace(need, isolation=Isolation.NONE)
        yield f"it did without isolation: {need.isolation}", loosened, False
    if need.allow and ANY_GPU not in need.allow:
        anywhere = replace(need, allow=frozenset({ANY_GPU}))
        yield f"it might run on other GPUs than {', '.join(sorted(need.allow))}", anywhere, False
    if not need.allow and need.min_compute_capability is None:
        yield "it might run on any GPU", replace(need, allow=frozenset({ANY_GPU})), False
    if need.max_slowdown_milli is not None:
        limit = need.max_slowdown_milli / 1000
        slower = replace(need, max_slowdown_milli=2 * need.max_slowdown_milli)
        yield f"it might be {2 * limit:g}x slower instead of {limit:g}x", slower, False
