"""A snapshot as files: to look at it elsewhere, later, or by somebody else. Secrets never get into it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import msgspec
from msgspec import Struct

import gpuslice
from gpuslice.artefacts.documents import dump_json, read_documents
from gpuslice.artefacts.output import write_directory
from gpuslice.artefacts.part import API_VERSION, ApiVersion
from gpuslice.artefacts.strict import decode
from gpuslice.cluster.client import objects as live
from gpuslice.cluster.client.resources import NODE, POD, resource_of
from gpuslice.cluster.seen.redact import redacted
from gpuslice.cluster.seen.snapshot import Snapshot, Unread, objects_of
from gpuslice.errors import InputError
from gpuslice.workloads.objects import convert, fields_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gpuslice.workloads.objects import Fields
    from gpuslice.workloads.owners import Object

INDEX: Final = "dump.json"


class _Unread(Struct, frozen=True, forbid_unknown_fields=True):
    what: str
    why: str


class _Index(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """What a dump says of itself."""

    api_version: ApiVersion
    kind: Literal["Dump"]
    taken: str
    tool: str
    version: str = ""
    namespaces: tuple[str, ...] = ()
    served: tuple[str, ...] = ()
    unread: tuple[_Unread, ...] = ()


def is_dump(path: str) -> bool:
    """Whether a path is a directory written by `write`."""
    return path != "-" and Path(path, INDEX).is_file()


def write(snapshot: Snapshot, directory: str) -> int:
    """Write a snapshot, one file for each kind; how many objects there are.

    Raises:
        InputError: the directory holds files of somebody else.
        EnvironmentFailedError: it can't be written.
    """
    files = {INDEX: dump_json(_index(snapshot))}
    kinds: dict[str, list[object]] = {}
    for pod in snapshot.pods:
        kinds.setdefault(POD.title, []).append({"apiVersion": "v1", "kind": "Pod", **_plain(pod)})
    for node in snapshot.nodes:
        kinds.setdefault(NODE.title, []).append({"apiVersion": "v1", "kind": "Node", **_plain(node)})
    for object_ in snapshot.objects:
        resource = resource_of(str(object_.data.get("apiVersion", "")), object_.kind)
        kinds.setdefault(resource.title if resource else object_.kind.lower(), []).append(object_.data)
    for title, items in kinds.items():
        files[f"{title}.json"] = dump_json({"apiVersion": "v1", "kind": "List", "items": redacted(items)})
    write_directory(directory, files)
    return sum(map(len, kinds.values()))


def load(directory: str) -> Snapshot:
    """A snapshot from a dump.

    Raises:
        InputError: not a dump, or one that can't be understood.
    """
    if not is_dump(directory):
        raise InputError(
            f"is no dump: there is no {INDEX}",
            where=directory,
            fix="make one: gpuslice scan --dump DIRECTORY",
        )
    path = Path(directory)
    document = read_documents(path / INDEX)[0]
    index = decode(document.data, _Index, where=document.where)
    items: list[Fields] = []
    for file in sorted(path.glob("*.json")):
        if file.name != INDEX:
            for document in read_documents(file):
                listed = fields_of(document.data).get("items")
                items += [fields_of(entry) for entry in (listed if isinstance(listed, list) else [])]
    return Snapshot(
        where=directory,
        taken=index.taken,
        version=index.version,
        namespaces=index.namespaces,
        served=frozenset(index.served),
        unread=tuple(Unread(kind.what, kind.why) for kind in index.unread),
        pods=tuple(convert(item, live.Pod, directory) for item in items if _is(item, "Pod")),
        nodes=tuple(convert(item, live.Node, directory) for item in items if _is(item, "Node")),
        objects=objects_of((item for item in items if not _is(item, "Pod", "Node")), directory),
    )


def is_of_a_cluster(objects: Sequence[Object]) -> bool:
    """Whether objects were read from a cluster: with a node among them, and a pod that runs on it."""
    nodes = {object_.name for object_ in objects if _is(object_.data, "Node")}
    return any(
        fields_of(object_.data, "spec").get("nodeName") in nodes
        for object_ in objects
        if _is(object_.data, "Pod")
    )


def snapshot_of_objects(objects: Sequence[Object], where: str) -> Snapshot:
    """A snapshot of what `kubectl get` printed: nodes, pods and whatever else there is.

    Args:
        objects: as they were read.
        where: from which files, for messages.

    Raises:
        InputError: a pod or node of which a field has the wrong type.
    """
    return Snapshot(
        where=where,
        taken="",
        pods=tuple(_pod(object_) for object_ in objects if _is(object_.data, "Pod")),
        nodes=tuple(
            convert(object_.data, live.Node, object_.where)
            for object_ in objects
            if _is(object_.data, "Node")
        ),
        objects=tuple(object_ for object_ in objects if not _is(object_.data, "Pod", "Node")),
    )


def _pod(obj: Object) -> live.Pod:
    pod = convert(obj.data, live.Pod, obj.where)
    return msgspec.structs.replace(
        pod, metadata=msgspec.structs.replace(pod.metadata, namespace=obj.namespace)
    )


def _index(snapshot: Snapshot) -> _Index:
    return _Index(
        api_version=API_VERSION,
        kind="Dump",
        taken=snapshot.taken,
        tool=f"gpuslice {gpuslice.__version__}",
        version=snapshot.version,
        namespaces=snapshot.namespaces,
        served=tuple(sorted(snapshot.served)),
        unread=tuple(_Unread(kind.what, kind.why) for kind in snapshot.unread),
    )


def _plain(value: Struct) -> Mapping[str, object]:
    plain: dict[str, object] = msgspec.to_builtins(value)
    return plain


def _is(data: Fields, *kinds: str) -> bool:
    return data.get("apiVersion") == "v1" and data.get("kind") in kinds
