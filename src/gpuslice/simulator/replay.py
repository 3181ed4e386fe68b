"""A timeline replayed against policies, one after the other."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from gpuslice.artefacts.documents import dump_json
from gpuslice.artefacts.part import API_VERSION
from gpuslice.karpenter.times import BOOT_SECONDS, LOOK_SECONDS
from gpuslice.simulator.cluster import Cluster
from gpuslice.simulator.ledger import quantile
from gpuslice.simulator.result import Demand, Outcome, Over, Simulation, Waits
from gpuslice.units import HOURS_A_MONTH

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuslice.cloud.catalog import Catalog
    from gpuslice.plan.artefact import Plan
    from gpuslice.simulator.policies import ReplayPolicy
    from gpuslice.simulator.replanning import Replanning
    from gpuslice.workloads.timelines import Timeline

_HOUR: Final = 3600
_DIGITS: Final = 6
_MOST_LOOKS: Final = 10_000


def replay(
    timeline: Timeline,
    policy: ReplayPolicy,
    catalog: Catalog,
    *,
    boot: float = BOOT_SECONDS,
    look: float = LOOK_SECONDS,
    spot_interruptions: float = 0.0,
    seed: int = 0,
    replanning: Replanning | None = None,
) -> Outcome:
    """What a policy would have come to.

    Args:
        timeline: demand.
        policy: by which the cluster is run.
        catalog: prices.
        boot: seconds from a node's launch until it is ready.
        look: seconds between Karpenter's looks for something to consolidate.
        spot_interruptions: how often EC2 takes a spot node back, times per hour of its life.
        seed: of when it does so.
        replanning: makes the policies that follow the first one.
    """
    cluster = Cluster(
        policy,
        catalog.by_name(),
        timeline.seconds,
        boot=boot,
        look=look,
        spot_interruptions=spot_interruptions,
        seed=seed,
    )
    ledger = cluster.replay(timeline.lives, () if replanning is None else replanning.later())
    usd = ledger.rate.total / _HOUR / 1e6
    hours = max(timeline.seconds, 1) / _HOUR
    placed = len(ledger.waits)
    return Outcome(
        policy.name,
        policy.note,
        round(usd, _DIGITS),
        round(usd / hours * HOURS_A_MONTH, 2),
        round(ledger.bought.total / _HOUR, 3),
        round(ledger.used.total / _HOUR, 3),
        Waits(
            quantile(ledger.waits, 0.5),
            quantile(ledger.waits, 0.95),
            quantile(ledger.waits, 0.99),
            max(ledger.waits, default=0.0),
        ),
        cluster.wanted - placed,
        ledger.evictions,
        round(ledger.over.total / _HOUR, 3),
        len(policy.misfits),
        ledger.launched,
        round(ledger.nodes.most),
        Over(
            tuple(round(mean / 1e6, 4) for mean in ledger.rate.means()),
            tuple(round(mean, 3) for mean in ledger.bought.means()),
            tuple(round(mean, 3) for mean in ledger.pending.means()),
        ),
        ledger.interruptions,
        ledger.replanned,
    )


def look_seconds(seconds: float) -> float:
    """How often consolidation is looked for: as Karpenter does, but no more than some thousand times in a replay."""
    return max(LOOK_SECONDS, float(round(seconds / _MOST_LOOKS)))


def simulation(
    timeline: Timeline,
    outcomes: Sequence[Outcome],
    catalog: Catalog,
    plan: Plan | None,
    assumptions: Sequence[str],
) -> Simulation:
    """All outcomes with what they rest on."""
    return Simulation(
        api_version=API_VERSION,
        kind="Simulation",
        region=catalog.region,
        prices=catalog.prices_date,
        demand=Demand(
            timeline.source,
            timeline.seconds,
            len(timeline.lives),
            len(timeline.workloads),
            timeline.notes,
        ),
        plan="" if plan is None else digest(plan),
        outcomes=tuple(outcomes),
        assumptions=tuple(assumptions),
    )


def digest(plan: Plan) -> str:
    """By which a simulation knows the plan that it replayed."""
    return hashlib.sha256(dump_json(plan).encode()).hexdigest()[:16]
