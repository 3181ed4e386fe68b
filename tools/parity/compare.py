"""Both answers to a scenario, side by side."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from gpuslice.karpenter.consolidation import Command, next_command
from gpuslice.karpenter.provision import Decision, provision
from gpuslice.karpenter.templates import Pools
from tools.parity.scenario import Scenario, to_json

Answer = dict[str, Any]
"""A line of the driver: see `Result` in real/scenario.go."""
BILL_TOLERANCE: Final = 0.01


@dataclass(frozen=True, slots=True)
class Comparison:
    """One scenario through both.

    Attributes:
        scenario: compared.
        exact: whether every new node has the same pool, pods and types.
        types: whether the launched instance types are the same.
        ours, theirs: micro-dollars an hour.
        failed: whether as many pods of each class were not placed.
        note: what differs, for people.
        seconds: that the real one took.
    """

    scenario: Scenario
    exact: bool
    types: bool
    ours: int
    theirs: int
    failed: bool
    note: str
    seconds: float

    @property
    def bill(self) -> bool:
        """Whether the bills differ by no more than the tolerance."""
        return abs(self.ours - self.theirs) <= BILL_TOLERANCE * max(self.theirs, 1)


def answers(binary: str, scenarios: Iterable[Scenario]) -> Iterator[tuple[Scenario, Answer]]:
    """What the real Karpenter makes of scenarios, in their order.

    Args:
        binary: of the driver.
        scenarios: to try.
    """
    listed = list(scenarios)
    lines = "".join(json.dumps(to_json(each)) + "\n" for each in listed)
    done = subprocess.run([binary], input=lines, capture_output=True, text=True, check=True)
    for each, line in zip(listed, done.stdout.splitlines(), strict=True):
        yield each, json.loads(line)


def compare(scenario: Scenario, answer: Answer) -> Comparison:
    """The model's answer against the real one's."""
    pools = Pools(
        scenario.pools, overlays=scenario.overlays, daemons=scenario.daemons, settings=scenario.settings
    )
    decision = provision(pools, scenario.nodes, scenario.pods)
    ours = Counter(_key(each.pool, (pod.uid for pod in each.pods), each.types) for each in decision.new)
    theirs = Counter(_key(each["pool"], each["pods"], each["types"]) for each in answer["new"])
    our_types, their_types = _launched(decision), Counter(_named(each) for each in answer["new"])
    placed = {uid for each in answer["new"] for uid in each["pods"]}
    placed |= {uid for uids in answer["existing"].values() for uid in uids}
    left = [pod for pod in scenario.pods if pod.uid not in placed]
    same_pods = {pod.uid for pod in decision.failed} == {pod.uid for pod in left}
    failed = Counter(pod.kind for pod in decision.failed) == Counter(pod.kind for pod in left)
    there = {name: {pod.uid for pod in pods} for name, pods in decision.to_nodes.items()} == {
        name: set(uids) for name, uids in answer["existing"].items()
    }
    refused = sorted(pools.refused) == sorted(answer["refused"])
    exact = ours == theirs and same_pods and there and refused
    return Comparison(
        scenario,
        exact,
        our_types == their_types and failed,
        decision.price,
        round(sum(each["price"] for each in answer["new"]) * 1_000_000),
        failed,
        "" if exact else _note(our_types, their_types, decision, answer, refused=refused),
        answer["seconds"],
    )


def compare_command(scenario: Scenario, answer: Answer) -> Comparison:
    """The model's next command of consolidation against the real one's."""
    pools = Pools(
        scenario.pools, overlays=scenario.overlays, daemons=scenario.daemons, settings=scenario.settings
    )
    ours = next_command(pools, scenario.nodes, scenario.pods, now=scenario.now)
    theirs = answer.get("command")
    mine = None if ours is None else _command(ours)
    other = None if theirs is None else _real_command(theirs, scenario)
    same_kind = (mine is None) == (other is None)
    return Comparison(
        scenario,
        mine == other,
        same_kind and (mine is None or other is None or mine[2:] == other[2:]),
        0 if ours is None else ours.saves,
        0 if theirs is None or other is None else other[-1],
        True,
        "" if mine == other else f"model {mine}, Karpenter {other} {answer.get('error', '')}",
        answer["seconds"],
    )


def _command(command: Command) -> tuple[Any, ...]:
    new = command.replacement
    launched = None if new is None or new.launch is None else new.launch.instance_type.name
    return (
        command.method.value,
        tuple(sorted(each.name for each in command.nodes)),
        tuple(sorted(each.instance_type for each in command.nodes)),
        launched,
        command.saves,
    )


def _real_command(command: Answer, scenario: Scenario) -> tuple[Any, ...]:
    nodes = {each.name: each for each in scenario.nodes}
    new = command["replacements"]
    price = sum(nodes[name].price for name in command["candidates"])
    price -= round(sum(each["price"] for each in new) * 1_000_000)
    return (
        command["method"],
        tuple(sorted(command["candidates"])),
        tuple(sorted(nodes[name].instance_type for name in command["candidates"])),
        (new[0]["launched"] or None) if new else None,
        price if not new or new[0]["launched"] else 0,
    )


def _key(pool: str, pods: Iterable[str], types: Iterable[str]) -> tuple[object, ...]:
    return pool, frozenset(pods), frozenset(types)


def _launched(decision: Decision) -> Counter[tuple[str, str, str]]:
    return Counter(
        (
            each.pool,
            *(
                ("", "")
                if each.launch is None
                else (each.launch.instance_type.name, each.launch.capacity_type)
            ),
        )
        for each in decision.new
    )


def _named(node: Answer) -> tuple[str, str, str]:
    return node["pool"], node["launched"], node["capacityType"]


def _note(
    ours: Counter[tuple[str, str, str]],
    theirs: Counter[tuple[str, str, str]],
    decision: Decision,
    answer: Answer,
    *,
    refused: bool,
) -> str:
    parts = [] if refused else ["overlays refused differ"]
    if answer.get("error"):
        parts.append(f"error: {answer['error']}")
    only_ours, only_theirs = ours - theirs, theirs - ours
    if only_ours or only_theirs:
        parts.append(f"model only {dict(only_ours)}, Karpenter only {dict(only_theirs)}")
    failed = {pod.uid for pod in decision.failed}
    if failed != set(answer["errors"]):
        extra = [text for uid, text in answer["errors"].items() if uid not in failed][:1]
        parts.append(f"not placed: {len(failed)} by the model, {len(answer['errors'])} by Karpenter {extra}")
    return "; ".join(parts) or "pods are placed otherwise"
