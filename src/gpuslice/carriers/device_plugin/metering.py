"""Metered GPUs: how a node comes to offer `gpuslice.io/gpu-memory` and `gpuslice.io/gpu-time` (see `node_features`).

Two metered pools on one instance type may differ in nothing but their time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gpuslice.carriers.device_plugin import node_features
from gpuslice.carriers.device_plugin.terms import gpu_memory_bytes
from gpuslice.carriers.objects.files import Object
from gpuslice.carriers.objects.naming import content_name
from gpuslice.hardware.resource_names import GPU_MEMORY, GPU_TIME

if TYPE_CHECKING:
    from gpuslice.plan.artefact import Layout, Metered

FEATURE: Final = "gpuslice.io/layout"


def layout_name(layout: Layout, metered: Metered) -> str:
    """The feature's value: one for each GPU model and pair of figures."""
    memory, time = gpu_memory_bytes(metered), metered.time
    return content_name(f"{layout.gpu}-metered-{metered.memory}-{time}", f"{layout.gpu} {memory} {time}")


def rule(layout: Layout, metered: Metered) -> Object:
    """The NodeFeatureRule that gives the layout's nodes what the overlay promises."""
    offered = {GPU_MEMORY: str(gpu_memory_bytes(metered)), GPU_TIME: str(metered.time)}
    return node_features.rule(FEATURE, layout_name(layout, metered), offered)


def user_data(layout: Layout, metered: Metered) -> str:
    """User data of the layout's nodes."""
    return node_features.user_data(FEATURE, layout_name(layout, metered))
