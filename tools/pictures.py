"""The pictures of docs/: a node of each mechanism as the report draws it, and a whole report of the example fleet.

`make reference` writes the first, which are small; `make docs` makes the second while it builds the site.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final

from gpuslice.cloud import snapshot
from gpuslice.plan.artefact import (
    API_VERSION,
    Assignment,
    CatalogReference,
    Extended,
    GeometryEntry,
    Layout,
    Metered,
    Node,
    Overhead,
    Plan,
    Pool,
    Summary,
)
from gpuslice.report.drawing import draw
from gpuslice.report.fleet import fleet
from gpuslice.report.page import page

ROOT: Final = Path(__file__).resolve().parents[1]

_SLICE: Final = Extended("r", 1)
# Layout, machine, and who is on it: slice, pods, share of time, and what each asks for.
_NODES: Final = {
    "whole": (Layout("A10G", "whole"), "g5.xlarge", (("A10G/whole", 1, 0.44, _SLICE),)),
    "slots": (
        Layout("A10G", "time-slicing", replicas=4),
        "g5.xlarge",
        (("A10G/time-slicing/4", 2, 0.14, _SLICE), ("A10G/time-slicing/4", 1, 0.1, _SLICE)),
    ),
    "metered": (
        Layout("A10G", "time-slicing", replicas=16, metered=Metered("21389Mi", 704)),
        "g5.xlarge",
        (
            ("A10G/time-slicing/metered", 1, 0.32, Extended("r", 1, "9600Mi", 320)),
            ("A10G/time-slicing/metered", 2, 0.16, Extended("r", 1, "3700Mi", 160)),
        ),
    ),
    "mps": (Layout("A10G", "mps", replicas=3), "g5.xlarge", (("A10G/mps/3", 3, 0.26, _SLICE),)),
    "mig": (
        Layout(
            "A100-40GB",
            "mig",
            geometry=(GeometryEntry("3g.20gb", 1), GeometryEntry("2g.10gb", 1), GeometryEntry("1g.5gb", 2)),
        ),
        "p4d.24xlarge",
        (
            ("A100-40GB/mig/3g.20gb", 8, 0.5, _SLICE),
            ("A100-40GB/mig/2g.10gb", 6, 0.35, _SLICE),
            ("A100-40GB/mig/1g.5gb", 13, 0.2, _SLICE),
        ),
    ),
    "fractional": (Layout("L4", "fractional"), "g6f.2xlarge", (("L4/fractional/1-4", 1, 0.213, _SLICE),)),
}
_WORDS: Final = {
    "whole": "A whole GPU with one pod",
    "slots": "A time-sliced GPU in four slots, three of them taken",
    "metered": "A metered GPU with three pods of different memory and time, the rest free",
    "mps": "A GPU in three slots under MPS",
    "mig": "Eight GPUs, each cut by MIG into one large, one middle and two small instances",
    "fractional": "A quarter of a card",
}
# Colours that stand on light and on dark pages.
_STYLE: Final = (
    ".card{fill:none;stroke:#9aa1a9}.free{fill:#9aa1a9;fill-opacity:.2}.room{fill-opacity:.28}"
    ".h1 path{fill:#4477aa}.h2 path{fill:#cc6677}.h3 path{fill:#44aa99}"
)


def pictures() -> dict[str, str]:
    """The SVG files, by path from the root of the repository."""
    return {f"docs/images/{name}.svg": _svg(name) for name in _NODES}


def _svg(name: str) -> str:
    layout, machine, pods = _NODES[name]
    on_node = {f"pod/{number}": count for number, (_, count, _, _) in enumerate(pods)}
    plan = Plan(
        api_version=API_VERSION,
        kind="Plan",
        catalog=CatalogReference("us-east-1", "2026-07-20"),
        stack="al2023",
        overhead=Overhead("0", "0", 0),
        summary=Summary("optimal", "gap", 0, 0, 0, 0),
        pools=(
            Pool(
                "p",
                layout,
                (machine,),
                ("on-demand",),
                (Node(machine, "on-demand", 1, 0, on_node),),
                "device-plugin",
            ),
        ),
        assignments=tuple(
            Assignment(f"pod/{number}", "p", count, slice_, asks, "so", utilisation=duty)
            for number, (slice_, count, duty, asks) in enumerate(pods)
        ),
    )
    drawing = draw(fleet(plan, (), snapshot.bundled())[0].nodes[0])
    shapes = "\n".join(
        f'<g class="h{number}"><path class="room" d="{shape.room}"/><path d="{shape.use}"/></g>'
        for number, shape in enumerate(drawing.shapes, 1)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {drawing.width} {drawing.height}" '
        f'width="{drawing.width}" height="{drawing.height}" role="img" aria-label="{_WORDS[name]}">\n'
        f"<style>{_STYLE}</style>\n"
        f'<path class="card" d="{drawing.outline}"/>\n'
        f'<path class="free" d="{drawing.free}"/>\n{shapes}\n</svg>\n'
    )


@cache
def example() -> str:
    """The report of the example fleet."""
    from gpuslice.cli.planning import make_plan
    from gpuslice.cli.subject import subject_of

    planned = make_plan(str(ROOT / "examples" / "fleet"), time_limit=600)
    return page(subject_of(planned.solution.plan, planned.workloads))
