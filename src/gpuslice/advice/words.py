"""What won't do, in words."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

from gpuslice.units import first_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuslice.costs.alternatives import Alternative


_SLICES_NAMED: Final = 3


def refusals(listed: Sequence[Alternative]) -> list[tuple[str, str]]:
    """What won't do, and why: slices in few words, and the one reason that refuses them all."""
    refused: dict[str, list[str]] = defaultdict(list)
    for alternative in listed:
        if alternative.price is None:
            gpu = alternative.slice.partition("/")[0]
            reason = alternative.answer.reason.removeprefix(f"{gpu} is ").removeprefix(f"{gpu} ")
            refused[reason or "no instance type with a price offers it and holds a pod"].append(
                alternative.slice
            )
    gpus = [alternative.slice.partition("/")[0] for alternative in listed]
    return [(_together(slices, gpus), reason) for reason, slices in refused.items()]


def _together(slices: Sequence[str], gpus: Sequence[str]) -> str:
    """Slices that one reason refuses: all of a GPU by its name, and no more than some."""
    by_gpu: dict[str, list[str]] = defaultdict(list)
    for slice_ in slices:
        by_gpu[slice_.partition("/")[0]].append(slice_)
    words = []
    for gpu, names in by_gpu.items():
        words += [gpu] if len(names) == gpus.count(gpu) else names
    return first_of(words, _SLICES_NAMED)
