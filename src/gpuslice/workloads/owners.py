"""Which objects of a dump stand for pods, so that each pod is counted once, at its top owner.

A manifest has a Deployment; a dump has the Deployment, its ReplicaSets, and their pods.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from gpuslice.artefacts.quoting import shorten
from gpuslice.workloads.makers import maker_of
from gpuslice.workloads.objects import Fields, Metadata, OwnerReference

Key = tuple[str, str, str]  # kind, namespace, name


# Made by other objects for a while: they are part of their owner, whatever it is.
_NEVER_ALONE: Final = frozenset({"Pod", "ReplicaSet"})


@dataclass(frozen=True, slots=True)
class Object:
    """A Kubernetes object and where it stands.

    Attributes:
        data: as it was read.
        metadata: its metadata.
        kind: its kind.
        namespace: its own, or the one given for objects without.
        file: where it was read.
    """

    data: Fields
    metadata: Metadata
    kind: str
    namespace: str
    file: str

    @property
    def name(self) -> str:
        """Its name; that of a generated name's stem where it has none yet."""
        return self.metadata.name or self.metadata.generate_name.rstrip("-")

    @property
    def key(self) -> Key:
        """What tells it from the others of a cluster."""
        return self.kind, self.namespace, self.name

    @property
    def path(self) -> str:
        """Its file alone, without which of the file's documents it is."""
        return self.file.partition(" (document ")[0]

    @property
    def where(self) -> str:
        """For messages."""
        return f"{self.file}: {shorten(self.kind)} {shorten(self.namespace)}/{shorten(self.name)}"


@dataclass(frozen=True, slots=True)
class Owner:
    """An owner whose pod template isn't in the input."""

    kind: str
    api_version: str
    name: str


class Family:
    """The owner references of one input."""

    def __init__(self, objects: Iterable[Object]) -> None:
        self._by_key: dict[Key, Object] = {obj.key: obj for obj in objects}

    def ancestors(self, child: Object) -> Iterator[Object]:
        """Owners that are in the input, nearest first."""
        seen = {child.key}
        while (parent := self._parent(child)) is not None and parent.key not in seen:
            seen.add(parent.key)
            yield parent
            child = parent

    def missing_owner(self, child: Object) -> Owner | None:
        """The furthest owner known of, where none in the input has a template; None: it stands for itself."""
        top = child
        for parent in self.ancestors(child):
            top = parent
        reference = controller(top.metadata)
        if reference is not None:
            return _behind(reference, top.metadata.labels)
        if top is not child and child.kind in _NEVER_ALONE:
            return Owner(top.kind, str(top.data.get("apiVersion", "")), top.name)
        maker = maker_of(child.kind, child.name, child.metadata.labels) if top is child else None
        return Owner(maker.kind, "", maker.pods) if maker is not None else None

    def top(self, child: Object) -> Key:
        """Kind, namespace and name of the furthest owner known of; its own where it has none."""
        top = child
        for parent in self.ancestors(child):
            top = parent
        reference = controller(top.metadata)
        if reference is None:
            maker = maker_of(top.kind, top.name, top.metadata.labels)
            return top.key if maker is None else (maker.kind, child.namespace, maker.pods)
        owner = _behind(reference, top.metadata.labels)
        return owner.kind, child.namespace, owner.name

    def _parent(self, child: Object) -> Object | None:
        reference = controller(child.metadata)
        if reference is None:
            return None
        # By name, not by uid: an owner made anew under its name has adopted what it finds.
        parent = self._by_key.get((reference.kind, child.namespace, reference.name))
        if parent is None and reference.kind == "ReplicaSet":
            # A dump without ReplicaSets: they are named by what owns them, and a hash.
            stem = reference.name.rpartition("-")[0]
            keys = ((kind, child.namespace, stem) for kind in ("Deployment", "Rollout"))
            parent = next((self._by_key[key] for key in keys if key in self._by_key), None)
        return parent


def controller(metadata: Metadata) -> OwnerReference | None:
    """The owner that an object names; of several, the one that controls it."""
    references = metadata.owner_references
    return next(
        (reference for reference in references if reference.controller), references[0] if references else None
    )


def _behind(reference: OwnerReference, labels: Mapping[str, str]) -> Owner:
    """The Deployment or Rollout behind a ReplicaSet, which is named by the hash of the pod template."""
    for kind, api_version, label in (
        ("Deployment", "apps/v1", "pod-template-hash"),
        ("Rollout", "argoproj.io/v1alpha1", "rollouts-pod-template-hash"),
    ):
        suffix = f"-{labels.get(label, '')}"
        if reference.kind == "ReplicaSet" and label in labels and reference.name.endswith(suffix):
            return Owner(kind, api_version, reference.name.removesuffix(suffix))
    return Owner(reference.kind, reference.api_version, reference.name)
