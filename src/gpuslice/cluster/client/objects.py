"""Live objects as the checks see them: the few fields that are read, with types; everything else is let pass."""

from __future__ import annotations

from msgspec import Struct, field

from gpuslice.workloads.objects import OwnerReference, PodSpec, Quantity, Volume
from gpuslice.workloads.target import Toleration

Resources = dict[str, Quantity]


class _Lenient(Struct, frozen=True, rename="camel", omit_defaults=True):
    """Immutable, camelCase, unknown fields ignored."""


class Meta(_Lenient, frozen=True):
    """An object's own data."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: str = ""
    deletion_timestamp: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)
    owner_references: tuple[OwnerReference, ...] = ()


class Condition(_Lenient, frozen=True):
    """What a controller says of an object."""

    type: str = ""
    status: str = ""
    reason: str = ""
    message: str = ""
    last_transition_time: str = ""
    observed_generation: int = 0


class RunningPodSpec(PodSpec, frozen=True, rename="camel", omit_defaults=True):
    """A pod that exists: it may have a node."""

    node_name: str = ""


class PodStatus(_Lenient, frozen=True):
    """How far a pod is."""

    phase: str = ""
    conditions: tuple[Condition, ...] = ()


class Pod(_Lenient, frozen=True):
    """A pod."""

    metadata: Meta = Meta()
    spec: RunningPodSpec = RunningPodSpec()
    status: PodStatus = PodStatus()

    @property
    def name(self) -> str:
        """namespace/name."""
        return f"{self.metadata.namespace}/{self.metadata.name}"

    @property
    def ended(self) -> bool:
        """Whether it holds nothing any more."""
        return self.status.phase in {"Succeeded", "Failed"}


class Taint(_Lenient, frozen=True):
    """What keeps pods off a node."""

    key: str = ""
    value: str = ""
    effect: str = ""


class NodeSpec(_Lenient, frozen=True):
    """What is wanted of a node."""

    taints: tuple[Taint, ...] = ()
    unschedulable: bool = False
    provider_id: str = ""


class NodeInfo(_Lenient, frozen=True):
    """What a node runs."""

    os_image: str = ""
    kubelet_version: str = ""


class NodeStatus(_Lenient, frozen=True):
    """What a node has."""

    capacity: Resources = field(default_factory=dict)
    allocatable: Resources = field(default_factory=dict)
    conditions: tuple[Condition, ...] = ()
    node_info: NodeInfo = NodeInfo()


class Node(_Lenient, frozen=True):
    """A node."""

    metadata: Meta = Meta()
    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()

    @property
    def name(self) -> str:
        """Its name."""
        return self.metadata.name

    @property
    def labels(self) -> dict[str, str]:
        """Its labels."""
        return self.metadata.labels


class Requirement(_Lenient, frozen=True):
    """A condition on a node's label, as Karpenter has it."""

    key: str = ""
    operator: str = ""
    values: tuple[str, ...] = ()


class _TemplateMeta(_Lenient, frozen=True):
    labels: dict[str, str] = field(default_factory=dict)


class NodeClassReference(_Lenient, frozen=True):
    """Which class of nodes."""

    group: str = ""
    kind: str = ""
    name: str = ""


class _NodeTemplateSpec(_Lenient, frozen=True):
    requirements: tuple[Requirement, ...] = ()
    taints: tuple[Taint, ...] = ()
    node_class_ref: NodeClassReference = NodeClassReference()


class _NodeTemplate(_Lenient, frozen=True):
    metadata: _TemplateMeta = _TemplateMeta()
    spec: _NodeTemplateSpec = _NodeTemplateSpec()


class _NodePoolSpec(_Lenient, frozen=True):
    template: _NodeTemplate = _NodeTemplate()
    weight: int = 0
    limits: Resources = field(default_factory=dict)


class _Conditions(_Lenient, frozen=True):
    conditions: tuple[Condition, ...] = ()


class NodePool(_Lenient, frozen=True):
    """A NodePool (karpenter.sh/v1)."""

    metadata: Meta = Meta()
    spec: _NodePoolSpec = _NodePoolSpec()
    status: _Conditions = _Conditions()

    @property
    def name(self) -> str:
        """Its name."""
        return self.metadata.name

    @property
    def labels(self) -> dict[str, str]:
        """Labels that its nodes get."""
        return self.spec.template.metadata.labels

    @property
    def taints(self) -> tuple[Taint, ...]:
        """Taints that its nodes get."""
        return self.spec.template.spec.taints

    @property
    def requirements(self) -> tuple[Requirement, ...]:
        """What its nodes have to meet."""
        return self.spec.template.spec.requirements


class _NodeOverlaySpec(_Lenient, frozen=True):
    requirements: tuple[Requirement, ...] = ()
    capacity: Resources = field(default_factory=dict)
    price: str = ""
    weight: int = 0


class NodeOverlay(_Lenient, frozen=True):
    """A NodeOverlay (karpenter.sh/v1alpha1)."""

    metadata: Meta = Meta()
    spec: _NodeOverlaySpec = _NodeOverlaySpec()
    status: _Conditions = _Conditions()

    @property
    def name(self) -> str:
        """Its name."""
        return self.metadata.name


class _ClaimResources(_Lenient, frozen=True):
    requests: Resources = field(default_factory=dict)


class _NodeClaimSpec(_Lenient, frozen=True):
    resources: _ClaimResources = _ClaimResources()


class _NodeClaimStatus(_Lenient, frozen=True):
    node_name: str = ""
    capacity: Resources = field(default_factory=dict)
    conditions: tuple[Condition, ...] = ()


class NodeClaim(_Lenient, frozen=True):
    """A NodeClaim (karpenter.sh/v1)."""

    metadata: Meta = Meta()
    spec: _NodeClaimSpec = _NodeClaimSpec()
    status: _NodeClaimStatus = _NodeClaimStatus()

    @property
    def name(self) -> str:
        """Its name."""
        return self.metadata.name


class _AmiTerm(_Lenient, frozen=True, rename={"ssm_parameter": "ssmParameter"}):
    alias: str = ""
    name: str = ""
    ssm_parameter: str = ""


class _Ebs(_Lenient, frozen=True):
    volume_size: str = ""


class _BlockDevice(_Lenient, frozen=True):
    device_name: str = ""
    ebs: _Ebs = _Ebs()


class _NodeClassSpec(_Lenient, frozen=True):
    ami_family: str = ""
    ami_selector_terms: tuple[_AmiTerm, ...] = ()
    block_device_mappings: tuple[_BlockDevice, ...] = ()
    instance_store_policy: str = ""
    user_data: str = ""


class NodeClass(_Lenient, frozen=True):
    """An EC2NodeClass (karpenter.k8s.aws/v1)."""

    metadata: Meta = Meta()
    spec: _NodeClassSpec = _NodeClassSpec()
    status: _Conditions = _Conditions()

    @property
    def name(self) -> str:
        """Its name."""
        return self.metadata.name

    @property
    def family(self) -> str:
        """Of its machine image: "al2023", "bottlerocket", …; empty where that can't be told."""
        aliases = {
            ami_selector_term.alias.partition("@")[0]
            for ami_selector_term in self.spec.ami_selector_terms
            if ami_selector_term.alias
        }
        return (next(iter(aliases)) if len(aliases) == 1 else self.spec.ami_family).lower()


class _Enabled(_Lenient, frozen=True):
    enabled: bool | None = None


class _ConfigReference(_Lenient, frozen=True):
    name: str = ""
    default: str = ""


class _Variable(_Lenient, frozen=True):
    name: str = ""
    value: str = ""


class _Operand(_Lenient, frozen=True):
    enabled: bool | None = None
    config: _ConfigReference = _ConfigReference()
    env: tuple[_Variable, ...] = ()


class _Mig(_Lenient, frozen=True):
    strategy: str = ""


class _Daemonsets(_Lenient, frozen=True):
    tolerations: tuple[Toleration, ...] = ()


class _ClusterPolicySpec(_Lenient, frozen=True):
    driver: _Enabled = _Enabled()
    toolkit: _Enabled = _Enabled()
    device_plugin: _Operand = _Operand()
    mig_manager: _Operand = _Operand()
    mig: _Mig = _Mig()
    daemonsets: _Daemonsets = _Daemonsets()


class ClusterPolicy(_Lenient, frozen=True):
    """The GPU Operator's ClusterPolicy (nvidia.com/v1)."""

    metadata: Meta = Meta()
    spec: _ClusterPolicySpec = _ClusterPolicySpec()

    @property
    def name(self) -> str:
        """Its name."""
        return self.metadata.name


class ConfigMap(_Lenient, frozen=True):
    """A ConfigMap."""

    metadata: Meta = Meta()
    data: dict[str, str] = field(default_factory=dict)


class _KeyToPath(_Lenient, frozen=True):
    key: str = ""
    path: str = ""


class _ConfigMapVolume(_Lenient, frozen=True):
    name: str = ""
    items: tuple[_KeyToPath, ...] = ()


class _Volume(Volume, frozen=True):
    name: str = ""
    config_map: _ConfigMapVolume = _ConfigMapVolume()


class _RunnerPodSpec(PodSpec, frozen=True, rename="camel", omit_defaults=True):
    volumes: tuple[_Volume, ...] = ()


class _RunnerTemplate(_Lenient, frozen=True):
    metadata: _TemplateMeta = _TemplateMeta()
    spec: _RunnerPodSpec = _RunnerPodSpec()


class _RunnerSpec(_Lenient, frozen=True):
    template: _RunnerTemplate = _RunnerTemplate()


class Runner(_Lenient, frozen=True):
    """A Deployment or DaemonSet of the machinery: Karpenter, the GPU Operator and its operands."""

    metadata: Meta = Meta()
    spec: _RunnerSpec = _RunnerSpec()

    @property
    def name(self) -> str:
        """namespace/name."""
        return f"{self.metadata.namespace}/{self.metadata.name}"

    @property
    def pod(self) -> _RunnerPodSpec:
        """The spec of its pods."""
        return self.spec.template.spec


def condition(conditions: tuple[Condition, ...], kind: str) -> Condition | None:
    """The condition of a type, where there is one."""
    return next((condition for condition in conditions if condition.type == kind), None)
