"""How nodes come to be: images, volumes, machines that grow too large, Auto Mode, versions, rival device plugins."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from gpuslice.cluster.checks.finding import Check, Finding, Seen, Severity
from gpuslice.cluster.client.resources import (
    AUTO_NODE_CLASS,
    CLUSTER_POLICY,
    DAEMON_SET,
    DEPLOYMENT,
    NODE,
    NODE_CLASS,
    NODE_OVERLAY,
    NODE_POOL,
    POD,
)
from gpuslice.cluster.seen.inventory import INSTANCE_TYPE, requests_of
from gpuslice.cluster.seen.machines import POOL, admitted, promised, types_of
from gpuslice.errors import InputError
from gpuslice.hardware.resource_names import WHOLE_GPU
from gpuslice.units import parse_quantity

if TYPE_CHECKING:
    from gpuslice.cluster.client.objects import NodeClass

_LEAST_GIB: Final = 50
"""Two CUDA images and the system: 5 to 15 GiB each, unpacked."""
_GIB: Final = 1024**3
_ROOT: Final = {"bottlerocket": "/dev/xvdb"}
_WITH_DRIVER: Final = ("nvidia", "gpu", "deep learning", "bottlerocket")
"""Of these words one is in the name of every image that Amazon makes with the driver."""
_KARPENTER_FROM: Final = (1, 14)
_WEDGING_MIG_MANAGER: Final = "v0.15.0"
_VERSION: Final = re.compile(r"v?(\d+)\.(\d+)(?:\.(\d+))?")


def _auto_mode(seen: Seen) -> Iterator[Finding]:
    if not seen.cluster.auto_mode:
        return
    theirs = {
        node_pool.name
        for node_pool in seen.cluster.node_pools
        if node_pool.spec.template.spec.node_class_ref.group == AUTO_NODE_CLASS.group
    }
    for pod in seen.cluster.gpu_pods:
        sliced = [name for name in requests_of(pod) if name != WHOLE_GPU]
        wanted = pod.spec.node_selector
        auto = wanted.get(POOL) in theirs or any(key.startswith("eks.amazonaws.com/") for key in wanted)
        if sliced and (auto or len(theirs) == len(seen.cluster.node_pools)):
            yield Finding(
                f"Pod {pod.name}",
                f"asks for {sliced[0]} of nodes that EKS Auto Mode makes",
                "Auto Mode has neither time-slicing nor MIG, and no NodeOverlays: the pod stays pending",
                "run Karpenter of your own beside it for sliced GPUs, or ask for nvidia.com/gpu",
            )
            return


def _versions(seen: Seen) -> Iterator[Finding]:
    karpenter = seen.cluster.karpenter
    if karpenter is not None and seen.cluster.node_overlays:
        for container in karpenter.pod.containers:
            version = _VERSION.fullmatch(_tag(container.image))
            if version and (int(version[1]), int(version[2])) < _KARPENTER_FROM:
                yield Finding(
                    f"Deployment {karpenter.name}",
                    f"runs {container.image.partition('@')[0]}",
                    "NodeOverlays behave as gpuslice expects from v1.14 on; nobody has tried older ones",
                    "upgrade Karpenter to v1.14 or later",
                )
    if not any("nvidia.com/mig.config" in node_pool.labels for node_pool in seen.cluster.node_pools):
        return
    for runner in seen.cluster.daemon_sets:
        for container in runner.pod.containers:
            if "mig-manager" in container.image and _tag(container.image).startswith(_WEDGING_MIG_MANAGER):
                yield Finding(
                    f"DaemonSet {runner.name}",
                    f"runs {container.image.partition('@')[0]}, and NodePools ask for MIG",
                    "this version can leave a node's operands paused-for-mig-change (NVIDIA/gpu-operator#2833)",
                    "watch GS501, or run a later version as soon as there is one",
                )


def _tag(image: str) -> str:
    return image.partition("@")[0].rpartition(":")[2]


def _two_plugins(seen: Seen) -> Iterator[Finding]:
    plugins = {device_plugin.name for device_plugin in seen.cluster.device_plugins}
    for node in seen.cluster.nodes:
        running = sorted(
            {
                f"{pod.metadata.namespace}/{owner.name}"
                for pod in seen.cluster.pods_by_node.get(node.name, ())
                for owner in pod.metadata.owner_references
                if owner.kind == "DaemonSet" and f"{pod.metadata.namespace}/{owner.name}" in plugins
            }
        )
        built_in = "Bottlerocket" in node.status.node_info.os_image
        if len(running) + (built_in and bool(running)) > 1:
            others = ["Bottlerocket's own"] if built_in else []
            yield Finding(
                f"Node {node.name}",
                f"several device plugins run on it: {', '.join([*running, *others])}",
                "they overwrite each other's count of GPUs: what the node offers changes with who registered last",
                f"label the node's pool nvidia.com/gpu.deploy.operands=false, or remove {running[-1]}",
            )


def _growing(seen: Seen) -> Iterator[Finding]:
    """A pool that says nothing of machines is spoken of once Karpenter has made a GPU node of it."""
    kinds = seen.catalog.by_name()
    with_gpus = {
        node.labels.get(POOL) for node in seen.cluster.nodes if node.labels.get(INSTANCE_TYPE, "") in kinds
    }
    for pool in seen.cluster.node_pools:
        types = types_of(pool, seen.catalog)
        if not types and pool.name in with_gpus:
            types = admitted(pool, seen.catalog)
        counts = sorted({kind.gpu_count for kind in types if kind.gpu_count})
        if len(counts) < 2:
            continue
        largest = max(types, key=lambda kind: kind.gpu_count)
        smallest = min((kind for kind in types if kind.gpu_count), key=lambda kind: kind.gpu_count)
        sliced = any(promised(seen.cluster.node_overlays, pool, kind) for kind in types)
        yield Finding(
            f"NodePool {pool.name}",
            f"admits machines of {counts[0]} to {counts[-1]} GPUs ({smallest.name} … {largest.name})"
            + (", sliced" if sliced else ""),
            "pods that come together get one large machine, whose GPUs cost more each in most families; Karpenter "
            "never splits it afterwards",
            f"list its instance types, or add {{key: karpenter.k8s.aws/instance-gpu-count, operator: In, values: "
            f'["{counts[0]}"]}}',
        )


def _small_volume(seen: Seen) -> Iterator[Finding]:
    gpu_classes = {
        pool.spec.template.spec.node_class_ref.name
        for pool in seen.cluster.node_pools
        if types_of(pool, seen.catalog)
    }
    for node_class in seen.cluster.node_classes:
        if node_class.name not in gpu_classes or node_class.spec.instance_store_policy == "RAID0":
            continue
        size = _volume_gib(node_class)
        if size is not None and size < _LEAST_GIB:
            yield Finding(
                f"EC2NodeClass {node_class.name}",
                f"nodes have {size:.0f} GiB for container images"
                + ("" if node_class.spec.block_device_mappings else ", Karpenter's default"),
                "CUDA images are 5 to 15 GiB each: pods are evicted for disk pressure, or never start",
                "set blockDeviceMappings to 100Gi or more",
            )


def _volume_gib(node_class: NodeClass) -> float | None:
    """GiB for container images; None where that can't be told."""
    if not node_class.spec.block_device_mappings:
        return 20.0
    device = _ROOT.get(node_class.family, "")
    sizes = [
        one.ebs.volume_size
        for one in node_class.spec.block_device_mappings
        if one.ebs.volume_size and device in {"", one.device_name}
    ]
    try:
        return float(max(parse_quantity(size) for size in sizes) / _GIB) if sizes else None
    except InputError:
        return None


def _image(seen: Seen) -> Iterator[Finding]:
    """Images that are named by hand: Karpenter takes the NVIDIA variant by itself only of an alias."""
    classes = {node_class.name: node_class for node_class in seen.cluster.node_classes}
    driver = any(cluster_policy.spec.driver.enabled for cluster_policy in seen.cluster.cluster_policies)
    for pool in seen.cluster.node_pools:
        node_class = classes.get(pool.spec.template.spec.node_class_ref.name)
        if node_class is None or driver or not types_of(pool, seen.catalog):
            continue
        for term in node_class.spec.ami_selector_terms:
            named = term.name or term.ssm_parameter
            if named and not term.alias and not any(word in named.lower() for word in _WITH_DRIVER):
                yield Finding(
                    f"EC2NodeClass {node_class.name}",
                    f"names the machine image {named!r} for NodePool {pool.name}, and nothing in that says NVIDIA",
                    "without a driver in the image, and with the GPU Operator's switched off, its nodes offer no GPU",
                    "take an alias (amiSelectorTerms: [{alias: al2023@VERSION}]), of which Karpenter takes the NVIDIA "
                    "variant for GPU machines, or name an image with the driver",
                )
                break


def _driver(seen: Seen) -> Iterator[Finding]:
    """Who brings the driver and the toolkit: the image, or the operator; and not both, and not neither."""
    classes = {node_class.name: node_class for node_class in seen.cluster.node_classes}
    for policy in seen.cluster.cluster_policies:
        driver = policy.spec.driver.enabled
        for pool in seen.cluster.node_pools:
            node_class = classes.get(pool.spec.template.spec.node_class_ref.name)
            if node_class is None or not types_of(pool, seen.catalog):
                continue
            excluded = pool.labels.get("nvidia.com/gpu.deploy.operands") == "false"
            if node_class.family == "bottlerocket" and not excluded:
                yield Finding(
                    f"NodePool {pool.name}",
                    f"runs Bottlerocket (EC2NodeClass {node_class.name}) without nvidia.com/gpu.deploy.operands=false",
                    "Bottlerocket has a device plugin of its own: with the GPU Operator's there are two on a node",
                    'add the label nvidia.com/gpu.deploy.operands: "false" to the pool\'s template',
                )
            elif (
                node_class.family in {"al2023", "al2"}
                and driver
                and not excluded
                and not _own_driver_off(pool.labels)
            ):
                yield Finding(
                    f"ClusterPolicy {policy.name}",
                    f"driver.enabled is true, and NodePool {pool.name} runs {node_class.family}, whose NVIDIA image "
                    "has a driver",
                    "the operator leaves a driver alone that it finds; on an image without one its driver container "
                    "doesn't build for Amazon Linux",
                    "helm upgrade gpu-operator nvidia/gpu-operator --reuse-values --set driver.enabled=false "
                    "--set toolkit.enabled=false",
                )
            elif (
                node_class.family == "al2023"
                and policy.spec.toolkit.enabled
                and not excluded
                and pool.labels.get("nvidia.com/gpu.deploy.container-toolkit") != "false"
            ):
                yield Finding(
                    f"ClusterPolicy {policy.name}",
                    f"toolkit.enabled is true, and NodePool {pool.name} runs al2023, whose NVIDIA image has a toolkit",
                    "the operator sets up containerd anew on nodes that were set up already",
                    "helm upgrade gpu-operator nvidia/gpu-operator --reuse-values --set toolkit.enabled=false",
                )
            elif node_class.family == "ubuntu" and driver is False:
                yield Finding(
                    f"ClusterPolicy {policy.name}",
                    f"driver.enabled is false, and NodePool {pool.name} runs Ubuntu, whose image has no driver",
                    "its nodes offer no GPU",
                    "helm upgrade gpu-operator nvidia/gpu-operator --reuse-values --set driver.enabled=true",
                )


def _own_driver_off(labels: dict[str, str]) -> bool:
    return labels.get("nvidia.com/gpu.deploy.driver") == "false"


CHECKS: Final = (
    Check(
        "GS101",
        "EKS Auto Mode is asked for whole GPUs only",
        Severity.BROKEN,
        (POD, NODE, NODE_POOL, AUTO_NODE_CLASS),
        _auto_mode,
    ),
    Check(
        "GS102",
        "Versions are known to work together",
        Severity.RISK,
        (DEPLOYMENT, DAEMON_SET, NODE_OVERLAY, NODE_POOL),
        _versions,
    ),
    Check(
        "GS103", "One device plugin runs on a node", Severity.BROKEN, (NODE, POD, DAEMON_SET), _two_plugins
    ),
    Check(
        "GS701",
        "NodePools can't grow to large GPU machines",
        Severity.RISK,
        (NODE_POOL, NODE_OVERLAY, NODE),
        _growing,
    ),
    Check(
        "GS702",
        "GPU nodes have room for container images",
        Severity.RISK,
        (NODE_CLASS, NODE_POOL),
        _small_volume,
    ),
    Check(
        "GS703",
        "Image and operator agree on who brings the driver",
        Severity.RISK,
        (NODE_CLASS, NODE_POOL, CLUSTER_POLICY),
        _driver,
    ),
    Check(
        "GS704",
        "Machine images of GPU pools have a driver",
        Severity.RISK,
        (NODE_CLASS, NODE_POOL, CLUSTER_POLICY),
        _image,
    ),
)
