"""What a directory holds for a scan: manifests as they stand, and what has to be built first.

A Helm chart's templates are no YAML, and the patches of a Kustomize overlay are parts of objects that stand elsewhere:
neither is read as it is. Both are named with the command that builds them.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, NoReturn

from gpuslice.artefacts.documents import read_documents
from gpuslice.artefacts.output import LISTING
from gpuslice.errors import EnvironmentFailedError, InputError
from gpuslice.workloads.objects import fields_of
from gpuslice.workloads.relevance import may_ask

if TYPE_CHECKING:
    from gpuslice.workloads.objects import Fields

SUFFIXES: Final = (".yaml", ".yml", ".json")
_RENDERED: Final = frozenset({LISTING, "kustomization.yaml"})  # in what `gpuslice render` wrote
_CHART: Final = "Chart.yaml"
_KUSTOMIZATIONS: Final = frozenset({"kustomization.yaml", "kustomization.yml", "Kustomization"})
_CHARTS_OWN: Final = frozenset({"templates", "charts", "crds", "ci", "files", "tests"})
# Fields of a kustomization that change the objects of others.
_CHANGES: Final = (
    *("patches", "patchesStrategicMerge", "patchesJson6902", "replicas", "components", "replacements"),
    *("namespace", "namePrefix", "nameSuffix", "helmCharts", "transformers", "vars"),
)


@dataclass(frozen=True, slots=True)
class Build:
    """Something that has to be built before its objects can be read.

    Attributes:
        tool: "helm" or "kustomize".
        directory: where it is.
        files: those that its result stands for.
    """

    tool: Literal["helm", "kustomize"]
    directory: Path
    files: frozenset[Path] = frozenset()

    @property
    def command(self) -> str:
        """What a person types to have it scanned."""
        verb = "helm template" if self.tool == "helm" else "kubectl kustomize"
        return f"{verb} {shlex.quote(str(self.directory))} | gpuslice scan --from -"


@dataclass(frozen=True, slots=True)
class Repository:
    """What is below a directory.

    Attributes:
        directory: its root.
        manifests: files to be read as they are, in order of their paths.
        builds: what may hold a GPU and has to be built first.
    """

    directory: Path
    manifests: tuple[Path, ...]
    builds: tuple[Build, ...]


def repository(directory: Path) -> Repository:
    """Look through a directory; what is hidden or empty is skipped.

    So is a directory that `gpuslice render` wrote: its patches look like workloads, and are of workloads beside them.

    Raises:
        InputError: there is nothing to read.
        EnvironmentFailedError: a directory can't be read.
    """
    files: list[Path] = []
    charts: list[Path] = []
    kustomized: dict[Path, Path] = {}
    rendered = ""
    for folder, folders, names in os.walk(directory, onerror=_refuse_unreadable):
        here = Path(folder)
        if set(names) >= _RENDERED:
            folders[:] = []
            rendered = folder
            continue
        folders[:] = sorted(folder for folder in folders if not folder.startswith("."))
        paths = [here / name for name in names if name.endswith(SUFFIXES) and not name.startswith(".")]
        paths = [path for path in paths if path.is_file() and path.stat().st_size]
        if _CHART in names and ("templates" in folders or "charts" in folders):
            charts.append(here)
            folders[:] = [name for name in folders if name not in _CHARTS_OWN]
            paths = [path for path in paths if path.name != _CHART and not _is_values(path)]
        for name in _KUSTOMIZATIONS.intersection(names):
            kustomized[here.resolve()] = here / name
        files += (path for path in paths if path.name not in _KUSTOMIZATIONS)
    patches, overlays = _kustomize(kustomized)
    builds = [*(Build("helm", chart) for chart in charts if _chart_names_gpu(chart)), *overlays]
    manifests = tuple(sorted(path for path in files if path.resolve() not in patches))
    if not manifests and not charts and not kustomized:
        _refuse_empty(directory, rendered)
    return Repository(directory, manifests, tuple(sorted(builds, key=lambda build: str(build.directory))))


def _refuse_empty(directory: Path, rendered: str) -> NoReturn:
    if rendered:
        raise InputError(
            "was written by gpuslice: it holds patches, and no workloads",
            where=rendered,
            fix="name the manifests of the workloads, or workloads.yaml",
        )
    raise InputError(
        "there are no manifests in this directory",
        where=str(directory),
        fix=f"name one with {', '.join(f'*{suffix}' for suffix in SUFFIXES)}, or a file",
    )


def _refuse_unreadable(error: OSError) -> NoReturn:
    raise EnvironmentFailedError(
        f"can't be read: {error.strerror}", where=str(error.filename), fix="check its permissions"
    ) from error


def _is_values(path: Path) -> bool:
    return "values" in path.name


def _chart_names_gpu(chart: Path) -> bool:
    """Whether a GPU is named in a chart's values or templates, outside of comments."""
    texts = (
        path
        for path in sorted(chart.rglob("*"))
        if path.suffix in {".yaml", ".yml", ".tpl"} and path.is_file() and "crds" not in path.parts
    )
    return any(may_ask(path.read_bytes()) for path in texts)


@dataclass(frozen=True, slots=True)
class _Kustomization:
    """One kustomization.yaml: the directories it builds on, its files, which of them are patches, what it changes."""

    directory: Path
    bases: tuple[Path, ...]
    resources: tuple[Path, ...]
    patches: tuple[Path, ...]
    changes: bool
    component: bool
    remote: bool
    itself: Path


def _kustomize(files: dict[Path, Path]) -> tuple[set[Path], list[Build]]:
    """The patches of all kustomizations, and the overlays that nothing builds on and that may hold a GPU."""
    known = {place: _kustomization(file) for place, file in files.items()}
    patches = {path for kustomization in known.values() for path in kustomization.patches}
    used = {base for kustomization in known.values() for base in kustomization.bases}
    builds = []
    for place, kustomization in list(known.items()):  # those outside are added on the way
        changes = kustomization.changes or bool(kustomization.bases) or kustomization.remote
        if not changes or kustomization.component or place in used:
            continue
        inner = list(_closure(kustomization, known))
        resources = {path for one in inner for path in (*one.resources, *one.patches)}
        sources = {*resources, *(one.itself for one in inner)}
        if any(may_ask(path.read_bytes()) for path in sources if path.is_file()):
            builds.append(Build("kustomize", files[place].parent, frozenset(resources)))
    return patches, builds


def _closure(top: _Kustomization, known: dict[Path, _Kustomization]) -> Iterator[_Kustomization]:
    """A kustomization and all that it builds on, those outside the directory that is scanned, too."""
    seen: set[Path] = set()
    ahead = [top]
    while ahead:
        kustomization = ahead.pop()
        if kustomization.itself in seen:
            continue
        seen.add(kustomization.itself)
        yield kustomization
        for base in kustomization.bases:
            if base not in known:
                name = next((name for name in sorted(_KUSTOMIZATIONS) if (base / name).is_file()), None)
                if name is None:
                    continue
                known[base] = _kustomization(base / name)
            ahead.append(known[base])


def _kustomization(file: Path) -> _Kustomization:
    try:
        data = fields_of(read_documents(file)[0].data)
    except InputError:
        data = {}  # kustomize itself will say what is wrong with it
    directory = file.parent.resolve()
    entries = [str(one) for key in ("resources", "bases", "components") for one in _entries(data, key)]
    local = [(directory / one).resolve() for one in entries if "://" not in one and "?ref=" not in one]
    return _Kustomization(
        directory=directory,
        bases=tuple(path for path in local if path.is_dir()),
        resources=tuple(path for path in local if path.is_file()),
        patches=tuple(
            path for path in ((directory / one).resolve() for one in _patch_files(data)) if path.is_file()
        ),
        changes=any(data.get(key) for key in _CHANGES),
        component=data.get("kind") == "Component",
        remote=any(not path.exists() for path in local) or len(local) < len(entries),
        itself=file,
    )


def _patch_files(data: Fields) -> Iterator[str]:
    for key in ("patches", "patchesJson6902", "replacements"):
        for entry in _entries(data, key):
            path = fields_of(entry).get("path")
            if isinstance(path, str):
                yield path
    for key in ("patchesStrategicMerge", "transformers", "generators", "configurations"):
        yield from (entry for entry in _entries(data, key) if isinstance(entry, str) and "\n" not in entry)


def _entries(data: Fields, key: str) -> Iterable[object]:
    entries = data.get(key)
    return entries if isinstance(entries, list) else ()
