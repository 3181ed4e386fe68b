"""What nodes run, and which cuts of a GPU that can do: asked before planning, held to when rendering.

al2023: the Amazon Linux 2023 NVIDIA image and the GPU Operator. It does everything.
bottlerocket: its own device plugin and MIG manager, set by TOML at boot (Bottlerocket 1.54, "kubelet device
plugins", and its nvidia-migmanager). One MIG profile on all GPUs of a node, as often as it fits, offered as
`nvidia.com/gpu`; no file of ours can be put on its nodes, so nothing tells Node Feature Discovery what a metered GPU
has to give.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from gpuslice.errors import nearest
from gpuslice.hardware.mechanisms import Mechanism
from gpuslice.hardware.mig import Geometry
from gpuslice.hardware.stack import Stack

__all__ = ["BOTTLEROCKET_GPU", "Stack", "uniform_geometries", "why_not"]


BOTTLEROCKET_GPU: Final[Mapping[str, str]] = {
    "A100-40GB": "a100.40gb",
    "A100-80GB": "a100.80gb",
    "H100": "h100.80gb",
    "H200": "h200.141gb",
    "B200": "b200.180gb",
}
"""The GPUs that Bottlerocket's MIG manager knows, by our names, under its own."""

_7_SLICES: Final = (7, 4, 3, 2, 1)  # of 1g, 1g with double memory, 2g, 3g, 7g
_BOTTLEROCKET_PROFILES: Final[Mapping[str, Sequence[str]]] = {
    "A100-40GB": ("1g.5gb", "1g.10gb", "2g.10gb", "3g.20gb", "7g.40gb"),
    "A100-80GB": ("1g.10gb", "1g.20gb", "2g.20gb", "3g.40gb", "7g.80gb"),
    "H100": ("1g.10gb", "1g.20gb", "2g.20gb", "3g.40gb", "7g.80gb"),
    "H200": ("1g.18gb", "1g.35gb", "2g.35gb", "3g.71gb", "7g.141gb"),
    "B200": ("1g.23gb", "1g.45gb", "2g.45gb", "3g.90gb", "7g.180gb"),
}


def uniform_geometries(gpu: str) -> dict[str, int]:
    """What Bottlerocket can cut one GPU of a model into: how many instances, by profile; empty: no MIG there."""
    return dict(zip(_BOTTLEROCKET_PROFILES.get(gpu, ()), _7_SLICES, strict=False))


def why_not(
    stack: str,
    gpu: str,
    mechanism: Mechanism,
    *,
    metered: bool = False,
    geometries: Sequence[Geometry] = (),
) -> str | None:
    """Why a stack can't do a cut, in words for a person; None where it can.

    Args:
        stack: "al2023" or "bottlerocket".
        gpu: the model's name in `GPUS`.
        mechanism: how it is cut.
        metered: whether memory and time are counted instead of slots.
        geometries: how each GPU of a node is cut by MIG, or all of them. Left out, only whether there is any
            geometry at all is asked.
    """
    if stack != Stack.BOTTLEROCKET:
        return None
    if metered:
        return "Bottlerocket can't meter a GPU: its nodes take no file that says what there is to share"
    if mechanism is Mechanism.FRACTIONAL:
        return "fractional GPUs need a GRID driver, and Bottlerocket's NVIDIA image is not known to have one"
    if mechanism is not Mechanism.MIG:
        return None
    offered = uniform_geometries(gpu)
    if not offered:
        return f"Bottlerocket's MIG manager doesn't know {gpu}"
    if any(geometry != geometries[0] for geometry in geometries):
        return "Bottlerocket cuts all GPUs of a node alike"
    for geometry in geometries[:1]:
        if len(geometry.counts) != 1:
            return "Bottlerocket cuts a GPU into instances of one profile only"
        profile, count = geometry.counts[0]
        if profile not in offered:
            hint = nearest(profile, offered)
            return f"Bottlerocket can't cut {gpu} into {profile}" + (f" ({hint})" if hint else "")
        if count != offered[profile]:
            return f"Bottlerocket cuts {gpu} into {offered[profile]} instances of {profile}, not {count}"
    return None
