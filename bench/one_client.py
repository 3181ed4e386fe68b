"""Readings for tests/hardware/sharing_readings.csv: what a program loses by an MPS server that serves nobody else.

python -m bench.one_client [--seconds 0.8] [--rounds 5]

Needs PyTorch and torchvision. All loads run in one process, one after the other; such processes take turns: without a
server, with one, and again. Of each load the fastest window of 0.15 seconds counts, both ways, so that little
of what a busy host adds is left in.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext

from gpuslice.measure.copies import mps_daemon, only

_WARM_UP = 0.4  # seconds
_WINDOW = 0.15  # seconds; three iterations and more of every load


def main() -> None:
    """Measure, and print load, milliseconds of an iteration without a server, with one, and their ratio."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.one_client", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--seconds", type=float, default=0.8)
    parser.add_argument("--rounds", type=int, default=5, help="processes each way")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        _time_all(options.seconds)
        return
    found: dict[bool, dict[str, float]] = {False: {}, True: {}}
    for served in (False, True) * options.rounds:
        for load, took in _timed(options.seconds, served=served).items():
            found[served][load] = min(took, found[served].get(load, took))
    for load, alone in found[False].items():
        print(f"{load}\t{alone:.3f}\t{found[True][load]:.3f}\t{found[True][load] / alone:.3f}")


def _timed(seconds: float, *, served: bool) -> dict[str, float]:
    """Milliseconds of an iteration of each load, in a process of its own."""
    command = [sys.executable, "-m", "bench.one_client", "--here", "--seconds", str(seconds)]
    with mps_daemon(0) if served else nullcontext(only(0)) as environment:
        ended = subprocess.run(
            command, env={**os.environ, **environment}, stdout=subprocess.PIPE, text=True, check=True
        )
    lines = (line.split("\t") for line in ended.stdout.splitlines())
    return {load: float(took) for load, took in lines}


def _time_all(seconds: float) -> None:
    import torch

    from bench.gpu_loads import LOADS

    torch.set_default_device("cuda")  # weights drawn by the host would take longer than all that is timed
    for load, start in LOADS.items():
        step = start()
        until = time.monotonic() + _WARM_UP
        while time.monotonic() < until:
            step()
            torch.cuda.synchronize()
        until, took = time.monotonic() + seconds, float("inf")
        while time.monotonic() < until:
            took = min(took, _window(step) * 1000)
        print(f"{load}\t{took}", flush=True)
        print(
            f"{'with' if 'CUDA_MPS_PIPE_DIRECTORY' in os.environ else 'without'} a server: {load}: {took:.3f} ms",
            file=sys.stderr,
        )
        del step
        torch.cuda.empty_cache()


def _window(step: Callable[[], object]) -> float:
    """Seconds of an iteration, of a window of them."""
    import torch

    begun, done = time.monotonic(), 0
    while time.monotonic() < begun + _WINDOW:
        step()
        torch.cuda.synchronize()
        done += 1
    return (time.monotonic() - begun) / done


if __name__ == "__main__":
    main()
