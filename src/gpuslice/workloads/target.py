"""Where in a cluster a workload's pods come from, and what of it a change has to touch.

Part of workloads.yaml and of plan.yaml alike, so that either is enough to render a workload's patch.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType, field

from gpuslice.artefacts.part import Part
from gpuslice.workloads.requirements import GPU_NAMES, Requirement, Terms, without_keys

# Where a kind keeps its pod's spec, as a JSON pointer (RFC 6901); the built-in kinds and those with one template.
POD_SPEC_OF = {
    "Pod": "/spec",
    "Deployment": "/spec/template/spec",
    "StatefulSet": "/spec/template/spec",
    "DaemonSet": "/spec/template/spec",
    "ReplicaSet": "/spec/template/spec",
    "ReplicationController": "/spec/template/spec",
    "Job": "/spec/template/spec",
    "CronJob": "/spec/jobTemplate/spec/template/spec",
    "Rollout": "/spec/template/spec",
}


class Framework(Part, frozen=True):
    """A framework that takes most of the GPU memory it sees, and where its own limit is set.

    Attributes:
        name: "vllm", "sglang", "tgi", "tensorflow", "jax", "triton".
        limit: how its limit is set: by an argument of the container, by an environment variable, or not at all
            from outside (a shell line, a file in the image): then only a mechanism that enforces memory is safe.
        field: which list the arguments are in.
        arguments: that list as it is today, for a limit by argument.
    """

    name: str
    limit: Literal["argument", "environment", "none"] = "none"
    field: Literal["args", "command"] = "args"
    arguments: tuple[str, ...] = ()


class Toleration(Part, frozen=True):
    """A toleration of a pod, field by field as Kubernetes has it."""

    key: str = ""
    operator: Literal["Equal", "Exists", "Lt", "Gt"] = "Equal"
    value: str = ""
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = ""
    toleration_seconds: int | None = None


class Target(Part, frozen=True):
    """The object that owns the pods.

    Attributes:
        kind: of the object at the top of the chain of owners.
        api_version: of the same object; empty: that of the built-in kind.
        name: of the object, where the workload's own name is another one: an object with several templates gives
            one workload each.
        container: name of the container that uses the GPU; empty: the pod's only one.
        container_index: its place in the list, for patches of kinds whose lists can't be merged by name.
        container_path: JSON pointer to the container inside the pod's spec; empty: /containers/<containerIndex>.
            Others: "/initContainers/0" (a sidecar), "/model" (KServe).
        pod_spec: JSON pointer to the pod's spec inside the object; empty: where the kind keeps it.
        drop_node_selector: keys of the node selector that pin today's machines, which a new place must drop.
        framework: a preallocator, where one was recognised.
        tolerations: of the pod today. A patch replaces the whole list, so it has to repeat them.
        gpu_limits: extended resources for GPUs in the container's limits today, and those of gpuslice's own that an
            earlier plan had it ask for beside them.
        gpu_requests: extended resources for GPUs in the container's requests today.
        has_node_selector: whether the pod has a node selector today: a JSON patch adds to what is there, and has to
            make what isn't.
        has_env: whether the container has a list of variables today, likewise.
        node_selector: what of the pod's node selector a new node has to have. Left out are the keys that the patch
            drops, and what every node has.
        node_affinity: the pod's required node affinity: terms of which one must hold.
        patched_affinity: what a patch makes of that, without labels that new nodes don't carry; empty: it goes; absent:
            it stays as it is.
    """

    kind: str = "Deployment"
    api_version: str = ""
    name: str = ""
    container: str = ""
    container_index: Annotated[int, Meta(ge=0, le=1000)] = 0
    container_path: str = ""
    pod_spec: str = ""
    drop_node_selector: tuple[str, ...] = ()
    framework: Framework | None = None
    tolerations: tuple[Toleration, ...] = ()
    gpu_limits: tuple[str, ...] = ("nvidia.com/gpu",)
    gpu_requests: tuple[str, ...] = ()
    has_node_selector: bool = False
    has_env: bool = False
    node_selector: dict[str, str] = field(default_factory=dict)
    node_affinity: tuple[tuple[Requirement, ...], ...] = ()
    patched_affinity: tuple[tuple[Requirement, ...], ...] | UnsetType = UNSET

    @property
    def requires(self) -> Terms:
        """What its pods require of a node, labels included that the patch takes out since every node there meets them.

        GPU models are not among it, where it is not Karpenter's label that names them: a need says which are allowed.
        """
        affinity = without_keys(self.node_affinity, GPU_NAMES)
        selected = tuple(
            Requirement(key, "In", (value,)) for key, value in sorted(self.node_selector.items())
        )
        return tuple(selected + term for term in affinity or ((),)) if selected or affinity else ()
