"""`gpuslice measure prometheus` against a real server that holds a fortnight of a thousand pods: 242 million samples.

The server's storage is made once and kept outside the project. It is cut as a server with 15 days' retention cuts it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from bench.timing import PROGRAM, ROOT
from bench.tsdb import Chunk, Labels, chunks, write_block
from gpuslice.measure.dcgm_metrics import ACTIVITY, BUSY, MEMORY, UTILISATION
from gpuslice.measure.times import utc
from tools.prometheus import folder, serving

PODS: Final = 1000
WORKLOADS: Final = 100
DAYS: Final = 14
INTERVAL: Final = 30
METRICS: Final = (MEMORY, BUSY, UTILISATION, *ACTIVITY.values())
_KINDS: Final = 20  # of load, each replayed by so many pods
_SEED: Final = 14
_START: Final = 1_793_491_200  # 2026-11-01T00:00:00Z
_END: Final = _START + DAYS * 86_400
_BLOCK: Final = 18 * 3600
_GLANCE: Final = 0.1
_CACHE: Final = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gpuslice" / "bench"

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Measured:
    """One run.

    Attributes:
        seconds: of the whole client.
        client_cpu, server_cpu: processor time in seconds.
        client_mib: the most memory that the client held (resident).
        server_mib: the most of the server's own (resident, without the files that it maps).
        needs: how many workloads' needs it told.
        samples: that the server holds of the six metrics.
    """

    seconds: float
    client_cpu: float
    server_cpu: float
    client_mib: int
    server_mib: int
    needs: int
    samples: int


def measure(scratch: Path) -> Measured | str:
    """Run it once; in words why not."""
    programs = folder()
    if programs is None:
        return "measure prometheus (no Prometheus: make prometheus)"
    data = storage()
    file = scratch / "pods.yaml"
    file.write_text(_workloads())
    until = utc(_END)
    command = [PROGRAM, "measure", "prometheus", "-f", file, "--until", until, "--dry-run", "-o", "name"]
    with serving(programs, data) as server:
        seen = _Memory(server.pid)
        before = _cpu(server.pid)
        started = time.perf_counter()
        with subprocess.Popen(
            [*map(str, command), "--url", server.url], cwd=ROOT, stdout=subprocess.PIPE, text=True
        ) as client:
            found = (client.stdout.read() if client.stdout else "").split()
            _, status, used = os.wait4(client.pid, 0)
            client.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - started
        server_cpu = _cpu(server.pid) - before
        server_mib = seen.end()
    if client.returncode:
        return f"measure prometheus (exit code {client.returncode})"
    return Measured(
        seconds,
        used.ru_utime + used.ru_stime,
        server_cpu,
        used.ru_maxrss // 1024,
        server_mib,
        len(found),
        PODS * len(METRICS) * DAYS * 86_400 // INTERVAL,
    )


def storage() -> Path:
    """The server's storage, made where it isn't there yet: under a minute, and some 0.8 GiB."""
    place = _CACHE / f"prometheus-{PODS}x{len(METRICS)}x{DAYS}d-{INTERVAL}s-2"
    if place.exists():
        return place
    print("making the storage of a fortnight of a thousand pods", file=sys.stderr, flush=True)
    unfinished = place.with_name(f"{place.name}.{os.getpid()}")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    random = np.random.default_rng(_SEED)
    kinds = [_kind(random) for _ in range(_KINDS)]
    per_block = _BLOCK // INTERVAL
    for at in range(0, DAYS * 86_400 // INTERVAL, per_block):
        stored = [
            {name: _stored(values[at : at + per_block], at) for name, values in kind.items()}
            for kind in kinds
        ]
        one = _stored(np.ones(min(per_block, DAYS * 86_400 // INTERVAL - at)), at)
        write_block(unfinished, _series(stored, one))
    unfinished.rename(place)
    return place


def _stored(values: Floats, at: int) -> list[Chunk]:
    return chunks(
        [float(each) for each in values], (_START + INTERVAL + at * INTERVAL) * 1000, INTERVAL * 1000
    )


def _kind(random: np.random.Generator) -> dict[str, Floats]:
    """A fortnight of one kind of load: bursts between pauses by day and night, memory that moves in steps."""
    count = DAYS * 86_400 // INTERVAL
    day = 0.55 + 0.45 * np.sin(2 * np.pi * np.arange(count) * INTERVAL / 86_400 + random.uniform(0, 6))
    busy = np.where(random.random(count) < 0.6 * day, random.beta(1.5, 3, count), 0.0)
    steps = random.integers(4_000, 30_000, count // 40) // 2 * 2
    return {
        MEMORY: np.repeat(steps, 40).astype(np.float64),
        BUSY: busy.round(6),
        UTILISATION: (busy * 100).round(),
        ACTIVITY["sm"]: (busy * random.uniform(0.3, 0.9)).round(6),
        ACTIVITY["tensor"]: (busy * random.uniform(0.05, 0.4)).round(6),
        ACTIVITY["dram"]: (busy * random.uniform(0.1, 0.6)).round(6),
    }


def _series(stored: list[dict[str, list[Chunk]]], one: list[Chunk]) -> Iterator[tuple[Labels, list[Chunk]]]:
    """As the DCGM exporter and kube-state-metrics label them: a GPU each, eight to a node."""
    for number in range(PODS):
        own = f"app-{number % WORKLOADS:03}"
        replica_set, pod = f"{own}-7d9f6bcdf4", f"{own}-7d9f6bcdf4-{number // WORKLOADS:05}"
        exporter = {
            "DCGM_FI_DRIVER_VERSION": "580.159.04",
            "Hostname": f"ip-10-0-{number // 8}.ec2.internal",
            "UUID": f"GPU-{number:08x}-0000-4000-8000-000000000000",
            "container": "main",
            "device": f"nvidia{number % 8}",
            "gpu": str(number % 8),
            "instance": f"10.0.{number // 8}.1:9400",
            "job": "nvidia-dcgm-exporter",
            "modelName": "NVIDIA A100-SXM4-40GB",
            "namespace": f"team-{number % 10}",
            "pci_bus_id": f"00000000:{number % 8:02x}:00.0",
            "pod": pod,
        }
        for name, found in stored[number % _KINDS].items():
            yield {"__name__": name, **exporter}, found
        state = {"instance": "10.0.0.9:8080", "job": "kube-state-metrics", "namespace": f"team-{number % 10}"}
        of_pod = {"pod": pod, "owner_kind": "ReplicaSet", "owner_name": replica_set, "uid": f"{number:08x}"}
        yield {"__name__": "kube_pod_owner", **state, **of_pod}, one
        if number < WORKLOADS:
            above = {"replicaset": replica_set, "owner_kind": "Deployment", "owner_name": own}
            yield {"__name__": "kube_replicaset_owner", **state, **above}, one


def _workloads() -> str:
    head = "apiVersion: gpuslice.io/v1alpha1\nkind: Workloads\nregion: us-east-1\nworkloads:\n"
    return head + "".join(
        f"- {{name: team-{number % 10}/app-{number:03}, target: {{kind: Deployment}}, replicas: 10}}\n"
        for number in range(WORKLOADS)
    )


class _Memory:
    """Looks again and again at what a process holds by itself: the kernel keeps no peak of that."""

    def __init__(self, pid: int) -> None:
        self._most = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, args=(Path(f"/proc/{pid}/status"),), daemon=True)
        self._thread.start()

    def _look(self, status: Path) -> None:
        while not self._over.wait(_GLANCE):
            for line in status.read_text().splitlines():
                if line.startswith("RssAnon:"):
                    self._most = max(self._most, int(line.split()[1]) // 1024)

    def end(self) -> int:
        """The most that was seen, MiB."""
        self._over.set()
        self._thread.join()
        return self._most


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
