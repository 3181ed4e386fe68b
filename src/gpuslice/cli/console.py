"""What the verbs print with: data on stdout, words on stderr; tables for people, stable JSON and YAML for programs."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from typing import Annotated, Final

import typer

from gpuslice.errors import EnvironmentFailedError

_GAP: Final = "   "  # between columns
_INDENT: Final = "    "  # of what stands below its row
_NARROWEST: Final = 40  # words in a narrower column are harder to read than below their row


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
    _write(text if text.endswith("\n") else text + "\n")


def print_names(names: Iterable[str]) -> None:
    """One name a line; nothing at all where there are none."""
    _write("".join(f"{name}\n" for name in names))


def print_data(data: object, output: Output) -> None:
    """Plain data (dicts, lists, strings, numbers) as YAML or JSON on stdout."""
    from gpuslice.artefacts.documents import dump_json, dump_yaml

    print_text(dump_json(data) if output is Output.JSON else dump_yaml(data))


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], *, right: Iterable[str] = ()
) -> None:
    """A table as kubectl prints it: no lines, columns as wide as needed.

    The last column may hold prose: where a terminal is too narrow for it, it is wrapped, or stands below its row. A
    table that goes to a file or a program is never wrapped.

    Args:
        columns: headings, printed in capitals.
        rows: one cell a column; None is shown as "-".
        right: headings of the columns to align right (numbers).
    """
    from rich.cells import cell_len

    cells = [["-" if cell is None else " ".join(str(cell).split()) for cell in row] for row in rows]
    cells.insert(0, [column.upper() for column in columns])
    numbers = [column in set(right) for column in columns]
    widths = [max(map(cell_len, column)) for column in zip(*cells, strict=True)]
    prose = 0 if numbers[-1] else 1
    before = [_aligned(row, widths, numbers) for row in cells]
    start = sum(widths) - prose * widths[-1] + len(_GAP) * (len(widths) - 1)
    room = _width()
    lines = []
    for number, (row, front) in enumerate(zip(cells, before, strict=True)):
        if not prose or room is None or start + widths[-1] <= room:
            wrapped = [front.rstrip()]
        else:
            wrapped = _with_prose(
                _aligned(row[:-1], widths, numbers), row[-1], start, room, heading=not number
            )
        lines += wrapped if number else [_bold(name) for name in wrapped]
    print_text("\n".join(lines))


def print_list(title: str, lines: Sequence[str]) -> None:
    """A blank line, a title and a line for each; nothing where there are none."""
    import textwrap

    room = _width()
    if lines:
        print_text(f"\n{title}:")
    for name in lines:
        line = " ".join(name.split())
        if room is not None:
            # Never so narrow that words fall apart.
            line = textwrap.fill(
                line, max(room - 2, _NARROWEST), subsequent_indent="    ", break_on_hyphens=False
            )
        print_text(f"  {line}")


def _aligned(cells: Sequence[str], widths: Sequence[int], numbers: Sequence[bool]) -> str:
    from rich.cells import cell_len

    return _GAP.join(
        " " * (width - cell_len(cell)) + cell if number else cell + " " * (width - cell_len(cell))
        for cell, width, number in zip(cells, widths, numbers, strict=False)
    )


def _with_prose(front: str, prose: str, start: int, room: int, *, heading: bool) -> list[str]:
    """A row and its prose, beside it where there is room enough, else below; then it needs no heading."""
    import textwrap

    if room - start >= _NARROWEST:
        text = textwrap.wrap(prose, room - start, break_on_hyphens=False) or [""]
        return [f"{front}{_GAP}{text[0]}".rstrip(), *(" " * start + name for name in text[1:])]
    text = textwrap.wrap(prose, max(room - len(_INDENT), _NARROWEST), break_on_hyphens=False)
    return [front.rstrip(), *(_INDENT + name for name in text if not heading and prose != "-")]


def _width() -> int | None:
    """Columns of the terminal; None: stdout is none, and lines may be as long as they like."""
    if _terminal() or "COLUMNS" in os.environ:
        return shutil.get_terminal_size().columns
    return None


def _terminal() -> bool:
    return sys.stdout.isatty()


def red(text: str) -> str:
    """Text for stdout that nobody may miss: in red, where colours are shown."""
    return _styled(text, "1;31")


def _bold(text: str) -> str:
    return _styled(text, "1")


def _styled(text: str, style: str) -> str:
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not _terminal()
    return text if plain else f"\x1b[{style}m{text}\x1b[0m"


def _write(text: str) -> None:
    """To stdout, all of it, now."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has seen enough (`| head`): the rest goes nowhere, and the verb ends as it would have.
        _discard_stdout()
    except OSError as error:
        _discard_stdout()
        raise EnvironmentFailedError(f"can't be written: {error.strerror or error}", where="stdout") from None


def _discard_stdout() -> None:
    """Send what is still buffered, and all that follows, to nowhere: flushing it at exit would fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def say(text: str) -> None:
    """Words for a person: stderr, so that they never mix with data."""
    sys.stderr.write(text + "\n")


@contextmanager
def progress(text: str) -> Iterator[Callable[[str], None]]:
    """A spinner on stderr around anything that may take over a second; silent where stderr is no terminal.

    What it yields changes its text.
    """
    if not sys.stderr.isatty():
        yield lambda _text: None
        return
    from rich.console import Console

    with Console(stderr=True, no_color="NO_COLOR" in os.environ).status(text) as status:
        yield status.update


@contextmanager
def progress_of(text: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr for work of known parts; what it yields takes (done, of). Silent where stderr is no terminal."""
    if not sys.stderr.isatty():
        yield lambda _done, _of: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True, no_color="NO_COLOR" in os.environ), transient=True) as bar:
        task = bar.add_task(text, total=None)
        yield lambda done, of: bar.update(task, completed=done, total=of)
