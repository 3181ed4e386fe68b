"""How a need was measured, and how far it can be trusted: part of workloads.yaml, beside the figures themselves."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from msgspec import Meta

from gpuslice.artefacts.part import Part


class Means(StrEnum):
    """What a need was measured by."""

    PROMETHEUS = "prometheus"
    TRACE = "trace"
    GPU = "gpu"


class Confidence(StrEnum):
    """How far a measured need can be trusted; the rules are in the chapter on measured needs."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


Share = Annotated[float, Meta(ge=0, le=1)]


class Measurement(Part, frozen=True, kw_only=True):
    """How the need was measured. Written by `gpuslice measure`, and replaced by its next run."""

    by: Means
    window: str
    """How far the readings reach back: "14d", "6h"."""
    until: str = ""
    """When the window ended, UTC, where that is known."""
    covered: Share
    """The part of the window asked for in which there are readings."""
    replicas: Annotated[int, Meta(ge=0)]
    """How many were read; the need is that of the worst."""
    samples: Annotated[int, Meta(ge=0)]
    quantile: Share
    """Of the five-minute means, for `dutyPeak`."""
    duty_peak: Share | None = None
    """That quantile of the five-minute means of duty, of the worst replica: what neighbours meet at a busy hour."""
    sm: Share | None = None
    """Mean share of the multiprocessors in use, of the worst replica."""
    tensor: Share | None = None
    """Mean share of the tensor cores' throughput in use, likewise."""
    dram: Share | None = None
    """Mean share of the memory bandwidth in use, likewise."""
    confidence: Confidence
    notes: tuple[str, ...] = ()
    """What a person should know before believing it: outliers, gaps, bounds, what is missing and why."""
