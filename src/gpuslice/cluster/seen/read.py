"""A snapshot of a live cluster: what is read of it, and how little of that is kept.

A cluster may have ten thousand pods of which a hundred use GPUs. So objects are decoded straight into the fields that
are read, other people's Deployments are dropped as they come, and equal pod specs are kept once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, TypeVar

import msgspec
from msgspec import Struct

from gpuslice.cluster.client import objects as live
from gpuslice.cluster.client.api import Api, ApiError
from gpuslice.cluster.client.resources import (
    AUTOSCALER,
    CONFIG_MAP,
    CUSTOM_OWNERS,
    DAEMON_SET,
    DEPLOYMENT,
    NODE,
    NODE_SIDE,
    OWNERS,
    POD,
    VOLUME,
    VOLUME_CLAIM,
    Resource,
)
from gpuslice.cluster.seen.operator_names import MIG_MAP, PLUGIN_MAP
from gpuslice.cluster.seen.snapshot import Snapshot, Unread, objects_of
from gpuslice.workloads.objects import convert

T = TypeVar("T")
Data = Mapping[str, object]

# What an object's JSON must hold to be of interest.
_ABOUT_GPUS: Final = (b"nvidia.com/", b"gpuslice.io/", b"resourceClaims", b"NVIDIA_VISIBLE_DEVICES")
_MACHINERY: Final = (*_ABOUT_GPUS, b"karpenter", b"gpu-operator", b"nvidia", b"node-feature-discovery")
_METADATA: Final = (
    "name",
    "generateName",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "labels",
    "annotations",
    "ownerReferences",
)
OPERATORS_MIG_CONFIG: Final = "default-mig-parted-config"
"""What the GPU Operator's MIG manager uses where the ClusterPolicy names nothing."""
_LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"


class _Version(Struct, frozen=True, rename="camel"):
    git_version: str = ""


class _GroupVersion(Struct, frozen=True):
    version: str = ""


class _Group(Struct, frozen=True, rename="camel"):
    name: str = ""
    versions: tuple[_GroupVersion, ...] = ()
    preferred_version: _GroupVersion = _GroupVersion()


class _Groups(Struct, frozen=True):
    groups: tuple[_Group, ...] = ()


def read(api: Api, namespaces: Sequence[str] = ()) -> Snapshot:
    """What a cluster runs on its GPUs, and what decides over its nodes.

    Args:
        api: the cluster.
        namespaces: of pods and their owners; empty: all.

    Raises:
        EnvironmentFailedError: pods can't be read.
    """
    reader = _Reader(api, tuple(namespaces))
    where = f"context {api.name}" if api.name else "the cluster"
    version = api.get("/version", _Version).git_version
    groups = {group.name: group for group in api.get("/apis", _Groups).groups}
    share = _Sharing()
    pods = reader.all_of(POD, lambda raw: share.pod(raw, where), required=True)
    nodes = reader.all_of(NODE, lambda raw: _node(raw, where))
    items: list[Data] = []
    for resource in OWNERS:
        words = _MACHINERY if resource in {DEPLOYMENT, DAEMON_SET} else _ABOUT_GPUS
        items += reader.all_of(resource, _keeping(resource, words))
    items += reader.all_of(AUTOSCALER, _keeping(AUTOSCALER, ()))
    for resource in (VOLUME_CLAIM, VOLUME):
        items += reader.all_of(resource, _keeping(resource, ()))
    served: set[str] = set()
    for resource in (*NODE_SIDE, *CUSTOM_OWNERS):
        if resource.group in groups:
            objects = reader.served(_at_version(resource, groups[resource.group]), resource in CUSTOM_OWNERS)
            if objects is not None:
                served.add(resource.group_kind)
                items += objects
    known = Snapshot(where, "", objects=objects_of(items, where))
    items += reader.config_maps(_named_config_maps(known))
    return Snapshot(
        where=where,
        taken=datetime.now(UTC).isoformat(timespec="seconds"),
        version=version,
        namespaces=reader.namespaces,
        served=frozenset(served),
        unread=tuple(reader.unread),
        pods=tuple(pods),
        nodes=tuple(nodes),
        objects=objects_of(items, where),
    )


class _Reader:
    """Lists of one cluster, and what of them couldn't be read."""

    def __init__(self, api: Api, namespaces: tuple[str, ...]) -> None:
        self._api = api
        self.namespaces = namespaces
        self.unread: list[Unread] = []

    def all_of(
        self, resource: Resource, decode: Callable[[msgspec.Raw], T | None], *, required: bool = False
    ) -> list[T]:
        """The objects of a kind that everybody serves."""
        objects: list[T] = []
        for namespace in self.namespaces if resource.namespaced and self.namespaces else ("",):
            try:
                objects += self._api.list(resource.path(namespace=namespace), decode)
            except ApiError as error:
                if required or error.code not in {403, 404}:
                    raise
                self.unread.append(Unread(resource.title, error.message))
                return objects
        return objects

    def served(self, resource: Resource, in_namespaces: bool) -> list[Data] | None:  # noqa: FBT001  read once, above
        """The objects of a kind that not everybody serves; None where it isn't served."""
        items: list[Data] = []
        decode = _keeping(resource, _ABOUT_GPUS if in_namespaces else ())
        for namespace in self.namespaces if in_namespaces and self.namespaces else ("",):
            try:
                items += self._api.list(resource.path(namespace=namespace), decode)
            except ApiError as error:
                if error.code == 404:
                    return None
                if error.code != 403:
                    raise
                self.unread.append(Unread(resource.title, error.message))
        return items

    def config_maps(self, names: Iterable[tuple[str, str]]) -> list[Data]:
        """ConfigMaps by namespace and name, where they are."""
        maps: list[Data] = []
        refused: set[str] = set()
        for namespace, name in sorted(set(names)):
            if namespace in refused:
                continue
            try:
                data = self._api.find(CONFIG_MAP.path(name, namespace), dict[str, object])
            except ApiError as error:
                if error.code != 403:
                    raise
                self.unread.append(Unread(CONFIG_MAP.title, error.message))
                refused.add(namespace)
                continue
            if data is not None:
                maps.append(_slim(CONFIG_MAP, data))
        return maps


class _Sharing:
    """Pods from one template have one spec: it is kept once."""

    def __init__(self) -> None:
        self._specs: dict[bytes, live.RunningPodSpec] = {}

    def pod(self, raw: msgspec.Raw, where: str) -> live.Pod:
        pod = decoded(raw, live.Pod, where)
        spec = msgspec.structs.replace(pod.spec, node_name="")
        shared = self._specs.setdefault(msgspec.json.encode(spec), spec)
        metadata = msgspec.structs.replace(pod.metadata, annotations=_kept(pod.metadata.annotations))
        return live.Pod(
            metadata=metadata,
            spec=msgspec.structs.replace(shared, node_name=pod.spec.node_name),
            status=pod.status,
        )


def _node(raw: msgspec.Raw, where: str) -> live.Node:
    node = decoded(raw, live.Node, where)
    return msgspec.structs.replace(
        node, metadata=msgspec.structs.replace(node.metadata, annotations=_kept(node.metadata.annotations))
    )


def _kept(annotations: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in annotations.items() if "gpuslice.io/" in key or "karpenter" in key}


def decoded(raw: msgspec.Raw, kind: type[T], where: str) -> T:
    """An object of a list; a null is the same as an absent field."""
    try:
        return msgspec.json.decode(raw, type=kind)
    except msgspec.ValidationError:
        return convert(msgspec.json.decode(raw), kind, where)  # nulls, which few objects have


def _keeping(resource: Resource, words: Sequence[bytes]) -> Callable[[msgspec.Raw], Data | None]:
    def decode(raw: msgspec.Raw) -> Data | None:
        text = bytes(raw)
        if words and not any(word in text for word in words):
            return None
        data = msgspec.json.decode(text, type=dict[str, object])
        return _slim(resource, data)

    return decode


def _slim(resource: Resource, data: dict[str, object]) -> Data:
    """An object of a list, named as one, without its history."""
    metadata = data.get("metadata")
    kept: dict[str, object] = {}
    if isinstance(metadata, dict):
        kept = {key: metadata[key] for key in _METADATA if key in metadata}
        annotations = kept.get("annotations")
        if isinstance(annotations, dict):
            annotations.pop(_LAST_APPLIED, None)
    return {"apiVersion": resource.api_version, "kind": resource.kind, **data, "metadata": kept}


def _at_version(resource: Resource, group: _Group) -> Resource:
    versions = [version.version for version in group.versions]
    if resource.version in versions or not versions:
        return resource
    return Resource(
        resource.kind, resource.group, group.preferred_version.version, resource.plural, resource.namespaced
    )


def _named_config_maps(snapshot: Snapshot) -> list[tuple[str, str]]:
    """Namespace and name of the ConfigMaps that the GPU machinery is told to use."""
    operator = snapshot.gpu_operator
    names: list[tuple[str, str]] = []
    for runner in snapshot.device_plugins:
        names += [
            (runner.metadata.namespace, volume.config_map.name)
            for volume in runner.pod.volumes
            if volume.config_map.name
        ]
    namespaces = {device_plugin.metadata.namespace for device_plugin in snapshot.device_plugins}
    if operator is not None:
        namespaces.add(operator.metadata.namespace)
    if not namespaces and snapshot.cluster_policies:
        namespaces.add("gpu-operator")  # its Deployment couldn't be read
    for namespace in namespaces:
        names += [(namespace, literal) for literal in (PLUGIN_MAP, MIG_MAP, OPERATORS_MIG_CONFIG)]
        for policy in snapshot.cluster_policies:
            named = (policy.spec.device_plugin.config.name, policy.spec.mig_manager.config.name)
            names += [(namespace, name) for name in named if name]
    return names
