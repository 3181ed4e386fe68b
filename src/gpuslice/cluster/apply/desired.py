"""What a plan wants of a cluster, from its rendered files: objects, settings of the GPU Operator, workloads' patches.

A directory made by `gpuslice render`, maybe edited and committed since, and a plan rendered in memory are read alike.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from gpuslice.artefacts.documents import parse_documents
from gpuslice.carriers.objects.files import HELM_VALUES, POLICY_PATCH
from gpuslice.errors import EnvironmentFailedError, InputError
from gpuslice.render.workloads import FOLDER, UNPATCHED
from gpuslice.workloads.objects import fields_of

if TYPE_CHECKING:
    from gpuslice.workloads.objects import Fields

_KUSTOMIZATION: Final = "kustomization.yaml"
Json = Any  # whatever a file holds


@dataclass(frozen=True, slots=True)
class WorkloadPatch:
    """The change of one workload.

    Attributes:
        group, version, kind, name, namespace: of its object; the version may be empty for a JSON patch.
        patch: a strategic merge patch, or the operations of a JSON patch.
    """

    group: str
    version: str
    kind: str
    name: str
    namespace: str
    patch: Json

    @property
    def title(self) -> str:
        """For people."""
        return f"{self.kind} {self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Desired:
    """What is wanted.

    Attributes:
        objects: to be applied, in the order of their files.
        policy: spec of a ClusterPolicy, only the fields that the plan needs; None: the plan doesn't use the operator.
        values: Helm values, where the operator is used.
        workloads: patches.
        unpatched: workloads without one, and why, a line each.
        digest: of all of it.
    """

    objects: tuple[dict[str, Json], ...]
    policy: Mapping[str, Json] | None
    values: str
    workloads: tuple[WorkloadPatch, ...]
    unpatched: tuple[str, ...]
    digest: str


def of_directory(path: str) -> Desired:
    """What a rendered directory wants.

    Raises:
        InputError: it isn't one, or one of its files can't be understood.
    """
    root = Path(path)
    if not (root / _KUSTOMIZATION).is_file():
        raise InputError(
            f"holds no {_KUSTOMIZATION}", where=path, fix="name a directory made by gpuslice render --out"
        )
    files: dict[str, str] = {}
    for file in sorted(root.rglob("*")):
        if file.is_file() and file.suffix in {".yaml", ".txt"}:
            try:
                files[file.relative_to(root).as_posix()] = file.read_text()
            except (OSError, UnicodeDecodeError) as error:
                raise EnvironmentFailedError(f"can't be read: {error}", where=str(file)) from None
    return of_files(files, path)


def of_files(files: Mapping[str, str], where: str = "") -> Desired:
    """What rendered files want.

    Args:
        files: their text, by relative path.
        where: their directory, for messages.

    Raises:
        InputError: one of them can't be understood.
    """
    listed = _first(files, _KUSTOMIZATION, where).get("resources")
    objects: list[dict[str, Json]] = []
    for path in listed if isinstance(listed, list) else []:
        for data in _documents(files, str(path), where):
            if not isinstance(data, dict) or not fields_of(data, "metadata").get("name"):
                raise InputError(
                    "holds something that is no object", where=f"{where}/{path}", fix="render again"
                )
            objects.append(data)
    policy = fields_of(_first(files, POLICY_PATCH, where), "spec") if POLICY_PATCH in files else None
    workloads = tuple(_workloads(files, where))
    unpatched = files.get(UNPATCHED, "").partition("\n\n")[2].splitlines()
    said = (objects, policy, [(each.title, each.patch) for each in workloads])
    return Desired(
        objects=tuple(objects),
        policy=policy,
        values=files.get(HELM_VALUES, ""),
        workloads=workloads,
        unpatched=tuple(unpatched),
        digest=hashlib.sha256(msgspec.json.encode(said, order="sorted")).hexdigest()[:16],
    )


def _workloads(files: Mapping[str, str], where: str) -> list[WorkloadPatch]:
    path = f"{FOLDER}/{_KUSTOMIZATION}"
    if path not in files:
        return []
    listed = _first(files, path, where).get("patches")
    found = []
    for entry in listed if isinstance(listed, list) else []:
        target = fields_of(entry, "target")
        file = f"{FOLDER}/{fields_of(entry).get('path')}"
        (patch,) = _documents(files, file, where)
        version = str(fields_of(patch).get("apiVersion", "")).rpartition("/")[2]
        found.append(
            WorkloadPatch(
                group=str(target.get("group", "")),
                version=version or str(target.get("version", "")),
                kind=str(target.get("kind", "")),
                name=str(target.get("name", "")).replace("\\.", "."),
                namespace=str(target.get("namespace", "")) or "default",
                patch=patch,
            )
        )
    return found


def _documents(files: Mapping[str, str], path: str, where: str) -> list[object]:
    if path not in files:
        raise InputError(
            f"names {path}, which isn't there", where=f"{where}/{_KUSTOMIZATION}", fix="render again"
        )
    return [each.data for each in parse_documents(files[path].encode(), f"{where}/{path}" if where else path)]


def _first(files: Mapping[str, str], path: str, where: str) -> Fields:
    return fields_of(_documents(files, path, where)[0])
