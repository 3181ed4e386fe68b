"""MIG profiles as values."""

from __future__ import annotations

from dataclasses import dataclass

from gpuslice.hardware.facts import Confidence


@dataclass(frozen=True, slots=True)
class MigProfile:
    """One kind of GPU instance.

    Attributes:
        name: as NVIDIA writes it: "1g.10gb", "1g.10gb+me". Its "gb" is rounded and is not the usable memory.
        compute_slices: of the GPU's `MigTable.compute_slices`.
        memory_slices: of the GPU's `MigTable.grid`.
        starts: the memory slices at which an instance may start.
        most: how many instances one GPU can have.
        memory_mib: what processes in it can use, MiB.
        sms: streaming multiprocessors in it. Not proportional: on H100 3g has 60 of 132, 1g has 16.
        confidence: of memory_mib and sms, the weaker of the two.
        copy_engines, decoders, encoders, jpeg_engines, ofa_engines: engines of its own.
        media_extensions: a "+me" profile, of which a GPU has one at most.
    """

    name: str
    compute_slices: int
    memory_slices: int
    starts: tuple[int, ...]
    most: int
    memory_mib: int
    sms: int
    confidence: Confidence
    copy_engines: int
    decoders: int
    encoders: int = 0
    jpeg_engines: int = 0
    ofa_engines: int = 0
    media_extensions: bool = False


@dataclass(frozen=True, slots=True)
class MigTable:
    """What one GPU model offers in MIG mode.

    Attributes:
        grid: memory slices.
        compute_slices: the most that all instances together can have.
        profiles: largest first, "+me" variants last.
    """

    grid: int
    compute_slices: int
    profiles: tuple[MigProfile, ...]

    @property
    def plain(self) -> tuple[MigProfile, ...]:
        """The profiles without media extensions: the ones that plans use."""
        return tuple(profile for profile in self.profiles if not profile.media_extensions)

    def profile(self, name: str) -> MigProfile | None:
        """The profile of that name, or None."""
        return next((profile for profile in self.profiles if profile.name == name), None)
