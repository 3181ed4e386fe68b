"""What kustomize does with our patches, as far as they go: so that tests need no kustomize."""

import copy
from typing import Any

MERGED_BY_NAME = ("containers", "initContainers", "env")


def strategic(today, patch) -> Any:
    """A strategic merge: null removes, containers and variables merge by name, other lists are replaced."""
    if not isinstance(today, dict):
        today = {}
    merged = copy.deepcopy(today)
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict):
            merged[key] = strategic(merged.get(key), value)
        elif key in MERGED_BY_NAME:
            by_name = {each["name"]: each for each in merged.get(key, [])}
            for each in value:
                by_name[each["name"]] = strategic(by_name.get(each["name"]), each)
            merged[key] = list(by_name.values())
        else:
            merged[key] = value
    return merged


def operations(today, patch) -> Any:
    """A JSON patch of "add" and "remove" (RFC 6902): a parent, or a key to remove, that isn't there is an error."""
    merged = copy.deepcopy(today)
    for each in patch:
        *parents, last = [part.replace("~1", "/").replace("~0", "~") for part in each["path"].split("/")[1:]]
        at = merged
        for part in parents:
            at = at[int(part) if isinstance(at, list) else part]
        if isinstance(at, list):
            assert each["op"] == "add"
            at.insert(len(at) if last == "-" else int(last), each["value"])
        elif each["op"] == "remove":
            del at[last]
        else:
            assert each["op"] == "add"
            at[last] = each["value"]
    return merged


def apply_patch(today, patch) -> Any:
    return operations(today, patch) if isinstance(patch, list) else strategic(today, patch)
