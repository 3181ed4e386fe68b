"""How a GPU is shared, and how well that isolates."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Mechanism(StrEnum):
    """How a GPU is divided, or not."""

    WHOLE = "whole"
    TIME_SLICING = "time-slicing"
    MPS = "mps"
    MIG = "mig"
    FRACTIONAL = "fractional"


class Isolation(StrEnum):
    """What keeps a neighbour away: nothing, enforced memory limits, or own hardware."""

    NONE = "none"
    MEMORY = "memory"
    HARDWARE = "hardware"

    @property
    def rank(self) -> int:
        """0 for none, 1 for memory, 2 for hardware: more isolates more."""
        return _RANK[self]


_RANK: Final = {Isolation.NONE: 0, Isolation.MEMORY: 1, Isolation.HARDWARE: 2}


ISOLATION_OF: Final[dict[Mechanism, Isolation]] = {
    Mechanism.WHOLE: Isolation.HARDWARE,
    Mechanism.TIME_SLICING: Isolation.NONE,
    Mechanism.MPS: Isolation.MEMORY,
    Mechanism.MIG: Isolation.HARDWARE,
    Mechanism.FRACTIONAL: Isolation.HARDWARE,
}
