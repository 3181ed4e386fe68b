"""Changes of single fields: found between two states of an object, made, and taken back.

An apply remembers its changes to other people's objects field by field, so that taking them back leaves alone what
others changed meanwhile. Elements of a list are told apart by their names, where all have one (containers, variables);
any other list is one value.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final, Literal

from msgspec import UNSET, Struct, UnsetType

Json = Any  # a field's value may be anything that JSON has
Key = str | dict[str, str]  # a key, or {"name": …} for an element of a list

_SERVERS: Final = frozenset(
    {"managedFields", "resourceVersion", "uid", "generation", "creationTimestamp", "selfLink"}
)


class FieldChange(Struct, frozen=True, forbid_unknown_fields=True):
    """One field, before and after; UNSET where it isn't there."""

    path: tuple[Key, ...]
    before: Json | UnsetType = UNSET
    after: Json | UnsetType = UNSET

    @property
    def where(self) -> str:
        """The path as people write it: ".spec.containers[main].image"."""
        return "".join(f"[{step['name']}]" if isinstance(step, dict) else f".{step}" for step in self.path)


class Clash(Struct, frozen=True):
    """A field that is neither as it was nor as it was made: somebody else changed it."""

    change: FieldChange
    found: Json | UnsetType


def stated(data: Mapping[str, Json]) -> dict[str, Json]:
    """An object without what the API server adds and what controllers report."""
    kept = {key: value for key, value in data.items() if key != "status"}
    kept["metadata"] = {
        key: value for key, value in (data.get("metadata") or {}).items() if key not in _SERVERS
    }
    return kept


def changes(before: Json, after: Json, path: tuple[Key, ...] = ()) -> list[FieldChange]:
    """What it takes to get from one state to another."""
    if before == after and type(before) is type(after):
        return []
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        return [
            change
            for key in dict.fromkeys((*before, *after))
            for change in changes(before.get(key, UNSET), after.get(key, UNSET), (*path, key))
        ]
    ours, theirs = _by_name(before), _by_name(after)
    if ours is not None and theirs is not None:
        return [
            change
            for name in dict.fromkeys((*ours, *theirs))
            for change in changes(ours.get(name, UNSET), theirs.get(name, UNSET), (*path, {"name": name}))
        ]
    return [FieldChange(path, before, after)]


def moved(
    current: Mapping[str, Json], wanted: Iterable[FieldChange], *, to: Literal["after", "before"]
) -> tuple[dict[str, Json], list[Clash]]:
    """An object with changes made or taken back, and those that can't be, since the field is something else now."""
    made = copy.deepcopy(dict(current))
    clashes: list[Clash] = []
    for change in wanted:
        present = value_at(made, change.path)
        start, goal = (change.before, change.after) if to == "after" else (change.after, change.before)
        if present == goal and type(present) is type(goal):
            continue
        if present != start:
            clashes.append(Clash(change, present))
            continue
        set_at(made, change.path, copy.deepcopy(goal))
    return made, clashes


def value_at(data: Json, path: Sequence[Key]) -> Json | UnsetType:
    """The value at a path; UNSET where there is none."""
    for step in path:
        if isinstance(step, dict):
            data = (_by_name(data) or {}).get(step["name"], UNSET)
        else:
            data = data.get(step, UNSET) if isinstance(data, Mapping) else UNSET
    return data


def set_at(data: dict[str, Json], path: Sequence[Key], value: Json | UnsetType) -> None:
    """Set a value, or remove it where UNSET; containers on the way are made, and emptied ones stay."""
    holder: Json = data
    for step, following in pairwise(path):
        holder = _step_into(holder, step, [] if isinstance(following, dict) else {})
    last = path[-1]
    if isinstance(last, dict):
        index = next((i for i, entry in enumerate(holder) if entry.get("name") == last["name"]), None)
        if index is None:
            if value is not UNSET:
                holder.append(value)
        elif value is UNSET:
            del holder[index]
        else:
            holder[index] = value
    elif value is UNSET:
        holder.pop(last, None)
    else:
        holder[last] = value


def json_patch(current: Mapping[str, Json], wanted: Mapping[str, Json]) -> list[dict[str, Json]]:
    """Operations (RFC 6902) from one state to another, for exactly this version of the object."""
    version = (current.get("metadata") or {}).get("resourceVersion", "")
    return [
        {"op": "test", "path": "/metadata/resourceVersion", "value": version},
        *_operations(stated(current), stated(wanted), ""),
    ]


def _operations(before: Json, after: Json, pointer: str) -> list[dict[str, Json]]:
    if before == after and type(before) is type(after):
        return []
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        operations: list[dict[str, Json]] = []
        for key in dict.fromkeys((*before, *after)):
            child = f"{pointer}/{key.replace('~', '~0').replace('/', '~1')}"
            if key not in after:
                operations.append({"op": "remove", "path": child})
            elif key not in before:
                operations.append({"op": "add", "path": child, "value": after[key]})
            else:
                operations += _operations(before[key], after[key], child)
        return operations
    return [{"op": "replace", "path": pointer, "value": after}]


def with_operations(data: Mapping[str, Json], operations: Iterable[Mapping[str, Json]]) -> dict[str, Json]:
    """An object after a JSON patch of ours; removing what isn't there does no harm, nor adding below what isn't."""
    made = copy.deepcopy(dict(data))
    for operation in operations:
        keys = [key.replace("~1", "/").replace("~0", "~") for key in str(operation["path"]).split("/")[1:]]
        holder: Json = made
        for key in keys[:-1]:
            holder = holder[int(key)] if isinstance(holder, list) else holder.setdefault(key, {})
        last = keys[-1]
        if operation["op"] == "remove":
            if isinstance(holder, dict):
                holder.pop(last, None)
        elif isinstance(holder, list):
            if last == "-":
                holder.append(operation["value"])
            else:
                holder[int(last)] = operation["value"]
        else:
            holder[last] = operation["value"]
    return made


def _by_name(value: Json | UnsetType) -> dict[str, Json] | None:
    """The elements of a list by their names; None where they have none, or not each its own."""
    if not isinstance(value, list) or not value:
        return None
    named = {
        item["name"]: item
        for item in value
        if isinstance(item, Mapping) and isinstance(item.get("name"), str)
    }
    return named if len(named) == len(value) else None


def _step_into(holder: Json, step: Key, otherwise: Json) -> Json:
    if isinstance(step, dict):
        inner = next((item for item in holder if item.get("name") == step["name"]), None)
        if inner is None:
            inner = {"name": step["name"]}
            holder.append(inner)
        return inner
    if not isinstance(holder.get(step), dict | list):
        holder[step] = otherwise
    return holder[step]
