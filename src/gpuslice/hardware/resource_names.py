"""Extended resources: the names under which nodes offer GPUs and parts of them, and by which pods ask.

Read in what runs today, and used by the device plugin's way to hand out GPUs. They are spelt here alone.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

WHOLE_GPU: Final = "nvidia.com/gpu"
SHARED_GPU: Final = "nvidia.com/gpu.shared"
"""The device plugin's: a GPU, and a replica of one under `renameByDefault`."""
GPU_MEMORY: Final = "gpuslice.io/gpu-memory"
"""Bytes of a metered GPU's memory."""
GPU_TIME: Final = "gpuslice.io/gpu-time"
"""Thousandths of a metered GPU's time."""
METERED: Final = (GPU_MEMORY, GPU_TIME)

_MIG: Final = "nvidia.com/mig-"
_SEAT: Final = "gpuslice.io/seat-"
SEATS: Final = f"{_SEAT}*"
"""All seats together, where they are shown as one."""

_NAME_LENGTH: Final = 63  # of an extended resource, after its prefix
_HEX: Final = 6


def mig_instance(profile: str) -> str:
    """The device plugin's name of a MIG instance under the mixed strategy: "nvidia.com/mig-1g.10gb"."""
    return f"{_MIG}{profile.replace('+', '.')}"


def is_mig(resource: str) -> bool:
    """Whether it stands for MIG instances of one profile."""
    return resource.startswith(_MIG)


def is_gpu(resource: str) -> bool:
    """Whether an extended resource stands for GPUs or parts of them."""
    return resource in {WHOLE_GPU, SHARED_GPU} or is_mig(resource)


def is_seat(resource: str) -> bool:
    """Whether it stands for the places of one workload."""
    return resource.startswith(_SEAT)


def seat_of(workload: str, size: str = "") -> str:
    """The extended resource of a workload's seats: "gpuslice.io/seat-search.embedder-3fa2".

    Namespaces have no dots, so names that Kubernetes allows give one resource each; any other one is told apart by a
    hash.

    Args:
        workload: its name.
        size: a few letters that say for which need a seat is.
    """
    end = f"-{size}" if size else ""
    plain = workload.replace("/", ".", 1)
    slug = re.sub(r"[^a-z0-9.]+", "-", plain.lower()).strip("-.")
    most = _NAME_LENGTH - len(_SEAT.partition("/")[2]) - len(end)
    if slug == plain and len(slug) <= most:
        return _SEAT + slug + end
    digest = hashlib.sha256(workload.encode()).hexdigest()[:_HEX]
    return f"{_SEAT}{slug[: most - _HEX - 1]}-{digest}{end}"
