"""A workload by the few figures that a test is about; all others are such that they bind nowhere."""

from typing import Any

from gpuslice.hardware.need import Need
from gpuslice.workloads.model import Workload

_OF_THE_NEED = (
    "allow",
    "features",
    "gpus",
    "isolation",
    "limitable",
    "max_slowdown_milli",
    "min_compute_capability",
)


def workload(
    name: str = "red/app",
    replicas: int = 1,
    on: str | None = "L4",
    memory: int | None = 2000,
    duty: float | None = 0.02,
    *,
    cpu: int = 500,
    ram: int = 1024,
    **more: Any,
) -> Workload:
    """A workload of the tenant before the slash of its name.

    Args:
        name: namespace/name.
        replicas: how many pods.
        on: the GPU that `duty` is of; None where nobody knows it.
        memory: MiB of GPU memory; None where nobody knows it.
        duty: share of the time that one replica keeps the GPU busy; None where nobody knows it.
        cpu: milli-CPU of a pod.
        ram: MiB of main memory of a pod.
        more: other fields of the need or of the workload, by their names there.
    """
    need = Need(
        memory_mib=memory,
        duty_ppm=None if duty is None else round(duty * 1_000_000),
        on=on,
        **{field: more.pop(field) for field in _OF_THE_NEED if field in more},
    )
    more.setdefault("tenant", name.partition("/")[0])
    return Workload(name, replicas, cpu, ram, need, **more)
