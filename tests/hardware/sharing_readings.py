"""Slowdowns of loads that shared a GPU, read on an H100 and an H200 (NVIDIA driver 580.159.04, 23 November 2026).

Equal copies of each load under time-slicing, under MPS limited to 100/copies % of the threads, and under MPS without a
limit; and loads beside others that fill the GPU. Alone: what one copy does on the whole GPU, by NVML's GPM counters.
Eight copies under MPS without a limit, but for the compute- and memory-bound ones, were read on the H100 on 27
November, of loads written anew (bench/gpu_loads.py) that differ a little: their rows carry what those do alone.
One copy under an MPS server was read on 28 November (bench/one_client.py), against one without.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

from gpuslice.hardware.mechanisms import Mechanism
from gpuslice.hardware.prediction import Activity


@dataclass(frozen=True)
class Reading:
    """One measured state of a GPU.

    Attributes:
        gpu, mechanism, limited, copies, load: what ran, and how it shared.
        neighbour: what the other copies were, where they were another load.
        alone_ms: of an iteration.
        slowdown: of a whole iteration, against alone.
        work_slowdown: of the part of it in which the GPU is waited for.
        alone: what one copy does alone.
    """

    gpu: str
    mechanism: Mechanism
    limited: bool
    copies: int
    load: str
    neighbour: str
    alone_ms: float
    slowdown: float
    work_slowdown: float
    alone: Activity


def readings() -> list[Reading]:
    with Path(__file__).with_suffix(".csv").open() as file:
        return [
            Reading(
                row["gpu"],
                Mechanism.TIME_SLICING if row["mechanism"] == "time-slicing" else Mechanism.MPS,
                row["mechanism"] == "mps",
                int(row["copies"]),
                row["load"],
                row["neighbour"],
                float(row["alone_ms"]),
                float(row["slowdown"]),
                float(row["work_slowdown"]),
                Activity(float(row["duty"]), float(row["sm"]), float(row["dram"])),
            )
            for row in csv.DictReader(file)
        ]
