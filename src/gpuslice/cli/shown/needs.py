"""Needs that were measured, as a table or as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from gpuslice.cli.console import Output, print_data, print_names, print_table

if TYPE_CHECKING:
    from gpuslice.measure.statistics import Measured


def print_needs(needs: Mapping[str, Measured], output: Output) -> None:
    """What was measured, on stdout."""
    match output:
        case Output.NAME:
            print_names(needs)
        case Output.YAML | Output.JSON:
            print_data([need_fields(name, need) for name, need in needs.items()], output)
        case Output.TABLE:
            columns = (
                "workload",
                "replicas",
                "memory",
                "duty",
                "at peak",
                "on",
                "window",
                "confidence",
                "of note",
            )
            print_table(columns, (_row(name, need) for name, need in needs.items()), right=columns[1:5])


def need_fields(name: str, need: Measured) -> dict[str, object]:
    """A need as plain data."""
    from gpuslice.artefacts.documents import to_plain
    from gpuslice.units import PPM, format_memory

    return {
        "name": name,
        "memory": None if need.memory_mib is None else format_memory(need.memory_mib),
        "duty": None if need.duty_ppm is None else need.duty_ppm / PPM,
        "on": need.on,
        "preallocates": need.suspicion is not None,
        "measurement": to_plain(need.measurement),
    }


def _row(name: str, need: Measured) -> tuple[object, ...]:
    from gpuslice.units import PPM, format_memory

    how = need.measurement
    return (
        name,
        how.replicas,
        None if need.memory_mib is None else format_memory(need.memory_mib),
        None if need.duty_ppm is None else f"{need.duty_ppm / PPM:.3g}",
        None if how.duty_peak is None else f"{how.duty_peak:.3g}",
        need.on,
        how.window,
        how.confidence.value,
        "; ".join(notes_of(need)),
    )


def notes_of(need: Measured) -> tuple[str, ...]:
    """What is to be known of a need."""
    notes = need.measurement.notes
    return notes if need.suspicion is None else (*notes, need.suspicion.note)
