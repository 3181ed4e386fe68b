"""`gpuslice demo`: the main job on two real fleets, from manifests and a trace to files that a cluster takes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from gpuslice.cli.console import print_text, say
from gpuslice.cli.plan_file import write_plan
from gpuslice.cli.planning import make_plan
from gpuslice.cli.shown.plan import print_summary
from gpuslice.errors import EnvironmentFailedError

_FLEETS: Final = (
    ("fleet", "fleet", "pods of four teams, from manifests with needs as annotations"),
    (
        "gentd26",
        "gentd26/workloads.yaml",
        "pods of a production trace, with the memory and duty read of each",
    ),
)


def demo(
    *,
    out: Annotated[str, typer.Option("--out", metavar="DIRECTORY", help="Where to write.")] = "demo",
) -> None:
    """Plan the two example fleets, print what slicing saves, and write plans, reports and manifests."""
    from gpuslice.artefacts.output import write_atomically, write_directory
    from gpuslice.cli.subject import subject_of
    from gpuslice.render import manifests
    from gpuslice.render.settings import RenderSettings
    from gpuslice.report.page import page
    from gpuslice.workloads.dump import dump

    examples = _examples()
    settings = RenderSettings(cluster="demo", role="KarpenterNodeRole-demo")
    for name, source, what in _FLEETS:
        folder = _folder(Path(out, name))
        planned = make_plan(str(examples / source))
        made = planned.solution.plan
        placed = sum(assignment.replicas for assignment in made.assignments)
        print_text(f"{name}: {placed} {what}\n")
        print_summary(made)
        print_text("")
        write_atomically(folder / "workloads.yaml", dump(planned.workloads))
        write_plan(made, str(folder / "plan.yaml"))
        write_atomically(folder / "report.html", page(subject_of(made, planned.workloads)))
        write_directory(folder / "manifests", manifests.render(made, planned.catalog, settings))
    fleet = Path(out, "fleet")
    say(f"written to {fleet} and {Path(out, 'gentd26')}; look at")
    say(f"  {fleet}/report.html, in a browser: what it saves, where the money goes, the fleet drawn")
    say(f"  {fleet}/plan.yaml: who goes where and why, every node, every dollar")
    say(f"  {fleet}/manifests/README.md: what kubectl apply -k and Argo CD take")
    say("or ask")
    say(f"  gpuslice plan -f {fleet}/workloads.yaml")
    say(f"  gpuslice explain search/embedder -f {fleet}/workloads.yaml -f {fleet}/plan.yaml")


def _folder(path: Path) -> Path:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no file name"
        raise EnvironmentFailedError(
            f"can't be made: {why}", where=str(path), fix="name another directory: --out DIRECTORY"
        ) from None
    return path


def _examples() -> Path:
    """The examples: inside an installed package, else beside its sources."""
    package = Path(__file__).resolve().parents[1]
    for place in (package / "examples", package.parents[1] / "examples"):
        if place.is_dir():
            return place
    raise EnvironmentFailedError(
        "the examples are not installed", where=str(package), fix="install gpuslice again"
    )
