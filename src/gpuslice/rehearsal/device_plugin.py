"""What a node's device plugin registers, from the configuration that really reaches it.

Never from what the NodeOverlay promises: that the two agree is what a rehearsal is about. AL2023: NVIDIA's device
plugin and MIG manager, with the ConfigMaps that the ClusterPolicy names (k8s-device-plugin v0.20, mig-parted v0.15).
Bottlerocket: its own settings.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import yaml

from gpuslice.errors import InputError
from gpuslice.hardware.stacks import BOTTLEROCKET_GPU, uniform_geometries

GPU: Final = "nvidia.com/gpu"
_MIG_LABEL: Final = "nvidia.com/mig.config"
_PLUGIN_LABEL: Final = "nvidia.com/device-plugin.config"
_PLUGIN_SETTINGS: Final = "config.yaml"


@dataclass(frozen=True, slots=True)
class Operator:
    """What the GPU Operator's ClusterPolicy and the ConfigMaps beside it say.

    Attributes:
        policy: the ClusterPolicy's spec.
        config_maps: data of the ConfigMaps in the operator's namespace, by name.
    """

    policy: Mapping[str, Any]
    config_maps: Mapping[str, Mapping[str, str]]

    def named(self, component: str) -> tuple[Mapping[str, str], str]:
        """A component's ConfigMap and its default entry; empty where none is configured.

        Raises:
            InputError: the ConfigMap isn't there.
        """
        config = (self.policy.get(component) or {}).get("config") or {}
        name = config.get("name", "")
        if name and name not in self.config_maps:
            raise InputError(f"no ConfigMap {name}", where=f"ClusterPolicy .spec.{component}.config.name")
        return self.config_maps.get(name, {}), config.get("default", "")


def registered(gpus: int, labels: Mapping[str, str], operator: Operator) -> dict[str, int]:
    """What a node of the AL2023 stack offers, by extended resource.

    Args:
        gpus: devices that the driver shows: one for a fraction of a GPU.
        labels: of the node.
        operator: its configuration.

    Raises:
        InputError: the plugin or the MIG manager doesn't start, or gives up.
    """
    instances = _cut(gpus, labels, operator)
    entries, default = operator.named("devicePlugin")
    key = labels.get(_PLUGIN_LABEL, default)
    config = _entry(entries, key) if key else {}
    # The operator sets the environment variable, which wins over the file.
    strategy = (operator.policy.get("mig") or {}).get("strategy") or config.get("flags", {}).get(
        "migStrategy", "none"
    )
    sharing = config.get("sharing", {})
    if sharing.get("mps") and strategy != "none":
        raise InputError(f"MPS with MIG strategy {strategy}: the device plugin doesn't start", where=key)
    whole = gpus if strategy == "none" else gpus - len(instances)
    offered = {GPU: whole} if whole else {}
    if strategy == "single":
        raise InputError("MIG strategy single is not played on AL2023", where=key)
    if strategy == "mixed":
        for profile, count in sum(instances.values(), Counter[str]()).items():
            offered[f"nvidia.com/mig-{profile.replace('+', '.')}"] = count
    for entry in (sharing.get("timeSlicing") or sharing.get("mps") or {}).get("resources", ()):
        name = entry["name"]
        if name in offered:
            section = sharing.get("timeSlicing") or sharing["mps"]
            shared = f"{name}.shared" if section.get("renameByDefault") else name
            offered[shared] = offered.pop(name) * entry["replicas"]
    return offered


def feature_labels(
    product: str, memory_mib: int, gpus: int, labels: Mapping[str, str], operator: Operator
) -> dict[str, str]:
    """GPU Feature Discovery's labels, those of them that say what a node's GPUs are and how they are shared."""
    entries, default = operator.named("devicePlugin")
    key = labels.get(_PLUGIN_LABEL, default)
    sharing = (_entry(entries, key) if key else {}).get("sharing", {})
    section = sharing.get("timeSlicing") or sharing.get("mps") or {}
    replicas = next((entry["replicas"] for entry in section.get("resources", ())), 1)
    renamed = bool(section.get("renameByDefault"))
    return {
        "nvidia.com/gpu.product": product if replicas == 1 or renamed else f"{product}-SHARED",
        "nvidia.com/gpu.memory": str(memory_mib),
        "nvidia.com/gpu.count": str(gpus),
        "nvidia.com/gpu.replicas": str(replicas),
        "nvidia.com/gpu.sharing-strategy": "time-slicing"
        if "timeSlicing" in sharing
        else "mps"
        if "mps" in sharing
        else "none",
    }


def bottlerocket_registered(gpu: str, gpus: int, nvidia: Mapping[str, Any]) -> dict[str, int]:
    """What a Bottlerocket node offers, by extended resource.

    Args:
        gpu: model, by our name.
        gpus: of the node.
        nvidia: `settings.kubelet-device-plugins.nvidia`.
    """
    strategy = nvidia.get("device-sharing-strategy", "none")
    if strategy != "none":
        settings = nvidia[strategy]
        name = f"{GPU}.shared" if settings.get("rename-by-default") else GPU
        return {name: gpus * settings["replicas"]}
    profile = nvidia.get("mig", {}).get("profile", {}).get(BOTTLEROCKET_GPU.get(gpu, ""))
    if nvidia.get("device-partitioning-strategy") == "mig" and profile:
        return {GPU: gpus * uniform_geometries(gpu)[profile]}
    return {GPU: gpus}


def _cut(gpus: int, labels: Mapping[str, str], operator: Operator) -> dict[int, Counter[str]]:
    """The MIG instances of each GPU that has MIG on, by its index."""
    maps, default = operator.named("migManager")
    name = labels.get(_MIG_LABEL, default if maps else "")
    if not name or not maps:
        return {}
    configs = _entry(maps, _PLUGIN_SETTINGS)["mig-configs"]
    if name not in configs:
        raise InputError(f"no MIG configuration {name}", where=_MIG_LABEL)
    cut: dict[int, Counter[str]] = {}
    for entry in configs[name]:
        for index in range(gpus) if entry["devices"] == "all" else entry["devices"]:
            if entry["mig-enabled"]:
                cut[index] = Counter(entry.get("mig-devices", {}))
    return cut


def _entry(entries: Mapping[str, str], key: str) -> dict[str, Any]:
    if key not in entries:
        raise InputError(f"no entry {key[:63]!r} in the ConfigMap", where=_PLUGIN_LABEL)
    entry: dict[str, Any] = yaml.load(entries[key], Loader=yaml.CSafeLoader)
    return entry
