"""The README's block of real output: what `gpuslice plan` prints for the example fleet, but for some workloads."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

PATH: Final = "README.md"
COMMAND: Final = ("plan", "-f", "examples/fleet")

_ROOT: Final = Path(__file__).resolve().parents[1]
_BEGIN: Final = "<!-- plan of the example fleet: made by `make reference` -->"
_END: Final = "<!-- end -->"
_WORKLOADS_SHOWN: Final = 8
_WIDTH: Final = "120"  # columns of the terminal
# However slow the machine is, the same plan: time ends no search.
_PATIENCE: Final = ("--time-limit", "600")


class NoBlockError(RuntimeError):
    """The README has no place for the block."""


def block() -> str:
    """The command and what it prints, trimmed, as a fenced block."""
    lines = ["```console", f"$ gpuslice {' '.join(COMMAND)}", *trimmed(_output()), "```"]
    return "\n".join(lines)


def with_block(text: str, new: str) -> str:
    """A README's text with a new block between its marks.

    Raises:
        NoBlockError: a mark is missing.
    """
    before, begin, rest = text.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise NoBlockError(f"{PATH} lacks {_BEGIN!r} or {_END!r}")
    return f"{before}{_BEGIN}\n{new}\n{_END}{after}"


def shown(text: str) -> str:
    """The block that a README has.

    Raises:
        NoBlockError: a mark is missing.
    """
    _, begin, rest = text.partition(_BEGIN)
    found, end, _ = rest.partition(_END)
    if not begin or not end:
        raise NoBlockError(f"{PATH} lacks {_BEGIN!r} or {_END!r}")
    return found.strip("\n")


def figures(text: str) -> dict[str, float]:
    """The dollars an hour by the first words of each row of the first table of a block."""
    found: dict[str, float] = {}
    for line in text.splitlines():
        if match := re.match(r"([a-z][\w -]*?) {2,}([\d,]+\.\d\d)(?: |$)", line):
            found.setdefault(match[1], float(match[2].replace(",", "")))
    return found


def trimmed(output: str) -> list[str]:
    """A plan's tables with some of the workloads: the first rows, with the lines that belong to them."""
    summary, workloads, *rest = output.strip("\n").split("\n\n")
    found = [*summary.splitlines(), ""]
    rows = 0
    for line in workloads.splitlines():
        rows += not line.startswith(" ")
        if rows <= _WORKLOADS_SHOWN + 1:
            found.append(line)
    if rows > _WORKLOADS_SHOWN + 1:
        found.append(f"… {rows - 1 - _WORKLOADS_SHOWN} more workloads")
    for each in rest:
        found += ["", *each.splitlines()]
    return found


def _output() -> str:
    program = Path(sys.executable).with_name("gpuslice")
    environment = {**os.environ, "NO_COLOR": "1", "COLUMNS": _WIDTH}
    return subprocess.run(
        [program, *COMMAND, *_PATIENCE],
        cwd=_ROOT,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
