"""What a person names on the command line: workloads.yaml, or the manifests themselves."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from gpuslice.artefacts.documents import read_documents
from gpuslice.errors import InputError
from gpuslice.workloads.artefact import parse_workloads
from gpuslice.workloads.manifests import from_manifests

if TYPE_CHECKING:
    from gpuslice.workloads.artefact import WorkloadSet


def read(path: str, *, at: Literal["now", "peak"] = "now", accept_assumed: bool = False) -> WorkloadSet:
    """Workloads from workloads.yaml, or from a file or directory of manifests with annotations.

    Args:
        path: "-" is standard input, which must hold workloads.yaml.
        at: which replicas count where workloads.yaml has both.
        accept_assumed: believe figures whose source is `assumed`.

    Raises:
        InputError: what is wrong with it, and where.
    """
    if path != "-" and Path(path).is_dir():
        return from_manifests([path])
    documents = read_documents(path)
    first = documents[0].data
    kind = first.get("kind") if isinstance(first, dict) else None
    version = first.get("apiVersion") if isinstance(first, dict) else None
    manifests = isinstance(version, str) and isinstance(kind, str) and not version.startswith("gpuslice.io/")
    if not manifests:
        return parse_workloads(documents, at=at, accept_assumed=accept_assumed)
    if path == "-":
        raise InputError(
            f"holds a {kind}, not Workloads",
            where=documents[0].where,
            fix="gpuslice scan --from - -o yaml | gpuslice plan -f -",
        )
    return from_manifests([path])
