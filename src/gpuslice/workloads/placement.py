"""Where a pod insists on running today: its node selector and its required node affinity.

A node selector that names machines tells which GPU a workload runs on now; a new place must drop it. A required
affinity stays in the pod and binds the plan, but for labels that nodes of new pools don't carry: those a patch takes
out. The labels are those of Karpenter's AWS provider, EKS (Auto Mode and managed node groups), eksctl, the cluster
autoscaler and GPU Feature Discovery.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Final

from msgspec import UNSET, UnsetType

from gpuslice.artefacts.quoting import shorten
from gpuslice.errors import InputError
from gpuslice.hardware.gpus import GPUS, gpu_named
from gpuslice.workloads.annotations import PREFIX
from gpuslice.workloads.requirements import (
    NODE_NAME,
    OPERATORS,
    Requirement,
    Terms,
    leaves_with_today,
    own_label,
    without_keys,
)

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
        f"{PREFIX}pool",
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
_AMD: Final = frozenset({"g4ad"})
# EC2's names of families with NVIDIA GPUs: p2 and g3 of old, p6e-gb200 and what comes next.
_ACCELERATED: Final = re.compile(r"[pg]\d[a-z]*(?:-|$)")
_OS: Final = frozenset({"kubernetes.io/os", "beta.kubernetes.io/os"})


@dataclass(frozen=True, slots=True)
class Placement:
    """What node selector and required affinity say.

    Attributes:
        on: the GPU model that they pin, if it is one.
        allow: models that the required affinity admits; empty: it says nothing of GPUs.
        arch: "amd64" or "arm64".
        drop: keys of the node selector that pin today's machines, sorted.
        selector: what of the node selector a new node has to have, and not every node has.
        affinity: the terms of the required affinity.
        spot: whether the node selector asks for spot.
        notes: what a person should know.
    """

    on: str | None = None
    allow: frozenset[str] = frozenset()
    arch: str = "amd64"
    drop: tuple[str, ...] = ()
    selector: dict[str, str] = field(default_factory=dict)
    affinity: Terms = ()
    spot: bool = False
    notes: tuple[str, ...] = field(default=())


def placement(pod: PodSpec, where: str) -> Placement:
    """Read a pod's node selector and required node affinity.

    A value that isn't known (an old GPU, a family of tomorrow, a machine without a GPU) is left aside with a note.

    Raises:
        InputError: they contradict each other.
    """
    stated = (
        pod.affinity.node_affinity.required_during_scheduling_ignored_during_execution.node_selector_terms
    )
    terms = tuple(_term(term, where) for term in stated)
    strange: list[str] = []
    selected = _selected(pod.node_selector, where, strange)
    allowed = _allowed(terms, where, strange)
    pinned = selected or allowed or frozenset()
    drop = tuple(sorted(key for key in pod.node_selector if _pins(key)))
    return Placement(
        on=min(pinned) if len(pinned) == 1 else None,
        allow=allowed or frozenset(),
        arch=_arch(pod, terms),
        drop=drop,
        selector={key: value for key, value in pod.node_selector.items() if _binds(key, value)},
        affinity=terms,
        spot=any(pod.node_selector.get(key, "").lower() == "spot" for key in _CAPACITY),
        notes=(
            *dict.fromkeys(strange),
            *_selector_notes(pod.node_selector, selected),
            *_affinity_notes(terms),
        ),
    )


def _selected(selector: dict[str, str], where: str, strange: list[str]) -> frozenset[str] | None:
    """The GPU models that all keys of a node selector admit together; None: they name none that is known."""
    admitted: frozenset[str] | None = None
    for key, value in sorted(selector.items()):
        models = _models(key, value)
        if isinstance(models, str):
            strange.append(f"its node selector {key}={models}; left aside")
        elif models is not None:
            admitted = models if admitted is None else admitted & models
    if admitted is not None and not admitted:
        raise InputError("the node selector's keys name different GPUs", where=where, fix="keep one of them")
    return admitted


def patched(affinity: Terms) -> Terms | UnsetType:
    """A required affinity without the labels that new nodes don't carry; UNSET: it has none of these."""
    gone = {condition.key for term in affinity for condition in term if leaves_with_today(condition.key)}
    return without_keys(affinity, gone) if gone else UNSET


def models_admitted(affinity: Terms) -> frozenset[str]:
    """The GPU models that a required affinity admits; empty: it says nothing of GPUs, or admits none that is known."""
    by_term = [_admitted_by_term(term, []) for term in affinity]
    known = [models for models in by_term if models is not None]
    return frozenset().union(*known) if len(known) == len(by_term) else frozenset()


def _term(term: NodeSelectorTerm, where: str) -> tuple[Requirement, ...]:
    fields = tuple(_requirement(field, where) for field in term.match_fields)
    conditions = tuple(_requirement(expression, where) for expression in term.match_expressions)
    # A term without any matches no node.
    return conditions + fields or (Requirement(NODE_NAME, "In", ()),)


def _requirement(expression: Expression, where: str) -> Requirement:
    if expression.operator not in OPERATORS:
        raise InputError(
            f"the required node affinity on {shorten(expression.key)} has operator {shorten(expression.operator)!r}",
            where=where,
            fix=f"write one of {', '.join(OPERATORS)}",
        )
    return Requirement(expression.key, OPERATORS[expression.operator], expression.values)


def _allowed(terms: Terms, where: str, strange: list[str]) -> frozenset[str] | None:
    """The models that a required affinity admits; None: a term says nothing of GPUs, or none that is known is left."""
    unknown: list[str] = []
    by_term = [_admitted_by_term(term, unknown) for term in terms]
    strange += (f"its required node affinity on {one}; left aside" for one in unknown)
    if any(models is None for models in by_term):
        return None
    admitted = frozenset().union(*(models for models in by_term if models is not None))
    if terms and not admitted and unknown:
        strange.append(
            "its required node affinity admits no machine that is planned for: it can't be placed as it stands"
        )
        return None
    if terms and not admitted:
        raise InputError(
            "the required node affinity admits no GPU that EC2 has", where=where, fix="correct or remove it"
        )
    return admitted if terms else None


def _admitted_by_term(term: tuple[Requirement, ...], unknown: list[str]) -> frozenset[str] | None:
    admitted: frozenset[str] | None = None
    for requirement in term:
        models = _admitted_by_requirement(requirement, unknown)
        if models is not None:
            admitted = models if admitted is None else admitted & models
    return admitted


def _admitted_by_requirement(requirement: Requirement, unknown: list[str]) -> frozenset[str] | None:
    key = requirement.key
    if requirement.operator in {"Gt", "Lt"}:
        if key not in _MEMORY:
            return None
        kept = [models for memory, models in _of_memory().items() if requirement.holds(memory)]
        return frozenset().union(*kept)
    named = [_models(key, value) for value in requirement.values]
    unknown += (f"{key}: {one}" for one in named if isinstance(one, str))
    known = [one for one in named if isinstance(one, frozenset)]
    models = frozenset().union(*known)
    match requirement.operator:
        case "In" if known or any(isinstance(one, str) for one in named):
            return models
        case "NotIn" if models and key in _GPU_NAME | _FAMILY:
            return frozenset(_of_family().values()) - models
        case _:
            return None


def _models(key: str, value: str) -> frozenset[str] | str | None:
    """The GPU models that one label pins; words where its value isn't known; None where it says nothing of GPUs."""
    if key in _GPU_NAME:
        # Karpenter has one word for two models of one name: "a100".
        named = frozenset(gpu.name for gpu in GPUS.values() if gpu.instance_gpu_name == value)
        if named:
            return named
        try:
            return frozenset({gpu_named(value.removeprefix("nvidia-").removeprefix("tesla-")).name})
        except InputError as error:
            hint = f" ({error.fix.partition('?')[0]}?)" if "?" in error.fix else ""
            return f"{shorten(value)} is no GPU that is planned for{hint}"
    if key in _MEMORY:
        return _of_memory().get(value)
    if key in _FAMILY:
        known, family = _of_family(), value
    elif key in _TYPE:
        known, family = _of_type(), value.partition(".")[0]
    else:
        return None
    return frozenset({known[value]}) if value in known else _unknown_machine(value, family)


def _unknown_machine(value: str, family: str) -> str:
    """Why a family, or a machine of one, isn't planned for."""
    if family in _of_family():
        return f"{shorten(value)} is not in the catalog: `gpuslice catalog` has the others of its family"
    if family in _AMD:
        return f"{shorten(value)} has AMD's GPUs and no NVIDIA GPU: the pod can't run there"
    if _ACCELERATED.match(family):
        return f"{shorten(value)} has NVIDIA GPUs and is not in the catalog"
    return f"{shorten(value)} has no NVIDIA GPU"


def _arch(pod: PodSpec, terms: Terms) -> str:
    for key, value in pod.node_selector.items():
        if key in _ARCH:
            return "arm64" if value == "arm64" else "amd64"
        if key in _TYPE | _FAMILY and value in _arm():
            return "arm64"
    stated = [requirement.values for term in terms for requirement in term if requirement.key in _ARCH]
    return "arm64" if stated and all(values == ("arm64",) for values in stated) else "amd64"


def _pins(key: str) -> bool:
    return key in _GPU_NAME | _FAMILY | _TYPE | _PINS or key.startswith(_PIN_PREFIXES)


def _binds(key: str, value: str) -> bool:
    """Whether a part of the node selector stays in the pod, and doesn't hold on every node."""
    return not (_pins(key) or key in _ARCH or (key in _OS and value == "linux"))


def _selector_notes(selector: dict[str, str], models: frozenset[str] | None) -> list[str]:
    notes = []
    if models and len(models) > 1:
        notes.append(
            f"its node selector admits {' and '.join(sorted(models))}: state one in gpuslice.io/gpu-model"
        )
    for key, value in sorted(selector.items()):
        if not _pins(key) and own_label(key):
            notes.append(f"{said_of_selector(key)}{shorten(value)} stays: its new pool carries that label")
    return notes


def said_of_selector(key: str) -> str:
    """How a note on a key of the node selector begins."""
    return f"its node selector {shorten(key)}="


def said_of_affinity(key: str) -> str:
    """How a note on a key of the required affinity begins."""
    return f"its required node affinity on {shorten(key)} "


def _affinity_notes(terms: Terms) -> list[str]:
    conditions = [condition for term in terms for condition in term]
    keys = sorted({condition.key for condition in conditions})
    carried = {
        condition.key for condition in conditions if condition.operator not in {"NotIn", "DoesNotExist"}
    }
    notes = [
        f"{said_of_affinity(key)}is taken out by its patch: nodes of new pools don't carry that label in time"
        for key in keys
        if leaves_with_today(key)
    ]
    return notes + [
        f"{said_of_affinity(key)}stays: its new pool {'carries that label' if key in carried else 'meets it'}"
        for key in keys
        if own_label(key)
    ]


@cache
def _of_type() -> dict[str, str]:
    from gpuslice.cloud.snapshot import bundled

    return {kind.name: kind.gpu for kind in bundled().instance_types}


@cache
def _of_family() -> dict[str, str]:
    from gpuslice.cloud.snapshot import bundled

    return {kind.family: kind.gpu for kind in bundled().instance_types}


@cache
def _of_memory() -> dict[str, frozenset[str]]:
    from gpuslice.cloud.snapshot import bundled

    models: dict[str, set[str]] = {}
    for kind in bundled().instance_types:
        models.setdefault(str(kind.gpu_memory_mib), set()).add(kind.gpu)
    return {memory: frozenset(names) for memory, names in models.items()}


@cache
def _arm() -> frozenset[str]:
    from gpuslice.cloud.snapshot import bundled

    arm = [kind for kind in bundled().instance_types if kind.arch == "arm64"]
    return frozenset({machine.name for machine in arm} | {machine.family for machine in arm})
