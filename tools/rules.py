"""The pages of annotations and of assumptions: what owners may state, and the figures that could be argued about."""

from __future__ import annotations

from types import ModuleType
from typing import Final, NamedTuple

from gpuslice import units
from gpuslice.cloud import allocatable
from gpuslice.hardware import sharing
from gpuslice.hardware.features import Feature
from gpuslice.hardware.gpus import GPUS
from gpuslice.hardware.mechanisms import Isolation, Mechanism
from gpuslice.hardware.need import Source
from gpuslice.plan import defaults
from gpuslice.render import settings
from gpuslice.units import format_cpu, format_memory
from gpuslice.workloads import artefact, model
from gpuslice.workloads.annotations import KNOWN, OURS, PREFIX, read_annotations
from tools.markdown import code, page, table
from tools.sources import reason


class StaleExampleError(RuntimeError):
    """An annotation is described that isn't read, or isn't described."""


class _Annotation(NamedTuple):
    """One annotation: an example that is read, what may be written, and what it means."""

    example: str
    values: str
    meaning: str
    left_out: str


def _words(kinds: type[Source | Isolation | Feature]) -> str:
    return ", ".join(code(each.value) for each in kinds)


_ANNOTATIONS: Final = {
    "gpu-memory": _Annotation(
        "5200Mi",
        "a quantity with its unit",
        "Peak GPU memory of one replica, CUDA context included.",
        "not known",
    ),
    "gpu-duty": _Annotation(
        "0.18", "above 0, up to 1", "Mean share of time in which it keeps the GPU busy.", "not known"
    ),
    "gpu-model": _Annotation(
        "A10G",
        "a GPU model",
        "The GPU that the duty was read on, and that it runs on today.",
        "from the node selector or affinity, where that names one",
    ),
    "need-source": _Annotation(
        "measured",
        _words(Source),
        "Where the figures come from. Assumed ones are used only with `--accept-assumed`.",
        code("declared"),
    ),
    "isolation": _Annotation(
        "memory", _words(Isolation), "The least that must keep neighbours away.", code("none")
    ),
    "tenant": _Annotation(
        "search", "a label's value", "Who never shares an unisolated GPU with others.", "the namespace"
    ),
    "allow-gpus": _Annotation(
        "A10G,L4", "GPU models, or `any` alone", "Models that it may run on.", "whatever fits"
    ),
    "min-compute-capability": _Annotation(
        "8.6",
        "major.minor",
        "The least compute capability that its code runs on.",
        "that of `gpu-model`; none where `allow-gpus` names the models",
    ),
    "gpu-features": _Annotation("bf16,decoder", _words(Feature), "What its GPU must have.", "nothing"),
    "max-slowdown": _Annotation(
        "1.5",
        "1 or more, or `none`",
        "The most expected slowdown against `gpu-model`, with the heaviest neighbours admitted.",
        "2; none for jobs",
    ),
    "interruptible": _Annotation("true", "`true`, `false`", "May run on spot.", code("false")),
    "gang": _Annotation(
        "false",
        "`true`, `false`",
        "Whether its pods are ranks of one job that talk by NCCL, so that no two of them share a GPU.",
        "`true` for jobs of several ranks (MPIJob, PyTorchJob, torchrun, …)",
    ),
}

_ANNOTATION_PAGE: Final = """\
Needs are stated on the object, or on its pod template, as annotations. They travel with the manifest and are reviewed
with it. An unknown annotation with this prefix is refused, because a misspelt one would silently lose a rule. How to
find the figures: [write needs as annotations](../how-to/annotations.md).
"""


class _Constant(NamedTuple):
    """A figure that could be argued about."""

    words: str
    module: ModuleType
    name: str


_CONSTANTS: Final = (
    _Constant("sustained load", sharing, "SUSTAINED_LOAD"),
    _Constant("memory margin", sharing, "MEMORY_MARGIN"),
    _Constant("times of metered GPUs, thousandths", sharing, "METERED_TIMES"),
    _Constant("replicas of a metered GPU", sharing, "METERED_REPLICAS"),
    _Constant("most slots per GPU", sharing, "MOST_SLOTS"),
    _Constant("slowdown of services that state none, thousandths", artefact, "SERVICE_SLOWDOWN_MILLI"),
    _Constant("share of a service's latency objective in which a batch must run", model, "SLO_SHARE"),
    _Constant("gap at which a plan is good enough", defaults, "DEFAULT_GAP"),
    _Constant("hours a month", units, "HOURS_A_MONTH"),
    _Constant("machine memory that pods never see, thousandths", allocatable, "VM_MEMORY_OVERHEAD_MILLI"),
    _Constant("memory kept by Graviton machines, MiB", allocatable, "ARM64_CMA_MIB"),
    _Constant("eviction threshold, MiB", allocatable, "EVICTION_THRESHOLD_MIB"),
    _Constant("kube-reserved memory, MiB", allocatable, "KUBE_RESERVED_BASE_MIB"),
    _Constant("kube-reserved ephemeral storage, MiB", allocatable, "KUBE_RESERVED_STORAGE_MIB"),
    _Constant("eviction threshold of ephemeral storage, %", allocatable, "EVICTION_STORAGE_PERCENT"),
    _Constant("nodes that a rendered pool may grow to, times those planned", defaults, "NODE_ROOM"),
    _Constant("rendered root volume, GiB", allocatable, "ROOT_VOLUME_GIB"),
    _Constant("rendered consolidateAfter, seconds", defaults, "CONSOLIDATE_AFTER_SECONDS"),
    _Constant("rendered machine images", settings, "PINNED_IMAGE"),
)


def annotation_page() -> str:
    """The page of annotations."""
    described = {PREFIX + name for name in _ANNOTATIONS}
    if described != KNOWN:
        raise StaleExampleError(f"tools/rules.py: {sorted(described ^ KNOWN)}")
    read_annotations({PREFIX + name: each.example for name, each in _ANNOTATIONS.items()}, "tools/rules.py")
    return page(
        "Annotations",
        _ANNOTATION_PAGE,
        table(
            ("annotation", "example", "values", "meaning", "left out"),
            [
                (code(PREFIX + name), code(f'"{each.example}"'), each.values, each.meaning, each.left_out)
                for name, each in _ANNOTATIONS.items()
            ],
        ),
        f"GPU models: {', '.join(GPUS)}. Other spellings, such as `NVIDIA-A10G` or `a10g`, are understood.",
        "gpuslice puts these on objects itself, and ignores them when it reads: "
        + ", ".join(code(PREFIX + each) for each in sorted(OURS))
        + ".",
    )


def assumption_page() -> str:
    """The page of figures that could be argued about, daemonsets among them."""
    total = allocatable.daemonset_overhead()
    return page(
        "Assumptions",
        "Each of these figures stands in one place in the code, with its reason. What a plan rests on and nobody has "
        "checked on your cluster stands under `assumptions` in the plan itself.",
        "## Figures",
        table(
            ("what", "figure", "why"),
            [
                (each.words, _shown(getattr(each.module, each.name)), reason(each.module, each.name))
                for each in _CONSTANTS
            ],
        ),
        "## Throughput of a shared GPU",
        "Total throughput of all processes that share, against one process alone. Measured on an H100 with driver 580. "
        "Time-slicing 2, 4 and 8 saturating processes kept 0.95 of the throughput where compute binds and 0.88 where "
        "memory bandwidth binds: what binds is seldom known, so the worse counts. MPS kept or gained throughput "
        "(1.02 to 1.30): the gain is not counted on.",
        table(
            ("mechanism", "efficiency"),
            [(each.value, _shown(sharing.EFFICIENCY[each])) for each in Mechanism],
        ),
        "## Daemonsets",
        f"What daemonsets take of each node before any workload, unless `--overhead` says otherwise: "
        f"{format_cpu(total.cpu_milli)} CPU, {format_memory(total.memory_mib)} of memory and {total.pods} pods. "
        f"{reason(allocatable, 'ASSUMED_DAEMONSETS')}",
        table(
            ("daemonset", "cpu", "memory", "source"),
            [
                (each.name, format_cpu(each.cpu_milli), format_memory(each.memory_mib), each.source)
                for each in allocatable.ASSUMED_DAEMONSETS
            ],
            right=("cpu", "memory"),
        ),
    )


def _shown(value: object) -> str:
    match value:
        case tuple():
            return ", ".join(map(str, value))
        case dict():
            return ", ".join(f"{name}: {each}" for name, each in value.items())
        case _ if hasattr(value, "numerator") and hasattr(value, "denominator") and value.denominator != 1:
            return f"{float(value):g}"  # type: ignore[arg-type]  # a Fraction, seen by its parts
        case _:
            return str(value)
