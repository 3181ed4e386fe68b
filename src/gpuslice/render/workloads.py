"""The workloads' patches as files: a kustomize component to be included where the workloads' own manifests are.

The workloads are no part of what is rendered, and kustomize patches only what is in the same build. So the patches are
a Component: the overlay that has the workloads lists it under `components:`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from msgspec import UNSET

from gpuslice.artefacts.documents import dump_yaml
from gpuslice.errors import InputError
from gpuslice.hardware.slices import Mechanism
from gpuslice.planner.promised import GPU_MEMORY, mechanism
from gpuslice.render.files import RenderedFile, commented
from gpuslice.render.patches import api_version, patch

if TYPE_CHECKING:
    from gpuslice.planner.plan import Assignment, Pool

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
    parts = Counter(each.workload for each in assignments)
    files: dict[str, str] = {}
    entries: list[dict[str, object]] = []
    unpatched: list[str] = []
    for each in sorted(assignments, key=lambda one: (one.workload, one.pool)):
        why = _why_unpatched(each, parts[each.workload])
        if why:
            unpatched.append(f"{each.workload}: {each.replicas} to pool {each.pool}: {why}")
            continue
        layout = pools[each.pool].layout
        namespace, name = _parts(each.workload)
        target_name = each.target.name or name
        try:
            made = patch(each, layout, target_name, namespace)
        except InputError as error:
            raise error.inside(each.workload) from None
        file = f"{namespace}.{name}.yaml" if namespace else f"{name}.yaml"
        files[f"{FOLDER}/{file}"] = commented(_comment(each, pools[each.pool])) + dump_yaml(made)
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


def _comment(assignment: Assignment, pool: Pool) -> str:
    lines = [f"{assignment.workload}: {assignment.replicas} of {assignment.slice}, pool {assignment.pool}."]
    if assignment.because:
        lines.append(" ".join(assignment.because.split()).rstrip(".") + ".")
    if assignment.target.kind == "Pod":
        lines.append("A pod can't be changed while it exists: delete it, then create it anew.")
    shared = mechanism(pool.layout) is Mechanism.TIME_SLICING
    if shared and assignment.memory_limit is not UNSET and assignment.target.framework is None:
        lines.append(
            f"Nothing keeps it to {assignment.memory_limit} of GPU memory: set that limit in the program itself."
        )
    if assignment.request is not UNSET:
        lines.append(f"{GPU_MEMORY} is a promise, which the scheduler counts and nobody enforces.")
    return "\n".join(lines)
