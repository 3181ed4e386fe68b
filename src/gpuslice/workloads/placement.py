"""Where a pod insists on running today: its node selector and its required node affinity.

A node selector that names machines tells which GPU a workload runs on now; a new place must drop it. A required
affinity stays in the pod, so the GPU models that it admits bind the plan. The labels are those of Karpenter's AWS
provider, EKS (Auto Mode and managed node groups), eksctl, the cluster autoscaler and GPU Feature Discovery.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Final

from gpuslice.artefacts.quoting import quoted, shorten
from gpuslice.errors import InputError
from gpuslice.hardware.gpus import GPUS, gpu_named

if TYPE_CHECKING:
    from gpuslice.workloads.objects import Expression, NodeSelectorTerm, PodSpec

_GPU_NAME: Final = frozenset(
    {
        "karpenter.k8s.aws/instance-gpu-name",
        "eks.amazonaws.com/instance-gpu-name",
        "nvidia.com/gpu.product",
        "k8s.amazonaws.com/accelerator",
    }
)
_FAMILY: Final = frozenset({"karpenter.k8s.aws/instance-family", "eks.amazonaws.com/instance-family"})
_MEMORY: Final = frozenset({"karpenter.k8s.aws/instance-gpu-memory", "eks.amazonaws.com/instance-gpu-memory"})
_TYPE: Final = frozenset({"node.kubernetes.io/instance-type", "beta.kubernetes.io/instance-type"})
_PINS: Final = frozenset(
    {
        "karpenter.sh/nodepool",
        "karpenter.sh/capacity-type",
        "eks.amazonaws.com/capacityType",
        "eks.amazonaws.com/nodegroup",
        "eks.amazonaws.com/compute-type",
        "alpha.eksctl.io/nodegroup-name",
        "gpuslice.io/pool",  # of an earlier plan
    }
)
_PIN_PREFIXES: Final = (
    "karpenter.k8s.aws/instance-",
    "eks.amazonaws.com/instance-",
    "karpenter.k8s.aws/ec2nodeclass",
    "nvidia.com/",
    "feature.node.kubernetes.io/pci-",
)
_CAPACITY: Final = frozenset({"karpenter.sh/capacity-type", "eks.amazonaws.com/capacityType"})
_ARCH: Final = frozenset({"kubernetes.io/arch", "beta.kubernetes.io/arch"})
# Every node of any pool has these, or gets them from where it runs.
_STAY: Final = _ARCH | {
    "kubernetes.io/os",
    "beta.kubernetes.io/os",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "topology.k8s.aws/zone-id",
    "kubernetes.io/hostname",
}


@dataclass(frozen=True, slots=True)
class Placement:
    """What node selector and required affinity say.

    Attributes:
        on: the GPU model that they pin, if it is one.
        allow: models that the required affinity admits; empty: it says nothing of GPUs.
        arch: "amd64" or "arm64".
        drop: keys of the node selector that pin today's machines, sorted.
        spot: whether the node selector asks for spot.
        notes: what a person should know.
    """

    on: str | None = None
    allow: frozenset[str] = frozenset()
    arch: str = "amd64"
    drop: tuple[str, ...] = ()
    spot: bool = False
    notes: tuple[str, ...] = field(default=())


def placement(pod: PodSpec, where: str) -> Placement:
    """Read a pod's node selector and required node affinity.

    Raises:
        InputError: they name a GPU or a machine that EC2 doesn't have, or contradict each other.
    """
    terms = pod.affinity.node_affinity.required_during_scheduling_ignored_during_execution.node_selector_terms
    selected = _selected(pod.node_selector, where)
    allowed = _allowed(terms, where)
    pinned = selected or allowed or frozenset()
    drop = tuple(sorted(key for key in pod.node_selector if _pins(key)))
    return Placement(
        on=min(pinned) if len(pinned) == 1 else None,
        allow=allowed or frozenset(),
        arch=_arch(pod, terms),
        drop=drop,
        spot=any(pod.node_selector.get(key, "").lower() == "spot" for key in _CAPACITY),
        notes=(*_selector_notes(pod.node_selector, selected), *_affinity_notes(terms)),
    )


def _selected(selector: dict[str, str], where: str) -> frozenset[str] | None:
    """The GPU models that all keys of a node selector admit together; None: they name none."""
    admitted: frozenset[str] | None = None
    for key, value in sorted(selector.items()):
        models = _models(key, value, f"{where}: nodeSelector {key}")
        if models is not None:
            admitted = models if admitted is None else admitted & models
    if admitted is not None and not admitted:
        raise InputError("the node selector's keys name different GPUs", where=where, fix="keep one of them")
    return admitted


def _allowed(terms: tuple[NodeSelectorTerm, ...], where: str) -> frozenset[str] | None:
    """The models that a required affinity admits; None: at least one of its terms says nothing of GPUs."""
    admitted: set[str] = set()
    for term in terms:
        models = _admitted_by_term(term, where)
        if models is None:
            return None
        admitted |= models
    if terms and not admitted:
        raise InputError(
            "the required node affinity admits no GPU that EC2 has", where=where, fix="correct or remove it"
        )
    return frozenset(admitted) if terms else None


def _admitted_by_term(term: NodeSelectorTerm, where: str) -> frozenset[str] | None:
    admitted: frozenset[str] | None = None
    for expression in term.match_expressions:
        models = _admitted_by_expression(expression, f"{where}: node affinity {expression.key}")
        if models is not None:
            admitted = models if admitted is None else admitted & models
    return admitted


def _admitted_by_expression(expression: Expression, where: str) -> frozenset[str] | None:
    named = [_models(expression.key, value, where) for value in expression.values]
    models = frozenset().union(*(each for each in named if each is not None))
    if not models:
        return None
    match expression.operator:
        case "In":
            return models
        case "NotIn" if expression.key in _GPU_NAME | _FAMILY:
            return frozenset(_of_family().values()) - models
        case _:
            return None


def _models(key: str, value: str, where: str) -> frozenset[str] | None:
    """The GPU model that one label pins; None where the label says nothing of GPUs."""
    if key in _GPU_NAME:
        # Karpenter has one word for two models of one name: "a100".
        named = frozenset(each.name for each in GPUS.values() if each.instance_gpu_name == value)
        if named:
            return named
        try:
            return frozenset({gpu_named(value.removeprefix("nvidia-").removeprefix("tesla-")).name})
        except InputError as error:
            raise error.inside(where) from error
    if key in _MEMORY:
        return _of_memory().get(value)
    if key in _FAMILY:
        known, what = _of_family(), "an instance family"
    elif key in _TYPE:
        known, what = _of_type(), "an instance type"
    else:
        return None
    if value not in known:
        raise InputError(
            f"{quoted(value)} is not {what} with NVIDIA GPUs", where=where, fix="see `gpuslice catalog`"
        )
    return frozenset({known[value]})


def _arch(pod: PodSpec, terms: tuple[NodeSelectorTerm, ...]) -> str:
    for key, value in pod.node_selector.items():
        if key in _ARCH:
            return "arm64" if value == "arm64" else "amd64"
        if key in _TYPE | _FAMILY and value in _arm():
            return "arm64"
    stated = [
        expression.values
        for term in terms
        for expression in term.match_expressions
        if expression.key in _ARCH
    ]
    return "arm64" if stated and all(values == ("arm64",) for values in stated) else "amd64"


def _pins(key: str) -> bool:
    return key in _GPU_NAME | _FAMILY | _TYPE | _PINS or (key.startswith(_PIN_PREFIXES) and key not in _STAY)


def _selector_notes(selector: dict[str, str], models: frozenset[str] | None) -> list[str]:
    notes = []
    if models and len(models) > 1:
        notes.append(
            f"its node selector admits {' and '.join(sorted(models))}: state one in gpuslice.io/gpu-model"
        )
    for key, value in sorted(selector.items()):
        if not _pins(key) and key not in _STAY:
            notes.append(
                f"its node selector {shorten(key)}={shorten(value)} stays: nodes of new pools don't carry that label"
            )
    return notes


def _affinity_notes(terms: tuple[NodeSelectorTerm, ...]) -> list[str]:
    keys = {expression.key for term in terms for expression in term.match_expressions}
    unmet = sorted(key for key in keys if key not in _STAY | _GPU_NAME | _FAMILY)
    return [f"its required node affinity on {key} stays: check that new pools meet it" for key in unmet]


@cache
def _of_type() -> dict[str, str]:
    from gpuslice.cloud.snapshot import bundled

    return {each.name: each.gpu for each in bundled().instance_types}


@cache
def _of_family() -> dict[str, str]:
    from gpuslice.cloud.snapshot import bundled

    return {each.family: each.gpu for each in bundled().instance_types}


@cache
def _of_memory() -> dict[str, frozenset[str]]:
    from gpuslice.cloud.snapshot import bundled

    models: dict[str, set[str]] = {}
    for each in bundled().instance_types:
        models.setdefault(str(each.gpu_memory_mib), set()).add(each.gpu)
    return {memory: frozenset(names) for memory, names in models.items()}


@cache
def _arm() -> frozenset[str]:
    from gpuslice.cloud.snapshot import bundled

    arm = [each for each in bundled().instance_types if each.arch == "arm64"]
    return frozenset({each.name for each in arm} | {each.family for each in arm})
