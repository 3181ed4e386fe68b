"""How tutorials run GPUs: what a plan and a replay of it are put beside."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gpuslice.hardware import cut
from gpuslice.hardware.mechanisms import Mechanism

if TYPE_CHECKING:
    from gpuslice.hardware.gpus import Gpu
    from gpuslice.hardware.slices import Slice

WHOLE_GPUS: Final = "whole-gpu"
"""The name of the tutorial that cuts nothing."""
SLOTS: Final = 4
"""Of the GPU Operator's and AWS's tutorials on time-slicing."""


@dataclass(frozen=True, slots=True)
class Tutorial:
    """One way to give every pod a GPU, or a part of one.

    Attributes:
        name: by which plans and replays know it.
        note: what it does, in words.
        slice_of: what a pod has of a GPU; None where the GPU can't be cut so.
        per_gpu: how many such slices a GPU has; 0 where it can't be cut so.
        anywhere: whether another model than the one that a workload runs on will do.
    """

    name: str
    note: str
    slice_of: Callable[[Gpu], Slice | None]
    per_gpu: Callable[[Gpu], int]
    anywhere: bool = False


def _smallest_instance(gpu: Gpu) -> Slice | None:
    if gpu.mig is None:
        return None
    return cut.mig(gpu, min(gpu.mig.plain, key=lambda profile: profile.memory_mib))


TUTORIALS: Final[Mapping[str, Tutorial]] = {
    tutorial.name: tutorial
    for tutorial in (
        Tutorial(
            WHOLE_GPUS,
            "each pod has whole GPUs, of the model that it runs on where that is known",
            cut.whole,
            lambda _: 1,
        ),
        Tutorial(
            f"time-slicing-{SLOTS}",
            f"every GPU in {SLOTS} equal slots, as tutorials do it; each tenant has its own nodes",
            lambda gpu: cut.slot(gpu, Mechanism.TIME_SLICING, SLOTS),
            lambda _: SLOTS,
        ),
        Tutorial(
            "all-1g-mig",
            "every pod on the smallest MIG instance",
            _smallest_instance,
            lambda gpu: 0 if gpu.mig is None else max(profile.most for profile in gpu.mig.plain),
            anywhere=True,
        ),
    )
}
"""By name, in the order in which they are shown."""

_FORMER: Final[Mapping[str, str]] = {"whole": WHOLE_GPUS}


def tutorial_name(name: str) -> str:
    """Today's name of a tutorial that files or command lines may call by a former one; other names as they are."""
    return _FORMER.get(name, name)
