"""Kubernetes objects as scanning sees them: the few fields that are read, with types; everything else is let pass.

A manifest is other people's file: unknown fields are theirs, a null is the same as an absent field (as for the API
server), and a field of the wrong type is refused with its path.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import msgspec
from msgspec import Struct, field

from gpuslice.artefacts.quoting import shorten, shown
from gpuslice.errors import InputError
from gpuslice.workloads.model import MOST_REPLICAS
from gpuslice.workloads.target import Toleration

Quantity = str | int | float
Fields = Mapping[str, object]


class _Lenient(Struct, frozen=True, rename="camel"):
    """Immutable, camelCase, unknown fields ignored."""


class OwnerReference(_Lenient, frozen=True):
    """Who made an object."""

    kind: str = ""
    api_version: str = ""
    name: str = ""
    controller: bool = False


class Metadata(_Lenient, frozen=True):
    """An object's own data, or a pod template's."""

    name: str = ""
    generate_name: str = ""
    namespace: str = ""
    annotations: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    owner_references: tuple[OwnerReference, ...] = ()


class Resources(_Lenient, frozen=True):
    """What a container, or a pod, asks for and may use."""

    limits: dict[str, Quantity] = field(default_factory=dict)
    requests: dict[str, Quantity] = field(default_factory=dict)


class EnvVar(_Lenient, frozen=True):
    """An environment variable; one with `valueFrom` has an empty value here."""

    name: str = ""
    value: str = ""


class Port(_Lenient, frozen=True):
    """A container's port; KServe and others write names only."""

    container_port: int = 0
    host_port: int = 0
    protocol: str = "TCP"


class Container(_Lenient, frozen=True):
    """A container of a pod, an init container, or a sidecar (an init container with restartPolicy Always)."""

    name: str = ""
    image: str = ""
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: tuple[EnvVar, ...] = ()
    ports: tuple[Port, ...] = ()
    resources: Resources = Resources()
    restart_policy: str = ""


class Expression(_Lenient, frozen=True):
    """One condition on a node's label."""

    key: str = ""
    operator: str = ""
    values: tuple[str, ...] = ()


class NodeSelectorTerm(_Lenient, frozen=True):
    """Conditions that hold together."""

    match_expressions: tuple[Expression, ...] = ()
    match_fields: tuple[Expression, ...] = ()


class RequiredNodes(_Lenient, frozen=True):
    """Terms of which one must hold."""

    node_selector_terms: tuple[NodeSelectorTerm, ...] = ()


class NodeAffinity(_Lenient, frozen=True):
    """Only the part that is a must."""

    required_during_scheduling_ignored_during_execution: RequiredNodes = RequiredNodes()


class LabelSelector(_Lenient, frozen=True):
    """Which pods are meant: those for which all of it holds; one without a condition means all pods."""

    match_labels: dict[str, str] = field(default_factory=dict)
    match_expressions: tuple[Expression, ...] = ()


class PodTerm(_Lenient, frozen=True):
    """Pods beside which a pod must, or may not, run; without a selector it means none."""

    topology_key: str = ""
    label_selector: LabelSelector | None = None
    namespaces: tuple[str, ...] = ()
    namespace_selector: LabelSelector | None = None
    match_label_keys: tuple[str, ...] = ()


class PodAffinity(_Lenient, frozen=True):
    """Of affinity among pods, or anti-affinity, only the part that is a must."""

    required_during_scheduling_ignored_during_execution: tuple[PodTerm, ...] = ()


class Affinity(_Lenient, frozen=True):
    """Where pods must be: on which nodes, beside which pods, and not beside which."""

    node_affinity: NodeAffinity = NodeAffinity()
    pod_affinity: PodAffinity = PodAffinity()
    pod_anti_affinity: PodAffinity = PodAffinity()


class SpreadConstraint(_Lenient, frozen=True):
    """A topology spread constraint; without a selector it counts no pods."""

    topology_key: str = ""
    max_skew: int = 1
    when_unsatisfiable: str = "DoNotSchedule"
    label_selector: LabelSelector | None = None
    match_label_keys: tuple[str, ...] = ()


class VolumeClaim(_Lenient, frozen=True):
    """The PersistentVolumeClaim behind a volume."""

    claim_name: str = ""


class Volume(_Lenient, frozen=True):
    """A volume of a pod."""

    persistent_volume_claim: VolumeClaim = VolumeClaim()


class PodClaim(_Lenient, frozen=True):
    """Devices that a pod claims (resource.k8s.io)."""

    name: str = ""
    resource_claim_name: str = ""
    resource_claim_template_name: str = ""


class PodSpec(_Lenient, frozen=True):
    """A pod, or what pods of a template will be."""

    containers: tuple[Container, ...] = ()
    init_containers: tuple[Container, ...] = ()
    resources: Resources = Resources()
    overhead: dict[str, Quantity] = field(default_factory=dict)
    node_selector: dict[str, str] = field(default_factory=dict)
    tolerations: tuple[Toleration, ...] = ()
    affinity: Affinity = Affinity()
    restart_policy: str = ""
    node_name: str = ""
    host_network: bool = False
    topology_spread_constraints: tuple[SpreadConstraint, ...] = ()
    volumes: tuple[Volume, ...] = ()
    resource_claims: tuple[PodClaim, ...] = ()


T = TypeVar("T")


def convert(data: object, to: type[T], where: str) -> T:
    """Plain data as `to`, nulls taken for absent fields.

    Raises:
        InputError: a field of the wrong type.
    """
    try:
        return msgspec.convert(_without_nulls(data), to)
    except msgspec.ValidationError as error:
        what, _, path = str(error).partition(" - at `$")
        at = f" at {shorten(path[:-1].lstrip('.'))}" if path else ""
        raise InputError(
            f"{shorten(what[:1].lower() + what[1:])}{at}",
            where=where,
            fix="the API server would refuse it too: correct the field",
        ) from error


def fields_of(data: object, *path: str) -> Fields:
    """The mapping at a path of keys; empty where something on the way is missing or no mapping."""
    for key in path:
        data = data.get(key) if isinstance(data, Mapping) else None
    return data if isinstance(data, Mapping) else {}


def group_of(data: Fields) -> str:
    """The API group of an object; empty for Kubernetes' core."""
    return str(data.get("apiVersion", "")).rpartition("/")[0]


def whole_number(data: Fields, key: str, default: int, where: str) -> int:
    """A count such as `replicas`.

    Raises:
        InputError: not a whole number, negative, or beyond what anybody runs.
    """
    value = data.get(key)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MOST_REPLICAS:
        raise InputError(
            f"{key} is {shown(value)}",
            where=where,
            fix=f"write a whole number from 0 to {MOST_REPLICAS:,}",
        )
    return value


def _without_nulls(data: object) -> object:
    if isinstance(data, Mapping):
        return {str(key): _without_nulls(value) for key, value in data.items() if value is not None}
    if isinstance(data, list):
        return [_without_nulls(entry) for entry in data]
    return data
