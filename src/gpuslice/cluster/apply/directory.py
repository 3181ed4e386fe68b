"""A directory made by `gpuslice render`, maybe edited and committed since, as the values that were rendered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gpuslice.artefacts.documents import parse_documents
from gpuslice.carriers.objects.files import HELM_VALUES, POLICY_PATCH
from gpuslice.errors import EnvironmentFailedError, InputError
from gpuslice.render.bundle import Bundle, Json, LeftAlone, WorkloadPatch
from gpuslice.render.workloads import FOLDER, UNPATCHED
from gpuslice.workloads.objects import fields_of

if TYPE_CHECKING:
    from gpuslice.workloads.objects import Fields

_KUSTOMIZATION: Final = "kustomization.yaml"


def read_directory(path: str) -> Bundle:
    """What a rendered directory wants of a cluster.

    Raises:
        InputError: it isn't one, or one of its files can't be understood.
        EnvironmentFailedError: one of its files can't be read.
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
    return Bundle(
        objects=tuple(_objects(files, path)),
        cluster_policy=fields_of(_first(files, POLICY_PATCH, path), "spec")
        if POLICY_PATCH in files
        else None,
        helm_values=_first(files, HELM_VALUES, path) if HELM_VALUES in files else None,
        patches=tuple(_patches(files, path)),
        unpatched=tuple(_unpatched(files)),
    )


def _objects(files: Mapping[str, str], where: str) -> Iterator[dict[str, Json]]:
    listed = _first(files, _KUSTOMIZATION, where).get("resources")
    for path in listed if isinstance(listed, list) else []:
        for data in _documents(files, str(path), where):
            if not isinstance(data, dict) or not fields_of(data, "metadata").get("name"):
                raise InputError(
                    "holds something that is no object", where=f"{where}/{path}", fix="render again"
                )
            yield data


def _patches(files: Mapping[str, str], where: str) -> Iterator[WorkloadPatch]:
    path = f"{FOLDER}/{_KUSTOMIZATION}"
    if path not in files:
        return
    listed = _first(files, path, where).get("patches")
    for entry in listed if isinstance(listed, list) else []:
        target = fields_of(entry, "target")
        (patch,) = _documents(files, f"{FOLDER}/{fields_of(entry).get('path')}", where)
        yield WorkloadPatch(
            group=str(target.get("group", "")),
            kind=str(target.get("kind", "")),
            name=str(target.get("name", "")).replace("\\.", "."),
            namespace=str(target.get("namespace", "")) or "default",
            patch=patch,
        )


def _unpatched(files: Mapping[str, str]) -> Iterator[LeftAlone]:
    """A line each, below the heading."""
    for line in files.get(UNPATCHED, "").partition("\n\n")[2].splitlines():
        workload, _, why = line.partition(": ")
        yield LeftAlone(workload, why)


def _documents(files: Mapping[str, str], path: str, where: str) -> list[object]:
    if path not in files:
        raise InputError(
            f"names {path}, which isn't there", where=f"{where}/{_KUSTOMIZATION}", fix="render again"
        )
    return [document.data for document in parse_documents(files[path].encode(), f"{where}/{path}")]


def _first(files: Mapping[str, str], path: str, where: str) -> Fields:
    return fields_of(_documents(files, path, where)[0])
