"""Slices: the one thing that a pod asks for and gets under a layout, with what it can count on."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from gpuslice.hardware.mechanisms import ISOLATION_OF, Isolation, Mechanism

if TYPE_CHECKING:
    from gpuslice.hardware.gpus import Gpu
    from gpuslice.hardware.mig_profiles import MigProfile


@dataclass(frozen=True, slots=True)
class Slice:
    """One slice and the least that a pod can count on in it.

    Attributes:
        gpu: the model that it is cut from.
        mechanism: how it is cut.
        sharers: pods that may share the hardware behind it, itself included (1: it is alone). For a metered
            GPU: the plug-in's replicas, which only cap the number of sharers.
        memory_mib: usable memory that it can count on, MiB, before the planning margin is taken.
        compute: share of the GPU's SMs that it can reach (a time-sliced replica reaches all of them, part of
            the time).
        bandwidth: share of the GPU's memory bandwidth that it can reach.
        time_milli: thousandths of the device's time that each pod admitted keeps it busy at most. 1000 where
            it is alone.
        metered_milli: on a metered GPU, thousandths that all pods together may ask for; else None.
        profile: the MIG profile, for MIG.
        fraction: the part of a card, for fractional instance types.
    """

    gpu: Gpu
    mechanism: Mechanism
    sharers: int
    memory_mib: int
    compute: Fraction
    bandwidth: Fraction
    time_milli: int = 1000
    metered_milli: int | None = None
    profile: MigProfile | None = None
    fraction: Fraction | None = None

    @property
    def isolation(self) -> Isolation:
        """What keeps neighbours away."""
        return ISOLATION_OF[self.mechanism]

    @property
    def name(self) -> str:
        """Its name in artefacts: "L4/time-slicing/4", "A100-80GB/mig/1g.10gb", "L4/fractional/1-8", "L4/whole"."""
        match self.mechanism:
            case Mechanism.WHOLE:
                return f"{self.gpu.name}/whole"
            case Mechanism.MIG if self.profile is not None:
                return f"{self.gpu.name}/mig/{self.profile.name}"
            case Mechanism.FRACTIONAL if self.fraction is not None:
                return f"{self.gpu.name}/fractional/{self.fraction.numerator}-{self.fraction.denominator}"
            case _ if self.metered_milli is not None:
                return f"{self.gpu.name}/time-slicing/metered"
            case _:
                return f"{self.gpu.name}/{self.mechanism.value}/{self.sharers}"
