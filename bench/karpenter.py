"""How fast the model of Karpenter decides: crowds of pods over four pools."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import Final

from gpuslice.cloud.snapshot import bundled
from gpuslice.hardware.resource_names import SHARED_GPU, WHOLE_GPU
from gpuslice.karpenter.machines import machine
from gpuslice.karpenter.model import NodePool, Overlay, Pod, PodClass, Taint, Toleration
from gpuslice.karpenter.provision import provision
from gpuslice.karpenter.requirements import INSTANCE_TYPE, NODE_POOL, requirement
from gpuslice.karpenter.templates import Pools

SIZES: Final = (1_000, 5_000)
_CLASSES: Final = 50
_FAMILIES: Final = {
    "g6": ("g6.xlarge", "g6.2xlarge", "g6.12xlarge"),
    "g5": ("g5.xlarge", "g5.2xlarge", "g5.4xlarge"),
    "g4dn": ("g4dn.xlarge", "g4dn.2xlarge", "g4dn.12xlarge"),
    "g6e": ("g6e.xlarge", "g6e.2xlarge"),
}
_METERED: Final = "g5"
_SLOTS: Final = 4


@dataclass(frozen=True, slots=True)
class Crowd:
    """Four pools, one of them metered, and pods of fifty classes, each tied to a pool."""

    pools: tuple[NodePool, ...]
    overlays: tuple[Overlay, ...]
    pods: tuple[Pod, ...]


def crowd(pods: int, seed: int = 1) -> Crowd:
    """So many pods, the same for the same seed."""
    rng = random.Random(seed)
    kinds = bundled().by_name()
    pools: list[NodePool] = []
    overlays: list[Overlay] = []
    for family, names in _FAMILIES.items():
        types = tuple(machine(kinds[name]) for name in names)
        pools.append(NodePool(family, types, taints=(Taint("family", family),)))
        for kind in types:
            gpus = kind.capacity[WHOLE_GPU]
            capacity = {WHOLE_GPU: 0, SHARED_GPU: _SLOTS * gpus}
            if family == _METERED:
                capacity = {
                    WHOLE_GPU: 0,
                    SHARED_GPU: 16,
                    "gpuslice.io/gpu-memory": 22_000,
                    "gpuslice.io/gpu-time": 800,
                }
            scope = (requirement(NODE_POOL, "In", [family]), requirement(INSTANCE_TYPE, "In", [kind.name]))
            overlays.append(Overlay(f"{family}-{kind.name}", scope, capacity, weight=len(overlays) + 1))
    classes = [_class(rng, number) for number in range(_CLASSES)]
    waiting = (
        Pod(rng.choice(classes), rng.randint(0, 9), f"{rng.getrandbits(64):016x}") for _ in range(pods)
    )
    return Crowd(tuple(pools), tuple(overlays), tuple(waiting))


def seconds(of: Crowd) -> float:
    """CPU seconds that one decision takes, making the pools ready included."""
    start = time.process_time()
    pools = Pools(of.pools, overlays=of.overlays)
    provision(pools, [], of.pods)
    return time.process_time() - start


def _class(rng: random.Random, number: int) -> PodClass:
    family = rng.choice(list(_FAMILIES))
    requests = {
        "cpu": rng.choice([250, 500, 1000, 1500]),
        "memory": rng.choice([512, 1024, 2048, 4096]),
        SHARED_GPU: 1,
    }
    if family == _METERED:
        requests |= {
            "gpuslice.io/gpu-memory": rng.randint(1000, 15_000),
            "gpuslice.io/gpu-time": rng.randint(20, 300),
        }
    return PodClass(f"class-{number}", requests, tolerations=(Toleration("family", "Equal", family),))
