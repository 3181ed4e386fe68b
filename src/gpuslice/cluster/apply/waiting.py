"""Waiting for what others do: Karpenter's verdict on its objects, and rollouts of workloads."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from gpuslice.cluster.client.api import joined
from gpuslice.cluster.client.objects import Condition, condition
from gpuslice.errors import AnswerIsNoError
from gpuslice.workloads.objects import convert, fields_of

if TYPE_CHECKING:
    from gpuslice.cluster.apply.journal import Ref
    from gpuslice.cluster.client.api import Api

Json = Any  # as in Kubernetes objects
_POLL: Final = 1.0  # seconds


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait, and how.

    Attributes:
        seconds: for one thing.
        clock, pause: time, and letting it pass.
        say: tells a person what is waited for.
    """

    seconds: float
    say: Callable[[str], None]
    clock: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep


class RolloutFailedError(AnswerIsNoError):
    """New pods of a workload didn't become available."""


def until_ready(api: Api, refs: Sequence[Ref], patience: Patience) -> None:
    """Wait until Karpenter has accepted its objects.

    Raises:
        AnswerIsNoError: it hasn't in time, with what it says.
    """
    deadline = patience.clock() + patience.seconds
    open_refs = list(refs)
    said = False
    while True:
        waiting = {open_ref: why for open_ref in open_refs if (why := _why_not_ready(api, open_ref))}
        if not waiting:
            return
        if patience.clock() >= deadline:
            ref, why = next(iter(waiting.items()))
            more = f"; {len(waiting) - 1} more wait" if len(waiting) > 1 else ""
            raise AnswerIsNoError(
                f"is not ready after {patience.seconds:.0f} s: {why}{more}",
                where=ref.title,
                fix="correct what it says and run this again, which goes on here; or take it all back: --rollback",
            )
        if not said:
            patience.say(f"waiting for {len(waiting)} of Karpenter's objects to become ready …")
            said = True
        open_refs = list(waiting)
        patience.pause(_POLL)


def until_gone_if_leaving(api: Api, ref: Ref, patience: Patience) -> None:
    """Wait until an object that is being deleted is gone; one that isn't is not waited for.

    Raises:
        AnswerIsNoError: it isn't gone in time, with what holds it.
    """
    deadline = patience.clock() + patience.seconds
    said = False
    while True:
        metadata = fields_of(api.find(ref.path, dict[str, Any]) or {}, "metadata")
        if not metadata.get("deletionTimestamp"):
            return
        if patience.clock() >= deadline:
            finalizers = metadata.get("finalizers")
            holding = joined(finalizers) if isinstance(finalizers, list) else "nothing that it says"
            raise AnswerIsNoError(
                f"is still being deleted after {patience.seconds:.0f} s, held by {holding}",
                where=ref.title,
                fix="run this again once it is gone, which goes on here",
            )
        if not said:
            patience.say(f"waiting until the old {ref.title} is gone …")
            said = True
        patience.pause(_POLL)


def _why_not_ready(api: Api, ref: Ref) -> str:
    """What Karpenter says against an object; empty: it is ready."""
    present = _present(api, ref)
    conditions = convert(
        fields_of(present, "status").get("conditions") or [], tuple[Condition, ...], ref.title
    )
    generation = _number(fields_of(present, "metadata"), "generation")
    if any(0 < condition.observed_generation < generation for condition in conditions):
        return "Karpenter hasn't looked at it since it changed"
    bad = condition(conditions, "ValidationSucceeded")
    if bad is not None and bad.status == "False":
        return f"{bad.reason}: {bad.message}"
    ready = condition(conditions, "Ready")
    if ready is None:
        return "Karpenter hasn't looked at it yet"
    if ready.status == "True":
        return ""
    worst = next(
        (condition for condition in conditions if condition.status == "False" and condition.type != "Ready"),
        ready,
    )
    return f"{worst.type}={worst.status}, {worst.reason}: {worst.message}"


def until_rolled_out(api: Api, ref: Ref, patience: Patience) -> None:
    """Wait until all pods of a workload are of its present template, and available.

    Raises:
        RolloutFailedError: the controller gave up, or they weren't in time.
        AnswerIsNoError: it is gone.
    """
    deadline = patience.clock() + patience.seconds
    told = ""
    while True:
        data = _present(api, ref)
        state, failed = rollout(data)
        if not state:
            return
        if failed or patience.clock() >= deadline:
            why = state if failed else f"after {patience.seconds:.0f} s {state}"
            raise RolloutFailedError(
                why, where=ref.title, fix="see kubectl describe pods; then run this again, or --rollback"
            )
        if state != told:
            patience.say(f"  {ref.title}: {state}")
            told = state
        patience.pause(_POLL)


def _present(api: Api, ref: Ref) -> dict[str, Json]:
    present = api.find(ref.path, dict[str, Any])
    if present is None:
        raise AnswerIsNoError(
            "is gone: somebody deleted it", where=ref.title, fix="run this again: it looks anew"
        )
    return present


def rollout(data: Mapping[str, Json]) -> tuple[str, bool]:
    """How far a workload's rollout is, in words, empty where it is done; and whether its controller gave up."""
    spec, status = fields_of(data, "spec"), fields_of(data, "status")
    if _number(status, "observedGeneration") < _number(fields_of(data, "metadata"), "generation"):
        return "its controller hasn't seen the change yet", False
    kind = data.get("kind")
    if kind == "DaemonSet":
        wanted, updated = _number(status, "desiredNumberScheduled"), _number(status, "updatedNumberScheduled")
        available = _number(status, "numberAvailable")
        total = wanted
    else:
        replicas = spec.get("replicas")
        wanted = replicas if isinstance(replicas, int) else 1
        updated, total = _number(status, "updatedReplicas"), _number(status, "replicas")
        available = _number(status, "availableReplicas")
        if kind == "StatefulSet" and status.get("currentRevision") == status.get("updateRevision"):
            updated = total
    progress = condition(convert(status.get("conditions") or [], tuple[Condition, ...], ""), "Progressing")
    if progress is not None and progress.reason == "ProgressDeadlineExceeded":
        return f"{available} of {wanted} new pods are available: {progress.message}", True
    if updated < wanted:
        return f"{updated} of {wanted} pods are new", False
    if total > updated:
        return f"{total - updated} old pods remain", False
    if available < wanted:
        return f"{available} of {wanted} new pods are available", False
    return "", False


def _number(status: Mapping[str, Json], key: str) -> int:
    figure = status.get(key)
    return figure if isinstance(figure, int) else 0
