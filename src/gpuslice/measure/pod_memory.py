"""GPU memory by pod, where many share a GPU: NVML tells it of each process, and cgroups whose pod that is.

It is the one reading that tells sharers of a GPU apart. It takes a look from the node itself, where processes have the
numbers that NVML gives them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from gpuslice.artefacts.documents import read_documents
from gpuslice.errors import InputError

_HOSTS: Final = "pid:[4026531836]"
"""The first namespace of processes, which the kernel numbers so (include/linux/proc_ns.h: PROC_PID_INIT_INO)."""
_POD: Final = re.compile(r"pod([0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12})")
_MEASURE: Final = "gpuslice measure gpu --all -o json, on the node"


class _Pod(Struct, frozen=True, rename="camel"):
    uid: str
    memory_mib: int = msgspec.field(name="memoryMiB")


class _Gpu(Struct, frozen=True):
    pods: tuple[_Pod, ...] | None = None


class _Gpus(Struct, frozen=True):
    gpus: tuple[_Gpu, ...]


def sees_the_hosts_processes(proc: Path = Path("/proc")) -> bool:
    """Whether a process's number here is its number for NVML: true on a node, and in a pod with hostPID."""
    try:
        return str((proc / "self/ns/pid").readlink()) == _HOSTS
    except OSError:
        return False


def pod_of(pid: int, proc: Path = Path("/proc")) -> str:
    """The uid of the pod that a process belongs to; empty: to none, or it is gone."""
    try:
        match = _POD.search((proc / str(pid) / "cgroup").read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return ""
    return match[1].replace("_", "-") if match else ""


def by_pod(held: Mapping[int, int | None], pods: Mapping[int, str]) -> dict[str, int]:
    """Memory of each pod's processes together, MiB, at one look; a pod of whose processes one isn't told is left out.

    Args:
        held: by process, MiB; None: the driver doesn't say.
        pods: the uid of each process's pod; empty: it has none.
    """
    memory_of: Counter[str] = Counter()
    unknown = {pods.get(pid, "") for pid, memory in held.items() if memory is None}
    for pid, memory in held.items():
        uid = pods.get(pid, "")
        if uid and uid not in unknown and memory is not None:
            memory_of[uid] += memory
    return dict(memory_of)


def load(path: str) -> dict[str, int]:
    """The most that each pod held at a time on the GPUs of a node, MiB by the pod's uid.

    Args:
        path: what `gpuslice measure gpu --all -o json` wrote there.

    Raises:
        InputError: it is something else, or tells no pods.
    """
    (document, *_) = read_documents(path)
    try:
        gpus = msgspec.convert(document.data, _Gpus).gpus
    except msgspec.ValidationError as error:
        raise InputError(
            f"is not what was measured on a node's GPUs: {error}",
            where=document.where,
            fix=f"make it by {_MEASURE}",
        ) from None
    if any(gpu.pods is None for gpu in gpus):
        raise InputError(
            "tells processes and no pods: it was measured where processes have other numbers than on the node",
            where=document.where,
            fix=f"make it by {_MEASURE} itself, or in a pod with hostPID: true",
        )
    memory_of: Counter[str] = Counter()
    for gpu in gpus:
        for pod in gpu.pods or ():
            memory_of[pod.uid] += pod.memory_mib
    return dict(memory_of)
