"""The page that holds the sharing model to measurements: predicted against measured, load by load."""

from __future__ import annotations

from collections.abc import Iterable

from gpuslice.hardware.gpus import GPUS
from gpuslice.hardware.mechanisms import Mechanism
from gpuslice.hardware.prediction import HOST, REACHED, TURNS, expected_slowdown
from tests.hardware.sharing_readings import Reading, readings
from tools.markdown import page, table

_TITLES = {
    (Mechanism.TIME_SLICING, False): "Time-slicing",
    (Mechanism.MPS, True): "MPS, 100/k % of the threads each",
    (Mechanism.MPS, False): "MPS without a limit of threads",
}
_GPUS = ("H100", "H200")


def sharing_page() -> str:
    """The page."""
    equal = [each for each in readings() if not each.neighbour and each.copies > 1]
    return page(
        "Sharing: predicted and measured",
        "How many times longer an iteration takes for each of k equal copies on one GPU, against one alone: "
        "**predicted** / measured. Read on an H100 80GB HBM3 and an H200 (NVIDIA driver 580.159.04, PyTorch 2.11, "
        "23 November 2026), 1.8 to 2.6 seconds a state after a warm-up. Programs that the host holds up (the networks "
        "without CUDA graphs) vary from run to run by up to 40 % by themselves; alone is the faster of two runs on "
        "the H200, one run on the H100. Eight copies without a limit on the H100 were read on 27 November (but for the "
        "compute- and memory-bound ones), of the loads of `bench/gpu_loads.py`, for 4 seconds a state, alone the "
        "faster of two runs. The [form of the model](../concepts/sharing.md) has three numbers: "
        f"{TURNS}, {HOST} and {REACHED}.",
        *(
            part
            for key, title in _TITLES.items()
            for part in _section(title, [each for each in equal if (each.mechanism, each.limited) == key])
        ),
        "## One copy under an MPS server",
        "Against the same program without a server: its milliseconds an iteration without / the slowdown with one "
        "(28 November 2026, `python -m bench.one_client --seconds 1.2 --rounds 6`: the fastest window of 0.15 seconds "
        "of six processes each way). Expected: 1. What differs by more than a few percent the host holds up.",
        table(("load", *_GPUS), _served(readings()), right=_GPUS),
        "## Beside others that fill the GPU",
        "The first is slowed so much by k - 1 neighbours of the second kind, measured; in brackets the part of its "
        "iteration that waits for the GPU. A plan never admits such neighbours: the sustained load forbids it.",
        table(
            ("load", "neighbours", "mechanism", "k", *_GPUS),
            _beside([each for each in readings() if each.neighbour]),
            right=("k", *_GPUS),
        ),
    )


def _section(title: str, found: list[Reading]) -> list[str]:
    sizes = sorted({each.copies for each in found})
    columns = [(gpu, k) for gpu in _GPUS for k in sizes]
    by_key = {(each.load, each.gpu, each.copies): each for each in found}
    rows = [
        [
            load,
            *(_cell(by_key.get((load, *column))) for column in columns),
            _errors(each for each in found if each.load == load),
        ]
        for load in dict.fromkeys(each.load for each in found)
    ]
    errors = [abs(_error(each)) for each in found]
    return [
        f"## {title}",
        table(
            ("load", *(f"{gpu} k={k}" for gpu, k in columns), "error: mean, worst"),
            rows,
            right=[f"{gpu} k={k}" for gpu, k in columns],
        ),
        f"All {len(errors)} readings: mean error {sum(errors) / len(errors):.1%}, worst {max(errors):.0%}.",
    ]


def _served(found: Iterable[Reading]) -> list[list[str]]:
    only = [each for each in found if each.mechanism is Mechanism.MPS and each.copies == 1]
    by_key = {(each.load, each.gpu): f"{each.alone_ms:g} / {each.slowdown:.2f}" for each in only}
    return [
        [load, *(by_key[load, gpu] for gpu in _GPUS)] for load in dict.fromkeys(each.load for each in only)
    ]


def _beside(found: list[Reading]) -> list[list[str]]:
    keys = dict.fromkeys((each.load, each.neighbour, each.mechanism, each.copies) for each in found)
    by_key = {(each.load, each.neighbour, each.mechanism, each.copies, each.gpu): each for each in found}
    return [
        [
            load,
            neighbour,
            mechanism.value,
            str(k),
            *(
                f"{each.slowdown:.2f} ({each.work_slowdown:.2f})"
                if (each := by_key.get((load, neighbour, mechanism, k, gpu)))
                else ""
                for gpu in _GPUS
            ),
        ]
        for load, neighbour, mechanism, k in keys
    ]


def _predicted(each: Reading) -> float:
    return expected_slowdown(each.alone, each.mechanism, each.copies, GPUS[each.gpu], limited=each.limited)


def _error(each: Reading) -> float:
    return _predicted(each) / each.slowdown - 1


def _cell(each: Reading | None) -> str:
    return "" if each is None else f"**{_predicted(each):.2f}** / {each.slowdown:.2f}"


def _errors(found: Iterable[Reading]) -> str:
    errors = [_error(each) for each in found]
    worst = max(errors, key=abs)
    return f"{sum(map(abs, errors)) / len(errors):.0%}, {worst:+.0%}"
