"""The GPU models: what each can do, and how names of people, Karpenter and NVIDIA's labels lead to them.

The figures and their sources are in `gpu_tables`, the MIG profiles in `mig_tables`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from gpuslice.errors import InputError, nearest
from gpuslice.hardware.facts import Confidence, Fact
from gpuslice.hardware.features import Feature
from gpuslice.hardware.gpu_tables import ROWS, Figure, Row
from gpuslice.hardware.mechanisms import Mechanism
from gpuslice.hardware.mig_profiles import MigTable


@dataclass(frozen=True, slots=True, eq=False)
class Gpu:
    """One model. There is one object of each, in `GPUS`, equal only to itself: comparing figures would be slow.

    Attributes:
        name: what users write, and what plans say.
        product: GPU Feature Discovery's `nvidia.com/gpu.product`, not shared, MIG off.
        instance_gpu_name: Karpenter's `karpenter.k8s.aws/instance-gpu-name`. "a100" stands for two models.
        memory_mib: usable by processes, MIG off: CUDA's total, not NVML's.
        sms: streaming multiprocessors.
        compute_capability: (major, minor).
        dense_gflops: dense tensor throughput in bf16 (fp16 before Ampere), GFLOPS.
        bandwidth_gbs: memory bandwidth, GB/s.
        encoders, decoders, jpeg_engines, ofa_engines: NVENC, NVDEC, NVJPG and optical-flow engines.
        features: that a workload may ask for.
        mechanisms: ways in which it can be divided.
        mps_clients: the most that share it by MPS.
        mig: its MIG profiles, or None.
        facts: one for each figure above.
    """

    name: str
    product: str
    instance_gpu_name: str
    memory_mib: int
    sms: int
    compute_capability: tuple[int, int]
    dense_gflops: int
    bandwidth_gbs: int
    encoders: int
    decoders: int
    jpeg_engines: int
    ofa_engines: int
    features: frozenset[Feature]
    mechanisms: frozenset[Mechanism]
    mps_clients: int
    mig: MigTable | None
    facts: tuple[Fact, ...]

    def fact(self, field: str) -> Fact:
        """Where that field's figure comes from.

        Raises:
            KeyError: not a field with a figure.
        """
        return {fact.field: fact for fact in self.facts}[field]


def _gpu(row: Row) -> Gpu:
    """A row of the table, and what follows from its figures."""
    capability, engines = row.compute_capability, row.engines
    figures = {
        "memory_mib": row.memory_mib,
        "sms": row.sms,
        "dense_gflops": row.dense_gflops,
        "bandwidth_gbs": row.bandwidth_gbs,
        "encoders": Figure(engines.encoders, engines.source, engines.confidence),
        "decoders": Figure(engines.decoders, engines.source, engines.confidence),
        "jpeg_engines": Figure(engines.jpeg_engines, engines.source, engines.confidence),
        "ofa_engines": Figure(engines.ofa_engines, engines.source, engines.confidence),
    }
    features = {
        Feature.BF16: capability >= (8, 0),
        Feature.FP8: capability >= (8, 9),
        Feature.FP4: capability >= (10, 0),
        Feature.ENCODER: engines.encoders > 0,
        Feature.DECODER: engines.decoders > 0,
        Feature.JPEG: engines.jpeg_engines > 0,
    }
    mechanisms = {
        Mechanism.WHOLE: True,
        Mechanism.TIME_SLICING: True,
        Mechanism.MPS: capability >= (7, 0),
        Mechanism.MIG: row.mig is not None,
        Mechanism.FRACTIONAL: row.fractional,
    }
    return Gpu(
        name=row.name,
        product=row.product,
        instance_gpu_name=row.instance_gpu_name,
        compute_capability=capability,
        **{field: figure.value for field, figure in figures.items()},
        features=frozenset(feature for feature, has in features.items() if has),
        mechanisms=frozenset(mechanism for mechanism, has in mechanisms.items() if has),
        # NVIDIA device plugin v0.20.0: clients of one MPS server, before and since compute capability 7.5.
        mps_clients=48 if capability >= (7, 5) else 16,
        mig=row.mig,
        facts=(
            Fact("compute_capability", "NVIDIA, CUDA GPU compute capability list", Confidence.PUBLISHED),
            *(Fact(field, figure.source, figure.confidence) for field, figure in figures.items()),
        ),
    )


GPUS: Final[Mapping[str, Gpu]] = MappingProxyType({gpu.name: gpu for gpu in map(_gpu, ROWS)})
"""Every model by its name, oldest first."""

# How people and tools write them, beside name, product and Karpenter's word. EC2 has no other card of these names.
_SPELLINGS: Final[dict[str, tuple[str, ...]]] = {
    "V100-32GB": ("V100", "Tesla V100", "V100-SXM2-32GB"),
    "A100-40GB": ("A100-SXM4-40GB", "A100-40G", "A100"),
    "A100-80GB": ("A100-SXM4-80GB", "A100-80G", "A100"),
    "H100": ("H100-80GB", "H100-80GB-HBM3", "H100-SXM", "H100-SXM5"),
    "H200": ("H200-141GB", "H200-SXM"),
    "B200": ("B200-180GB",),
    "B300": ("B300-SXM6-AC", "B300-SXM6"),
    "RTX-PRO-4500": (
        "RTX-PRO-Server-4500",
        "RTX-PRO-4500-Blackwell",
        "RTX-PRO-4500-Blackwell-Server-Edition",
    ),
    "RTX-PRO-6000": ("RTX-PRO-6000-Blackwell", "RTX-PRO-6000-Blackwell-Server-Edition"),
}
# GPU Feature Discovery's additions to a product's name.
_SHARING_SUFFIX: Final = re.compile(r"([-_ ]mig[-_ ][^/]{1,40}?)?([-_ ]shared)?$", re.IGNORECASE)


def gpu_named(text: str, *, memory_mib: int | None = None) -> Gpu:
    """The model that a name stands for: its name in any case, Karpenter's word, or a product label.

    Args:
        text: such as "A10G", "a10g", "NVIDIA-H100-80GB-HBM3", "Tesla-T4-SHARED", "NVIDIA-H200-MIG-1g.18gb".
        memory_mib: the card's memory as anybody reports it, to tell models of one name apart: "a100".

    Raises:
        InputError: no such model, or several.
    """
    written = text.strip()[:200]
    models = _BY_SPELLING.get(_squashed(_SHARING_SUFFIX.sub("", written)), ())
    if len(models) == 1:
        return models[0]
    shown = repr(written if len(written) <= 60 else written[:57] + "...")
    if not models:
        hint = _hint(written)
        raise InputError(
            f"no GPU of EC2 is named {shown}", fix=f"{hint} ".lstrip() + f"known: {', '.join(GPUS)}"
        )
    if memory_mib is None:
        names = " or ".join(gpu.name for gpu in models)
        raise InputError(f"{shown} is more than one GPU", fix=f"write {names}")
    return min(models, key=lambda gpu: abs(gpu.memory_mib - memory_mib))


def _hint(written: str) -> str:
    """The model that a name that isn't known most likely stands for, as a question; empty: none is like it."""
    words = set(re.split(r"[^A-Z0-9]+", written.upper()))
    # "H100" in "NVIDIA-H100-SXM4-80GB" says more than letters that are alike.
    alike = [name for name in GPUS if (head := name.partition("-")[0]) in words and not head.isalpha()]
    return f"did you mean {alike[0]!r}?" if alike else nearest(written.upper(), GPUS)


def _squashed(text: str) -> str:
    """A name without what spellings differ in: case, separators, the maker."""
    letters = "".join(letter for letter in text.lower() if letter.isalnum())
    return letters.removeprefix("nvidia").removeprefix("tesla")


def _by_spelling() -> dict[str, tuple[Gpu, ...]]:
    table: dict[str, tuple[Gpu, ...]] = {}
    for gpu in GPUS.values():
        spellings = (gpu.name, gpu.product, gpu.instance_gpu_name, *_SPELLINGS.get(gpu.name, ()))
        for spelling in dict.fromkeys(map(_squashed, spellings)):
            table[spelling] = (*table.get(spelling, ()), gpu)
    return table


_BY_SPELLING: Final = _by_spelling()
