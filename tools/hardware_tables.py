"""The pages of hardware: GPU models with the source of every figure, and MIG profiles."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

from gpuslice.cloud.snapshot import bundled
from gpuslice.hardware.gpus import GPUS
from gpuslice.hardware.mechanisms import Mechanism
from gpuslice.hardware.mig import bandwidth_share, compute_share, maximal_geometries
from gpuslice.hardware.stacks import uniform_geometries
from tools.markdown import page, table

if TYPE_CHECKING:
    from gpuslice.hardware.gpus import Gpu
    from gpuslice.hardware.mig_profiles import MigTable

_CONFIDENCES: Final = """\
How far a figure can be trusted:

- **read**: by this project, from a real card;
- **published**: in the vendor's or AWS's documentation, or in readings that others published;
- **inferred**: derived from a sibling. Nobody we know of has read it.
"""
_GPUS: Final = """\
Usable memory is what CUDA shows a process on the whole card: less than the card's name says. Compute is dense tensor
throughput in bf16 (fp16 where there is no bf16), without sparsity.
"""
_MIG: Final = """\
A GPU in MIG mode is a row of memory slices. A profile takes neighbouring memory slices, may start only at certain ones,
and takes compute slices besides. Which instances can be together follows from that. Memory is what an instance really
has; the number in a profile's name is not it. Shares are those of the whole GPU and are what plans count with;
compute goes by multiprocessors, bandwidth by memory slices.

Media-extension profiles (`+me`) are known, but plans don't use them.
"""
_FIELD_WORDS: Final = {
    "memory_mib": "usable memory",
    "sms": "multiprocessors",
    "compute_capability": "compute capability",
    "dense_gflops": "dense throughput",
    "bandwidth_gbs": "bandwidth",
    "encoders": "encoders",
    "decoders": "decoders",
    "jpeg_engines": "JPEG engines",
    "ofa_engines": "optical-flow engines",
}


def gpus() -> str:
    """The page of GPU models."""
    return page(
        "GPU models",
        _GPUS,
        table(
            (
                "GPU",
                "usable MiB",
                "multiprocessors",
                "compute capability",
                "dense TFLOPS",
                "GB/s",
                "encoders",
                "decoders",
                "JPEG",
                "most MPS clients",
            ),
            [_figures(each) for each in GPUS.values()],
            right=("usable MiB", "multiprocessors", "dense TFLOPS", "GB/s", "most MPS clients"),
        ),
        "## Mechanisms and instance types",
        _types(),
        "## Sources",
        _CONFIDENCES,
        table(
            ("GPU", "figure", "source", "confidence"),
            [
                (each.name, ", ".join(words), source, confidence)
                for each in GPUS.values()
                for (source, confidence), words in _by_source(each).items()
            ],
        ),
    )


def mig() -> str:
    """The page of MIG profiles."""
    parts = []
    for gpu in GPUS.values():
        if gpu.mig is not None:
            parts += [f"## {gpu.name}", _profiles(gpu, gpu.mig), _geometries(gpu.name, gpu.mig)]
    return page("MIG profiles", _MIG, _CONFIDENCES, *parts)


def _figures(gpu: Gpu) -> tuple[object, ...]:
    return (
        gpu.name,
        f"{gpu.memory_mib:,}",
        gpu.sms,
        ".".join(map(str, gpu.compute_capability)),
        f"{gpu.dense_gflops / 1000:g}",
        f"{gpu.bandwidth_gbs:,}",
        gpu.encoders,
        gpu.decoders,
        gpu.jpeg_engines,
        gpu.mps_clients,
    )


def _types() -> str:
    catalog = bundled()
    types: dict[str, list[str]] = defaultdict(list)
    for each in catalog.instance_types:
        types[each.gpu].append(each.name)
    rows = [
        (
            each.name,
            ", ".join(mechanism.value for mechanism in Mechanism if mechanism in each.mechanisms),
            ", ".join(types[each.name]),
        )
        for each in GPUS.values()
    ]
    count = len(catalog.instance_types)
    return (
        f"The bundled catalog has {count} instance types of {catalog.region}, with prices of "
        f"{catalog.prices_date}. Source: {catalog.source}.\n\n"
        + table(("GPU", "mechanisms", "instance types in the bundled catalog"), rows)
    )


def _by_source(gpu: Gpu) -> dict[tuple[str, str], list[str]]:
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for fact in gpu.facts:
        found[fact.source, fact.confidence.value].append(_FIELD_WORDS[fact.field])
    return found


def _profiles(gpu: Gpu, offered: MigTable) -> str:
    return table(
        (
            "profile",
            "usable MiB",
            "multiprocessors",
            "share of compute",
            "share of bandwidth",
            "memory slices",
            "may start at",
            "most per GPU",
            "decoders",
            "confidence",
        ),
        [
            (
                each.name,
                f"{each.memory_mib:,}",
                each.sms,
                f"{float(compute_share(gpu, each)):.3f}",
                f"{float(bandwidth_share(offered, each)):.3f}",
                f"{each.memory_slices} of {offered.grid}",
                ", ".join(map(str, each.starts)),
                each.most,
                each.decoders,
                each.confidence.value,
            )
            for each in offered.plain
        ],
        right=(
            "usable MiB",
            "multiprocessors",
            "share of compute",
            "share of bandwidth",
            "most per GPU",
            "decoders",
        ),
    )


def _geometries(name: str, offered: MigTable) -> str:
    plain = {each.name for each in offered.plain}
    full = [each for each in maximal_geometries(offered) if all(profile in plain for profile, _ in each)]
    uniform = ", ".join(f"{count} × {profile}" for profile, count in uniform_geometries(name).items())
    listed = "; ".join(sorted(str(each) for each in full))
    return f"Geometries to which nothing can be added ({len(full)}): {listed}.\n\n" + (
        f"On the stack `bottlerocket`: {uniform}." if uniform else "On the stack `bottlerocket`: none."
    )
