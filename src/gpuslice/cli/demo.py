"""`gpuslice demo`: the main job on two real fleets, from manifests and a trace to files that a cluster takes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gpuslice.cli.console import print_text, say
from gpuslice.cli.plan import print_summary, write_plan
from gpuslice.cli.planning import make_plan
from gpuslice.errors import InputError


def demo(
    *,
    out: Annotated[str, typer.Option("--out", metavar="DIRECTORY", help="Where to write.")] = "demo",
) -> None:
    """Plan the two example fleets, print what slicing saves, and write plans and manifests."""
    from gpuslice.artefacts.output import write_atomically, write_directory
    from gpuslice.render import manifests
    from gpuslice.render.settings import RenderSettings
    from gpuslice.workloads.artefact import dump

    for name, source, what in (
        ("fleet", "fleet", "three teams' manifests, with needs as annotations"),
        ("gentd26", "gentd26/workloads.yaml", "pods of a production trace, with their measured memory and duty"),
    ):
        planned = make_plan(str(_examples() / source))
        made = planned.solution.plan
        print_text(f"{name}: {what}\n")
        print_summary(made)
        print_text("")
        target = Path(out) / name
        target.mkdir(parents=True, exist_ok=True)
        write_atomically(str(target / "workloads.yaml"), dump(planned.workloads))
        write_plan(made, str(target / "plan.yaml"))
        settings = RenderSettings(cluster="demo", role="KarpenterNodeRole-demo")
        write_directory(target / "manifests", manifests.render(made, planned.catalog, settings))
    first = Path(out) / "fleet"
    say(f"written: workloads.yaml, plan.yaml and manifests/ in {out}/fleet and {out}/gentd26")
    say("look at:")
    say(f"  {first}/plan.yaml                    who goes where and why, every node, every dollar")
    say(f"  {first}/manifests/                   what kubectl apply -k and Argo CD take")
    say(f"  gpuslice plan -f {first}/workloads.yaml      the same as a table")
    say(f"  gpuslice explain search/embedder -f {first}/workloads.yaml      the alternatives of one workload")


def _examples() -> Path:
    """The examples: inside an installed package, else beside its sources."""
    package = Path(__file__).resolve().parents[1]
    for place in (package / "examples", package.parents[1] / "examples"):
        if place.is_dir():
            return place
    raise InputError("the examples are not installed", fix="clone the repository")
