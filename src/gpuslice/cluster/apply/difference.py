"""What an apply would change, for a person to read before he consents: every field, and what it means in a line."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from gpuslice.artefacts.documents import dump_yaml
from gpuslice.cluster.apply.changes import stated
from gpuslice.cluster.apply.journal import Edit, Put, Remove
from gpuslice.workloads.objects import fields_of

if TYPE_CHECKING:
    from gpuslice.cluster.apply.steps import Step

Json = Any  # as in Kubernetes objects
_CONTEXT: Final = 3
_POOL: Final = "karpenter.sh/nodepool"
_ELSEWHERE: Final = "cluster"


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the difference: "+" added, "-" gone, "@" where it is, "=" a heading, " " around it."""

    sign: str
    text: str


def lines(steps: Iterable[Step]) -> Iterator[Line]:
    """The difference, grouped by pool: what is common to all comes first, workloads last."""
    groups: dict[str, list[Step]] = {}
    for step in steps:
        groups.setdefault(_group(step), []).append(step)
    ordered = sorted(groups, key=lambda name: (name != _ELSEWHERE, name == "workloads", name))
    for name in ordered:
        yield Line("=", name if name in {_ELSEWHERE, "workloads"} else f"pool {name}")
        for step in groups[name]:
            yield from _of(step)


def meaning(steps: Iterable[Step]) -> str:
    """One line: "2 pools added, 1 configuration added, 3 Deployments will restart"."""
    counted: Counter[str] = Counter()
    for step in steps:
        for what, count in _means(step):
            counted[what] += count
    if not counted:
        return "nothing to change"
    return ", ".join(f"{count} {_plural(what, count)}" for what, count in counted.items())


def _means(step: Step) -> Iterable[tuple[str, int]]:
    work = step.work
    kind = {
        "NodePool": "pool",
        "NodeOverlay": "overlay",
        "EC2NodeClass": "node class",
        "ConfigMap": "ConfigMap",
    }.get(work.ref.kind, work.ref.kind)
    if isinstance(work, Remove):
        return [(f"{kind} removed", 1)]
    if isinstance(work, Edit):
        return [(f"{work.ref.kind} will restart", 1)] if work.workload else [(f"{work.ref.kind} changed", 1)]
    if kind == "ConfigMap":
        before, after = fields_of(step.before, "data"), fields_of(step.after, "data")
        new = sum(key not in before for key in after)
        changed = sum(key in before and before[key] != after[key] for key in after)
        return [
            (what, count)
            for what, count in (("configuration added", new), ("configuration changed", changed))
            if count
        ]
    return [(f"{kind} {'changed' if step.before else 'added'}", 1)]


def _plural(what: str, count: int) -> str:
    if count == 1:
        return what
    noun, _, verb = what.rpartition(" will ") if " will " in what else what.rpartition(" ")
    joint = " will " if " will " in what else " "
    if noun.endswith("cy"):  # ClusterPolicy, not overlay
        return f"{noun[:-1]}ies{joint}{verb}"
    return f"{noun}{'es' if noun.endswith('ss') else 's'}{joint}{verb}"


def _group(step: Step) -> str:
    work = step.work
    if isinstance(work, Edit) and work.workload:
        return "workloads"
    if work.ref.kind == "NodePool":
        return work.ref.name
    if work.ref.kind == "NodeOverlay":
        for requirement in _requirements(step.after or step.before):
            if requirement.get("key") == _POOL and requirement.get("values"):
                return str(requirement["values"][0])
    return _ELSEWHERE


def _requirements(data: Mapping[str, Json]) -> list[Mapping[str, Json]]:
    listed = fields_of(data, "spec").get("requirements")
    return listed if isinstance(listed, list) else []


def _of(step: Step) -> Iterator[Line]:
    work = step.work
    before = dump_yaml(stated(step.before)).splitlines() if step.before else []
    after = dump_yaml(stated(step.after)).splitlines() if step.after else []
    word = "removed" if isinstance(work, Remove) else "changed" if step.before else "new"
    yield Line("@", f"{work.ref.title}  ({word})")
    if isinstance(work, Put) and not step.before:
        yield from (Line("+", text) for text in after)
        return
    for text in list(difflib.unified_diff(before, after, n=_CONTEXT, lineterm=""))[2:]:
        if text.startswith("@@"):
            yield Line(" ", "…")
        else:
            yield Line(text[:1], text[1:])
