"""Writes of one object, tried or kept: applied as ours, changed in single fields, deleted. All may be repeated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from gpuslice.cluster.apply.changes import json_patch
from gpuslice.cluster.apply.journal import Ref
from gpuslice.cluster.apply.ownership import MANAGER
from gpuslice.cluster.client.api import Api, ApiError, joined
from gpuslice.errors import AnswerIsNoError, EnvironmentFailedError
from gpuslice.workloads.objects import fields_of

Json = Any  # as in Kubernetes objects
CHANGED_MEANWHILE: Final = frozenset({409, 422})
"""What the API server answers to a change of a version that is no longer the object's."""
TRIES: Final = 5
"""To change an object that others change at the same time."""
APPLY_PATCH: Final = "application/apply-patch+yaml"
_JSON_PATCH: Final = "application/json-patch+json"


def leaving(data: Mapping[str, Json]) -> bool:
    """Whether an object is being deleted: what is set on it now is lost with it."""
    return bool(fields_of(data, "metadata").get("deletionTimestamp"))


def put(
    api: Api, ref: Ref, data: Mapping[str, Json], *, force: bool, dry_run: bool = False
) -> dict[str, Json]:
    """Apply an object on the server's side.

    Raises:
        AnswerIsNoError: others manage fields of it, with their names.
        ApiError: it is refused for another reason.
    """
    params = {"fieldManager": MANAGER, "fieldValidation": "Strict"}
    params |= {"force": "true"} if force else {}
    params |= {"dryRun": "All"} if dry_run else {}
    for _ in range(TRIES):
        try:
            return dict(api.send("PATCH", ref.path, data, content_type=APPLY_PATCH, params=params))
        except ApiError as error:
            conflicts = [
                cause for cause in error.status.details.causes if cause.reason == "FieldManagerConflict"
            ]
            if error.code == 409 and conflicts:
                fields = joined([f"{conflict.field} ({conflict.message})" for conflict in conflicts])
                raise AnswerIsNoError(
                    f"others manage fields of it: {fields}",
                    where=ref.title,
                    fix="agree with them, or take the fields: --force-conflicts",
                ) from None
            if error.code != 409:  # made or changed by others in the same moment
                error.where = f"{ref.title}: {error.where}"
                raise
    raise restless(ref)


def restless(ref: Ref) -> EnvironmentFailedError:
    """What to say of an object that never holds still."""
    return EnvironmentFailedError(
        f"was changed by others {TRIES} times while it was to be changed here",
        where=ref.title,
        fix="run this again",
    )


def edit(
    api: Api, ref: Ref, current: Mapping[str, Json], wanted: Mapping[str, Json], *, dry_run: bool = False
) -> dict[str, Json]:
    """Change single fields of exactly this version of an object.

    Raises:
        ApiError: code 409 or 422 where the object was changed meanwhile; others where the change is refused.
    """
    operations = json_patch(current, wanted)
    if len(operations) == 1:
        return dict(current)
    params = {"fieldManager": MANAGER} | ({"dryRun": "All"} if dry_run else {})
    return dict(api.send("PATCH", ref.path, operations, content_type=_JSON_PATCH, params=params))


def delete(api: Api, ref: Ref, live: Mapping[str, Json], *, dry_run: bool = False) -> None:
    """Delete exactly this object; one that is gone, or was made anew since, is no concern of ours."""
    body = {
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "preconditions": {"uid": live["metadata"]["uid"]},
        "propagationPolicy": "Background",
    } | ({"dryRun": ["All"]} if dry_run else {})
    try:
        api.send("DELETE", ref.path, body)
    except ApiError as error:
        if error.code not in {404, 409}:
            raise
