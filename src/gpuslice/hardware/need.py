"""What one replica needs of a GPU, and the rules that its slice must keep."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from gpuslice.hardware.features import Feature
from gpuslice.hardware.mechanisms import Isolation

ANY_GPU: Final = "any"  # `gpu.allow: [any]`: the owner says that every model will do


class Source(StrEnum):
    """Where a figure comes from."""

    DECLARED = "declared"
    REQUESTED = "requested"
    MEASURED = "measured"
    ASSUMED = "assumed"


@dataclass(frozen=True, slots=True)
class Need:
    """What one replica needs of a GPU.

    Attributes:
        gpus: whole GPUs per pod. More than one is never sliced.
        memory_mib: peak memory of one replica on one GPU, CUDA context included, MiB; None: not known.
        duty_ppm: mean share of time in which it keeps the GPU `on` busy, parts per million; None: not known.
        on: the GPU model on which duty was read, and on which it runs today; None: not known.
        assumed_on: with `on` not known, the model that it is assumed to have today, of which it gets whole GPUs and
            nothing else; None: nothing is assumed.
        source: where the figures come from.
        isolation: the least that is wanted.
        allow: GPU models it may run on; empty: whatever fits; {ANY_GPU}: explicitly any.
        min_compute_capability: (major, minor), or None: not below that of `on`.
        features: that its GPU must have.
        max_slowdown_milli: expected slowdown against `on`, thousandths (2000: half as fast); None: no limit.
        limitable: whether it can be kept to a share of the memory that it sees: False for a framework that takes
            all of it and whose own limit can't be set from outside.
        gang: whether its pods are ranks of one job, which talk to each other by NCCL: no two of them on one GPU.
        slices: names of the only slices that will do, because on these it was measured to do well enough, so that
            neither duty nor slowdown is asked about; empty: whatever fits.
        beside: the only workload whose replicas may share its GPU, since beside those it was measured; empty: any
            that the tenants allow.
    """

    gpus: int = 1
    memory_mib: int | None = None
    duty_ppm: int | None = None
    on: str | None = None
    source: Source = Source.DECLARED
    isolation: Isolation = Isolation.NONE
    allow: frozenset[str] = frozenset()
    min_compute_capability: tuple[int, int] | None = None
    features: frozenset[Feature] = frozenset()
    max_slowdown_milli: int | None = None
    limitable: bool = True
    gang: bool = False
    slices: frozenset[str] = frozenset()
    beside: str = ""
    assumed_on: str | None = None

    @property
    def known(self) -> bool:
        """Whether it can be sliced: one GPU, with memory, duty and the GPU it was read on all known."""
        return self.gpus == 1 and None not in {self.memory_mib, self.duty_ppm, self.on}
