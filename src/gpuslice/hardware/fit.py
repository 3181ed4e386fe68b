"""Does a slice give a need what it asks for? The one function that decides; everything else asks it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from functools import cache, lru_cache
from typing import TYPE_CHECKING

from gpuslice.hardware.cut import most_slots, slot, slot_time_milli
from gpuslice.hardware.features import Feature
from gpuslice.hardware.gpus import GPUS
from gpuslice.hardware.mechanisms import Mechanism
from gpuslice.hardware.need import ANY_GPU
from gpuslice.hardware.sharing import (
    EFFICIENCY,
    MOST_SLOTS,
    SEES_ALL,
    SUSTAINED_LOAD,
    contention,
    less_margin,
)
from gpuslice.units import PPM, format_memory

if TYPE_CHECKING:
    from gpuslice.hardware.gpus import Gpu
    from gpuslice.hardware.need import Need
    from gpuslice.hardware.slices import Slice


class Binds(StrEnum):
    """What decided against a slice."""

    MODEL = "model"  # not among the models allowed, or none known
    CAPABILITY = "compute capability"
    FEATURE = "feature"
    COUNT = "several GPUs"
    UNKNOWN = "need unknown"
    PROFILE = "no profile"
    ISOLATION = "isolation"
    PREALLOCATION = "preallocation"
    GANG = "one job"
    MEMORY = "memory"
    LOAD = "sustained load"
    SLOWDOWN = "slowdown"


@dataclass(frozen=True, slots=True)
class Fit:
    """Whether a slice fits a need, and what follows if it does.

    Attributes:
        binds: what refused it; None: it fits.
        reason: that in words, with figures; empty where it fits.
        slowdown: expected, against the GPU that the need was read on; None where not known.
        utilisation: mean share of the slice that is kept busy; for shared slices of the whole GPU; None: not known.
        time_milli: thousandths of the device's time that it takes, rounded up; None where not known.
    """

    binds: Binds | None = None
    reason: str = ""
    slowdown: Fraction | None = None
    utilisation: Fraction | None = None
    time_milli: int | None = None

    @property
    def fits(self) -> bool:
        """Whether every rule is kept."""
        return self.binds is None


def fit(need: Need, slice_: Slice) -> Fit:
    """Decide by the rules, in the order in which a person would ask: may it, can it, is it big and fast enough.

    Pure. The slice is taken at its worst: with the neighbours that its pool may admit.
    """
    refusal = _may_run(need, slice_) or _can_share(need, slice_)
    if refusal is not None:
        return refusal
    if need.slices:
        return _as_measured(need, slice_)
    on = GPUS[need.on] if need.on is not None else None
    if need.memory_mib is not None:
        refusal = _memory(need.memory_mib, on, slice_)
        if refusal is not None:
            return refusal
    refusal = _as_today(need, on, slice_.gpu)
    if refusal is not None:
        return refusal
    if need.duty_ppm is None or on is None:
        return Fit()
    return _speed(need, need.duty_ppm, on, slice_)


def slot_times(need: Need, gpu: Gpu, mechanism: Mechanism) -> dict[int, tuple[int, int]]:
    """Which equal slots fit a need: by replicas per GPU, the slot times between which `fit` says yes.

    The same answers as asking `fit` for every count of replicas and every slot time, in one step: planning needs
    them all, and most of the work is the same for each.

    Args:
        need: of a replica.
        gpu: to cut.
        mechanism: TIME_SLICING or MPS.

    Returns:
        Thousandths of the GPU's time, (its own, the most bearable), under MPS always (1, the ceiling). Replicas that
        don't fit are absent, and so are all for a need
        that was measured on slices. Who doesn't fit k slots fits no more than k either, so the keys are 2..k or none.
    """
    times: dict[int, tuple[int, int]] = {}
    if (
        need.slices
        or mechanism not in gpu.mechanisms
        or need.memory_mib is None
        or need.duty_ppm is None
        or need.on is None
        or need.memory_mib > less_margin(gpu.memory_mib // 2)
    ):
        return times
    probe = slot(gpu, mechanism, 2)
    if _may_run(need, probe) or _can_share(need, probe):
        return times
    reach = _reach(mechanism, gpu, GPUS[need.on], need.max_slowdown_milli)
    if reach is None:
        return times
    own = _time_milli(need.duty_ppm, reach.rate)
    partition_most = (
        reach.load.numerator * PPM // (reach.load.denominator * need.duty_ppm)
        if need.duty_ppm
        else MOST_SLOTS
    )
    for replicas, ceiling, usable in _slots(gpu, mechanism):
        if need.memory_mib > usable:
            break
        if mechanism is Mechanism.MPS:
            if replicas > reach.slower or replicas > max(partition_most, reach.faster):
                break
            times[replicas] = 1, ceiling
            continue
        most = ceiling
        if replicas > reach.contended:
            most = min(ceiling, reach.neighbours_milli // (replicas - 1))
        if own > most:
            break
        times[replicas] = own, most
    return times


@cache
def _slots(gpu: Gpu, mechanism: Mechanism) -> tuple[tuple[int, int, int], ...]:
    """Equal slots of a GPU: replicas, the most time of each, thousandths, and the memory that may be given away."""
    slots = []
    for replicas in range(2, most_slots(gpu, mechanism) + 1):
        ceiling = slot_time_milli(mechanism, replicas)
        if not ceiling:
            break
        slots.append((replicas, ceiling, less_margin(gpu.memory_mib // replicas)))
    return tuple(slots)


@dataclass(frozen=True, slots=True)
class _Reach:
    """What the slots of a GPU can do for work of one GPU with one limit, whatever its duty.

    Attributes:
        rate: of the whole GPU against the other.
        load: that all parts together may carry, of the other GPU's time.
        slower: under MPS, the most parts with which the limit is kept.
        faster: the most parts of which each is as fast as the other GPU.
        contended: under time-slicing, the most slots with which the limit is kept under full contention.
        neighbours_milli: thousandths of the time that neighbours may take before the limit is passed.
    """

    rate: Fraction
    load: Fraction
    slower: int
    faster: int
    contended: int
    neighbours_milli: int


@lru_cache(maxsize=4096)
def _reach(mechanism: Mechanism, gpu: Gpu, on: Gpu, max_slowdown_milli: int | None) -> _Reach | None:
    """None where even the whole GPU is too slow."""
    rate, efficiency = _rate(gpu, on, 1, 1, 1, 1), EFFICIENCY[mechanism]
    load = SUSTAINED_LOAD * efficiency * rate
    if max_slowdown_milli is None:
        return _Reach(rate, load, MOST_SLOTS, int(rate), MOST_SLOTS, 0)
    limit = max(max_slowdown_milli, 1000) * rate / 1000
    if limit < 1:
        return None
    bearable = int(1000 * efficiency * (1 - 1 / limit))
    return _Reach(rate, load, int(limit), int(rate), int(limit * efficiency), bearable)


def _may_run(need: Need, slice_: Slice) -> Fit | None:
    gpu = slice_.gpu
    if need.allow and ANY_GPU not in need.allow and gpu.name not in need.allow:
        return Fit(Binds.MODEL, f"{gpu.name} is not among the GPUs allowed ({', '.join(sorted(need.allow))})")
    if need.assumed_on is not None and gpu.name != need.assumed_on:
        return Fit(
            Binds.MODEL,
            f"{gpu.name} is not the {need.assumed_on} that it is assumed to have today: state gpuslice.io/gpu-model",
        )
    if need.min_compute_capability is not None:
        least = need.min_compute_capability
    elif need.on is not None and not need.allow:
        least = GPUS[need.on].compute_capability
    else:
        least = (0, 0)  # the owner named the models
    if need.gpus > 1 and need.on is not None and not need.allow and gpu.name != need.on:
        return Fit(
            Binds.MODEL,
            f"{gpu.name} is not today's model, and how fast several GPUs of a pod talk to each other there is "
            "not known: name it in gpu.allow if it will do",
        )
    if gpu.compute_capability < least:
        return Fit(
            Binds.CAPABILITY,
            f"{gpu.name} has compute capability {_version(gpu.compute_capability)}, below {_version(least)}",
        )
    lacking = need.features and need.features - _features(slice_)
    if lacking:
        what = gpu.name if slice_.profile is None else f"{slice_.profile.name} of {gpu.name}"
        return Fit(Binds.FEATURE, f"{what} lacks {', '.join(sorted(lacking))}")
    return None


def _features(slice_: Slice) -> frozenset[Feature]:
    """What the GPU has, less the engines that a MIG instance has no part of."""
    profile = slice_.profile
    if profile is None:
        return slice_.gpu.features
    engines = {
        Feature.ENCODER: profile.encoders,
        Feature.DECODER: profile.decoders,
        Feature.JPEG: profile.jpeg_engines,
    }
    return slice_.gpu.features - {feature for feature, count in engines.items() if not count}


def _can_share(need: Need, slice_: Slice) -> Fit | None:
    if slice_.isolation.rank < need.isolation.rank:
        return Fit(
            Binds.ISOLATION,
            f"{slice_.mechanism.value} isolates {slice_.isolation.value}, wanted is {need.isolation.value}",
        )
    if slice_.mechanism is Mechanism.WHOLE:
        return None
    if need.gpus > 1:
        return Fit(Binds.COUNT, f"{need.gpus} GPUs per pod come only whole")
    if not need.known and not need.slices:
        missing = [
            word
            for word, value in (
                ("memory", need.memory_mib),
                ("duty", need.duty_ppm),
                ("the GPU it runs on", need.on),
            )
            if value is None
        ]
        return Fit(Binds.UNKNOWN, f"{' and '.join(missing)} not known: nothing is sliced on a guess")
    if need.gang and slice_.mechanism is not Mechanism.FRACTIONAL:
        # NCCL tells devices apart by their bus ids, which MIG instances of one GPU share, and refuses one twice.
        return Fit(
            Binds.GANG, "its pods are one job, and NCCL takes no GPU twice: no two of them may share one"
        )
    if slice_.mechanism in SEES_ALL and not need.limitable:
        return Fit(
            Binds.PREALLOCATION,
            f"it takes all the memory that it sees, which under {slice_.mechanism.value} is the whole GPU's, "
            "and its own limit can't be set here",
        )
    return None


def _as_measured(need: Need, slice_: Slice) -> Fit:
    """What was measured on a slice needs no arithmetic, but for the memory that it is said to need."""
    if slice_.name not in need.slices:
        return Fit(Binds.PROFILE, "no profile measured there meets the objective")
    if need.memory_mib is None:
        return Fit()
    return _memory(need.memory_mib, None, slice_) or Fit()


def _memory(memory_mib: int, on: Gpu | None, slice_: Slice) -> Fit | None:
    usable = slice_.memory_mib
    # It runs today on a GPU of this much memory, alone: the margin is for what is new.
    if slice_.sharers > 1 or on is None or usable < on.memory_mib:
        usable = less_margin(usable)
    if memory_mib > usable:
        return Fit(Binds.MEMORY, f"needs {format_memory(memory_mib)}, a slice has {format_memory(usable)}")
    return None


def _as_today(need: Need, on: Gpu | None, gpu: Gpu) -> Fit | None:
    """A whole GPU for a need not all known: as good as today's in what isn't, unless the owner named the models."""
    if need.allow or need.assumed_on is not None:
        return None
    if on is None:
        return Fit(Binds.MODEL, "no GPU model is known: state gpuslice.io/gpu-model, or give --today")
    unknown = []
    if need.memory_mib is None:
        unknown.append(("memory", gpu.memory_mib, on.memory_mib))
    if need.duty_ppm is None:
        unknown.append(("compute", gpu.dense_gflops, on.dense_gflops))
        unknown.append(("bandwidth", gpu.bandwidth_gbs, on.bandwidth_gbs))
    for word, here, today in unknown:
        if here < today:
            return Fit(Binds.UNKNOWN, f"{gpu.name} has less {word} than {on.name}, and the need is not known")
    return None


def _speed(need: Need, duty_ppm: int, on: Gpu, slice_: Slice) -> Fit:
    gpu, mechanism = slice_.gpu, slice_.mechanism
    # Roofline: what binds is seldom known, so the worse of compute and bandwidth counts.
    compute, bandwidth = slice_.compute, slice_.bandwidth
    rate = _rate(gpu, on, compute.numerator, compute.denominator, bandwidth.numerator, bandwidth.denominator)
    busy = Fraction(duty_ppm * rate.denominator, PPM * rate.numerator)
    time_milli = _time_milli(duty_ppm, rate)
    if mechanism is Mechanism.TIME_SLICING:
        if time_milli > slice_.time_milli:
            return Fit(
                Binds.LOAD,
                f"keeps {gpu.name} busy {_percent(busy)} of the time, a slot has {_percent(slice_.time_milli)}",
            )
        neighbours = (
            slice_.time_milli - time_milli
            if slice_.metered_milli is not None
            else slice_.time_milli * (slice_.sharers - 1)
        )
        slowdown = _contention(mechanism, slice_.sharers, neighbours) / rate
    else:
        # Alone, or in a part of its own. A slice as fast as today's GPU carries today's load, however high.
        if rate < 1 and busy > (ceiling := SUSTAINED_LOAD * EFFICIENCY[mechanism]):
            return Fit(
                Binds.LOAD,
                f"would keep the slice busy {_percent(busy)} of the time, sustained is {_percent(ceiling)} at most",
            )
        slowdown = 1 / rate
    most = need.max_slowdown_milli
    if most is not None and slowdown.numerator * 1000 > max(most, 1000) * slowdown.denominator:
        return Fit(
            Binds.SLOWDOWN,
            f"would be {float(slowdown):.1f} times slower than on {on.name}, allowed is {most / 1000:g}",
        )
    return Fit(slowdown=slowdown, utilisation=busy, time_milli=time_milli)


@lru_cache(maxsize=4096)
def _rate(gpu: Gpu, on: Gpu, compute: int, of_compute: int, bandwidth: int, of_bandwidth: int) -> Fraction:
    """How fast work runs in that part of a GPU, against the whole of another.

    The parts as numerators and denominators: asked for a hundred thousand times, and fractions are slow to hash.
    """
    return min(
        Fraction(gpu.dense_gflops * compute, on.dense_gflops * of_compute),
        Fraction(gpu.bandwidth_gbs * bandwidth, on.bandwidth_gbs * of_bandwidth),
    )


def _time_milli(duty_ppm: int, rate: Fraction) -> int:
    """Thousandths of the time that work keeps a slice of this rate busy, rounded up."""
    return -(-duty_ppm * 1000 * rate.denominator // (PPM * rate.numerator))


@lru_cache(maxsize=8192)
def _contention(mechanism: Mechanism, sharers: int, neighbours_milli: int) -> Fraction:
    return contention(mechanism, sharers, Fraction(neighbours_milli, 1000))


def _version(capability: tuple[int, int]) -> str:
    return f"{capability[0]}.{capability[1]}"


def _percent(share: Fraction | int) -> str:
    value = share / 10 if isinstance(share, int) else float(share * 100)
    return f"{value:.3g}%"
