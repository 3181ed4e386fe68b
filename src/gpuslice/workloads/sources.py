"""What a person names on the command line: workloads.yaml, or the manifests themselves."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Literal

from gpuslice.artefacts.documents import read_documents
from gpuslice.artefacts.quoting import shorten
from gpuslice.errors import InputError
from gpuslice.workloads.artefact import at_peak, parse_workloads, without_assumed
from gpuslice.workloads.manifests import read_manifests, workloads_in
from gpuslice.workloads.models_today import NONE_STATED

if TYPE_CHECKING:
    from gpuslice.artefacts.documents import Document
    from gpuslice.workloads.artefact import WorkloadSet

DEFAULT_REGION: Final = "us-east-1"  # that of the bundled catalog


def read(
    path: str,
    *,
    at: Literal["now", "peak"] = "now",
    accept_assumed: bool = False,
    region: str = DEFAULT_REGION,
) -> WorkloadSet:
    """Workloads from workloads.yaml, or from a file or directory of manifests with annotations.

    Args:
        path: "-" is standard input, which must hold workloads.yaml.
        at: which replicas count where there are both: in workloads.yaml, or where something scales manifests.
        accept_assumed: believe figures whose source is `assumed`.
        region: of manifests, which don't say; workloads.yaml does.

    Raises:
        InputError: what is wrong with it, and where.
    """
    if not os.path.isdir(path):  # noqa: PTH112  Path.is_dir raises on a name that is too long
        documents = read_documents(path)
        if not _holds_manifests(documents[0]):
            return parse_workloads(documents, at=at, accept_assumed=accept_assumed)
        if not os.path.isfile(path):  # noqa: PTH113  as above
            raise InputError(  # a stream, which can't be read a second time
                "holds manifests, not workloads",
                where="stdin" if path == "-" else path,
                fix=f"gpuslice scan --from {shorten(path)} -o yaml | gpuslice plan -f -",
            )
    read_of = read_manifests([path])
    workload_set = workloads_in(read_of, today=NONE_STATED, region=region, exclude=(), strict=False)
    if any(obj.kind == "Node" for obj in read_of.objects):
        note = (
            f"{shorten(path)} has nodes, which are read by scan alone, with what is paid now and which GPUs pods have: "
            f"gpuslice scan --from {shorten(path)} --out workloads.yaml, then plan -f workloads.yaml"
        )
        workload_set = replace(workload_set, notes=(note, *workload_set.notes))
    if at == "peak":
        workload_set = replace(workload_set, workloads=tuple(map(at_peak, workload_set.workloads)))
    return (
        workload_set
        if accept_assumed
        else replace(workload_set, workloads=tuple(map(without_assumed, workload_set.workloads)))
    )


def _holds_manifests(document: Document) -> bool:
    match document.data:
        case {"apiVersion": str(version), "kind": str()}:
            return not version.startswith("gpuslice.io/")
        case _:
            return False
