"""Who set which field of a live object: the API server's own record (metadata.managedFields, FieldsV1)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from msgspec import UNSET, UnsetType

from gpuslice.cluster.apply.changes import Json, Key

MANAGER: Final = "gpuslice"
"""The field manager of everything that is written here."""

RECONCILERS: Final = (
    "argocd",
    "argo-cd",
    "kustomize-controller",
    "helm-controller",
    "flux",
    "fleet",
    "rancher",
    "config-sync",
    "configsync",
    "crossplane",
)
"""Managers that put their own state back by themselves: a change beside them doesn't last."""


def applied(data: Mapping[str, Json], manager: str = MANAGER) -> dict[str, Json] | None:
    """What a manager applied of an object, as an object that can be applied again; None: nothing."""
    for entry in _entries(data):
        if entry.get("manager") == manager and entry.get("operation") == "Apply":
            picked = _picked(data, entry.get("fieldsV1") or {})
            made = picked if isinstance(picked, dict) else {}
            metadata = data.get("metadata") or {}
            names = {key: metadata[key] for key in ("name", "namespace") if key in metadata}
            return {
                "apiVersion": data["apiVersion"],
                "kind": data["kind"],
                **made,
                "metadata": names | (made.get("metadata") or {}),
            }
    return None


def managers_of(data: Mapping[str, Json], path: Sequence[Key]) -> list[str]:
    """Who set the field at a path, or something below it."""
    return sorted(
        {
            str(entry.get("manager"))
            for entry in _entries(data)
            if entry.get("subresource") in {None, ""} and _covers(entry.get("fieldsV1") or {}, path)
        }
    )


def reconciles(manager: str) -> bool:
    """Whether a manager would put its own state back."""
    return any(word in manager.lower() for word in RECONCILERS)


def _entries(data: Mapping[str, Json]) -> Iterator[Mapping[str, Any]]:  # as the API server has them
    yield from (data.get("metadata") or {}).get("managedFields") or ()


def _covers(fields: Mapping[str, Json], path: Sequence[Key]) -> bool:
    for step in path:
        if not fields or set(fields) == {"."}:
            return False
        if isinstance(step, dict):
            key = next((field for field in fields if _names(field, step["name"])), None)
        else:
            key = f"f:{step}" if f"f:{step}" in fields else None
        if key is None:
            return False
        fields = fields[key]
        if not fields:
            return True  # owned as one value, with all below it
    return True


def _names(key: str, name: str) -> bool:
    return key.startswith("k:") and json.loads(key[2:]).get("name") == name


def _picked(value: Json, fields: Mapping[str, Json]) -> Json | UnsetType:
    """The part of a value that fields name; the whole where they name no part."""
    parts = {key: entry for key, entry in fields.items() if key != "."}
    if not parts:
        return value if not fields or not isinstance(value, dict | list) else type(value)()
    if isinstance(value, Mapping):
        chosen = {
            key[2:]: _picked(value[key[2:]], entry)
            for key, entry in parts.items()
            if key.startswith("f:") and key[2:] in value
        }
        return {key: item for key, item in chosen.items() if item is not UNSET}
    if isinstance(value, list):
        made = []
        for item in value:
            for key, inner in parts.items():
                if key.startswith("k:") and isinstance(item, Mapping):
                    keys = json.loads(key[2:])
                    if all(item.get(name) == wanted for name, wanted in keys.items()):
                        picked = _picked(item, inner)
                        made.append(keys | (picked if isinstance(picked, dict) else {}))
                elif key.startswith("v:") and json.loads(key[2:]) == item:
                    made.append(item)
        return made
    return value
