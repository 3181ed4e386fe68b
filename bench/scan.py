"""`gpuslice scan` of a cluster of ten thousand pods and a thousand nodes, from a local API server."""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from bench.api_server import NODES, PODS, serving
from bench.timing import PROGRAM, ROOT


@dataclass(frozen=True)
class Scanned:
    """Runs of one scan.

    Attributes:
        pods, nodes: that the cluster has.
        mib: of JSON that its lists are.
        seconds: of each run, the whole process.
        cpu: of each run, processor seconds of the process.
        peak_mib: the most memory that it held (resident), of all runs.
        workloads: that it found.
    """

    pods: int
    nodes: int
    mib: int
    seconds: tuple[float, ...]
    cpu: tuple[float, ...]
    peak_mib: int
    workloads: int


def measure(folder: Path, repeat: int) -> Scanned | str:
    """Scan it once to warm the disk, and then so many times; in words why not."""
    seconds, cpu, peak, found = [], [], 0, 0
    with serving() as server:
        config = folder / "kubeconfig-scan"
        config.write_text(
            "{apiVersion: v1, kind: Config, current-context: bench,\n"
            f"clusters: [{{name: bench, cluster: {{server: '{server.address}'}}}}],\n"
            "contexts: [{name: bench, context: {cluster: bench, user: bench}}],\n"
            "users: [{name: bench, user: {token: none}}]}\n"
        )
        out = folder / "scanned.yaml"
        command = [*map(str, (PROGRAM, "scan", "-A", "--kubeconfig", config, "--out", out))]
        for turn in range(repeat + 1):
            started = time.perf_counter()
            with subprocess.Popen(
                command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            ) as client:
                _, status, used = os.wait4(client.pid, 0)
                client.returncode = os.waitstatus_to_exitcode(status)
            if client.returncode:
                return f"scan of a large cluster (exit code {client.returncode})"
            if turn:  # the first warms the disk
                seconds.append(time.perf_counter() - started)
                cpu.append(used.ru_utime + used.ru_stime)
            peak = max(peak, used.ru_maxrss // 1024)
        found = out.read_text().count("- name: ")
    return Scanned(PODS, NODES, server.mib, tuple(seconds), tuple(cpu), peak, found)
