"""plan.yaml, written by verbs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gpuslice.plan.artefact import Plan


def write_plan(made: Plan, path: str) -> None:
    """A plan as YAML, or as JSON where the file's name says so, whole or not at all."""
    from gpuslice.artefacts.documents import dump_json, dump_yaml
    from gpuslice.artefacts.output import write_atomically

    write_atomically(path, dump_json(made) if path.endswith(".json") else dump_yaml(made))
