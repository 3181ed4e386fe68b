"""From what a plan wants and what is there: the steps of an apply, with what was there before each.

Nothing is written here, but the API server is asked what it would make of each step (server-side dry run), so that
whatever it refuses is known before the first write.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from msgspec import UNSET

from gpuslice.carriers.table import kinds
from gpuslice.cluster.apply import applyset
from gpuslice.cluster.apply.changes import FieldChange, changes, moved, stated, with_operations
from gpuslice.cluster.apply.gpu_operator import adapt
from gpuslice.cluster.apply.journal import Edit, Put, Ref, Remove, Work
from gpuslice.cluster.apply.ownership import MANAGER, applied, managers_of, reconciles
from gpuslice.cluster.apply.stale_requests import with_stale_removed
from gpuslice.cluster.apply.writing import CHANGED_MEANWHILE, TRIES, delete, edit, leaving, put, restless
from gpuslice.cluster.client.api import Api, ApiError, joined
from gpuslice.cluster.client.resources import (
    CLUSTER_POLICY,
    KNOWN,
    NODE_CLASS,
    NODE_OVERLAY,
    NODE_POOL,
    Resource,
    resource_of,
)
from gpuslice.errors import AnswerIsNoError, InputError
from gpuslice.render.bundle import LeftAlone
from gpuslice.workloads.objects import fields_of

if TYPE_CHECKING:
    from gpuslice.cluster.seen.snapshot import Snapshot
    from gpuslice.render.bundle import Bundle, WorkloadPatch

Json = Any  # as in Kubernetes objects
_CARRIED: Final = tuple((KNOWN[kind.group, kind.name], kind.pruned) for kind in kinds())
ORDER: Final = (*(resource for resource, _ in _CARRIED), NODE_CLASS, NODE_OVERLAY, NODE_POOL)
"""Configurations before whoever reads them; a pool last, since nodes come with it."""

_STRATEGIC: Final = "application/strategic-merge-patch+json"
AWAITED: Final = frozenset({("apps", "Deployment"), ("apps", "StatefulSet"), ("apps", "DaemonSet")})
"""Kinds whose rollouts can be followed, and undone when they fail."""


@dataclass(frozen=True, slots=True)
class Step:
    """A step of an apply, and what it makes of an object.

    Attributes:
        work: what is to be done.
        before, after: the object; empty where it isn't there.
    """

    work: Work
    before: Mapping[str, Json]
    after: Mapping[str, Json]

    @property
    def differs(self) -> bool:
        """Whether the step changes anything."""
        return (
            stated(self.before) != stated(self.after)
            if self.before and self.after
            else bool(self.before or self.after)
        )


@dataclass(frozen=True, slots=True)
class Steps:
    """All steps of an apply, each tried.

    Attributes:
        all: in order.
        left: workloads that stay as they are.
        notes: what a person should know before he consents.
    """

    all: tuple[Step, ...]
    left: tuple[LeftAlone, ...]
    notes: tuple[str, ...]


def steps_of(
    api: Api,
    desired: Bundle,
    snapshot: Snapshot,
    *,
    workloads: bool,
    force: bool,
    exclude: Callable[[str, str], bool] = lambda _namespace, _name: False,
) -> Steps:
    """The steps of an apply; each was tried at the API server without being kept.

    Args:
        api: the cluster.
        desired: what is wanted.
        snapshot: what is there.
        workloads: whether workloads are moved too.
        force: whether to take fields that others manage.
        exclude: workloads to leave as they are, by namespace and name.

    Raises:
        AnswerIsNoError: the plan can't be applied here, with the reason.
        ApiError: the API server refuses a step.
    """
    live = _policy(api, snapshot)
    adapted = adapt(desired, live, snapshot)
    objects = [data for data in desired.objects if data.get("kind") != "ConfigMap"]
    objects += adapted.config_maps
    notes = list(adapted.why)
    steps = [
        _put(api, data, shared=_name(data) in adapted.shared, force=force, notes=notes)
        for data in sorted(objects, key=lambda data: (_rank(data), _name(data)))
    ]
    if adapted.policy is not None and live is not None:
        steps.append(_policy_edit(api, live, adapted.policy, force=force))
    steps.sort(key=lambda step: ORDER.index(KNOWN[step.work.ref.group, step.work.ref.kind]))
    left = list(desired.unpatched)
    if workloads:
        moves: list[Step] = []
        for patch in desired.patches:
            excluded = exclude(patch.namespace, patch.name)
            move = "excluded" if excluded else _workload(api, patch, force=force)
            if isinstance(move, Step):
                moves.append(move)
            else:
                left.append(LeftAlone(patch.title, move))
        steps += moves
        notes += _set_elsewhere(moves)
    steps += _removals(api, objects)
    return Steps(tuple(steps), tuple(left), tuple(notes))


def _rank(data: Mapping[str, Json]) -> int:
    resource = resource_of(str(data.get("apiVersion")), str(data.get("kind")))
    if resource not in ORDER:
        raise InputError(
            f"{data.get('kind')} {_name(data)} is nothing that gpuslice renders", fix="apply it by kubectl"
        )
    return ORDER.index(resource)


def _name(data: Mapping[str, Json]) -> str:
    return str(fields_of(data, "metadata").get("name", ""))


def _policy(api: Api, snapshot: Snapshot) -> Mapping[str, Json] | None:
    names = [cluster_policy.name for cluster_policy in snapshot.cluster_policies]
    if len(names) > 1:
        raise AnswerIsNoError(
            f"there are {len(names)} ClusterPolicies: {joined(names)}",
            fix="the GPU Operator uses one: delete the others",
        )
    return api.find(CLUSTER_POLICY.path(names[0]), dict[str, Any]) if names else None


def _put(api: Api, data: dict[str, Json], *, shared: bool, force: bool, notes: list[str]) -> Step:
    resource = resource_of(str(data["apiVersion"]), str(data["kind"]))
    if resource is None:
        raise InputError(f"{data['kind']} is nothing that gpuslice renders", fix="apply it by kubectl")
    wanted = data if shared else applyset.labelled(data)
    ref = Ref.of(resource, _name(data), str(fields_of(data, "metadata").get("namespace", "")))
    before = api.find(ref.path, dict[str, Any])
    if before is not None and leaving(before):
        notes.append(f"{ref.title} is being deleted: it is made anew once it is gone")
        before = None
    ours = None if before is None else applied(before)
    if before is not None and not shared and ours is None:
        managers = sorted(
            {str(entry.get("manager")) for entry in before["metadata"].get("managedFields") or ()}
        )
        raise AnswerIsNoError(
            f"{ref.title} is there already, and isn't gpuslice's (made by {joined(managers) or 'nobody known'})",
            fix="give the plan's pool another name, or delete that object if nobody needs it",
        )
    after = put(api, ref, wanted, force=force, dry_run=True)
    work = Put(ref, wanted, UNSET if ours is None else ours, created=before is None)
    return Step(work, before or {}, after)


def _policy_edit(api: Api, live: Mapping[str, Json], wanted: Mapping[str, Json], *, force: bool) -> Step:
    ref = Ref.of(CLUSTER_POLICY, _name(live))
    wanted_changes = changes(stated(live), stated(wanted))
    taken = _taken(live, wanted_changes)
    if taken and not force:
        raise AnswerIsNoError(
            f"others manage fields of it: {joined([f'{where} ({name})' for where, name in taken], 4)}",
            where=ref.title,
            fix="set them where they come from (Helm: --reuse-values --values gpu-operator/values.yaml of gpuslice "
            "render), or take them: --force-conflicts",
        )
    live, after = _tried(api, ref, live, wanted_changes)
    return Step(Edit(ref, tuple(changes(stated(live), stated(after)))), live, after)


def _tried(
    api: Api, ref: Ref, live: Mapping[str, Json], wanted: Sequence[FieldChange]
) -> tuple[Mapping[str, Json], Mapping[str, Json]]:
    """An object, and what the API server would make of it by changes; it may have changed since it was read."""
    for _ in range(TRIES):
        goal, clashes = moved(live, wanted, to="after")
        if clashes:
            raise AnswerIsNoError(
                f"somebody changes it just now: {joined([clash.change.where for clash in clashes])}",
                where=ref.title,
                fix="run this again",
            )
        try:
            return live, edit(api, ref, live, goal, dry_run=True)
        except ApiError as error:
            live = _newer(api, ref, live, error)
    raise restless(ref)


def _newer(api: Api, ref: Ref, live: Mapping[str, Json], error: ApiError) -> Mapping[str, Json]:
    """An object as it is now, where a change was refused because it isn't what it was; else the refusal stands."""
    if error.code not in CHANGED_MEANWHILE:
        raise error
    now = api.get(ref.path, dict[str, Any])
    if now["metadata"]["resourceVersion"] == live["metadata"]["resourceVersion"]:
        raise error
    return now


def _taken(live: Mapping[str, Json], wanted: Iterable[FieldChange]) -> list[tuple[str, str]]:
    """Fields that others set and that would change, with their managers."""
    return [
        (change.where, joined([name for name in names if name != MANAGER]))
        for change in wanted
        if change.before is not UNSET
        and (names := managers_of(live, change.path))
        and any(name != MANAGER for name in names)
    ]


def _workload(api: Api, patch: WorkloadPatch, *, force: bool) -> Step | str:
    """The step that moves a workload, or why it stays."""
    resource = KNOWN.get((patch.group, patch.kind))
    if (patch.group, patch.kind) not in AWAITED or resource is None:
        return _why_not(patch.kind)
    ref = Ref.of(resource, patch.name, patch.namespace)
    live: Mapping[str, Json] | None = api.find(ref.path, dict[str, Any])
    if live is None:
        return "it isn't in the cluster"
    owner = next(
        (owner for owner in live["metadata"].get("ownerReferences") or () if owner.get("controller")), None
    )
    if owner is not None:
        return f"{owner['kind']} {owner['name']} made it: change it there"
    if fields_of(live, "spec").get("paused") or _on_delete(live):
        return "its rollouts are switched off"
    live, after = _patched(api, ref, live, patch)
    edit = Edit(ref, tuple(changes(stated(live), stated(after))), workload=True)
    stubborn = [name for name in _managers(live, edit) if reconciles(name)]
    if stubborn and not force:
        return f"{joined(stubborn)} would put it back: commit the patch there (gpuslice render --out)"
    return Step(edit, live, after)


def _managers(live: Mapping[str, Json], edit: Edit) -> list[str]:
    """Who else sets what a step changes."""
    names = {name for change in edit.changes for name in managers_of(live, change.path)}
    return sorted(names - {MANAGER})


def _set_elsewhere(moves: Iterable[Step]) -> Iterator[str]:
    """Whose next write would undo moves of workloads, in words."""
    titles_by: dict[str, list[str]] = {}
    for move in moves:
        if isinstance(move.work, Edit) and (others := _managers(move.before, move.work)):
            titles_by.setdefault(joined(others), []).append(move.work.ref.title)
    for names, titles in titles_by.items():
        which = titles[0] if len(titles) == 1 else f"{len(titles)} workloads, {titles[0]} among them"
        yield f"{which}: {names} set what changes: put the patches there too, or the next one undoes it"


def _why_not(kind: str) -> str:
    match kind:
        case "Pod":
            return "a pod can't be changed while it exists: delete it and make it anew with the patch"
        case "Job":
            return "the template of a Job can't be changed: the patch is for the next one"
        case "CronJob":
            return "it has no rollout to follow: put the patch where its manifest is"
        case _:
            return f"the rollout of a {kind} can't be followed: put the patch where its manifest is"


def _on_delete(live: Mapping[str, Json]) -> bool:
    return fields_of(live, "spec", "updateStrategy").get("type") == "OnDelete"


def _patched(
    api: Api, ref: Ref, live: Mapping[str, Json], patch: WorkloadPatch
) -> tuple[Mapping[str, Json], Mapping[str, Json]]:
    """A workload, and what the API server would make of it by its patch: of exactly this version of it."""
    for _ in range(TRIES):
        try:
            if isinstance(patch.patch, list):
                return live, edit(api, ref, live, with_operations(live, patch.patch), dry_run=True)
            metadata = {
                **fields_of(patch.patch, "metadata"),
                "resourceVersion": live["metadata"]["resourceVersion"],
            }
            body = {**with_stale_removed(live, patch.patch), "metadata": metadata}
            params = {"fieldManager": MANAGER, "dryRun": "All"}
            return live, api.send("PATCH", ref.path, body, content_type=_STRATEGIC, params=params)
        except ApiError as error:
            live = _newer(api, ref, live, error)
    raise restless(ref)


def _removals(api: Api, objects: Sequence[Mapping[str, Json]]) -> list[Step]:
    """Objects of earlier plans, in the order in which they can go: pools before what their nodes need."""
    kept = {(str(object_["kind"]), _name(object_)) for object_ in objects}
    removals: list[Step] = []
    for resource in (NODE_POOL, NODE_OVERLAY, NODE_CLASS, *(one for one, pruned in _CARRIED if pruned)):
        for live in _members(api, resource):
            before = applied(live)
            if (resource.kind, _name(live)) not in kept and before is not None:
                ref = Ref.of(resource, _name(live))
                delete(api, ref, live, dry_run=True)
                removals.append(Step(Remove(ref, before), live, {}))
    return removals


def _members(api: Api, resource: Resource) -> list[dict[str, Json]]:
    """Our objects of a kind; none where it isn't served."""
    import msgspec

    def whole(raw: msgspec.Raw) -> dict[str, Json]:
        data = msgspec.json.decode(raw, type=dict[str, Any])
        return {"apiVersion": resource.api_version, "kind": resource.kind, **data}

    selector = f"{applyset.PART_OF}={applyset.identity()}"
    try:
        return api.list(resource.path(), whole, {"labelSelector": selector})
    except ApiError as error:
        if error.code == 404:
            return []
        raise
