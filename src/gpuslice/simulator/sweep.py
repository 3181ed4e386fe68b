"""A sweep: policies x what-ifs x seeds, each replayed for itself. These structs are the schema of its files."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta

from gpuslice.artefacts.part import ApiVersion, Part
from gpuslice.simulator.result import Outcome

MOST_CELLS: Final = 10_000

Name = Annotated[str, Meta(min_length=1, max_length=60)]


class WhatIf(Part, frozen=True):
    """Something else than it is; what is not named stays as it is."""

    name: Name
    allow: tuple[str, ...] = ()
    """GPU models on which every workload might run."""
    isolation: str = ""
    """What all workloads ask for: none, memory or hardware."""
    prices: str = ""
    """A file of prices, as `--prices` takes it; beside the sweep's, unless its path is absolute."""
    spot_interruptions: Annotated[float, Meta(ge=0, le=60)] = 0.0
    """How often EC2 takes a spot node back: times per hour of its life."""


class Sweep(Part, frozen=True, kw_only=True):
    """sweep.yaml: what is to be replayed."""

    api_version: ApiVersion
    kind: Literal["Sweep"]
    policies: Annotated[tuple[Name, ...], Meta(min_length=1)]
    """Names of policies, in the words of the option `--policies`."""
    what_ifs: Annotated[tuple[WhatIf, ...], Meta(min_length=1)] = (WhatIf("as it is"),)
    seeds: Annotated[tuple[Annotated[int, Meta(ge=0)], ...], Meta(min_length=1)] = (0,)
    """Of the daily wave, and of spot interruptions."""


class Cell(Part, frozen=True):
    """One replay of a sweep, and what it came to."""

    what_if: str
    policy: str
    seed: int
    outcome: Outcome


class SweepResult(Part, frozen=True, kw_only=True):
    """What a sweep came to: what-if by what-if, policy by policy, seed by seed, in the order of its file."""

    api_version: ApiVersion
    kind: Literal["SweepResult"]
    cells: tuple[Cell, ...]


def grid(sweep: Sweep) -> tuple[tuple[WhatIf, str, int], ...]:
    """All replays, in the order of the file."""
    return tuple(
        (what_if, policy, seed)
        for what_if in sweep.what_ifs
        for policy in sweep.policies
        for seed in sweep.seeds
    )
