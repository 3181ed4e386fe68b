"""python -m tools.parity: random scenarios through the model and through the real Karpenter's own packages.

--scenarios N   of each family (default 300)
--seed N        of the first (default 1)
--page FILE     write the figures as a page of the documentation
--show          print every scenario that differs

Exit 1 where fewer than 95 % of the scenarios launch the same instance types, or a bill of the others is off by more
than 1 %.
"""

from __future__ import annotations

import argparse
import datetime as dt
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench import karpenter
from gpuslice.errors import GpusliceError
from gpuslice.karpenter.provision import provision
from gpuslice.karpenter.templates import Pools
from tools.parity import fleets, generate
from tools.parity.build import built
from tools.parity.compare import Answer, Comparison, answers, compare, compare_command
from tools.parity.scenario import Scenario

if TYPE_CHECKING:
    from collections.abc import Callable

FAMILIES: Final[dict[str, tuple[str, Callable[[int], Scenario]]]] = {
    "provisioning": ("an empty cluster, pods pending", generate.provisioning),
    "growing": ("nodes, some on their way, and more pods", generate.growing),
    "shrinking": ("pods gone: the next command of consolidation", generate.shrinking),
}
_SEEDS: Final = 8
_ANSWERS: Final = 12
_ROUNDS: Final = 10
"""How often Karpenter is asked again about a scenario that differs: so many answers, so many times at most.

A choice that falls the other way once in ten times is still seen but for one run in 300,000.
"""
WANTED: Final = 0.95
PAGE: Final = """\
# Parity with Karpenter

How often gpuslice's model of Karpenter decides as the real one. Random clusters go through both: through the model,
and through the scheduler, the NodeOverlay controller, the disruption methods and the launch filters of Karpenter
v1.14.1 and its AWS provider v1.14.1, compiled from their modules into one program without a cluster. Written by
`make parity` on {date}; seeds {first} to {last}.

| scenarios | how many | something to decide | same types | same in every pod | by chance | differ |
|---|--:|--:|--:|--:|--:|--:|
{rows}

*Same types* compares the multiset of pool, instance type and purchase that are launched, and which pods are not
placed; for consolidation, the method, the types that go and come, and the dollars saved. *By chance*: spreads and pod
affinities leave Karpenter a choice that it makes differently on each run (it walks Go maps), and so does the order of
pools in consolidation. A scenario counts there if up to {answers} runs of Karpenter come to different fleets, and one
of them is what the model makes under one of {seeds} seeds. Which of several equal nodes goes is such a choice too; it
changes no figure.

Scenarios: real instance types; 1 to 5 pools with weights, requirements, minValues, limits, taints; whole GPUs, slots,
metered slices and MIG by overlays, some in conflict; spot, and offerings that EC2 is out of; daemonsets; 1 to 400 pods
of up to 12 classes with selectors, affinities, preferences, tolerations, spreads and anti-affinity.

## What differs

{off}

## Plans of random fleets

Plans for {fleets} random fleets of {fewest} to {most} workloads, and all their pods put before the real Karpenter at
once, in three orders that the plans don't know. *Cheapest packing* lets replicas of one workload go to several pools,
which takes seats (see [what lies between](../concepts/proof.md)); *planned* is the bill that the plan states,
with kube-scheduler's binding in it; *launched* is the mean of what Karpenter launches; *same* counts the orders in
which the model launches the same nodes, pod by pod. Dollars an hour.

Where each workload has one pool:

| seed | workloads | pods | cheapest packing | planned | launched | above packing | same |
|--:|--:|--:|--:|--:|--:|--:|--:|
{plans}

With [seats](../how-to/seats.md):

| seed | workloads | pods | cheapest packing | planned | launched | above packing | same |
|--:|--:|--:|--:|--:|--:|--:|--:|
{seated}

## Speed

CPU time of one decision over four pools and pods of fifty classes, on the same machine, the best of three: the model's
with making its pools ready, Karpenter's from its list of pods to its NodeClaims.

| pods | model | pods a second | Karpenter | pods a second |
|--:|--:|--:|--:|--:|
{speed}

The {pods:,} pods of *provisioning* and *growing* took the model {ours:.1f} s, and Karpenter {theirs:.1f} s.
"""


@dataclass(slots=True)
class Family:
    """The figures of one kind of scenario.

    Attributes:
        scenarios: how many.
        decided: in which there was something to decide.
        exact: same pools, pods and types.
        types: same launched types, and the same pods not placed.
        chance: in which the real Karpenter's own runs differ, and one of them launches the model's types.
        off: the others.
    """

    scenarios: int = 0
    decided: int = 0
    exact: int = 0
    types: int = 0
    chance: int = 0
    off: list[Comparison] = field(default_factory=list)
    pods: int = 0
    ours_seconds: float = 0
    theirs_seconds: float = 0


def main(arguments: list[str]) -> int:
    """Compare, print, and write."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.parity", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--scenarios", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--page", type=Path)
    parser.add_argument("--show", action="store_true")
    asked = parser.parse_args(arguments)
    try:
        binary = built()
    except GpusliceError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    seeds = range(asked.seed, asked.seed + asked.scenarios)
    found = {name: measured(binary, [make(seed) for seed in seeds]) for name, (_, make) in FAMILIES.items()}
    for name, family in found.items():
        print(_line(name, family))
        for each in family.off if asked.show else ():
            print(f"  {each.scenario.name}: {each.note[:500]}")
    planned = list(fleets.planned_fleets(binary))
    print(fleets.table(planned))
    seated = list(fleets.planned_fleets(binary, seats=True))
    print(fleets.table(seated))
    if asked.page is not None:
        asked.page.write_text(_page(found, planned, seated, _speed(binary), seeds))
    total = sum(each.scenarios for each in found.values())
    same = sum(each.types + each.chance for each in found.values())
    dear = [each for family in found.values() for each in family.off if not each.bill]
    dear += [one for each in (*planned, *seated) for one in each.compared if not one.bill or not one.failed]
    # With seats no order of arrival may change anything.
    dear += [
        one for each in seated for one in each.compared if not one.exact or each.launched != each.planned
    ]
    return 0 if same >= WANTED * total and not dear else 1


def measured(binary: str, scenarios: list[Scenario]) -> Family:
    """Scenarios of a family through both."""
    family = Family()
    for scenario, answer in answers(binary, scenarios):
        found = (compare_command if scenario.consolidate else compare)(scenario, answer)
        family.scenarios += 1
        family.decided += bool(answer["new"] or answer["existing"] or answer.get("command"))
        family.pods += len(scenario.pods)
        family.theirs_seconds += answer["seconds"]
        family.ours_seconds += _seconds(scenario)
        family.exact += found.exact
        if found.types:
            family.types += 1
        elif _by_chance(binary, scenario, answer):
            family.chance += 1
        else:
            family.off.append(found)
    return family


def _seconds(scenario: Scenario) -> float:
    start = time.process_time()
    if not scenario.consolidate:
        pools = Pools(
            scenario.pools, overlays=scenario.overlays, daemons=scenario.daemons, settings=scenario.settings
        )
        provision(pools, scenario.nodes, scenario.pods)
    return time.process_time() - start


def _by_chance(binary: str, scenario: Scenario, answer: Answer) -> bool:
    """Whether Karpenter's answers to a scenario vary, and the model's, under some seed, is among them."""
    seeded = [replace(scenario, settings=replace(scenario.settings, seed=seed)) for seed in range(_SEEDS)]
    compared = compare_command if scenario.consolidate else compare
    seen: set[tuple[object, ...]] = set()
    matched = False
    asked = [answer]
    for _ in range(_ROUNDS):
        asked += [other for _, other in answers(binary, [scenario] * _ANSWERS)]
        new = {_outcome(each): each for each in asked if _outcome(each) not in seen}
        matched = matched or any(compared(each, other).types for other in new.values() for each in seeded)
        seen |= new.keys()
        if matched and len(seen) > 1:
            return True
        asked = []
    return False


def _outcome(answer: Answer) -> tuple[object, ...]:
    """What an answer comes to, however its pods are called."""
    command = answer.get("command")
    launched = sorted((each["pool"], each["launched"], len(each["pods"])) for each in answer["new"])
    return (*launched, len(answer["errors"]), command and (command["method"], *command["candidates"]))


def _speed(binary: str) -> str:
    """Rows of a table: the same crowds decided by both."""
    rows = []
    for pods in karpenter.SIZES:
        crowd = karpenter.crowd(pods)
        scenario = Scenario(f"{pods} pods", crowd.pools, crowd.pods, crowd.overlays)
        ours = min(karpenter.seconds(crowd) for _ in range(3))
        theirs = min(answer["seconds"] for _, answer in answers(binary, [scenario] * 3))
        rows.append(
            f"| {pods:,} | {ours:.2f} s | {pods / ours:,.0f} | {theirs:.2f} s | {pods / theirs:,.0f} |"
        )
    return "\n".join(rows)


def _line(name: str, family: Family) -> str:
    return (
        f"{name}: {family.scenarios} scenarios ({family.decided} with something to decide), "
        f"{family.types} same types ({family.exact} same in every pod and type), "
        f"{family.chance} where Karpenter itself varies, {len(family.off)} differ"
    )


def _page(
    found: dict[str, Family],
    planned: list[fleets.PlannedFleet],
    seated: list[fleets.PlannedFleet],
    speed: str,
    seeds: range,
) -> str:
    rows = [
        f"| {name}: {FAMILIES[name][0]} | {family.scenarios} | {family.decided} | {family.types} "
        f"| {family.exact} | {family.chance} | {len(family.off)} |"
        for name, family in found.items()
    ]
    off = [each for family in found.values() for each in family.off]
    placing = [each for name, each in found.items() if name != "shrinking"]
    return PAGE.format(
        first=seeds[0],
        last=seeds[-1],
        date=f"{dt.datetime.now(tz=dt.UTC):%Y-%m-%d}",
        rows="\n".join(rows),
        answers=_ROUNDS * _ANSWERS,
        seeds=_SEEDS,
        speed=speed,
        fleets=len(planned),
        fewest=min(each.workloads for each in planned),
        most=max(each.workloads for each in planned),
        plans=fleets.table(planned),
        seated=fleets.table(seated),
        off="\n".join(f"- {each.scenario.name}: {each.note[:300]}" for each in off)
        or "Nothing, in this run.",
        pods=sum(each.pods for each in placing),
        ours=sum(each.ours_seconds for each in placing),
        theirs=sum(each.theirs_seconds for each in placing),
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
