"""What counts as a part of a GPU among the resources of nodes, overlays and pods, and how much of it there is."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Final

from gpuslice.errors import InputError
from gpuslice.planner.promised import GPU_MEMORY, GPU_TIME
from gpuslice.units import parse_quantity
from gpuslice.workloads.pods import is_gpu

if TYPE_CHECKING:
    from gpuslice.workloads.objects import Quantity

METERED: Final = (GPU_MEMORY, GPU_TIME)


def is_slice(resource: str) -> bool:
    """Whether it is a GPU, a part of one, or what metered GPUs are counted by."""
    return is_gpu(resource) or resource in METERED


def amount(quantity: Quantity) -> Fraction:
    """A quantity in its own unit (bytes, thousandths, pieces); nothing where it is none."""
    try:
        return parse_quantity(quantity)
    except InputError:
        return Fraction(0)
