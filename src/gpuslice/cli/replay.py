"""One replay, as a value of all that it depends on; and the replay itself, policy by policy."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Final

from gpuslice.cli.console import progress
from gpuslice.cli.demand import check_policies, inputs_of, market_of, timeline_of, what_if
from gpuslice.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from gpuslice.cloud.catalog import Catalog, DaemonsetOverhead
    from gpuslice.plan.artefact import Plan
    from gpuslice.simulator.policies import ReplayPolicy
    from gpuslice.simulator.replanning import Replanning
    from gpuslice.simulator.result import Outcome, Simulation
    from gpuslice.workloads.model import Workload
    from gpuslice.workloads.policy import Policy
    from gpuslice.workloads.timelines import Timeline

PLAN: Final = "plan"
"""The policy that is a plan."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """What is replayed: files by their paths, the rest as `gpuslice simulate` is told it.

    Attributes:
        files: workloads, and a plan, if one is to be replayed.
        trace: of demand; "" where `days` is given.
        today: GPU model that a trace's pods ran on, where it doesn't say.
        days: of a daily wave between the workloads' replicas and their peaks; 0 where there is a trace.
        catalog: "" for the bundled one.
        overhead: of daemonsets on each node; "" for the usual one.
        accept_assumed: whether needs may be assumed ones.
        consolidate_after: seconds, of every pool.
        boot: seconds from a node's launch until pods run on it.
        stack: that a plan is made for.
        time_limit: seconds for making a plan.
        policies: by their names, separated by commas.
        seed: of the daily wave, and of spot interruptions.
        allow: GPU models on which every workload might run, separated by commas; "": as they say.
        isolation: what all workloads ask for; "": as they say.
        prices: a file of prices in place of the catalog's; "" for none.
        spot_interruptions: how often EC2 takes a spot node back, times per hour of its life.
    """

    files: tuple[str, ...]
    trace: str
    today: str
    days: int
    catalog: str
    overhead: str
    accept_assumed: bool
    consolidate_after: float
    boot: float
    stack: str
    time_limit: float
    policies: str
    seed: int = 0
    allow: str = ""
    isolation: str = ""
    prices: str = ""
    spot_interruptions: float = 0.0


@dataclass(frozen=True, slots=True)
class Course:
    """A replay read and checked, ready to be run.

    Attributes:
        asked: the replay.
        names: of its policies.
        timeline: demand.
        catalog: with the prices that are to be paid.
        rules: by which nodes are bought, where a plan is made.
        overhead: of daemonsets.
        plan: that was named; None: one is made, where a policy needs it.
    """

    asked: Replay
    names: tuple[str, ...]
    timeline: Timeline
    catalog: Catalog
    rules: Policy
    overhead: DaemonsetOverhead
    plan: Plan | None

    def plan_for(self, workloads: Sequence[Workload]) -> Plan:
        """The cheapest plan for these workloads."""
        import time

        from gpuslice.hardware.stack import Stack
        from gpuslice.planner import budget
        from gpuslice.planner.clock import Clock
        from gpuslice.planner.settings import Settings
        from gpuslice.planner.solve import solve

        started, seconds = time.monotonic(), self.asked.time_limit
        return solve(
            workloads,
            self.catalog,
            Settings(
                self.overhead,
                overhead_assumed=not self.asked.overhead,
                stack=Stack(self.asked.stack),
                policy=self.rules,
            ),
            clock=Clock(budget.SECONDS, lambda: started + seconds - time.monotonic()),
        ).plan

    def policy(self, name: str, plan: Plan | None) -> ReplayPolicy:
        """The policy of a name that stays as it is all the while."""
        from gpuslice.simulator.baselines import baseline
        from gpuslice.simulator.policies import of_plan

        rest = (self.timeline.workloads, self.catalog, self.overhead, self.asked.consolidate_after)
        return of_plan(plan, *rest) if plan is not None else baseline(name, *rest)

    def replanning(self, hours: int) -> Replanning:
        """A plan made anew every so many hours."""
        from gpuslice.simulator.replanning import Replanning

        after = self.asked.consolidate_after
        return Replanning(self.timeline, self.plan_for, hours, self.catalog, self.overhead, after)


def read(asked: Replay, check: Callable[[Plan | None, Sequence[str]], None]) -> Course:
    """Read all that a replay needs.

    Args:
        asked: the replay.
        check: of the plan that is among the files and of the policies' names; before the rest is read.

    Raises:
        InputError: a file or a value is none.
        AnswerIsNoError: the plan breaks a rule.
    """
    from gpuslice.cloud.allocatable import daemonset_overhead, parse_overhead
    from gpuslice.plan.models_today import as_planned
    from gpuslice.workloads.models_today import assumed

    plan, workloads, peaks = inputs_of([*asked.files], accept_assumed=asked.accept_assumed)
    names = _names(asked.policies)
    check(plan, names)
    timeline = timeline_of(asked.trace, asked.today, asked.days, asked.seed, workloads, peaks)
    timeline = what_if(timeline, asked.allow, asked.isolation)
    catalog, rules = market_of(plan, workloads, asked.catalog, asked.prices)
    overhead = parse_overhead(asked.overhead) if asked.overhead else daemonset_overhead()
    if plan is not None:
        on_models = as_planned(timeline.workloads, plan)
    else:
        on_models = tuple(assumed(workload, catalog, overhead, rules) for workload in timeline.workloads)
    timeline = replace(timeline, workloads=on_models)
    return Course(asked, names, timeline, catalog, rules, overhead, plan)


def run(course: Course) -> tuple[Simulation, Plan | None]:
    """Replay every policy; what they came to, and the plan that was replayed, if any was."""
    from gpuslice.simulator.replay import look_seconds, simulation

    plan = course.plan
    look = look_seconds(course.timeline.seconds)
    outcomes: list[Outcome] = []
    for name in course.names:
        with progress(f"replaying {name} …"):
            if name == PLAN:
                plan = plan or course.plan_for(course.timeline.workloads)
            outcomes.append(_outcome(course, name, plan if name == PLAN else None, look))
    replayed = plan if PLAN in course.names else None
    outcome = simulation(
        course.timeline, outcomes, course.catalog, replayed, tuple(_assumptions(course.asked, look))
    )
    return outcome, plan


def _outcome(course: Course, name: str, plan: Plan | None, look: float) -> Outcome:
    from gpuslice.simulator.replanning import hours_of
    from gpuslice.simulator.replay import replay

    asked = course.asked
    replayed = partial(
        replay,
        course.timeline,
        catalog=course.catalog,
        boot=asked.boot,
        look=look,
        spot_interruptions=asked.spot_interruptions,
        seed=asked.seed,
    )
    if (hours := hours_of(name)) is None:
        return replayed(policy=course.policy(name, plan))
    replanning = course.replanning(hours)
    return replayed(policy=replanning.policy(0.0), replanning=replanning)


def _assumptions(asked: Replay, look: float) -> Iterator[str]:
    from pathlib import Path

    yield f"a node takes {asked.boot:g} s from its launch until pods run on it"
    yield f"Karpenter looks for something to consolidate every {look:g} s, one pool at a time, or those that share pods"
    yield f"pools wait {asked.consolidate_after:g} s after a change of pods before they are consolidated"
    yield "the scheduler takes the first node with room; a pod that is moved runs again at once where there is room"
    yield "whole, time-slicing and MIG nodes are bought on demand, a plan's as the plan says"
    yield (
        "those are hypothetical, and launched by the model of Karpenter as pods come: the baselines beside a plan are "
        "packed all at once, and may come to less"
    )
    if asked.spot_interruptions:
        yield (
            f"EC2 takes a spot node back {asked.spot_interruptions:g} times per hour of its life, by chance (seed "
            f"{asked.seed}); its pods leave at the notice and start again"
        )
    else:
        yield "EC2 never takes a spot node back"
    yield "daemonsets as they are planned for; EC2 is never out of a type"
    if asked.prices:
        yield f"prices of {Path(asked.prices).name} in place of the catalog's"


def _names(policies: str) -> tuple[str, ...]:
    """The policies, each once."""
    from gpuslice.plan.tutorials import tutorial_name

    names = tuple(tutorial_name(name.strip()) for name in policies.split(",") if name.strip())
    if not names:
        raise InputError("names no policy", where="--policies", fix="such as whole-gpu,time-slicing-4,plan")
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(f"names {twice[0][:40]!r} twice", where="--policies", fix="name each once")
    check_policies(names, "--policies")
    return names
