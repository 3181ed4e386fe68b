"""What reports of the tests are about: good plans of every mechanism, hostile names, and a plan made worse."""

from dataclasses import replace
from functools import cache

import msgspec

from gpuslice.plan.artefact import Baseline, Plan, Unplaced
from gpuslice.report.sections import from_plan
from gpuslice.report.subject import Subject
from gpuslice.simulator.replay import digest
from gpuslice.simulator.result import Demand, Outcome, Over, Simulation, Waits
from gpuslice.verifier.verify import verify, verify_alone
from gpuslice.workloads.model import Workload
from tests.planner.good_plans import Case, case
from tests.report.large import large

HOSTILE = (
    "red/<script>alert(1)</script>",
    "red/\"onmouseover='alert(2)'",
    "red/{{ 7 * 7 }}{% raw %}",
    "red/</style></svg><img src=x onerror=alert(3)>",
    "red/\u202e\u05d2\u05e8\u05e1\u05d4",
    "red/" + "a" * 200,
    "red/--><!--]]>&amp;&#x3c;b&#x3e;",
)


def subject(name: str = "shared") -> Subject:
    """A good plan of the planner's tests, verified; see `good_plans.case`."""
    good = _case(name)
    return Subject(
        good.plan, good.catalog, good.workloads, True, verify(good.plan, good.workloads, good.catalog)
    )


@cache
def _case(name: str) -> Case:
    good = case(name)
    today = Baseline(
        "whole-gpu", round(good.plan.summary.usd_per_hour * 2.5, 6), 0, "each pod has whole GPUs"
    )
    tutorial = Baseline("time-slicing-4", 2.0, 3, "every GPU in 4 equal slots")
    summary = msgspec.structs.replace(good.plan.summary, baselines=(today, tutorial))
    return good._replace(plan=msgspec.structs.replace(good.plan, summary=summary))


def without_workloads(name: str = "shared") -> Subject:
    """The same, made without the workloads."""
    good = _case(name)
    return Subject(
        good.plan, good.catalog, from_plan(good.plan), False, verify_alone(good.plan, good.catalog)
    )


def simulated() -> Subject:
    """A plan beside a replay of it, with a policy whose name is out to hurt."""
    found = subject("slots")
    over = Over((2.0, 1.0, 0.0), (2.0, 1.0, 0.0), (0.0, 3.0, 0.0))
    waits = Waits(181.0, 181.5, 190.0, 200.0)
    outcomes = tuple(
        Outcome(name, HOSTILE[3], 24.0, 730.0, 24.0, 12.0, waits, 1, 2, 3.5, misfits, 4, 2, over)
        for name, misfits in (("whole", 0), (HOSTILE[0], 7), ("plan", 0))
    )
    replayed = Simulation(
        api_version="gpuslice.io/v1alpha1",
        kind="Simulation",
        region="us-east-1",
        prices="2026-07-20",
        demand=Demand("by hand", 86_400, 9, 4, HOSTILE),
        plan=digest(found.plan),
        outcomes=outcomes,
        assumptions=HOSTILE,
    )
    return replace(found, simulation=replayed)


def broken() -> Subject:
    """A plan in whose pools somebody has put one replica too many."""
    good = _case("shared")
    first, *others = good.plan.assignments
    plan = msgspec.structs.replace(
        good.plan, assignments=(msgspec.structs.replace(first, replicas=first.replicas + 1), *others)
    )
    return Subject(plan, good.catalog, good.workloads, True, verify(plan, good.workloads, good.catalog))


def unplaced() -> Subject:
    """A plan in which one workload has no place."""
    found = subject()
    miss = Unplaced("red/giant", 2, "needs 600Gi, the largest GPU has 275Gi")
    return replace(found, plan=msgspec.structs.replace(found.plan, unplaced=(miss,)))


def big(nodes: int = 1000) -> Subject:
    """Many nodes."""
    plan, workloads, catalog = large(nodes)
    return Subject(plan, catalog, workloads, True, ())


def hostile() -> Subject:
    """Names, reasons, notes and assumptions that are out to hurt, wherever a plan or workloads have words."""
    good = _case("shared")
    names = {
        workload.name: HOSTILE[index % len(HOSTILE)] + str(index)
        for index, workload in enumerate(good.workloads)
    }

    def named(plan: Plan) -> Plan:
        pools = tuple(
            msgspec.structs.replace(
                pool,
                tenant=HOSTILE[0] if pool.tenant else "",
                nodes=tuple(
                    msgspec.structs.replace(
                        node, pods={names[each]: count for each, count in node.pods.items()}
                    )
                    for node in pool.nodes
                ),
            )
            for pool in plan.pools
        )
        assignments = tuple(
            msgspec.structs.replace(each, workload=names[each.workload], because=HOSTILE[3])
            for each in plan.assignments
        )
        return msgspec.structs.replace(
            plan,
            pools=pools,
            assignments=assignments,
            optimal_nodes=(),
            unplaced=tuple(Unplaced(each, 1, HOSTILE[1]) for each in HOSTILE),
            assumptions=HOSTILE,
        )

    def renamed(workload: Workload) -> Workload:
        return replace(workload, name=names[workload.name], tenant=HOSTILE[0], notes=HOSTILE)

    return Subject(named(good.plan), good.catalog, tuple(map(renamed, good.workloads)), True)
