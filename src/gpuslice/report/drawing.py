"""From shares to shapes: the SVG paths of a node's GPUs. One path for each workload, however many slices it has."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from gpuslice.report.fleet import NodePicture, Part

GPU_WIDTH: Final = 166
GPU_HEIGHT: Final = 48
_BETWEEN: Final = 7  # GPUs
_A_ROW: Final = 4  # GPUs: a machine of eight is two rows, which a phone can show
_EDGE: Final = 1  # between slices, on each side
_LEAST: Final = 1.5  # what is nearly nothing is still there to be seen


@dataclass(frozen=True, slots=True)
class Shape:
    """What one workload has on a node.

    Attributes:
        workload: its name.
        room: path of its slices.
        use: path of what its pods take of them; "" where that isn't known.
    """

    workload: str
    room: str
    use: str


@dataclass(frozen=True, slots=True)
class Drawing:
    """A node's GPUs.

    Attributes:
        width, height: of the view box.
        outline: path of the cards.
        free: path of slices with nobody in them.
        shapes: one for each workload, in the order of their first slices.
    """

    width: int
    height: int
    outline: str
    free: str
    shapes: tuple[Shape, ...]


def draw(picture: NodePicture) -> Drawing:
    """A node's GPUs, four to a row.

    A slice is as wide as its share of the card's memory. What a pod takes of it is as wide as the memory that it
    takes, and as tall as the share of time that it keeps the slice busy.
    """
    count = len(picture.gpus)
    rows = -(-count // _A_ROW)
    columns = min(count, _A_ROW)
    outline: list[str] = []
    free: list[str] = []
    rooms: dict[str, list[str]] = defaultdict(list)
    uses: dict[str, list[str]] = defaultdict(list)
    for index, gpu in enumerate(picture.gpus):
        left = index % _A_ROW * (GPU_WIDTH + _BETWEEN) + _EDGE
        top = index // _A_ROW * (GPU_HEIGHT + _BETWEEN) + _EDGE
        outline.append(_box(left, top, GPU_WIDTH, GPU_HEIGHT))
        for part in gpu.parts:
            room, use = _part(part, left, top)
            if part.workload:
                rooms[part.workload].append(room)
                uses[part.workload].append(use)
            elif part.width > 0:
                free.append(room)
    return Drawing(
        columns * (GPU_WIDTH + _BETWEEN) - _BETWEEN + 2 * _EDGE,
        rows * (GPU_HEIGHT + _BETWEEN) - _BETWEEN + 2 * _EDGE,
        "".join(outline),
        "".join(free),
        tuple(Shape(name, "".join(boxes), "".join(uses[name])) for name, boxes in rooms.items()),
    )


def _part(part: Part, left: float, top: float) -> tuple[str, str]:
    """The paths of a slice and of what is taken of it."""
    x, width = left + part.start * GPU_WIDTH + _EDGE, part.width * GPU_WIDTH - 2 * _EDGE
    y, height = top + _EDGE, GPU_HEIGHT - 2 * _EDGE
    width = max(width, _LEAST)
    room = _box(x, y, width, height)
    if part.duty is None:
        return room, ""
    taken = max(width * (1.0 if part.memory is None else part.memory), _LEAST)
    tall = max(height * part.duty, _LEAST)
    return room, _box(x, y + height - tall, taken, tall)


def _box(x: float, y: float, width: float, height: float) -> str:
    return f"M{_short(x)} {_short(y)}h{_short(width)}v{_short(height)}h-{_short(width)}z"


def _short(value: float) -> str:
    return f"{value:.1f}".rstrip("0").rstrip(".")
