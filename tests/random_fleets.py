"""Random fleets, the same for the same seed: workloads.yaml of services, jobs and notebooks of several tenants."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from gpuslice.artefacts.documents import dump_yaml
from gpuslice.workloads.artefact import WorkloadSet
from gpuslice.workloads.sources import read

_GPUS: Final = {"T4": 14_000, "A10G": 21_000, "L4": 21_000, "A100-80GB": 76_000}
_TENANTS: Final = ("search", "media", "research", "health", "platform")


def fleet(seed: int, workloads: int = 50, *, tenants: int = 4, pods: int = 0, limits: bool = False) -> str:
    """workloads.yaml of a random fleet.

    Args:
        seed: the same seed, the same fleet.
        workloads: how many.
        tenants: how many, five at most.
        pods: so many in all, about; 0: as chance has it, some five a workload.
        limits: whether some pods are kept apart or spread by host, have host ports, or take storage of their node.
    """
    rng = random.Random(seed)
    listed = [_workload(rng, number, _TENANTS[:tenants]) for number in range(workloads)]
    if pods:
        share = pods / sum(each["replicas"] for each in listed)
        listed = [each | {"replicas": max(1, round(each["replicas"] * share))} for each in listed]
    if limits:
        listed = [each | {"takes": _takes(random.Random(f"{seed} {each['name']}"), each)} for each in listed]
    return dump_yaml(
        {
            "apiVersion": "gpuslice.io/v1alpha1",
            "kind": "Workloads",
            "region": "us-east-1",
            "workloads": listed,
        }
    )


def read_fleet(seed: int, workloads: int = 50, *, tenants: int = 4, limits: bool = False) -> WorkloadSet:
    """A random fleet as gpuslice reads it; see `fleet` for what is asked of it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "workloads.yaml"
        path.write_text(fleet(seed, workloads, tenants=tenants, limits=limits))
        return read(str(path), at="now", accept_assumed=False, region="us-east-1")


def _workload(rng: random.Random, number: int, tenants: Sequence[str]) -> dict[str, Any]:
    tenant = rng.choice(tenants)
    gpu = rng.choices(list(_GPUS), weights=(3, 5, 3, 1))[0]
    # Most need little, some nearly all: as production traces show it.
    share = rng.betavariate(1.2, 3)
    memory = max(600, int(_GPUS[gpu] * share))
    duty = round(min(0.95, max(0.02, rng.betavariate(1.3, 3))), 2)
    job = rng.random() < 0.25
    entry: dict[str, Any] = {
        "name": f"{tenant}/workload-{number:03d}",
        "target": {"kind": "Job" if job else "Deployment"},
        "replicas": min(40, 1 + int(rng.expovariate(0.2))),
        "pod": {
            "cpu": f"{rng.choice((250, 500, 1000, 2000, 3000))}m",
            "memory": f"{rng.choice((1, 2, 4, 8, 12))}Gi",
        },
        "need": {"memory": f"{memory}Mi", "duty": duty, "on": gpu, "source": "measured"},
    }
    if rng.random() < 0.2:
        entry["isolation"] = rng.choice(("memory", "hardware"))
    if not job and rng.random() < 0.5:
        entry["maxSlowdown"] = rng.choice((1.3, 1.5, 2.5, 4))
    return entry


def _takes(rng: random.Random, entry: dict[str, Any]) -> list[dict[str, Any]]:
    takes: list[dict[str, Any]] = []
    name, kind = entry["name"], rng.random()
    if kind < 0.2:
        takes.append({"resource": f"apart/{name}", "amount": 1, "most": 1})
    elif kind < 0.35:
        takes.append({"resource": f"spread/{name}", "amount": 1, "most": rng.randint(1, 3)})
    if rng.random() < 0.15:
        takes.append({"resource": f"host-port/TCP/{rng.choice((8080, 9000))}", "amount": 1, "most": 1})
    if rng.random() < 0.2:
        takes.append({"resource": "ephemeral-storage", "amount": f"{rng.randint(10, 120)}Gi"})
    return takes
