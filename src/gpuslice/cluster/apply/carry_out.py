"""An apply carried out, or taken back: step by step, each harmless to repeat.

Killed anywhere and run again, it ends in the same objects: the journal was written before the first step and remembers
what was there before, every step finds out by itself whether it was done, and none is done beside another gpuslice that
has taken over the journal.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import UNSET

import gpuslice
from gpuslice.cluster.apply import applyset, journal
from gpuslice.cluster.apply.changes import FieldChange, changes, moved, set_at, stated
from gpuslice.cluster.apply.journal import Edit, Journal, Put, Ref, Remove, Stored, Work
from gpuslice.cluster.apply.order import in_turn
from gpuslice.cluster.apply.removing import Stayed, remove, remove_when_empty
from gpuslice.cluster.apply.waiting import (
    Patience,
    RolloutFailedError,
    until_gone_if_leaving,
    until_ready,
    until_rolled_out,
)
from gpuslice.cluster.apply.writing import CHANGED_MEANWHILE, TRIES, edit, put, restless
from gpuslice.cluster.client.api import Api, ApiError, joined
from gpuslice.cluster.client.resources import NODE_CLASS, NODE_OVERLAY, NODE_POOL
from gpuslice.errors import AnswerIsNoError

if TYPE_CHECKING:
    from gpuslice.cluster.client.resources import Resource

Json = Any  # as in Kubernetes objects
_BEFORE_POOLS: Final = (NODE_CLASS, NODE_OVERLAY)
_JUDGED: Final = (NODE_CLASS, NODE_OVERLAY, NODE_POOL)
"""Kinds of which Karpenter says whether it accepts them."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How to go about it.

    Attributes:
        patience: for each thing that is waited for.
        wait: whether to wait for Karpenter's verdict on its objects.
        force: whether to take fields that others manage or have changed.
    """

    patience: Patience
    wait: bool = True
    force: bool = False


def begin(api: Api, works: Sequence[Work], digest: str, previous: Stored | None) -> Stored:
    """Write the journal: from here on a crash is no loss.

    Args:
        api: the cluster.
        works: the steps to be carried out.
        digest: of the plan.
        previous: the journal of the last apply, as `resumable` let it pass.

    Raises:
        AnswerIsNoError: somebody else began meanwhile.
    """
    kinds = {
        work.ref.resource.group_kind
        for work in works
        if isinstance(work, Put) and applyset.is_member(work.object)
    }
    namespaces = {work.ref.namespace for work in works if isinstance(work, Put) and work.ref.namespace}
    if previous is not None:
        kinds |= set(previous.journal.kinds)
        namespaces |= set(previous.journal.namespaces)
        if _goes_on(previous.journal, digest):
            works = _inherited(api, works, previous.journal.steps)
    journal.ensure_namespace(api)
    stored = journal.save(
        api,
        Journal(
            version=1,
            state="applying",
            plan=digest,
            started=datetime.now(UTC).isoformat(timespec="seconds"),
            tool=f"gpuslice {gpuslice.__version__}",
            steps=tuple(works),
            kinds=tuple(sorted(kinds)),
            namespaces=tuple(sorted(namespaces)),
        ),
        previous,
    )
    resumed = previous is not None and previous.journal.state == "applying"
    return msgspec.structs.replace(stored, resumed=resumed)


def resumable(previous: Stored | None, digest: str) -> None:
    """Refuse to begin where another apply, or a rollback, hasn't come to its end.

    Raises:
        AnswerIsNoError: it hasn't.
    """
    if previous is None:
        return
    if previous.journal.state == "rolling-back":
        raise AnswerIsNoError(
            f"a rollback begun {previous.journal.started} was interrupted",
            fix="finish it first: gpuslice apply --rollback",
        )
    if previous.journal.state == "applying" and previous.journal.plan != digest:
        raise AnswerIsNoError(
            f"the apply of another plan, begun {previous.journal.started}, was interrupted",
            fix="finish it with that plan, or take it back first: gpuslice apply --rollback",
        )


def carry_out(api: Api, stored: Stored, works: Sequence[Work], manner: Manner) -> list[str]:
    """Do it; what stayed although it should have gone, in words.

    Raises:
        AnswerIsNoError: a step isn't possible; all before it are done, and running it again goes on there.
        RolloutFailedError: a workload's new pods didn't become available; it was put back.
    """
    setting = [
        work
        for work in works
        if not (isinstance(work, Edit) and work.workload) and not isinstance(work, Remove)
    ]
    configured, pools = in_turn(setting)
    _write(api, stored, configured, manner)
    # A pool whose node class isn't ready when Karpenter looks at overlays is passed over until it looks again: pods
    # that may go to several pools would go to another one (seen with v1.14.1).
    _accepted(api, configured, _BEFORE_POOLS, manner)
    _write(api, stored, pools, manner)
    _accepted(api, setting, _JUDGED, manner)
    # A workload that an interrupted run changed looks done, and what to put back is what that run found.
    begun = {step.ref: step for step in stored.journal.steps if isinstance(step, Edit) and stored.resumed}
    moving = [begun.get(work.ref, work) for work in works if isinstance(work, Edit) and work.workload]
    for number, work in enumerate(moving, 1):
        _still_ours(api, stored)
        _move(api, work, manner, f"{number}/{len(moving)}")
    stayed = _clear(api, stored, [work.ref for work in works if isinstance(work, Remove)])
    journal.save(api, msgspec.structs.replace(stored.journal, state="applied"), stored)
    return stayed


def _clear(api: Api, stored: Stored, going: Sequence[Ref]) -> list[str]:
    """Delete what isn't wanted any more, pools first; what stayed, in words.

    As long as a pool stays, so does all that was made for pools.
    """
    stayed: list[Stayed] = []
    for ref in going:
        if ref.is_a(NODE_POOL) or not any(remnant.for_pods for remnant in stayed):
            _still_ours(api, stored)
            why = remove(api, ref, going)
            stayed += [why] if why is not None else []
    return [remnant.why for remnant in stayed]


def _write(api: Api, stored: Stored, setting: Sequence[Put | Edit], manner: Manner) -> None:
    for write in setting:
        _still_ours(api, stored)
        if isinstance(write, Put):
            _set(api, write.ref, write.object, manner, force=manner.force)
        else:
            _make(api, write.ref, write.changes, manner, to="after")


def _accepted(api: Api, setting: Sequence[Work], kinds: Sequence[Resource], manner: Manner) -> None:
    """Wait for Karpenter's verdict on its objects, where that is wanted."""
    if manner.wait:
        until_ready(
            api, [work.ref for work in setting if any(work.ref.is_a(kind) for kind in kinds)], manner.patience
        )


def roll_back(api: Api, stored: Stored, works: Iterable[Work], manner: Manner) -> list[str]:
    """Bring back what was there before the last apply; what stayed although it should have gone, in words.

    Args:
        api: the cluster.
        stored: the journal of that apply.
        works: of its steps those to be taken back, the last one first.
        manner: how to go about it.

    Raises:
        AnswerIsNoError: a field was changed by somebody else since, or a step isn't possible; running it again goes on.
    """
    stored = journal.save(api, msgspec.structs.replace(stored.journal, state="rolling-back"), stored)
    stayed: list[Stayed] = []
    going = [step.ref for step in stored.journal.steps if isinstance(step, Put) and step.created]
    for work in works:
        _still_ours(api, stored)
        match work:
            case Remove():
                _set(api, work.ref, work.before, manner, force=True)
            case Edit(workload=True):
                _move_back(api, work, manner)
            case Edit():
                _make(api, work.ref, work.changes, manner, to="before")
            case Put(created=True):
                if work.ref.is_a(NODE_POOL) or not any(one.for_pods for one in stayed):
                    why = remove_when_empty(api, work.ref, going, manner.patience)
                    stayed += [why] if why is not None else []
            case Put(before=before):
                goal = _nothing(work.ref) if before is UNSET else before
                _set(api, work.ref, goal, manner, force=True)
    if not stayed:
        journal.save(api, msgspec.structs.replace(stored.journal, state="rolled-back"), stored)
    return [remnant.why for remnant in stayed]


def _goes_on(last: Journal, digest: str) -> bool:
    """Whether an apply continues the last one: then a rollback goes back to where that one began."""
    return last.plan == digest and last.state in {"applying", "applied"}


def _inherited(api: Api, works: Sequence[Work], earlier: Sequence[Work]) -> list[Work]:
    """Steps with the beginnings that an earlier run of the same apply found, and its steps that are done already."""
    known = {begun.ref: begun for begun in earlier}
    made: list[Work] = []
    for work in works:
        before = known.pop(work.ref, None)
        if isinstance(work, Put) and isinstance(before, Put):
            made.append(msgspec.structs.replace(work, before=before.before, created=before.created))
        elif isinstance(work, Edit) and isinstance(before, Edit):
            live = api.get(work.ref.path, dict[str, Any])
            after, _ = moved(stated(live), work.changes, to="after")
            start, _ = moved(stated(live), before.changes, to="before")
            made.append(msgspec.structs.replace(work, changes=tuple(changes(start, after))))
        else:
            made.append(work)
    return [*made, *known.values()]


def _still_ours(api: Api, stored: Stored) -> None:
    """Check right before acting that nobody else has taken over."""
    now = journal.load(api)
    if now is None or now.resource_version != stored.resource_version:
        raise AnswerIsNoError(
            "another gpuslice has taken over, or somebody changed the journal: nothing more is done here",
            where=f"ConfigMap {applyset.NAMESPACE}/{applyset.PARENT}",
            fix="wait for it, then run this again",
        )


def _set(api: Api, ref: Ref, data: dict[str, Json], manner: Manner, *, force: bool) -> None:
    """Apply an object; one that is being deleted is made anew once it is gone.

    Raises:
        AnswerIsNoError: it isn't gone in time.
    """
    until_gone_if_leaving(api, ref, manner.patience)
    put(api, ref, data, force=force)


def _make(api: Api, ref: Ref, wanted: Sequence[FieldChange], manner: Manner, *, to: str) -> bool:
    """Make changes of an object, or take them back; whether there was anything to do.

    Raises:
        AnswerIsNoError: a field is neither as it was nor as it should become.
    """
    for _ in range(TRIES):
        current = api.find(ref.path, dict[str, Any])
        if current is None:
            if to == "before":
                return False  # gone since: nothing to bring back
            raise AnswerIsNoError("is gone", where=ref.title, fix="run this again: it looks anew")
        goal, clashes = moved(current, wanted, to="after" if to == "after" else "before")
        if clashes and not manner.force:
            names = joined([f"{clash.change.where} is {clash.found!r}"[:120] for clash in clashes])
            raise AnswerIsNoError(
                f"somebody changed it meanwhile: {names}",
                where=ref.title,
                fix="look at it, and run this again; --force-conflicts sets it all the same",
            )
        for clash in clashes:
            set_at(goal, clash.change.path, clash.change.after if to == "after" else clash.change.before)
        if stated(goal) == stated(current):
            return False
        try:
            edit(api, ref, current, goal)
        except ApiError as error:
            now = api.find(ref.path, dict[str, Any])
            unchanged = now is not None and now["metadata"] == current["metadata"]
            if error.code not in CHANGED_MEANWHILE or unchanged:
                raise
            continue
        return True
    raise restless(ref)


def _move(api: Api, work: Edit, manner: Manner, number: str) -> None:
    """Change a workload and wait for its new pods; put it back where they don't come."""
    if _make(api, work.ref, work.changes, manner, to="after"):
        manner.patience.say(f"[{number}] {work.ref.title}")
    try:
        until_rolled_out(api, work.ref, manner.patience)
    except RolloutFailedError as error:
        if not work.changes:
            raise
        _make(api, work.ref, work.changes, manner, to="before")
        manner.patience.say(f"  {work.ref.title}: put back")
        raise RolloutFailedError(
            f"its new pods didn't come, so it was put back: {error.message}",
            where=error.where,
            fix="see kubectl describe pods; then run this again, with --exclude to pass it over, or --rollback",
        ) from None


def _move_back(api: Api, work: Edit, manner: Manner) -> None:
    """Bring a workload back, and wait for its pods; one that is gone since stays gone."""
    if api.find(work.ref.path, dict[str, Any]) is None:
        return
    if _make(api, work.ref, work.changes, manner, to="before"):
        manner.patience.say(f"{work.ref.title}: as it was")
    if work.changes:
        until_rolled_out(api, work.ref, manner.patience)


def _nothing(ref: Ref) -> dict[str, Json]:
    """An object of which nothing is ours: applying it gives up all that was."""
    metadata = {"name": ref.name} | ({"namespace": ref.namespace} if ref.namespace else {})
    return {"apiVersion": ref.resource.api_version, "kind": ref.kind, "metadata": metadata}
