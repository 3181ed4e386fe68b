"""The real APIs' fields that we may use, strictly: unknown, missing and mistyped ones are refused.

Names and limits as in the CRDs of Karpenter v1.14.1 (core and AWS), Node Feature Discovery v0.19 and GPU
Operator v26.7, and in the types of k8s-device-plugin v0.20 and mig-parted v0.15.
"""

from typing import Annotated, Any, Literal

import msgspec
import yaml
from msgspec import Meta, Struct

Quantity = Annotated[str, Meta(pattern=r"^\d+(Ki|Mi|Gi|Ti)?$")]  # never negative, never fractional
LabelValue = Annotated[str, Meta(max_length=63, pattern=r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$")]
Name = Annotated[str, Meta(max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")]
ResourceName = Annotated[
    str,
    Meta(
        pattern=r"^(nvidia\.com/(gpu(\.shared)?|mig-\d+g\.\d+gb(\.me)?)|"
        r"gpuslice\.io/(gpu-(memory|time)|seat-[a-z0-9]([-a-z0-9.]{0,56}[a-z0-9])?))$"
    ),
]


class Strict(Struct, forbid_unknown_fields=True, rename="camel", kw_only=True):
    pass


class Metadata(Strict):
    name: Name
    labels: dict[str, LabelValue]
    namespace: str | None = None


class Requirement(Strict):
    key: str
    operator: Literal["In"]
    values: Annotated[list[LabelValue], Meta(min_length=1)]


# Karpenter


class TemplateMetadata(Strict):
    labels: dict[str, LabelValue]


class NodeClassRef(Strict):
    group: Literal["karpenter.k8s.aws"]
    kind: Literal["EC2NodeClass"]
    name: Name


class Taint(Strict):
    key: str
    value: LabelValue
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"]


class NodeClaimSpec(Strict):
    node_class_ref: NodeClassRef
    requirements: list[Requirement]
    taints: list[Taint]


class NodeClaimTemplate(Strict):
    metadata: TemplateMetadata
    spec: NodeClaimSpec


class Disruption(Strict):
    consolidation_policy: Literal["WhenEmpty", "WhenEmptyOrUnderutilized"]
    consolidate_after: Annotated[str, Meta(pattern=r"^(([0-9]+(s|m|h))+|Never)$")]


class NodePoolSpec(Strict):
    template: NodeClaimTemplate
    disruption: Disruption
    limits: dict[str, Quantity] = {}
    weight: Annotated[int, Meta(ge=1, le=100)] | None = None


class NodePool(Strict, tag_field="kind", tag="NodePool"):
    api_version: Literal["karpenter.sh/v1"]
    metadata: Metadata
    spec: NodePoolSpec


class NodeOverlaySpec(Strict):
    weight: Annotated[int, Meta(ge=1, le=10_000)]
    requirements: Annotated[list[Requirement], Meta(min_length=1)]
    capacity: dict[ResourceName, Quantity]


class NodeOverlay(Strict, tag_field="kind", tag="NodeOverlay"):
    api_version: Literal["karpenter.sh/v1alpha1"]
    metadata: Metadata
    spec: NodeOverlaySpec


class Alias(Strict):
    alias: Annotated[str, Meta(pattern=r"^(al2023|bottlerocket)@(latest|v.+)$")]


class Tagged(Strict):
    tags: dict[str, str]


class Ebs(Strict):
    volume_size: Quantity
    volume_type: Literal["gp3"]
    encrypted: bool
    delete_on_termination: bool


class BlockDevice(Strict):
    device_name: str
    ebs: Ebs


class MetadataOptions(Strict):
    http_endpoint: Literal["enabled"]
    http_protocol_i_pv6: Literal["enabled", "disabled"] = msgspec.field(name="httpProtocolIPv6")
    http_put_response_hop_limit: Annotated[int, Meta(ge=1, le=64)]
    http_tokens: Literal["required"]


class EC2NodeClassSpec(Strict):
    ami_selector_terms: Annotated[list[Alias], Meta(min_length=1, max_length=1)]  # an alias stands alone
    subnet_selector_terms: Annotated[list[Tagged], Meta(min_length=1)]
    security_group_selector_terms: Annotated[list[Tagged], Meta(min_length=1)]
    block_device_mappings: list[BlockDevice]
    instance_store_policy: Literal["RAID0"]
    metadata_options: MetadataOptions
    role: str | None = None
    instance_profile: str | None = None
    user_data: str | None = None

    def __post_init__(self):
        if (self.role is None) == (self.instance_profile is None):
            raise ValueError("role or instanceProfile")


class EC2NodeClass(Strict, tag_field="kind", tag="EC2NodeClass"):
    api_version: Literal["karpenter.k8s.aws/v1"]
    metadata: Metadata
    spec: EC2NodeClassSpec


# Node Feature Discovery


class MatchExpression(Strict):
    op: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    value: list[str]


class FeatureMatcher(Strict):
    feature: Annotated[str, Meta(pattern=r"^[a-z]+\.[a-z]+$")]
    match_expressions: dict[str, MatchExpression]


class Rule(Strict):
    name: str
    match_features: list[FeatureMatcher]
    extended_resources: dict[
        ResourceName, Annotated[str, Meta(pattern=r"^[1-9]\d*$")]
    ]  # NFD compares numbers


class NodeFeatureRuleSpec(Strict):
    rules: list[Rule]


class NodeFeatureRule(Strict, tag_field="kind", tag="NodeFeatureRule"):
    api_version: Literal["nfd.k8s-sigs.io/v1alpha1"]
    metadata: Metadata
    spec: NodeFeatureRuleSpec


class ConfigMap(Strict, tag_field="kind", tag="ConfigMap"):
    api_version: Literal["v1"]
    metadata: Metadata
    data: dict[Annotated[str, Meta(max_length=253, pattern=r"^[-._a-zA-Z0-9]+$")], str]


OBJECT = NodePool | NodeOverlay | EC2NodeClass | NodeFeatureRule | ConfigMap


# GPU Operator


class Toleration(Strict):
    key: str
    operator: Literal["Exists"]
    effect: Literal["NoSchedule"]


class ConfigReference(Strict):
    name: str
    default: str


class WithConfig(Strict):
    config: ConfigReference


class EnvVar(Strict):
    name: str
    value: str


class MigManager(Strict):
    config: ConfigReference
    env: list[EnvVar] = []


class Enabled(Strict):
    enabled: bool


class Daemonsets(Strict):
    tolerations: list[Toleration]


class PolicyMig(Strict):
    strategy: Literal["none", "single", "mixed"] | None  # null removes it


class ClusterPolicySpec(Strict):
    device_plugin: WithConfig
    mig: PolicyMig
    daemonsets: Daemonsets
    mig_manager: MigManager | None = None


class ClusterPolicyPatch(Strict):
    spec: ClusterPolicySpec


class ValuesMig(Strict):
    strategy: Literal["", "none", "single", "mixed"]


class NfdValues(Strict):
    worker: Daemonsets


class HelmValues(Strict):
    driver: Enabled
    toolkit: Enabled
    device_plugin: WithConfig
    mig: ValuesMig
    daemonsets: Daemonsets
    nfd: NfdValues = msgspec.field(name="node-feature-discovery")
    mig_manager: MigManager | None = None


# The device plugin's file


class Replicated(Strict):
    name: Literal["nvidia.com/gpu"]
    replicas: Annotated[int, Meta(ge=2, le=48)]


class Shared(Strict):
    rename_by_default: bool
    fail_requests_greater_than_one: bool
    resources: Annotated[list[Replicated], Meta(min_length=1, max_length=1)]


class Sharing(Strict):
    time_slicing: Shared | None = None
    mps: Shared | None = None


class Flags(Strict):
    mig_strategy: Literal["none", "single", "mixed"]


class DevicePluginConfig(Strict):
    version: Literal["v1"]
    flags: Flags
    sharing: Sharing | None = None

    def __post_init__(self):
        if self.sharing and self.sharing.mps and self.flags.mig_strategy == "mixed":
            raise ValueError("the plugin refuses MPS under mixed")
        if self.sharing and self.sharing.mps and self.sharing.time_slicing:
            raise ValueError("one sharing method per node")


# mig-parted's file


class MigDevices(Struct, forbid_unknown_fields=True, rename="kebab", kw_only=True):
    devices: Literal["all"] | list[Annotated[int, Meta(ge=0, le=15)]]
    mig_enabled: bool
    mig_devices: dict[
        Annotated[str, Meta(pattern=r"^\d+g\.\d+gb(\+me)?$")], Annotated[int, Meta(ge=1, le=7)]
    ] = {}


class MigPartedConfig(Struct, forbid_unknown_fields=True, rename="kebab", kw_only=True):
    version: Literal["v1"]
    mig_configs: dict[LabelValue, Annotated[list[MigDevices], Meta(min_length=1)]]


# kustomize


class Kustomization(Strict, tag_field="kind", tag="Kustomization"):
    api_version: Literal["kustomize.config.k8s.io/v1beta1"]
    resources: list[str]


class PatchTarget(Strict):
    kind: str
    name: str
    namespace: str | None = None
    group: str | None = None
    version: str | None = None


class PatchEntry(Strict):
    path: str
    target: PatchTarget


class Component(Strict, tag_field="kind", tag="Component"):
    api_version: Literal["kustomize.config.k8s.io/v1alpha1"]
    patches: list[PatchEntry]


def parse(text, kind=OBJECT) -> Any:
    """All documents of a rendered file, held to their schemas."""
    return [msgspec.convert(each, kind) for each in yaml.safe_load_all(text)]
