"""What a workload asks for since an earlier plan, and this one doesn't know of.

A patch takes away what was asked for when the workload was scanned. But manifests that were read before the first plan
know nothing of its seats: a pod that goes on asking for one, and for another one as well, fits no node.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from gpuslice.workloads.annotations import PREFIX
from gpuslice.workloads.objects import fields_of
from gpuslice.workloads.target import POD_SPEC_OF

Json = Any  # as in Kubernetes objects

_LISTS: Final = ("containers", "initContainers")
_SECTIONS: Final = ("limits", "requests")


def with_stale_removed(live: Mapping[str, Json], patch: Mapping[str, Json]) -> dict[str, Json]:
    """A strategic merge patch that also takes away what gpuslice once had the object's containers ask for.

    Args:
        live: the object as it is.
        patch: for it, of a built-in kind.
    """
    pointer = POD_SPEC_OF[str(patch["kind"])].strip("/").split("/")
    spec: Json = fields_of(live, *pointer)
    own: Json = fields_of(patch, *pointer)
    lists = {}
    for name in _LISTS:
        patched = {container["name"]: container for container in own.get(name) or ()}
        for entry in spec.get(name) or ():
            if (cleared := _cleared(patched.get(entry["name"], {}), entry)) is not None:
                patched[entry["name"]] = cleared
        if patched:
            lists[name] = list(patched.values())
    return _set(patch, pointer, lists)


def _cleared(patched: Mapping[str, Json], live: Mapping[str, Json]) -> dict[str, Json] | None:
    """A container's patch with nulls for resources of ours that it doesn't mention; None where there are none."""
    resources = dict(fields_of(patched, "resources"))
    stale = False
    for section in _SECTIONS:
        stated = fields_of(resources, section)
        gone = {
            key: None
            for key in fields_of(live, "resources", section)
            if key.startswith(PREFIX) and key not in stated
        }
        if gone:
            stale = True
            resources[section] = gone | dict(stated)
    return {"name": live["name"], **patched, "resources": resources} if stale else None


def _set(data: Mapping[str, Json], path: list[str], value: Mapping[str, Json]) -> dict[str, Json]:
    if not path:
        return {**data, **value}
    first, *rest = path
    return {**data, first: _set(fields_of(data, first), rest, value)}
