"""What an apply is about to do and what was there before: kept in the cluster, written before anything else.

It makes an apply resumable: whoever runs it again, after a crash or from another machine, carries out the same steps
from the same beginnings, and each step does nothing where it was done already. And it is what a rollback goes back to.
"""

from __future__ import annotations

import base64
import gzip
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from gpuslice.artefacts.part import Part
from gpuslice.cluster.apply import applyset
from gpuslice.cluster.apply.changes import FieldChange
from gpuslice.cluster.apply.ownership import MANAGER
from gpuslice.cluster.client.api import Api, ApiError
from gpuslice.cluster.client.resources import CONFIG_MAP, NAMESPACE, Resource
from gpuslice.errors import AnswerIsNoError, EnvironmentFailedError

_KEY: Final = "journal"
_LARGEST: Final = 900_000  # a ConfigMap holds 1 MiB


class Ref(Part, frozen=True):
    """An object in the cluster."""

    kind: str
    group: str
    version: str
    plural: str
    name: str
    namespace: str = ""

    @classmethod
    def of(cls, resource: Resource, name: str, namespace: str = "") -> Ref:
        """An object of a kind."""
        return cls(
            resource.kind,
            resource.group,
            resource.version,
            resource.plural,
            name,
            namespace if resource.namespaced else "",
        )

    @property
    def resource(self) -> Resource:
        """The kind of object that it is."""
        return Resource(self.kind, self.group, self.version, self.plural, namespaced=bool(self.namespace))

    def is_a(self, resource: Resource) -> bool:
        """Whether it is of that kind, whatever the version."""
        return (self.group, self.kind) == (resource.group, resource.kind)

    @property
    def path(self) -> str:
        """Where the API server has it."""
        return self.resource.path(self.name, self.namespace)

    @property
    def title(self) -> str:
        """For people: "NodePool l4-ts4"."""
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


class Put(Part, frozen=True, tag="put", tag_field="do"):
    """An object, or the part of one, that is ours: applied on the server's side.

    `before` is what we had applied of it until then; UNSET: nothing of it was ours. `created`: it wasn't there at all.
    """

    ref: Ref
    object: dict[str, Any]  # a Kubernetes object
    before: dict[str, Any] | UnsetType = UNSET
    created: bool = False


class Edit(Part, frozen=True, tag="edit", tag_field="do"):
    """Single fields of somebody else's object. `workload`: its pods are replaced, which is awaited."""

    ref: Ref
    changes: tuple[FieldChange, ...]
    workload: bool = False


class Remove(Part, frozen=True, tag="remove", tag_field="do"):
    """An object of an earlier plan that this one doesn't have; `before` makes it anew."""

    ref: Ref
    before: dict[str, Any]


Work = Put | Edit | Remove


class Journal(Part, frozen=True):
    """One apply."""

    version: Annotated[int, Meta(ge=1, le=1)]
    state: Literal["applying", "applied", "rolling-back", "rolled-back"]
    plan: str
    """Digest of what is applied: the same plan, run again, goes on where it was."""
    started: str
    tool: str
    steps: tuple[Work, ...]
    kinds: tuple[str, ...] = ()
    """Of the set, as the ApplySet convention writes them."""
    namespaces: tuple[str, ...] = ()


class Stored(Struct, frozen=True):
    """A journal as it stands in the cluster, and that version of it.

    `resumed`: it goes on with an apply that was interrupted, so that some of its steps may have been begun.
    """

    journal: Journal
    resource_version: str
    resumed: bool = False


def load(api: Api) -> Stored | None:
    """The journal of the last apply; None where there never was one.

    Raises:
        EnvironmentFailedError: it can't be read, or was made by a later version.
    """
    config_map = api.find(CONFIG_MAP.path(applyset.PARENT, applyset.NAMESPACE), dict[str, Any])
    if config_map is None:
        return None
    text = (config_map.get("binaryData") or {}).get(_KEY)
    if not text:
        return None
    try:
        journal = msgspec.json.decode(gzip.decompress(base64.b64decode(text)), type=Journal)
    except (ValueError, OSError, msgspec.DecodeError) as error:
        raise EnvironmentFailedError(
            f"the journal can't be read: {' '.join(str(error).split())[:120]}",
            where=f"ConfigMap {applyset.NAMESPACE}/{applyset.PARENT}",
            fix="was it written by a later gpuslice? Use that one",
        ) from None
    return Stored(journal, str(config_map["metadata"]["resourceVersion"]))


def save(api: Api, journal: Journal, previous: Stored | None) -> Stored:
    """Write a journal over the one that was read, or as the first.

    Raises:
        AnswerIsNoError: somebody else wrote one meanwhile, or it is too large for a ConfigMap.
    """
    text = base64.b64encode(gzip.compress(msgspec.json.encode(journal), mtime=0)).decode()
    if len(text) > _LARGEST:
        raise AnswerIsNoError(
            f"its journal would take {len(text):,} bytes, and a ConfigMap holds {_LARGEST:,}",
            fix="apply a part: fewer workloads at once",
        )
    metadata = applyset.parent_metadata(journal.kinds, journal.namespaces)
    if previous is not None:
        metadata["resourceVersion"] = previous.resource_version
    data = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "binaryData": {_KEY: text}}
    params = {"fieldManager": MANAGER}
    path = CONFIG_MAP.path(applyset.PARENT, applyset.NAMESPACE)
    try:
        if previous is None:
            path = CONFIG_MAP.path(namespace=applyset.NAMESPACE)
            made = api.send("POST", path, data, params=params)
        else:
            made = api.send("PUT", path, data, params=params)
    except ApiError as error:
        if error.code != 409:
            raise
        now = load(api)
        if now is not None and now.journal == journal:
            return now  # written by us: only the answer was lost
        if previous is None and now is None:
            return _adopt(api, data)
        raise AnswerIsNoError(
            "another gpuslice is writing to this cluster",
            where=f"ConfigMap {applyset.NAMESPACE}/{applyset.PARENT}",
            fix="wait for it, then run this again",
        ) from None
    return Stored(journal, _version(made))


def _adopt(api: Api, data: dict[str, Any]) -> Stored:  # a Kubernetes object
    """The parent is there without a journal: somebody made the ConfigMap by hand."""
    path = CONFIG_MAP.path(applyset.PARENT, applyset.NAMESPACE)
    made = api.send("PUT", path, data, params={"fieldManager": MANAGER})
    journal = load(api)
    if journal is None:
        raise EnvironmentFailedError("the journal wasn't kept", where=path)
    return Stored(journal.journal, _version(made))


def ensure_namespace(api: Api) -> bool:
    """Make the namespace of the journal, where it isn't there; whether it was made."""
    if api.find(NAMESPACE.path(applyset.NAMESPACE), dict[str, Any]) is not None:
        return False
    body = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": applyset.NAMESPACE, "labels": {"app.kubernetes.io/managed-by": "gpuslice"}},
    }
    try:
        api.send("POST", NAMESPACE.path(), body, params={"fieldManager": MANAGER})
    except ApiError as error:
        if error.code != 409:
            raise
    return True


def _version(data: Mapping[str, object]) -> str:
    metadata = data.get("metadata")
    return str(metadata.get("resourceVersion", "")) if isinstance(metadata, dict) else ""
