"""The rooms of gpuslice, read off its imports: a picture, a table, and the circles of files that there may not be."""

from __future__ import annotations

import ast
import math
import tomllib
from functools import cache
from graphlib import CycleError, TopologicalSorter
from html import escape
from pathlib import Path
from typing import Final

import grimp

from tools.markdown import code, table

PAGE: Final = "docs/architecture.md"
PICTURE: Final = "docs/images/architecture.svg"
PACKAGE: Final = "gpuslice"

ROOT: Final = Path(__file__).resolve().parents[1]
_BEGIN: Final = "<!-- rooms: made from the code by `make reference` -->"
_END: Final = "<!-- end -->"

# Pixels of the picture.
_BOX_WIDTH: Final = 104
_BOX_HEIGHT: Final = 30
_COLUMN: Final = 62
_ROW: Final = 64
_EDGE: Final = 12

# Where a room stands in its layer, in halves of a box: such that few arrows cross, and none runs through a box.
_COLUMNS: Final = {
    "cli": 4,
    "report": 3,
    "advice": 2,
    "cluster": 6,
    "rehearsal": 8,
    "planner": 2,
    "render": 7,
    "simulator": 4,
    "verifier": 0,
    "costs": 1,
    "launches": 3,
    "carriers": 2,
    "measure": 6,
    "plan": 0,
    "karpenter": 3,
    "workloads": 0,
    "cloud": 2,
    "hardware": 3,
    "artefacts": 1,
    "units": 3,
    "errors": 1,
}

_HEAD: Final = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" \
role="img" aria-label="The rooms of gpuslice and what each imports">
<style>rect{{fill:#4477aa;fill-opacity:.16;stroke:#9aa1a9}}path{{fill:none;stroke:#9aa1a9}}\
text{{font:13px sans-serif;text-anchor:middle;fill:#7a828b}}#head path{{fill:#9aa1a9}}</style>
<defs><marker id="head" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">\
<path d="M0 0L8 4L0 8z"/></marker></defs>"""


@cache
def imports() -> grimp.ImportGraph:
    """Which file of gpuslice imports which, those for the type checker alone included."""
    return grimp.build_graph(PACKAGE, exclude_type_checking_imports=False, cache_dir=None)


def circle(graph: grimp.ImportGraph) -> list[str]:
    """Files that import each other in a circle, the first one again at the end; empty: there is none."""
    sorter = TopologicalSorter(
        {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    )
    try:
        sorter.prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def layers() -> list[list[str]]:
    """The rooms as import-linter's contract has them: a list for each layer, the highest first."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (contract,) = (contract for contract in contracts if contract["id"] == "layers")
    return [layer.replace("|", " ").replace(":", " ").split() for layer in contract["layers"]]


def arrows(graph: grimp.ImportGraph) -> list[tuple[str, str]]:
    """Which room imports which, without those that it reaches by way of others as well."""
    uses = _uses(graph)
    reached: dict[str, set[str]] = {}
    for room in TopologicalSorter(uses).static_order():
        reached[room] = uses[room].union(*(reached[lower] for lower in uses[room]))
    return sorted(
        (room, lower)
        for room in uses
        for lower in uses[room]
        if not any(lower in reached[other] for other in uses[room])
    )


def rooms() -> str:
    """A table: each room, highest first, with what it says of itself and what it imports."""
    uses = _uses(imports())
    rows = [
        (
            code(room),
            _first_line(room),
            ", ".join(sorted(uses[room])),
        )
        for layer in layers()
        for room in layer
    ]
    return table(["room", "what it is for", "imports"], rows)


def page() -> str:
    """The page with today's table between its marks.

    Raises:
        ValueError: a mark is missing.
    """
    before, begin, rest = (ROOT / PAGE).read_text().partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise ValueError(f"{PAGE} lacks {_BEGIN!r} or {_END!r}")
    return f"{before}{_BEGIN}\n\n{rooms()}\n\n{_END}{after}"


def picture() -> str:
    """The rooms in their layers, with arrows to what they import."""
    listed = layers()
    width = max(_COLUMNS.values()) * _COLUMN + _BOX_WIDTH + 2 * _EDGE
    height = (len(listed) - 1) * _ROW + _BOX_HEIGHT + 2 * _EDGE
    places = {
        room: (_EDGE + _BOX_WIDTH / 2 + _COLUMNS[room] * _COLUMN, _EDGE + row * _ROW)
        for row, layer in enumerate(listed)
        for room in layer
    }
    lines = [_HEAD.format(width=width, height=height)]
    lines += [_arrow(places[room], places[lower]) for room, lower in arrows(imports())]
    for room, (x, y) in places.items():
        lines.append(
            f'<rect x="{_n(x - _BOX_WIDTH / 2)}" y="{_n(y)}" width="{_BOX_WIDTH}" height="{_BOX_HEIGHT}" rx="5"/>'
        )
        lines.append(f'<text x="{_n(x)}" y="{_n(y + 20)}">{escape(room)}</text>')
    return "\n".join([*lines, "</svg>"]) + "\n"


def _arrow(start: tuple[float, float], end: tuple[float, float]) -> str:
    """From the bottom of a box to the top of a lower one, or to the side of one in its own layer."""
    (x, y), (to_x, to_y) = start, end
    if y == to_y:
        side = math.copysign(_BOX_WIDTH / 2, to_x - x)
        x, y, to_x, to_y = x + side, y + _BOX_HEIGHT / 2, to_x - side, to_y + _BOX_HEIGHT / 2
    else:
        y += _BOX_HEIGHT
    return f'<path d="M{_n(x)} {_n(y)}L{_n(to_x)} {_n(to_y)}" marker-end="url(#head)"/>'


def _uses(graph: grimp.ImportGraph) -> dict[str, set[str]]:
    """The rooms that each room imports."""
    uses: dict[str, set[str]] = {room: set() for layer in layers() for room in layer}
    for module in graph.modules:
        room = _room_of(module)
        if room in uses:
            lower = {_room_of(imported) for imported in graph.find_modules_directly_imported_by(module)}
            uses[room] |= (lower & uses.keys()) - {room}
    return uses


def _room_of(module: str) -> str:
    """gpuslice.planner.loads.mig is in planner; gpuslice itself in no room."""
    return module.partition(".")[2].partition(".")[0]


def _first_line(room: str) -> str:
    """The first paragraph of what a room's file says of itself."""
    folder = ROOT / "src" / PACKAGE
    path = folder / room / "__init__.py" if (folder / room).is_dir() else folder / f"{room}.py"
    said = ast.get_docstring(ast.parse(path.read_text())) or ""
    return said.partition("\n\n")[0]


def _n(number: float) -> str:
    return f"{number:g}"
