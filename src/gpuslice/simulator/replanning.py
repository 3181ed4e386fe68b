"""A plan made anew every so many hours: the policy `replan-6h`.

It knows what a planner of that moment would: who was there in the hours before, and how many at once. Who has come
since has whole GPUs until the next plan. A pod whose place is another under the new plan stops, and starts again there.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from gpuslice.artefacts.documents import dump_json
from gpuslice.errors import InputError
from gpuslice.plan.tutorials import WHOLE_GPUS
from gpuslice.simulator.baselines import baseline
from gpuslice.simulator.policies import ReplayPolicy, of_plan, pools_of
from gpuslice.workloads.timelines import most_at_once

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from gpuslice.cloud.catalog import Catalog, DaemonsetOverhead
    from gpuslice.launches.pools import PoolOffer
    from gpuslice.plan.artefact import Plan, Pool
    from gpuslice.workloads.model import Workload
    from gpuslice.workloads.timelines import Timeline

_HOUR: Final = 3600
_NAME: Final = re.compile(r"replan-([0-9]{1,4})h")
_MOST_PLANS: Final = 1000


def hours_of(name: str) -> int | None:
    """After how many hours a policy of this name plans anew; None where it is another policy."""
    match = _NAME.fullmatch(name)
    return int(match[1]) if match and int(match[1]) else None


class Replanning:
    """Policies, one after the other, each of a plan for the demand of the hours before it."""

    def __init__(
        self,
        timeline: Timeline,
        plan: Callable[[Sequence[Workload]], Plan],
        hours: int,
        catalog: Catalog,
        overhead: DaemonsetOverhead,
        consolidate_after: float,
    ) -> None:
        """Nothing planned yet.

        Args:
            timeline: demand, of which no plan sees more than what has been.
            plan: makes a plan.
            hours: between plans.
            catalog: prices.
            overhead: of daemonsets.
            consolidate_after: seconds, of every pool.

        Raises:
            InputError: that would be too many plans.
        """
        if timeline.seconds > hours * _HOUR * _MOST_PLANS:
            raise InputError(
                f"would make {timeline.seconds // (hours * _HOUR):,} plans",
                where=f"replan-{hours}h",
                fix=f"name more hours: {_MOST_PLANS:,} plans at most",
            )
        self._timeline, self._plan, self._every = timeline, plan, hours * _HOUR
        self._catalog, self._overhead, self._after = catalog, overhead, consolidate_after
        self._whole = baseline(WHOLE_GPUS, timeline.workloads, catalog, overhead, consolidate_after)
        self._offers: dict[str, PoolOffer] = {offer.name: offer for offer in self._whole.offers}

    def policy(self, now: float) -> ReplayPolicy:
        """The one from now on."""
        places, standing = dict(self._whole.places), dict(self._whole.standing)
        if seen := self._seen(now):
            planned = of_plan(
                self._plan(seen), seen, self._catalog, self._overhead, self._after, named=_by_content
            )
            places |= planned.places
            standing |= planned.standing
            # Pools of earlier plans stay for as long as anybody is in them.
            self._offers |= {offer.name: offer for offer in planned.offers}
        offers = tuple(self._offers.values())
        hours = self._every // _HOUR
        return ReplayPolicy(
            f"replan-{hours}h",
            f"planned anew every {hours} hours for who was there since; new workloads have whole GPUs until then",
            offers,
            pools_of(offers, self._overhead, self._after),
            places,
            standing=standing,
        )

    def later(self) -> Iterator[tuple[float, Callable[[], ReplayPolicy]]]:
        """When, and which, after the one at 0."""
        for time in range(self._every, self._timeline.seconds, self._every):
            yield float(time), lambda time=time: self.policy(float(time))  # type: ignore[misc]  # bound now

    def _seen(self, now: float) -> tuple[Workload, ...]:
        """Who was there since the last plan, with the most replicas that there were at once."""
        since = round(now) - self._every
        lives = [
            replace(
                live,
                start=max(live.start, since),
                end=live.end if live.end is not None and live.end <= now else None,
            )
            for live in self._timeline.lives
            if live.start <= now and (live.end is None or live.end > since)
        ]
        most = most_at_once(lives)
        # Services sized by their load are there all the time; at the beginning nobody has seen them yet.
        return tuple(
            replace(workload, replicas=most.get(workload.name, 0))
            for workload in self._timeline.workloads
            if most.get(workload.name) or (now and workload.service is not None)
        )


def _by_content(pool: Pool) -> str:
    """Pools of two plans are one where they are cut and bought alike for one tenant, whatever they are called."""
    parts = (pool.layout, pool.tenant, pool.instance_types, pool.purchases)
    return f"{pool.name}-{hashlib.sha256(dump_json(parts).encode()).hexdigest()[:8]}"
