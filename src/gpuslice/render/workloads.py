"""The workloads' patches as files: a kustomize component to be included where the workloads' own manifests are.

The workloads are no part of what is rendered, and kustomize patches only what is in the same build. So the patches are
a Component: the overlay that has the workloads lists it under `components:`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from msgspec import UNSET, structs

from gpuslice.artefacts.documents import dump_yaml
from gpuslice.carriers.device_plugin.terms import configured
from gpuslice.carriers.objects.files import RenderedFile, commented
from gpuslice.carriers.table import carrier_asked
from gpuslice.errors import InputError
from gpuslice.hardware.mechanisms import Mechanism
from gpuslice.hardware.resource_names import GPU_MEMORY
from gpuslice.plan.layouts import mechanism
from gpuslice.render.framework_limit import framework_limit
from gpuslice.render.patches import api_version, patch

if TYPE_CHECKING:
    from gpuslice.plan.artefact import Assignment, Pool

FOLDER: Final = "workloads"
UNPATCHED: Final = f"{FOLDER}/unpatched.txt"

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


def workload_files(assignments: Sequence[Assignment], pools: Mapping[str, Pool]) -> dict[str, str]:
    """The component's files, by path; empty where there is nothing to patch and nothing to say.

    Args:
        assignments: of the plan, each to a pool that exists.
        pools: by name.

    Raises:
        InputError: a workload whose framework can't be kept to its memory, or whose pods' place isn't known.
    """
    templates = _templates(assignments)
    parts = Counter(each[0].workload for each in templates)
    files: dict[str, str] = {}
    entries: list[dict[str, object]] = []
    unpatched: list[str] = []
    for own in templates:
        each = structs.replace(own[0], replicas=sum(one.replicas for one in own))
        why = _why_unpatched(each, parts[each.workload])
        if why:
            unpatched += [f"{one.workload}: {one.replicas} to pool {one.pool}: {why}" for one in own]
            continue
        namespace, name = _parts(each.workload)
        target_name = each.target.name or name
        try:
            _check_limit(own, pools)
            made = patch(each, configured(pools[each.pool]), target_name, namespace)
        except InputError as error:
            raise error.inside(each.workload) from None
        file = f"{namespace}.{name}.yaml" if namespace else f"{name}.yaml"
        files[f"{FOLDER}/{file}"] = commented(_comment(own, pools)) + dump_yaml(made)
        entries.append({"path": file, "target": _target(each, target_name, namespace)})
    if unpatched:
        files[UNPATCHED] = "Workloads without a patch, and why:\n\n" + "".join(
            f"{line}\n" for line in unpatched
        )
    if entries:
        component = RenderedFile(
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
        files[component.path] = component.text
    return files


def _templates(assignments: Iterable[Assignment]) -> list[list[Assignment]]:
    """Assignments by pod template: those of one workload with seats have one, any other has one for itself."""
    found: dict[tuple[str, str], list[Assignment]] = {}
    for each in sorted(assignments, key=lambda one: (one.workload, one.pool)):
        found.setdefault((each.workload, "" if each.asks.seat else each.pool), []).append(each)
    return list(found.values())


def _check_limit(own: Sequence[Assignment], pools: Mapping[str, Pool]) -> None:
    """Accept assignments whose framework is told the same: a share of the GPU, which may be another one elsewhere."""
    limits = {each.pool: framework_limit(each, configured(pools[each.pool])) for each in own}
    first, *others = limits
    for each in others:
        if limits[each] != limits[first]:
            raise InputError(
                f"its framework needs another limit in pool {first} than in {each}, and its pods have one template",
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
    if assignment.target.kind == "Pod" and assignment.replicas > 1:
        return "it stands for several bare pods, each an object of its own"
    if not api_version(assignment.target):
        return f"the API version of its kind {assignment.target.kind} is not known: write target.apiVersion"
    return ""


def _target(assignment: Assignment, name: str, namespace: str) -> dict[str, object]:
    group = api_version(assignment.target).rpartition("/")[0]
    selector: dict[str, object] = {"group": group} if group else {"version": "v1"}
    # kustomize takes the name for a regular expression, anchored at both ends.
    selector |= {"kind": assignment.target.kind, "name": name.replace(".", "\\.")}
    return selector | ({"namespace": namespace} if namespace else {})


def _comment(own: Sequence[Assignment], pools: Mapping[str, Pool]) -> str:
    assignment = own[0]
    places = "; ".join(f"{each.replicas} of {each.slice}, pool {each.pool}" for each in own)
    lines = [f"{assignment.workload}: {places}."]
    if assignment.asks.seat:
        lines.append("Each pod asks for a seat instead of naming a pool, and goes wherever one is free.")
    reasons = dict.fromkeys(" ".join(each.because.split()).rstrip(".") for each in own)
    lines += [f"{each}." for each in reasons if each]
    if assignment.target.kind == "Pod":
        lines.append("A pod can't be changed while it exists: delete it, then create it anew.")
    shared = any(mechanism(pools[each.pool].layout) is Mechanism.TIME_SLICING for each in own)
    if shared and assignment.memory_limit is not UNSET and assignment.target.framework is None:
        lines.append(
            f"Nothing keeps it to {assignment.memory_limit} of GPU memory: set that limit in the program itself."
        )
    if carrier_asked(assignment.asks).share(assignment.asks) is not None:
        lines.append(f"{GPU_MEMORY} is a promise, which the scheduler counts and nobody enforces.")
    return "\n".join(lines)
