"""NVIDIA's device plugin: one configuration for each layout, chosen by a node's label.

Form: k8s-device-plugin v0.20 (`version: v1`). Read at start and when the label changes, never when the ConfigMap
does: so every entry is named by its content's hash, and new ones are added beside the old.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

from msgspec import UNSET

from gpuslice.artefacts.documents import dump_yaml
from gpuslice.carriers.objects.files import Object
from gpuslice.carriers.objects.naming import OWNED, content_name
from gpuslice.hardware.mechanisms import Mechanism
from gpuslice.hardware.resource_names import WHOLE_GPU
from gpuslice.plan.layouts import mechanism, replicas

if TYPE_CHECKING:
    from gpuslice.plan.artefact import Layout

CONFIG_MAP: Final = "gpuslice-device-plugin"
CONFIG_LABEL: Final = "nvidia.com/device-plugin.config"
DEFAULT_KEY: Final = "default"
"""For nodes without the label: nothing is shared, and MIG instances, if any, are offered by their profiles."""

STEM: Final = {Mechanism.TIME_SLICING: "ts", Mechanism.MPS: "mps"}
"""How keys begin to say it."""


def config(layout: Layout) -> Object:
    """The plugin's configuration for a layout.

    Whole GPUs have one too: the cluster's default may share GPUs, as tutorials set it, and would share theirs.
    """
    match mechanism(layout):
        case Mechanism.TIME_SLICING | Mechanism.MPS as kind:
            return shared(kind, replicas(layout), rename=True)
        case Mechanism.MIG:
            return {"version": "v1", "flags": {"migStrategy": "mixed"}}
        case _:
            return {"version": "v1", "flags": {"migStrategy": "none"}}


def shared(kind: Mechanism, slots: int, *, rename: bool) -> Object:
    """The plugin's configuration for GPUs in equal slots.

    Args:
        kind: time-slicing or MPS.
        slots: of each GPU.
        rename: whether pods ask for nvidia.com/gpu.shared instead of nvidia.com/gpu.
    """
    return {
        "version": "v1",
        "flags": {"migStrategy": "none"},  # MPS refuses "mixed"
        "sharing": {
            "timeSlicing" if kind is Mechanism.TIME_SLICING else "mps": {
                "renameByDefault": rename,
                # Two replicas of one GPU are still one GPU: a pod that asks for two is mistaken.
                "failRequestsGreaterThanOne": True,
                "resources": [{"name": WHOLE_GPU, "replicas": slots}],
            }
        },
    }


def config_key(layout: Layout) -> str:
    """The key of the layout's configuration, and the value of CONFIG_LABEL."""
    entry = config(layout)
    kind = mechanism(layout)
    if kind is Mechanism.MIG:
        return content_name("mig-mixed", dump_yaml(entry))
    if kind not in STEM:
        return content_name("whole", dump_yaml(entry))
    metered = "metered" if layout.metered is not UNSET else ""
    return content_name(f"{layout.gpu}-{metered or STEM[kind]}{replicas(layout)}", dump_yaml(entry))


def config_map(layouts: Iterable[Layout], namespace: str) -> Object:
    """The ConfigMap with all configurations."""
    entries = {DEFAULT_KEY: dump_yaml({"version": "v1", "flags": {"migStrategy": "mixed"}})}
    for layout in layouts:
        entries[config_key(layout)] = dump_yaml(config(layout))
    return holding(entries, namespace)


def holding(entries: Mapping[str, str], namespace: str) -> Object:
    """The ConfigMap with these configurations, by key."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": CONFIG_MAP, "namespace": namespace, "labels": OWNED},
        "data": {key: entries[key] for key in sorted(entries)},
    }
