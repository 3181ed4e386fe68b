"""Readings that tests make up."""

import numpy as np

from gpuslice.hardware.gpus import GPUS
from gpuslice.measure.readings import BIN_SECONDS, Memory, Readings
from gpuslice.measure.statistics import Window
from gpuslice.workloads.measurement import Means

DAY = 86_400
START = 1_793_491_200  # 2026-11-01T00:00:00Z
FORTNIGHT = Window(14 * DAY, "2026-11-15T00:00:00Z", Means.PROMETHEUS)


def readings(replica="shop/search-0", *, days=14.0, duty=0.2, peak=3000.0, floor=None, model="A10G", **more):
    """A replica that is busy the same share of every window of so many days."""
    count = int(days * DAY // BIN_SECONDS)
    values = np.full(count, duty) if isinstance(duty, float | int) else np.asarray(duty, float)
    bins = more.pop("bins", START + np.arange(values.size, dtype=np.int64) * BIN_SECONDS)
    return Readings(
        replica,
        gpu=more.pop("gpu", replica),
        model=model,
        capacity_mib=None if model is None else GPUS[model].memory_mib,
        bins=bins,
        duty=values,
        weights=more.pop("weights", np.full(values.size, 10, np.int64)),
        memory=more.pop(
            "memory", None if peak is None else Memory(peak, peak / 2 if floor is None else floor, 40_000, 14)
        ),
        **more,
    )
