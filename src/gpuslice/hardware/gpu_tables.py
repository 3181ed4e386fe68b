"""The figures of every NVIDIA GPU that EC2 offers, each with its source.

`memory_mib` is what CUDA shows a process on the whole card, MIG off: NVML's total less what the driver keeps. It
varies by up to some 100 MiB between driver versions; where published readings differ, a low one is taken, and the
planning margin covers the rest. `dense_gflops` is tensor throughput without sparsity, which NVIDIA's sheets often
print with it: theirs is then halved here.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from gpuslice.hardware import mig_tables
from gpuslice.hardware.facts import Confidence
from gpuslice.hardware.mig_profiles import MigTable


class Figure(NamedTuple):
    """A number that can't be had without its source."""

    value: int
    source: str
    confidence: Confidence


class Engines(NamedTuple):
    """Video and image engines, which one document lists together."""

    encoders: int
    decoders: int
    jpeg_engines: int
    ofa_engines: int
    source: str
    confidence: Confidence


class Row(NamedTuple):
    """One model. Fields as in `gpus.Gpu`.

    Attributes:
        fractional: EC2 offers instances with a part of this card.
    """

    name: str
    product: str
    instance_gpu_name: str
    compute_capability: tuple[int, int]
    memory_mib: Figure
    sms: Figure
    dense_gflops: Figure
    bandwidth_gbs: Figure
    engines: Engines
    mig: MigTable | None = None
    fractional: bool = False


_READ: Final = Confidence.READ
_PUBLISHED: Final = Confidence.PUBLISHED
_INFERRED: Final = Confidence.INFERRED

_CUDA: Final = "published readings of CUDA's total memory"
_VIDEO: Final = "NVIDIA Video Codec SDK, support matrix; nvJPEG documentation"
_MIG_GUIDE: Final = "NVIDIA MIG User Guide"
_NVML: Final = "NVML, driver 580.159.04"


def _sheet(product: str) -> str:
    return f"NVIDIA {product} data sheet"


ROWS: Final = (
    Row(
        name="T4",
        product="Tesla-T4",
        instance_gpu_name="t4",
        compute_capability=(7, 5),
        memory_mib=Figure(14909, f"{_CUDA}, 14.56 GiB; NVML shows 15,360 MiB", _PUBLISHED),
        sms=Figure(40, _sheet("T4"), _PUBLISHED),
        dense_gflops=Figure(65_000, f"{_sheet('T4')}, fp16", _PUBLISHED),
        bandwidth_gbs=Figure(320, _sheet("T4"), _PUBLISHED),
        engines=Engines(1, 2, 0, 0, _VIDEO, _PUBLISHED),
    ),
    Row(
        name="T4G",
        product="NVIDIA-T4G",
        instance_gpu_name="t4g",
        compute_capability=(7, 5),
        memory_mib=Figure(14909, "as T4; NVML shows the same 15,360 MiB", _INFERRED),
        sms=Figure(40, "as T4", _INFERRED),
        dense_gflops=Figure(65_000, "as T4", _INFERRED),
        bandwidth_gbs=Figure(320, "as T4", _INFERRED),
        engines=Engines(1, 2, 0, 0, "as T4", _INFERRED),
    ),
    Row(
        name="V100-32GB",
        product="Tesla-V100-SXM2-32GB",
        instance_gpu_name="v100",
        compute_capability=(7, 0),
        memory_mib=Figure(32491, f"{_CUDA}, 31.73 GiB", _PUBLISHED),
        sms=Figure(80, _sheet("V100"), _PUBLISHED),
        dense_gflops=Figure(125_000, f"{_sheet('V100')}, SXM2, fp16", _PUBLISHED),
        bandwidth_gbs=Figure(900, _sheet("V100"), _PUBLISHED),
        engines=Engines(3, 1, 0, 0, _VIDEO, _PUBLISHED),
    ),
    # Not the A10, which has fewer SMs and faster tensor cores.
    Row(
        name="A10G",
        product="NVIDIA-A10G",
        instance_gpu_name="a10g",
        compute_capability=(8, 6),
        memory_mib=Figure(22515, f"{_CUDA}, 22,515 to 22,587 MiB", _PUBLISHED),
        sms=Figure(80, "published readings of CUDA's multiprocessor count", _PUBLISHED),
        dense_gflops=Figure(70_000, f"{_sheet('A10G')}, 140 TFLOPS with sparsity", _PUBLISHED),
        bandwidth_gbs=Figure(600, _sheet("A10G"), _PUBLISHED),
        engines=Engines(1, 2, 0, 1, _VIDEO, _PUBLISHED),
    ),
    Row(
        name="L4",
        product="NVIDIA-L4",
        instance_gpu_name="l4",
        compute_capability=(8, 9),
        memory_mib=Figure(22558, f"{_CUDA}, 22.03 GiB; NVML shows 23,034 MiB", _PUBLISHED),
        sms=Figure(58, _sheet("L4"), _PUBLISHED),
        dense_gflops=Figure(121_000, f"{_sheet('L4')}, 242 TFLOPS with sparsity", _PUBLISHED),
        bandwidth_gbs=Figure(300, _sheet("L4"), _PUBLISHED),
        engines=Engines(2, 4, 4, 1, _sheet("L4"), _PUBLISHED),
        fractional=True,
    ),
    Row(
        name="L40S",
        product="NVIDIA-L40S",
        instance_gpu_name="l40s",
        compute_capability=(8, 9),
        memory_mib=Figure(45455, f"{_CUDA}, 44.39 to 44.52 GiB; NVML shows 46,068 MiB", _PUBLISHED),
        sms=Figure(142, _sheet("L40S"), _PUBLISHED),
        dense_gflops=Figure(362_000, f"{_sheet('L40S')}, 733 TFLOPS with sparsity", _PUBLISHED),
        bandwidth_gbs=Figure(864, _sheet("L40S"), _PUBLISHED),
        engines=Engines(3, 3, 4, 1, _VIDEO, _PUBLISHED),
    ),
    Row(
        name="A100-40GB",
        product="NVIDIA-A100-SXM4-40GB",
        instance_gpu_name="a100",
        compute_capability=(8, 0),
        memory_mib=Figure(40325, f"{_CUDA}, 39.38 to 39.56 GiB; NVML shows 40,960 MiB", _PUBLISHED),
        sms=Figure(108, _sheet("A100"), _PUBLISHED),
        dense_gflops=Figure(312_000, _sheet("A100"), _PUBLISHED),
        bandwidth_gbs=Figure(1555, _sheet("A100"), _PUBLISHED),
        engines=Engines(0, 5, 1, 1, _MIG_GUIDE, _PUBLISHED),
        mig=mig_tables.A100_40GB,
    ),
    Row(
        name="A100-80GB",
        product="NVIDIA-A100-SXM4-80GB",
        instance_gpu_name="a100",
        compute_capability=(8, 0),
        memory_mib=Figure(81039, f"{_CUDA}, 79.14 to 79.25 GiB; NVML shows 81,920 MiB", _PUBLISHED),
        sms=Figure(108, _sheet("A100"), _PUBLISHED),
        dense_gflops=Figure(312_000, _sheet("A100"), _PUBLISHED),
        bandwidth_gbs=Figure(2039, f"{_sheet('A100')}, SXM", _PUBLISHED),
        engines=Engines(0, 5, 1, 1, _MIG_GUIDE, _PUBLISHED),
        mig=mig_tables.A100_80GB,
    ),
    Row(
        name="H100",
        product="NVIDIA-H100-80GB-HBM3",
        instance_gpu_name="h100",
        compute_capability=(9, 0),
        memory_mib=Figure(81079, f"{_CUDA}, 79.18 GiB and more; {_NVML}, read 81,559 MiB", _PUBLISHED),
        sms=Figure(132, _NVML, _READ),
        dense_gflops=Figure(989_000, f"{_sheet('H100')}, SXM, 1,979 TFLOPS with sparsity", _PUBLISHED),
        bandwidth_gbs=Figure(3350, f"{_sheet('H100')}, SXM", _PUBLISHED),
        engines=Engines(0, 7, 7, 1, _NVML, _READ),
        mig=mig_tables.H100,
    ),
    Row(
        name="H200",
        product="NVIDIA-H200",
        instance_gpu_name="h200",
        compute_capability=(9, 0),
        memory_mib=Figure(143155, f"{_CUDA}, 139.80 GiB; {_NVML}, read 143,771 MiB", _PUBLISHED),
        sms=Figure(132, _NVML, _READ),
        dense_gflops=Figure(989_000, f"{_sheet('H200')}, SXM, 1,979 TFLOPS with sparsity", _PUBLISHED),
        bandwidth_gbs=Figure(4800, _sheet("H200"), _PUBLISHED),
        engines=Engines(0, 7, 7, 1, _NVML, _READ),
        mig=mig_tables.H200,
    ),
    Row(
        name="B200",
        product="NVIDIA-B200",
        instance_gpu_name="b200",
        compute_capability=(10, 0),
        memory_mib=Figure(182631, f"{_CUDA}, 182,631 to 182,642 MiB; NVML shows 183,359 MiB", _PUBLISHED),
        sms=Figure(148, "published readings of CUDA's multiprocessor count", _PUBLISHED),
        dense_gflops=Figure(2_250_000, f"{_sheet('HGX B200')}, 36 PFLOPS for 8 with sparsity", _PUBLISHED),
        bandwidth_gbs=Figure(8000, f"{_sheet('DGX B200')}, 64 TB/s for 8", _PUBLISHED),
        engines=Engines(0, 7, 7, 1, "as H200; the published MIG listing agrees", _INFERRED),
        mig=mig_tables.B200,
    ),
    Row(
        name="B300",
        product="NVIDIA-B300-SXM6-AC",
        instance_gpu_name="b300",
        compute_capability=(10, 3),
        memory_mib=Figure(274114, f"{_CUDA}, 267.69 GiB; NVML shows 275,040 MiB", _PUBLISHED),
        sms=Figure(148, "as B200", _INFERRED),
        dense_gflops=Figure(2_250_000, f"{_sheet('HGX B300')}, 36 PFLOPS for 8 with sparsity", _PUBLISHED),
        bandwidth_gbs=Figure(8000, f"{_sheet('DGX B300')}, 64 TB/s for 8", _PUBLISHED),
        engines=Engines(0, 7, 7, 1, "as B200", _INFERRED),
        mig=mig_tables.B300,
    ),
    Row(
        name="RTX-PRO-4500",
        product="NVIDIA-RTX-PRO-4500-Blackwell-Server-Edition",
        instance_gpu_name="rtx-pro-4500",
        compute_capability=(12, 0),
        memory_mib=Figure(
            32100, "NVML's 32,623 MiB, published of the workstation card, less 1.6 %", _INFERRED
        ),
        sms=Figure(82, f"{_sheet('RTX PRO 4500 Server Edition')}, 10,496 CUDA cores", _PUBLISHED),
        dense_gflops=Figure(200_000, "RTX PRO 6000 by the ratio of SMs, less for 165 W", _INFERRED),
        bandwidth_gbs=Figure(800, _sheet("RTX PRO 4500 Server Edition"), _PUBLISHED),
        engines=Engines(3, 3, 2, 1, _MIG_GUIDE, _PUBLISHED),
        mig=mig_tables.RTX_PRO_4500,
    ),
    Row(
        name="RTX-PRO-6000",
        product="NVIDIA-RTX-PRO-6000-Blackwell-Server-Edition",
        instance_gpu_name="rtx-pro-server-6000",
        compute_capability=(12, 0),
        memory_mib=Figure(97250, f"{_CUDA}, 97,250 MiB; NVML shows 97,887 MiB", _PUBLISHED),
        sms=Figure(188, "published readings of CUDA's multiprocessor count", _PUBLISHED),
        dense_gflops=Figure(
            480_000,
            f"{_sheet('RTX PRO 6000 Server Edition')}, four times its 120 TFLOPS of fp32",
            _INFERRED,
        ),
        bandwidth_gbs=Figure(1597, _sheet("RTX PRO 6000 Server Edition"), _PUBLISHED),
        engines=Engines(4, 4, 4, 1, _MIG_GUIDE, _PUBLISHED),
        mig=mig_tables.RTX_PRO_6000,
    ),
)
