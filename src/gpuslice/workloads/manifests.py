"""Kubernetes manifests, as people have them, into workloads: files, directories, Lists, dumps, standard input."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

from gpuslice.artefacts.documents import read_documents
from gpuslice.artefacts.output import LISTING
from gpuslice.errors import EnvironmentFailedError, InputError
from gpuslice.hardware.gpus import gpu_named
from gpuslice.hardware.resource_names import is_gpu
from gpuslice.units import parse_quantity
from gpuslice.workloads.artefact import WorkloadSet
from gpuslice.workloads.assemble import adopted, workload_of
from gpuslice.workloads.kinds import finished, templates
from gpuslice.workloads.objects import Metadata, convert, fields_of, whole_number
from gpuslice.workloads.owners import Family, Key, Object

if TYPE_CHECKING:
    from gpuslice.artefacts.documents import Document
    from gpuslice.workloads.kinds import Template
    from gpuslice.workloads.model import Workload
    from gpuslice.workloads.objects import Fields

SUFFIXES: Final = (".yaml", ".yml", ".json")
_RENDERED: Final = {LISTING, "kustomization.yaml"}  # in what `gpuslice render` wrote; a dump is listed, too


def from_manifests(
    paths: Sequence[str],
    *,
    today: str | None = None,
    region: str = "us-east-1",
    namespace: str = "default",
    exclude: Sequence[str] = (),
) -> WorkloadSet:
    """The workloads among manifests that ask for a GPU.

    Args:
        paths: files, directories (read with all below them), or "-" for standard input.
        today: the GPU model that workloads run on where their manifest doesn't say.
        region: of the workload set.
        namespace: of objects that name none.
        exclude: patterns of workload names to leave out, such as "kube-system/*".

    Raises:
        InputError: nothing to read, an object or annotation that can't be understood, or an object given twice.
    """
    objects = [each for path in paths for each in _objects(path, namespace)]
    return from_objects(objects, today=today, region=region, exclude=exclude)


def from_objects(
    objects: list[Object],
    *,
    today: str | None = None,
    region: str = "us-east-1",
    exclude: Sequence[str] = (),
    leave_out_unclear: bool = False,
) -> WorkloadSet:
    """The workloads among objects that ask for a GPU: those of manifests, or of a cluster.

    Args:
        objects: with their owners among them, as far as known.
        today: the GPU model that workloads run on where their object doesn't say.
        region: of the workload set.
        exclude: patterns of workload names to leave out.
        leave_out_unclear: leave out a workload that can't be understood, with a note, instead of refusing all: in a
            cluster with a thousand of them one is always wrong.

    Raises:
        InputError: as `from_manifests`.
    """
    scan = _Scan(objects, gpu_named(today).name if today else None, leave_out_unclear=leave_out_unclear)
    workloads = [
        each for each in scan.workloads() if not any(fnmatchcase(each.name, pattern) for pattern in exclude)
    ]
    return WorkloadSet(
        region=region,
        workloads=tuple(sorted(_named_once(workloads), key=lambda each: each.name)),
        notes=tuple(scan.notes()),
    )


def manifest_files(directory: Path) -> list[Path]:
    """The manifests below a directory, in order of their paths; what is hidden or empty is skipped.

    So is a directory that `gpuslice render` wrote: its patches look like workloads, and are of workloads beside them.

    Raises:
        InputError: there are none.
        EnvironmentFailedError: a directory can't be read.
    """
    found: list[Path] = []
    rendered = ""
    for folder, folders, names in os.walk(directory, onerror=_refuse_unreadable):
        if set(names) >= _RENDERED:
            folders[:] = []
            rendered = folder
            continue
        folders[:] = [each for each in folders if not each.startswith(".")]
        paths = (Path(folder, name) for name in names if name.endswith(SUFFIXES) and not name.startswith("."))
        found += (path for path in paths if path.is_file() and path.stat().st_size)
    if not found and rendered:
        raise InputError(
            "was written by gpuslice: it holds patches, and no workloads",
            where=rendered,
            fix="name the manifests of the workloads, or workloads.yaml",
        )
    if not found:
        raise InputError(
            "there are no manifests in this directory",
            where=str(directory),
            fix=f"name one with {', '.join(f'*{each}' for each in SUFFIXES)}, or a file",
        )
    return sorted(found)


def _refuse_unreadable(error: OSError) -> NoReturn:
    raise EnvironmentFailedError(
        f"can't be read: {error.strerror}", where=str(error.filename), fix="check its permissions"
    ) from error


def _objects(path: str, namespace: str) -> Iterator[Object]:
    """The Kubernetes objects of a file, or of a directory's files; there, files of other kinds are skipped."""
    in_directory = path != "-" and Path(path).is_dir()
    for file in manifest_files(Path(path)) if in_directory else [path]:
        for document in read_documents(file):
            yield from _objects_of(document.data, document, namespace, skip_others=in_directory)


def _objects_of(data: object, document: Document, namespace: str, *, skip_others: bool) -> Iterator[Object]:
    fields = fields_of(data)
    kind, api_version = fields.get("kind"), fields.get("apiVersion")
    ours = isinstance(api_version, str) and api_version.startswith("gpuslice.io/")
    if not isinstance(kind, str) or not isinstance(api_version, str) or ours:
        if skip_others:
            return
        raise InputError(
            f"is a {kind} of gpuslice, not a manifest" if ours else "is no Kubernetes object: it has no kind",
            where=document.where,
            fix="give workloads.yaml to `gpuslice plan -f`"
            if ours
            else "name manifests, or a dump by kubectl get",
        )
    items = fields.get("items")
    if kind.endswith("List") and isinstance(items, list):
        for item in items:
            # Items of a typed list (DeploymentList) need not repeat their kind.
            yield from _objects_of(
                {"apiVersion": api_version, "kind": kind.removesuffix("List"), **fields_of(item)},
                document,
                namespace,
                skip_others=skip_others,
            )
        return
    metadata = convert(fields_of(fields, "metadata"), Metadata, f"{document.where}: {kind}")
    yield Object(fields, metadata, kind, metadata.namespace or namespace, document.where)


class _Scan:
    """One input being read: its objects, their templates, and what was seen on the way."""

    def __init__(self, objects: list[Object], today: str | None, *, leave_out_unclear: bool = False) -> None:
        self._objects = objects
        self._leave_out_unclear = leave_out_unclear
        self._unclear: dict[str, str] = {}
        self._today = today
        self._family = Family(objects)
        self._borrowed = _borrowed_replicas(objects)
        self._autoscaled = _autoscaled(objects)
        self._others: list[Object] = []
        self._finished = 0
        self._not_understood: list[Object] = []
        self._templates = [self._gpu_templates(each) for each in objects]
        self._with_gpu = {each.key for each, found in zip(objects, self._templates, strict=True) if found}
        _refuse_duplicates(each for each in objects if each.key in self._with_gpu)

    def workloads(self) -> Iterator[Workload]:
        """One for each template that asks for a GPU and isn't counted at an owner."""
        orphans: dict[tuple[object, ...], list[Workload]] = {}
        for each, found in zip(self._objects, self._templates, strict=True):
            if any(parent.key in self._with_gpu for parent in self._family.ancestors(each)):
                continue
            owner = self._family.missing_owner(each) if found else None
            for template in found:
                workload = self._clear(each, template)
                if workload is None:
                    continue
                if owner is None:
                    yield workload
                elif workload.replicas:  # a ReplicaSet that stands at zero is history
                    # Pods of one absent owner are one workload as long as they are alike.
                    alike = (owner, each.namespace, workload.need, workload.cpu_milli, workload.memory_mib)
                    orphans.setdefault(alike, []).append(adopted(workload, each, owner))
        for group in orphans.values():
            yield replace(group[0], replicas=sum(each.replicas for each in group))

    def notes(self) -> Iterator[str]:
        """What a person should know of the input as a whole, once its workloads were read."""
        yield from (f"left out: {each}" for each in self._unclear.values())
        if self._others:
            yield f"{len(self._others)} other object{'s' * (len(self._others) > 1)} with pods, without a GPU: left out"
        if self._finished:
            yield f"{self._finished} finished Job{'s' * (self._finished > 1)} or Pods: left out"
        seen = {
            parent.key
            for each in self._objects
            if each.key in self._with_gpu
            for parent in self._family.ancestors(each)
        }
        for each in self._not_understood:
            if each.key not in seen:
                yield (
                    f"{each.kind} {each.namespace}/{each.name} holds pods with a GPU, but {each.kind} "
                    f"({each.data.get('apiVersion')}) is not understood: left out"
                )

    def _gpu_templates(self, each: Object) -> tuple[Template, ...]:
        understood = templates(each.data, each.where)
        if understood is None:
            if _holds_gpu_pods(each.data):
                self._not_understood.append(each)
            return ()
        with_gpu = tuple(template for template in understood if _asks_for_gpu(template.pod))
        if with_gpu and finished(each.data):
            self._finished += 1
            return ()
        if understood and not with_gpu and next(self._family.ancestors(each), None) is None:
            self._others.append(each)
        return with_gpu

    def _clear(self, each: Object, template: Template) -> Workload | None:
        """The workload of a template; None where it can't be understood and is to be left out."""
        try:
            return self._workload(each, template)
        except InputError as error:
            if not self._leave_out_unclear:
                raise
            # Pods of one owner are all wrong alike.
            owner = self._family.missing_owner(each)
            alike = f"{each.namespace}/{owner.name}" if owner else each.where
            self._unclear.setdefault(alike, " ".join(str(error).split()))
            return None

    def _workload(self, each: Object, template: Template) -> Workload:
        replicas = self._borrowed.get(each.key, template.replicas)
        if each.key not in self._autoscaled:
            return workload_of(each, replace(template, replicas=replicas), today=self._today)
        least, most = self._autoscaled[each.key]
        now = replicas if "replicas" in fields_of(each.data, "spec") else least
        note = f"autoscaled between {least} and {most} replicas: planned for {now}"
        return workload_of(
            each, replace(template, replicas=now, notes=(*template.notes, note)), today=self._today
        )


def _refuse_duplicates(objects: Iterable[Object]) -> None:
    first: dict[Key, Object] = {}
    for each in objects:
        other = first.setdefault(each.key, each)
        if other is not each and each.metadata.name:
            raise InputError(
                "is given twice" if other.file == each.file else f"is given twice, also in {other.file}",
                where=each.where,
                fix="leave one out: name the files or directories of one environment",
            )


def _named_once(workloads: list[Workload]) -> Iterator[Workload]:
    """Names made unique: two kinds may have objects of one name."""
    often = Counter(each.name for each in workloads)
    taken: set[str] = set()
    for each in workloads:
        name = each.name
        if often[name] > 1:
            name = stem = f"{name}-{each.target.kind.lower()}"
            number = 2
            while name in taken or name in often:
                name, number = f"{stem}-{number}", number + 1
        taken.add(name)
        if name == each.name:
            yield each
            continue
        import msgspec

        object_name = each.target.name or each.name.partition("/")[2]
        yield replace(each, name=name, target=msgspec.structs.replace(each.target, name=object_name))


def _borrowed_replicas(objects: list[Object]) -> dict[Key, int]:
    """Argo Rollouts that use a Deployment's template: the pods are theirs, the template is its."""
    borrowed: dict[Key, int] = {}
    for each in objects:
        reference = fields_of(each.data, "spec", "workloadRef")
        if each.kind == "Rollout" and reference:
            key = (str(reference.get("kind")), each.namespace, str(reference.get("name")))
            borrowed[key] = whole_number(fields_of(each.data, "spec"), "replicas", 1, each.where)
    return borrowed


def _autoscaled(objects: list[Object]) -> dict[Key, tuple[int, int]]:
    """The least and most replicas of what a HorizontalPodAutoscaler scales."""
    scaled: dict[Key, tuple[int, int]] = {}
    for each in objects:
        if each.kind == "HorizontalPodAutoscaler":
            spec = fields_of(each.data, "spec")
            reference = fields_of(spec, "scaleTargetRef")
            least = whole_number(spec, "minReplicas", 1, each.where)
            most = whole_number(spec, "maxReplicas", least, each.where)
            scaled[str(reference.get("kind")), each.namespace, str(reference.get("name"))] = (least, most)
    return scaled


def _asks_for_gpu(pod: Fields) -> bool:
    """A quick look that refuses nothing: pods without a GPU are nobody's business here."""
    return any(
        is_gpu(str(resource)) and not _is_zero(quantity)
        for listed in ("containers", "initContainers")
        for container in _list(pod.get(listed))
        for kind in ("limits", "requests")
        for resource, quantity in fields_of(container, "resources", kind).items()
    )


def _is_zero(quantity: object) -> bool:
    try:
        return isinstance(quantity, str | int | float) and not parse_quantity(quantity)
    except InputError:
        return False  # refused in full later


def _holds_gpu_pods(data: object) -> bool:
    if isinstance(data, dict):
        return _asks_for_gpu(data) or any(_holds_gpu_pods(each) for each in data.values())
    return isinstance(data, list) and any(_holds_gpu_pods(each) for each in data)


def _list(data: object) -> list[object]:
    return data if isinstance(data, list) else []
