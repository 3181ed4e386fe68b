"""mig-parted's configuration, which the GPU Operator's MIG manager applies to nodes by their label.

Form: mig-parted v0.15 (`version: v1`, unknown fields refused). Counts are per GPU, and every GPU is covered.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from msgspec import UNSET

from gpuslice.artefacts.documents import dump_yaml
from gpuslice.carriers.objects.files import Object
from gpuslice.carriers.objects.naming import OWNED, content_name
from gpuslice.hardware.mig import Geometry
from gpuslice.plan.layouts import geometries

if TYPE_CHECKING:
    from gpuslice.plan.artefact import Layout

CONFIG_MAP: Final = "gpuslice-mig-parted"
CONFIG_LABEL: Final = "nvidia.com/mig.config"
ALL_DISABLED: Final = "all-disabled"
"""What nodes without the label get; the operator allows no other default."""


def entry(layout: Layout) -> list[Object]:
    """How the GPUs of a node are cut: one element for all GPUs, or one for each kind of geometry."""
    cut = geometries(layout)
    if layout.geometries is UNSET:
        return [_devices("all", cut[0])]
    by_geometry: dict[Geometry, list[int]] = {}
    for index, geometry in enumerate(cut):
        by_geometry.setdefault(geometry, []).append(index)
    return [_devices(indexes, geometry) for geometry, indexes in by_geometry.items()]


def entry_name(layout: Layout) -> str:
    """The entry's name, and the value of CONFIG_LABEL."""
    cut = geometries(layout)
    alike = len(set(cut)) == 1
    shape = "-".join(f"{count}x{profile}" for profile, count in cut[0]) if alike else "mixed"
    return content_name(f"{layout.gpu}-{shape}", dump_yaml(entry(layout)), short=f"{layout.gpu}-mig")


def config_map(layouts: Iterable[Layout], namespace: str) -> Object:
    """The ConfigMap with the entries of all MIG layouts."""
    entries: dict[str, object] = {ALL_DISABLED: [_devices("all", Geometry(()))]}
    named = {entry_name(layout): entry(layout) for layout in layouts}
    entries |= {name: named[name] for name in sorted(named)}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": CONFIG_MAP, "namespace": namespace, "labels": OWNED},
        "data": {"config.yaml": dump_yaml({"version": "v1", "mig-configs": entries})},
    }


def _devices(devices: str | list[int], geometry: Geometry) -> Object:
    if not geometry.counts:
        return {"devices": devices, "mig-enabled": False}
    return {"devices": devices, "mig-enabled": True, "mig-devices": dict(geometry.counts)}
