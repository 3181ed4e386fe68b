"""From a GPU to its slices: what one slice of each mechanism offers at the least, whatever the neighbours do."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from gpuslice.errors import InputError
from gpuslice.hardware.mechanisms import Mechanism
from gpuslice.hardware.mig import bandwidth_share, compute_share
from gpuslice.hardware.sharing import METERED_REPLICAS, MOST_SLOTS, less_margin, sustained_milli
from gpuslice.hardware.slices import Slice

if TYPE_CHECKING:
    from gpuslice.hardware.gpus import Gpu
    from gpuslice.hardware.mig_profiles import MigProfile

_ALL = Fraction(1)


def whole(gpu: Gpu) -> Slice:
    """The GPU, uncut."""
    return Slice(gpu, Mechanism.WHOLE, 1, gpu.memory_mib, _ALL, _ALL)


def most_slots(gpu: Gpu, mechanism: Mechanism) -> int:
    """The most equal slots per GPU under time-slicing or MPS."""
    return min(MOST_SLOTS, gpu.mps_clients) if mechanism is Mechanism.MPS else MOST_SLOTS


def slot_time_milli(mechanism: Mechanism, replicas: int) -> int:
    """Thousandths of the GPU's time that a slot may have at most, so that any mix keeps to the sustained load."""
    return sustained_milli(mechanism) // replicas


def slot(gpu: Gpu, mechanism: Mechanism, replicas: int, time_milli: int | None = None) -> Slice:
    """One of `replicas` equal slots, under time-slicing or MPS.

    The kubelet picks the GPU and the scheduler counts slots, so every slot is sized for the worst mix of the pods
    admitted: an equal part of the memory, and `time_milli` of the GPU's time for each.

    Args:
        gpu: to cut.
        mechanism: TIME_SLICING or MPS.
        replicas: slots per GPU, 2 or more.
        time_milli: less than the most, where a pool admits only pods that take less, so that neighbours are lighter.

    Raises:
        InputError: more slots than the mechanism has on this GPU, or more time than the sustained load allows.
    """
    most = most_slots(gpu, mechanism)
    if not 2 <= replicas <= most:
        raise InputError(
            f"{mechanism.value} on {gpu.name} can't have {replicas} replicas", fix=f"choose 2 to {most}"
        )
    ceiling = slot_time_milli(mechanism, replicas)
    if time_milli is not None and not 1 <= time_milli <= ceiling:
        raise InputError(
            f"slot time {time_milli} is outside 1..{ceiling}", fix="lower it, or take fewer replicas"
        )
    # MPS gives each client 100/replicas % of the threads. Nothing divides bandwidth, so an equal part is all that a
    # client can count on.
    share = Fraction(1, replicas) if mechanism is Mechanism.MPS else _ALL
    return Slice(
        gpu,
        mechanism,
        replicas,
        gpu.memory_mib // replicas,
        share,
        share,
        ceiling if time_milli is None else time_milli,
    )


def metered(gpu: Gpu, time_milli: int, replicas: int = METERED_REPLICAS) -> Slice:
    """A whole single GPU whose memory and time the scheduler counts, pod by pod."""
    return Slice(
        gpu,
        Mechanism.TIME_SLICING,
        replicas,
        gpu.memory_mib,
        _ALL,
        _ALL,
        time_milli,
        metered_milli=time_milli,
    )


def metered_memory_mib(gpu: Gpu) -> int:
    """What a metered node promises of its GPU's memory: the usable, less the margin."""
    return less_margin(gpu.memory_mib)


def mig(gpu: Gpu, profile: MigProfile) -> Slice:
    """One MIG instance: its own SMs, memory and caches.

    Raises:
        InputError: the GPU has no MIG.
    """
    if gpu.mig is None:
        raise InputError(f"{gpu.name} has no MIG", fix="choose another mechanism")
    return Slice(
        gpu,
        Mechanism.MIG,
        1,
        profile.memory_mib,
        compute_share(gpu, profile),
        bandwidth_share(gpu.mig, profile),
        profile=profile,
    )


def fractional(gpu: Gpu, fraction: Fraction) -> Slice:
    """A fractional instance type's part of a card: memory is fixed; AWS gives compute as the same part."""
    return Slice(
        gpu,
        Mechanism.FRACTIONAL,
        1,
        int(gpu.memory_mib * fraction),
        fraction,
        fraction,
        fraction=fraction,
    )
