"""What sharing is expected to cost a program, from what it does alone: slowdown and total throughput of equal copies.

`sharing` holds the bounds that plans keep: they must hold for every neighbour. Here is the expectation, for a person
who asks what sharing would do to a program, and it is held to measurements on an H100 and an H200 by a test.

Time-slicing. The GPU serves whoever asks, in turns. Copies that compute for a share `d` of the time and leave the GPU
alone for the rest are a closed queue: their slowdown follows by mean value analysis (Reiser and Lavenberg, 1980),
exact for processor sharing. Turns cost: `TURNS` of the throughput is left.

MPS as NVIDIA's device plugin sets it, 100/k % of the threads for each of k clients. Two things can bind:

    multiprocessors   A client reaches whole pairs of them, so 12 % of 132 is 14. Work that keeps more of them active
                      takes so many times longer; what it does beside the GPU stays, less what overlaps (`HOST`).
    memory            Nothing divides the bandwidth: the copies queue for it as for the GPU under time-slicing, up to
                      the part of the published bandwidth that programs reach (`REACHED`).

The worse of the two counts. Without a limit of threads, the copies queue for the multiprocessors too, and turns cost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gpuslice.hardware.gpus import Gpu
from gpuslice.hardware.mechanisms import Mechanism

TURNS: Final = 0.93
"""Throughput of saturating processes in turns, against one alone: 0.92 to 0.96 on H100 and H200, driver 580."""

HOST: Final = 0.9
"""What of the time beside the GPU stays when the GPU's part takes longer: programs prepare while it computes."""

REACHED: Final = 0.9
"""The share of its memory bandwidth that a card gives to programs: 0.87 to 0.96 read under MPS."""


@dataclass(frozen=True, slots=True)
class Activity:
    """What a program does with a whole GPU, alone: means over time, 0 to 1, as DCGM and NVML's GPM count them.

    Attributes:
        duty: share of time in which anything runs on the GPU (graphics engine active).
        sm: multiprocessors active.
        dram: memory bandwidth in use.
    """

    duty: float
    sm: float
    dram: float


def expected_slowdown(
    alone: Activity, mechanism: Mechanism, copies: int, gpu: Gpu, *, limited: bool = True
) -> float:
    """How many times longer each of so many equal copies takes than one alone on the whole GPU.

    Args:
        alone: what one does alone on this GPU.
        mechanism: TIME_SLICING or MPS; others share nothing.
        copies: on the GPU, 1 or more.
        gpu: the model.
        limited: MPS clients are limited to 100/copies % of the threads each.
    """
    if copies <= 1 or mechanism not in {Mechanism.TIME_SLICING, Mechanism.MPS}:
        return 1.0
    if mechanism is Mechanism.TIME_SLICING:
        return _queue(copies, alone.duty, alone.duty / TURNS)
    bandwidth = min(1.0, alone.dram / REACHED)
    memory = _queue(copies, bandwidth, bandwidth)
    if not limited:
        return max(memory, _queue(copies, alone.sm, alone.sm / TURNS))
    if alone.duty <= 0:
        return memory
    stretched = max(1.0, alone.sm / alone.duty / thread_share(gpu, copies))
    return max(1.0, memory, HOST * (1 - alone.duty) + alone.duty * stretched)


def thread_share(gpu: Gpu, replicas: int) -> float:
    """The share of the multiprocessors that an MPS client reaches when limited to 100/replicas % of the threads.

    Whole per cents as the device plugin sets them, and whole pairs of multiprocessors: read on H100 and H200, where
    50, 25 and 12 % of 132 are 66, 32 and 14.
    """
    pairs = gpu.sms * (100 // replicas) // 200
    return max(1, pairs) * 2 / gpu.sms


def _queue(copies: int, alone: float, in_turns: float) -> float:
    """A cycle of a closed queue with so many customers, against that of one: exact mean value analysis.

    Args:
        copies: customers.
        alone: share of its cycle that one spends in service when alone.
        in_turns: share of its cycle that one spends in service, with what taking turns costs.
    """
    waiting = alone  # mean customers in service, seen by the next
    cycle = 1.0
    for customers in range(2, copies + 1):
        response = in_turns * (1 + waiting)
        cycle = response + 1 - alone
        waiting = customers * response / cycle
    return cycle
