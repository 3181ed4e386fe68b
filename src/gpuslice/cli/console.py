"""What the verbs print with: data on stdout, words on stderr; tables for people, stable JSON and YAML for programs."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Final

import typer

if TYPE_CHECKING:
    from rich.console import Console

# A table that is piped into a file or a program is never wrapped or cut.
_UNBOUNDED: Final = 100_000


class Output(StrEnum):
    """The form of what goes to stdout."""

    TABLE = "table"
    YAML = "yaml"
    JSON = "json"
    NAME = "name"


OutputOption = Annotated[
    Output, typer.Option("-o", "--output", help="Form of what is printed.", show_default=True)
]
CatalogOption = Annotated[
    str,
    typer.Option(
        "--catalog",
        metavar="FILE",
        help="A catalog made by `gpuslice catalog refresh`; default: the bundled one.",
    ),
]


def print_text(text: str) -> None:
    """Data for stdout, as it is, with one line end."""
    sys.stdout.write(text if text.endswith("\n") else text + "\n")


def print_data(data: object, output: Output) -> None:
    """Plain data (dicts, lists, strings, numbers) as YAML or JSON on stdout."""
    from gpuslice.artefacts.documents import dump_json, dump_yaml

    print_text(dump_json(data) if output is Output.JSON else dump_yaml(data))


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], *, right: Iterable[str] = ()
) -> None:
    """A table as kubectl prints it: no lines, columns as wide as needed.

    Args:
        columns: headings, printed in capitals.
        rows: one cell a column; None is shown as "-".
        right: headings of the columns to align right (numbers).
    """
    from rich.table import Table
    from rich.text import Text

    aligned = set(right)
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold", show_edge=False)
    for column in columns:
        # Only the last column may wrap: names and figures stay whole.
        table.add_column(
            column.upper(), justify="right" if column in aligned else "left", no_wrap=column != columns[-1]
        )
    for row in rows:
        table.add_row(
            *(cell if isinstance(cell, Text) else Text("-" if cell is None else str(cell)) for cell in row)
        )
    print_rich(table)


def print_rich(renderable: object) -> None:
    """Anything that rich can draw, on stdout; without colour or width where stdout is no terminal."""
    console = stdout()
    with console.capture() as capture:
        console.print(renderable)
    sys.stdout.write("\n".join(line.rstrip() for line in capture.get().splitlines()) + "\n")


def stdout() -> Console:
    """A rich console on stdout: as wide as the terminal, unbounded where there is none."""
    from rich.console import Console

    terminal = sys.stdout.isatty()
    return Console(
        file=sys.stdout,
        width=None if terminal or "COLUMNS" in os.environ else _UNBOUNDED,
        no_color="NO_COLOR" in os.environ or not terminal,
        highlight=False,
        soft_wrap=False,
    )


def say(text: str) -> None:
    """Words for a person: stderr, so that they never mix with data."""
    sys.stderr.write(text + "\n")


@contextmanager
def progress(text: str) -> Iterator[None]:
    """A spinner on stderr around anything that may take over a second; silent where stderr is no terminal."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True, no_color="NO_COLOR" in os.environ).status(text):
        yield
