"""Whose an object is: the ApplySet convention (KEP-3659), which kubectl reads too.

Every object of ours has a label with the id of its parent, a ConfigMap in the namespace `gpuslice`, which lists the
kinds that the set has. `kubectl get nodepools,nodeoverlays -l applyset.kubernetes.io/part-of=ID` shows the set.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping
from typing import Final

import gpuslice
from gpuslice.cluster.apply.changes import Json
from gpuslice.workloads.objects import fields_of

NAMESPACE: Final = "gpuslice"
PARENT: Final = "gpuslice"
PART_OF: Final = "applyset.kubernetes.io/part-of"
_ID: Final = "applyset.kubernetes.io/id"
_TOOLING: Final = "applyset.kubernetes.io/tooling"
KINDS: Final = "applyset.kubernetes.io/contains-group-kinds"
_NAMESPACES: Final = "applyset.kubernetes.io/additional-namespaces"


def identity(name: str = PARENT, namespace: str = NAMESPACE, kind: str = "ConfigMap", group: str = "") -> str:
    """The id of a parent: the convention's hash of its name, namespace and kind."""
    digest = hashlib.sha256(f"{name}.{namespace}.{kind}.{group}".encode()).digest()
    return f"applyset-{base64.urlsafe_b64encode(digest).decode().rstrip('=')}-v1"


def labelled(data: Mapping[str, Json]) -> dict[str, Json]:
    """An object as a member of the set."""
    metadata = dict(fields_of(data, "metadata"))
    return {**data, "metadata": metadata | {"labels": {**fields_of(metadata, "labels"), PART_OF: identity()}}}


def is_member(data: Mapping[str, Json]) -> bool:
    """Whether an object belongs to the set."""
    return fields_of(data, "metadata", "labels").get(PART_OF) == identity()


def parent_metadata(kinds: Iterable[str], namespaces: Iterable[str]) -> dict[str, Json]:
    """The parent's metadata, for a set with these kinds ("NodePool.karpenter.sh") in these namespaces."""
    return {
        "name": PARENT,
        "namespace": NAMESPACE,
        "labels": {_ID: identity(), "app.kubernetes.io/managed-by": "gpuslice"},
        "annotations": {
            _TOOLING: f"gpuslice/v{gpuslice.__version__}",
            KINDS: ",".join(sorted(set(kinds))),
            _NAMESPACES: ",".join(sorted(set(namespaces) - {NAMESPACE})),
        },
    }
