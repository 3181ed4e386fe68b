"""The workloads' patches, and their files: a kustomize component to be included where the workloads' manifests are.

The workloads are no part of what is rendered, and kustomize patches only what is in the same build. So the patches are
a Component: the overlay that has the workloads lists it under `components:`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from msgspec import UNSET, structs

from gpuslice.artefacts.documents import dump_yaml, to_plain
from gpuslice.carriers.device_plugin.terms import configured
from gpuslice.carriers.objects.files import RenderedFile, commented
from gpuslice.carriers.pools import POOL_LABEL
from gpuslice.carriers.table import carrier_asked
from gpuslice.errors import InputError
from gpuslice.hardware.mechanisms import Mechanism
from gpuslice.hardware.resource_names import GPU_MEMORY
from gpuslice.plan.layouts import mechanism
from gpuslice.render.bundle import LeftAlone, WorkloadPatch
from gpuslice.render.framework_limit import framework_limit
from gpuslice.render.patches import api_version, patch
from gpuslice.workloads.makers import SETTINGS

if TYPE_CHECKING:
    from gpuslice.plan.artefact import Assignment, Pool
    from gpuslice.workloads.target import Target

FOLDER: Final = "workloads"
UNPATCHED: Final = f"{FOLDER}/unpatched.txt"

_UNPATCHED_HEAD: Final = "Workloads without a patch, and why:\n\n"

_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")  # DNS subdomain
_NAMESPACE: Final = re.compile(
    r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
)  # DNS label: no dot, so "ns.name" is one pair

_COMPONENT: Final = """\
Patches for the workloads of the plan. They are no part of `kubectl apply -k` on the folder above: kustomize patches
only what is in the same build. Include this component in the overlay that has the workloads:

  resources: [deployments.yaml]
  components: [path/to/workloads]

A patch applies to the object of its kind, name and namespace, and is skipped silently where that isn't in the build:
so metadata.namespace must stand in your manifests, not only be set by `namespace:` in the same overlay, which comes
after components. Compare before you apply:

  kubectl diff -k OVERLAY
"""


@dataclass(frozen=True, slots=True)
class PatchFile:
    """A workload's patch as a file.

    Attributes:
        path: relative to the folder of the component.
        comment: for a person; stands at the top.
        target: of the patch, as kustomize looks for it.
        change: the patch, and the object that it is for.
    """

    path: str
    comment: str
    target: Mapping[str, object]
    change: WorkloadPatch

    @property
    def text(self) -> str:
        """The file, with a final newline."""
        return commented(self.comment) + dump_yaml(self.change.patch)


def workload_patches(
    assignments: Sequence[Assignment], pools: Mapping[str, Pool]
) -> tuple[list[PatchFile], list[LeftAlone]]:
    """The workloads' patches, by workload, and the workloads that can have none.

    Args:
        assignments: of the plan, each to a pool that exists.
        pools: by name.

    Raises:
        InputError: a workload whose framework can't be kept to its memory, or whose pods' place isn't known.
    """
    templates = _templates(assignments)
    parts = Counter(template[0].workload for template in templates)
    files: list[PatchFile] = []
    unpatched: list[LeftAlone] = []
    for template in templates:
        whole = structs.replace(template[0], replicas=sum(part.replicas for part in template))
        why = _why_unpatched(whole, parts[whole.workload])
        if why:
            why += _affinity_by_hand(whole.target)
            unpatched += [
                LeftAlone(part.workload, f"{part.replicas} to pool {part.pool}: {why}") for part in template
            ]
        else:
            files.append(_patch_file(whole, template, pools))
    return files, unpatched


def _patch_file(whole: Assignment, template: Sequence[Assignment], pools: Mapping[str, Pool]) -> PatchFile:
    namespace, name = _parts(whole.workload)
    target_name = whole.target.name or name
    try:
        _check_limit(template, pools)
        made = patch(whole, configured(pools[whole.pool]), target_name, namespace)
    except InputError as error:
        raise error.inside(whole.workload) from None
    group = api_version(whole.target).rpartition("/")[0]
    return PatchFile(
        f"{namespace}.{name}.yaml" if namespace else f"{name}.yaml",
        _comment(template, pools),
        _target(whole, target_name, namespace),
        WorkloadPatch(group, whole.target.kind, target_name, namespace or "default", to_plain(made)),
    )


def component(files: Sequence[PatchFile], unpatched: Sequence[LeftAlone]) -> dict[str, str]:
    """The component's files, by path from the root; empty where there is nothing to patch and nothing to say."""
    texts = {f"{FOLDER}/{file.path}": file.text for file in files}
    if unpatched:
        texts[UNPATCHED] = _UNPATCHED_HEAD + "".join(f"{left}\n" for left in unpatched)
    if files:
        entries = [{"path": file.path, "target": file.target} for file in files]
        listed = RenderedFile(
            f"{FOLDER}/kustomization.yaml",
            (
                {
                    "apiVersion": "kustomize.config.k8s.io/v1alpha1",
                    "kind": "Component",
                    "patches": entries,
                },
            ),
            _COMPONENT,
        )
        texts[listed.path] = listed.text
    return texts


def _templates(assignments: Iterable[Assignment]) -> list[list[Assignment]]:
    """Assignments by pod template: those of one workload with seats have one, any other has one for itself."""
    templates: dict[tuple[str, str], list[Assignment]] = {}
    for assignment in sorted(assignments, key=lambda one: (one.workload, one.pool)):
        templates.setdefault(
            (assignment.workload, "" if assignment.asks.seat else assignment.pool), []
        ).append(assignment)
    return list(templates.values())


def _check_limit(own: Sequence[Assignment], pools: Mapping[str, Pool]) -> None:
    """Accept assignments whose framework is told the same: a share of the GPU, which may be another one elsewhere."""
    limits = {
        assignment.pool: framework_limit(assignment, configured(pools[assignment.pool])) for assignment in own
    }
    first, *others = limits
    for other in others:
        if limits[other] != limits[first]:
            raise InputError(
                f"its framework needs another limit in pool {first} than in {other}, and its pods have one template",
                fix="plan again",
            )


def _parts(workload: str) -> tuple[str, str]:
    """Namespace and name; the namespace is empty where the workload's name has none."""
    namespace, slash, name = workload.partition("/")
    return (namespace, name) if slash else ("", workload)


def _why_unpatched(assignment: Assignment, parts: int) -> str:
    """Why a workload's object can't be patched; empty where it can."""
    namespace, name = _parts(assignment.workload)
    named = assignment.target.name or name
    if not (_NAME.fullmatch(name) and _NAME.fullmatch(named)) or (
        namespace and not _NAMESPACE.fullmatch(namespace)
    ):
        return "its name is none that a Kubernetes object can have"
    if parts > 1:
        return "its replicas go to several pools, and one template can name only one"
    if assignment.target.kind in SETTINGS and not assignment.target.api_version:
        return _in_its_maker(assignment)
    if assignment.target.kind == "Pod" and assignment.replicas > 1:
        return "it stands for several bare pods, each an object of its own"
    if not api_version(assignment.target):
        return f"the API version of its kind {assignment.target.kind} is not known: write target.apiVersion"
    return ""


def _affinity_by_hand(target: Target) -> str:
    """What a person takes out of the pods' required affinity, since no patch does; empty: nothing."""
    if target.patched_affinity is UNSET:
        return ""
    left = {condition.key for term in target.patched_affinity for condition in term}
    gone = {condition.key for term in target.node_affinity for condition in term} - left
    keys = ", ".join(sorted(gone))
    return (
        f"; take {keys or 'what new nodes lack'} out of the pods' required node affinity, or they never run"
    )


def _in_its_maker(assignment: Assignment) -> str:
    """What a person writes into the configuration of the program that makes a workload's pods."""
    asked = ", ".join(
        f"{name}: {value}" for name, value in carrier_asked(assignment.asks).requests(assignment.asks).items()
    )
    where = "" if assignment.asks.seat else f", select nodes by {POOL_LABEL}: {assignment.pool}"
    return (
        f"{assignment.target.kind} makes its pods: let them ask for {asked}{where} and tolerate {POOL_LABEL} by "
        f"{SETTINGS[assignment.target.kind]}"
    )


def _target(assignment: Assignment, name: str, namespace: str) -> dict[str, object]:
    group = api_version(assignment.target).rpartition("/")[0]
    selector: dict[str, object] = {"group": group} if group else {"version": "v1"}
    # kustomize takes the name for a regular expression, anchored at both ends.
    selector |= {"kind": assignment.target.kind, "name": name.replace(".", "\\.")}
    return selector | ({"namespace": namespace} if namespace else {})


def _comment(own: Sequence[Assignment], pools: Mapping[str, Pool]) -> str:
    assignment = own[0]
    places = "; ".join(f"{place.replicas} of {place.slice}, pool {place.pool}" for place in own)
    lines = [f"{assignment.workload}: {places}."]
    if assignment.asks.seat:
        lines.append("Each pod asks for a seat instead of naming a pool, and goes wherever one is free.")
    reasons = dict.fromkeys(" ".join(assignment.because.split()).rstrip(".") for assignment in own)
    lines += [f"{reason}." for reason in reasons if reason]
    if assignment.target.kind == "Pod":
        lines.append("A pod can't be changed while it exists: delete it, then create it anew.")
    if assignment.target.node_selector:
        kept = ", ".join(f"{key}={value}" for key, value in sorted(assignment.target.node_selector.items()))
        lines.append(f"Its node selector stays beside that: nodes of its pool have {kept}.")
    if assignment.target.patched_affinity is not UNSET:
        lines.append(
            "Of its required node affinity goes what new nodes don't carry, or what it was freed from."
        )
    shared = any(mechanism(pools[assignment.pool].layout) is Mechanism.TIME_SLICING for assignment in own)
    if shared and assignment.memory_limit is not UNSET and assignment.target.framework is None:
        lines.append(
            f"Nothing keeps it to {assignment.memory_limit} of GPU memory: set that limit in the program itself."
        )
    if carrier_asked(assignment.asks).share(assignment.asks) is not None:
        lines.append(f"{GPU_MEMORY} is a promise, which the scheduler counts and nobody enforces.")
    return "\n".join(lines)
