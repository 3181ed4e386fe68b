"""Kubernetes manifests, as people have them, into workloads: files, directories, Lists, dumps, standard input."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gpuslice.artefacts.documents import (
    LARGEST_JSON,
    LARGEST_YAML,
    checked_text,
    looks_like_json,
    parse_documents,
    parse_yaml_part,
    read_text,
    refuse_size,
)
from gpuslice.artefacts.quoting import shorten
from gpuslice.errors import GpusliceError, InputError
from gpuslice.workloads.build import built
from gpuslice.workloads.census import from_objects
from gpuslice.workloads.claims import Claims
from gpuslice.workloads.gpu_use import uses
from gpuslice.workloads.models_today import NONE_STATED
from gpuslice.workloads.objects import Metadata, convert, fields_of
from gpuslice.workloads.owners import Object, controller
from gpuslice.workloads.relevance import Piece, has_gpu_word, pieces
from gpuslice.workloads.repository import repository
from gpuslice.workloads.today import shares_asked
from gpuslice.workloads.unread import Unread, refuse, unread_notes

if TYPE_CHECKING:
    from gpuslice.workloads.artefact import WorkloadSet
    from gpuslice.workloads.models_today import StatedModels
    from gpuslice.workloads.objects import Fields
    from gpuslice.workloads.repository import Build

Progress = Callable[[int, int], None]
"""Takes bytes read, and bytes to read."""

_PARSED_WHOLE: Final = (
    1024 * 1024
)  # a file that was named by itself, and isn't longer, is read to its last word
_NAMED: Final = 8  # builds, in one note


@dataclass
class Manifests:
    """What was read of files and directories.

    Attributes:
        objects: Kubernetes objects that may have to do with GPUs.
        unread: what couldn't be read.
        builds: charts and overlays that weren't built.
        values: files that are no manifests and ask for GPUs.
        passed_over: objects with pods and without a GPU that weren't parsed.
    """

    objects: list[Object] = field(default_factory=list)
    unread: list[Unread] = field(default_factory=list)
    builds: list[Build] = field(default_factory=list)
    values: list[str] = field(default_factory=list)
    passed_over: int = 0


def from_manifests(
    paths: Sequence[str],
    *,
    today: StatedModels = NONE_STATED,
    region: str = "us-east-1",
    namespace: str = "default",
    exclude: Sequence[str] = (),
    strict: bool = False,
    build: bool = False,
    progress: Progress | None = None,
) -> WorkloadSet:
    """The workloads among manifests that ask for a GPU.

    Args:
        paths: files, directories (read with all below them), or "-" for standard input.
        today: GPU models that workloads run on where their manifest doesn't say.
        region: of the workload set.
        namespace: of objects that name none.
        exclude: patterns of workload names to leave out, such as "kube-system/*".
        strict: refuse all for one thing that can't be read.
        build: build charts and overlays by helm, kubectl or kustomize.
        progress: told how far reading has come.

    Raises:
        InputError: nothing to read; nothing of it can be understood; if strict, anything can't.
    """
    read = read_manifests(paths, namespace=namespace, build=build, progress=progress)
    return workloads_in(read, today=today, region=region, exclude=exclude, strict=strict)


def workloads_in(
    read: Manifests, *, today: StatedModels, region: str, exclude: Sequence[str], strict: bool
) -> WorkloadSet:
    """The workloads in what was read, and notes on everything else that has to do with GPUs.

    Raises:
        InputError: as `from_manifests`.
    """
    if strict:
        refuse(read.unread)
    workload_set, unclear = from_objects(
        read.objects,
        today=today,
        region=region,
        exclude=exclude,
        strict=strict,
        passed_over=read.passed_over,
    )
    if not workload_set.workloads and not workload_set.notes and not read.values:
        refuse(one for one in (*read.unread, *unclear) if one.matters)
        _refuse_unbuilt(read.builds)
    return replace(
        workload_set,
        notes=(*workload_set.notes, *shares_asked(workload_set.workloads), *input_notes(read, unclear)),
    )


def input_notes(read: Manifests, unclear: Sequence[Unread] = ()) -> tuple[str, ...]:
    """What a person should know of files beside their workloads: what has to be built, what couldn't be read."""
    return (*_values_notes(read.values), *_build_notes(read.builds), *unread_notes([*read.unread, *unclear]))


def _values_notes(files: Sequence[str]) -> Iterator[str]:
    if files:
        are = "ask for a GPU and are no manifests" if len(files) > 1 else "asks for a GPU and is no manifest"
        yield (
            f"{', '.join(files)} {are}: the values of a chart have to be rendered with it (helm template CHART "
            "-f VALUES | gpuslice scan --from -)"
        )


def read_manifests(
    paths: Sequence[str],
    *,
    namespace: str = "default",
    build: bool = False,
    progress: Progress | None = None,
) -> Manifests:
    """The objects of files and directories.

    Args:
        paths: files, directories (read with all below them), or "-" for standard input.
        namespace: of objects that name none.
        build: build charts and overlays by helm, kubectl or kustomize.
        progress: told how far reading has come.

    Raises:
        InputError: nothing to read, or a file that was named by itself isn't there or is no manifest.
    """
    reader = _Reader(namespace)
    files: list[tuple[str, bool]] = []
    for path in paths:
        if path == "-" or not Path(path).is_dir():
            files.append((path, False))
            continue
        place = repository(Path(path))
        standing_for = reader.build(place.builds) if build else frozenset()
        reader.read.builds += [] if build else place.builds
        files += [(str(file), True) for file in place.manifests if file.resolve() not in standing_for]
    sizes = {file: Path(file).stat().st_size for file, inside in files if inside}
    done, total = 0, sum(sizes.values())
    for file, inside in files:
        reader.file(file, skip_others=inside)
        done += sizes.get(file, 0)
        if progress is not None:
            progress(done, total)
    reader.take_owners()
    return reader.read


def _build_notes(builds: Sequence[Build]) -> Iterator[str]:
    for tool, what in (("helm", "Helm chart"), ("kustomize", "Kustomize overlay")):
        own = [one for one in builds if one.tool == tool]
        if not own:
            continue
        first = f"{own[0].directory} is a {what}, which has to be built: {own[0].command}"
        others = ", ".join(str(one.directory) for one in own[1:])
        yield f"{first} (or give --build)" + (f"; so have {len(own) - 1} more: {others}" if others else "")


def _refuse_unbuilt(builds: Sequence[Build]) -> None:
    if not builds:
        return
    first = builds[0]
    what = "a Helm chart" if first.tool == "helm" else "a Kustomize overlay"
    others = f"; so have {', '.join(str(one.directory) for one in builds[1:_NAMED])}" if builds[1:] else ""
    raise InputError(
        f"is {what}, which has to be built{others}",
        where=str(first.directory),
        fix=f"{first.command}, or give --build",
    )


class _Reader:
    """Files being read, one after another."""

    def __init__(self, namespace: str) -> None:
        self.read = Manifests()
        self._namespace = namespace
        self._passed: dict[str, list[tuple[Piece, str]]] = {}

    def build(self, builds: Sequence[Build]) -> frozenset[Path]:
        """Read what charts and overlays come to; the files that need not be read any more."""
        stand_for: set[Path] = set()
        for build in builds:
            try:
                text = built(build)
            except InputError as error:
                self.read.unread.append(Unread(error))
                self.read.builds.append(build)
                continue
            stand_for |= build.files
            self._text(text, f"{build.directory}/ ({build.tool})", skip_others=True)
        return frozenset(stand_for)

    def file(self, path: str, *, skip_others: bool) -> None:
        """Read a file; in a directory, files of other kinds are skipped, and what can't be read is noted."""
        try:
            text, name = read_text(path, largest_yaml=LARGEST_JSON)
        except InputError as error:
            if not skip_others:
                raise
            self.read.unread.append(Unread(error))
            return
        before = len(self.read.objects) + len(self.read.unread) + sum(map(len, self._passed.values()))
        self._text(text, name, skip_others=skip_others)
        after = len(self.read.objects) + len(self.read.unread) + sum(map(len, self._passed.values()))
        if after == before and not skip_others:
            parse_documents(text, name)  # which says what is wrong with it
            raise InputError(
                "is no Kubernetes object: it has no kind",
                where=name,
                fix="name manifests, or a dump by kubectl get",
            )

    def take_owners(self) -> None:
        """Parse what was passed over, where it turns out to own something that wasn't."""
        known = {obj.key for obj in self.read.objects}
        ahead = list(self.read.objects)
        while ahead:
            child = ahead.pop()
            reference = controller(child.metadata)
            if reference is None or (reference.kind, child.namespace, reference.name) in known:
                continue
            known.add((reference.kind, child.namespace, reference.name))
            before = len(self.read.objects)
            for piece, name in self._passed.get(reference.kind, ()):
                if reference.name.encode() in piece.content:
                    self._piece(piece, name, skip_others=True)
            ahead += self.read.objects[before:]

    def _text(self, text: bytes, name: str, *, skip_others: bool) -> None:
        try:
            text = checked_text(text, name)
        except InputError as error:
            self._unread(error, text, skip_others=skip_others)
            return
        if name.endswith(".json") or looks_like_json(text):
            self._json(text, name, skip_others=skip_others)
            return
        whole = not skip_others and len(text) <= _PARSED_WHOLE
        documents = list(pieces(text))
        matter = [part for part in documents if whole or part.matters]
        if sum(part.end - part.start for part in matter) > LARGEST_YAML:
            try:
                refuse_size(name, LARGEST_YAML)
            except InputError as error:
                self._unread(error, text, skip_others=skip_others)
            return
        taken = set(map(id, matter))
        for number, piece in enumerate(documents, 1):
            place = name if len(documents) == 1 else f"{name} (document {number})"
            if id(piece) in taken:
                self._piece(piece, name, skip_others=skip_others, place=place)
            else:
                self._passed.setdefault(piece.kind, []).append((piece, name))
                self.read.passed_over += piece.holds_pods

    def _json(self, text: bytes, name: str, *, skip_others: bool) -> None:
        if skip_others and b'"kind"' not in text:
            return
        try:
            documents = parse_documents(text, name)
        except InputError as error:
            if not skip_others or has_gpu_word(text):
                self._unread(error, text, skip_others=skip_others)
            return
        for document in documents:
            self._take(document.data, document.where, skip_others=skip_others)

    def _piece(self, piece: Piece, name: str, *, skip_others: bool, place: str = "") -> None:
        try:
            documents = parse_yaml_part(piece.content, name, first_line=piece.first_line)
        except InputError as error:
            self._unread(error, piece.content, skip_others=skip_others)
            return
        for data in documents:
            listed = data
            if piece.item_of is not None:
                api_version, kind = piece.item_of
                listed = {"apiVersion": api_version, "kind": kind, "items": data}
            self._take(listed, place or name, skip_others=skip_others)

    def _unread(self, error: GpusliceError, text: bytes, *, skip_others: bool) -> None:
        self.read.unread.append(Unread(error, matters=not skip_others or has_gpu_word(text)))

    def _take(self, data: object, where: str, *, skip_others: bool) -> None:
        try:
            for obj in _objects_of(data, where, self._namespace):
                self.read.objects.append(obj)
        except _NoObjectError as error:
            if not skip_others:
                self.read.unread.append(Unread(error))
            elif not error.ours and uses(fields_of(data), Claims(()), self._namespace):
                self.read.values.append(where)
        except InputError as error:
            self.read.unread.append(
                Unread(error, matters=not skip_others or bool(uses(fields_of(data), Claims(()), "")))
            )


class _NoObjectError(InputError):
    """Plain data that is no Kubernetes object; `ours`: it is an artefact of gpuslice."""

    ours = False


def _objects_of(data: object, where: str, namespace: str) -> Iterator[Object]:
    fields = fields_of(data)
    kind, api_version = fields.get("kind"), fields.get("apiVersion")
    ours = isinstance(api_version, str) and api_version.startswith("gpuslice.io/")
    if not isinstance(kind, str) or not isinstance(api_version, str) or ours:
        error = _NoObjectError(
            f"is a {shorten(str(kind))} of gpuslice, not a manifest"
            if ours
            else "is no Kubernetes object: it has no kind",
            where=where,
            fix="give workloads.yaml to `gpuslice plan -f`"
            if ours
            else "name manifests, or a dump by kubectl get",
        )
        error.ours = ours
        raise error
    items = fields.get("items")
    if kind.endswith("List") and isinstance(items, list):
        for item in items:
            yield from _objects_of(_item(fields_of(item), kind, api_version), where, namespace)
        return
    metadata = convert(fields_of(fields, "metadata"), Metadata, f"{where}: {shorten(kind)}")
    yield Object(fields, metadata, kind, metadata.namespace or namespace, where)


def _item(item: Fields, kind: str, api_version: str) -> Mapping[str, object]:
    """An item of a typed list (DeploymentList), which need not repeat its kind."""
    return {"apiVersion": api_version, "kind": kind.removesuffix("List"), **item}
