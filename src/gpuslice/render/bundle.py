"""What a plan, or one setting for all GPUs, comes to in a cluster: values, for whoever applies it without files.

A directory of rendered files, maybe edited and committed since, is read into one as well.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import msgspec

from gpuslice.artefacts.documents import to_plain
from gpuslice.carriers.objects.files import HELM_VALUES, POLICY_PATCH, RenderedFile

Json = Any  # whatever an object of Kubernetes, or of a file, holds


@dataclass(frozen=True, slots=True)
class WorkloadPatch:
    """The change of one workload.

    Attributes:
        group, kind, name, namespace: of its object.
        patch: a strategic merge patch, or the operations of a JSON patch.
    """

    group: str
    kind: str
    name: str
    namespace: str
    patch: Json

    @property
    def title(self) -> str:
        """For people."""
        return f"{self.kind} {self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class LeftAlone:
    """A workload that stays as it is, and why."""

    workload: str
    why: str

    def __str__(self) -> str:
        return f"{self.workload}: {self.why}"


@dataclass(frozen=True, slots=True)
class Bundle:
    """All that is wanted of a cluster, as plain data: what a file of it would be read as.

    Attributes:
        objects: to be applied, in the order of their files.
        cluster_policy: spec of a ClusterPolicy, only the fields that are needed; None: the GPU Operator isn't used.
        helm_values: where the GPU Operator isn't installed yet; None: it isn't used.
        patches: of workloads.
        unpatched: workloads without a patch.
    """

    objects: tuple[dict[str, Json], ...]
    cluster_policy: Mapping[str, Json] | None = None
    helm_values: Mapping[str, Json] | None = None
    patches: tuple[WorkloadPatch, ...] = ()
    unpatched: tuple[LeftAlone, ...] = ()

    @property
    def digest(self) -> str:
        """Of all that is applied: an apply that was interrupted goes on with what has the digest it began with."""
        said = (self.objects, self.cluster_policy, [(patch.title, patch.patch) for patch in self.patches])
        return hashlib.sha256(msgspec.json.encode(said, order="sorted")).hexdigest()[:16]


def bundle_of(
    files: Iterable[RenderedFile],
    patches: Iterable[WorkloadPatch] = (),
    unpatched: Iterable[LeftAlone] = (),
) -> Bundle:
    """A bundle of objects as they are rendered, one file or several."""
    by_path = {file.path: file for file in sorted(files, key=lambda file: file.path)}
    policy, values = by_path.get(POLICY_PATCH), by_path.get(HELM_VALUES)
    return Bundle(
        tuple(_plain(data) for file in by_path.values() if file.applied for data in file.objects),
        None if policy is None else _plain(policy.objects[0])["spec"],
        None if values is None else _plain(values.objects[0]),
        tuple(patches),
        tuple(unpatched),
    )


def _plain(data: object) -> dict[str, Json]:
    return cast("dict[str, Json]", to_plain(data))
