"""plan.yaml, read and written by verbs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gpuslice.plan.artefact import Plan


def read_plan(path: str) -> Plan:
    """The plan in a file; "-" is stdin.

    Raises:
        GpusliceError: it can't be read, or is none.
    """
    from gpuslice.artefacts.documents import read_documents
    from gpuslice.artefacts.strict import decode
    from gpuslice.plan.artefact import Plan

    document = read_documents(path)[0]
    return decode(document.data, Plan, where=document.where)


def write_plan(made: Plan, path: str) -> None:
    """A plan as YAML, or as JSON where the file's name says so, whole or not at all."""
    from gpuslice.artefacts.documents import dump_json, dump_yaml
    from gpuslice.artefacts.output import write_atomically

    write_atomically(path, dump_json(made) if path.endswith(".json") else dump_yaml(made))
