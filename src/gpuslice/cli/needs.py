"""Needs that were measured, into workloads.yaml: the options of `gpuslice measure`, and the writing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gpuslice.cli.console import Output, say
from gpuslice.cli.shown.needs import notes_of

if TYPE_CHECKING:
    from gpuslice.measure.statistics import Measured

QuantileOption = Annotated[
    float,
    typer.Option(
        "--quantile", min=0.5, max=1, metavar="Q", help="Of the five-minute means of duty, for its peak."
    ),
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Print what was measured; write nothing.")]


def refuse_stdin(file: str) -> None:
    """Needs are written into a file, line by line: said before anything is measured."""
    if file == "-":
        from gpuslice.errors import InputError

        raise InputError("standard input can't be written back", where="-f -", fix="name a file")


def write_into(
    file: str,
    needs: Mapping[str, Measured],
    *,
    out: str,
    dry_run: bool,
    output: Output,
    further: Callable[[str], str] = lambda text: text,
) -> None:
    """Write the needs into a workloads.yaml, or say what would be written; `further` changes the text once more.

    Notes that stand in what was printed are not said again.
    """
    from gpuslice.artefacts.output import write_atomically
    from gpuslice.measure.write_back import write_needs
    from gpuslice.workloads.artefact import read_workloads

    workloads = {workload.name: workload for workload in read_workloads(file, accept_assumed=True).workloads}
    known = {name: need for name, need in needs.items() if name in workloads}
    if strangers := sorted(set(needs) - set(known)):
        say(
            f"note: measured, but not in {file}: {', '.join(strangers[:5])}{', …' if len(strangers) > 5 else ''}"
        )
    if unread := [name for name in workloads if name not in known]:
        say(
            f"note: nothing was read of {len(unread)} workloads: {', '.join(unread[:5])}{', …' * (len(unread) > 5)}"
        )
    written = write_needs(Path(file).read_text(encoding="utf-8-sig"), file, known, workloads)
    for name, remarks in written.remarks.items():
        printed = () if output is Output.NAME else notes_of(known[name])
        for remark in remarks:
            if remark not in printed:
                say(f"{name}: {remark}")
    text = further(written.text)
    target = out or file
    if dry_run:
        say(f"{len(known)} needs would be written to {target}")
        return
    write_atomically(target, text)
    say(f"{len(known)} needs written to {target}")
