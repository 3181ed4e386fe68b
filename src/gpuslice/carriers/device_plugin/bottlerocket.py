"""Bottlerocket's settings: its device plugin and MIG manager, configured by user data at boot.

Settings: Bottlerocket 1.54, `settings.kubelet-device-plugins.nvidia`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuslice.carriers.objects.naming import content_name
from gpuslice.hardware.mechanisms import Mechanism
from gpuslice.hardware.stacks import BOTTLEROCKET_GPU
from gpuslice.plan.layouts import geometries, mechanism, replicas

if TYPE_CHECKING:
    from gpuslice.plan.artefact import Layout


def user_data(layout: Layout) -> str:
    """The layout's settings as TOML; empty where the defaults are right."""
    nvidia = "settings.kubelet-device-plugins.nvidia"
    match mechanism(layout):
        case Mechanism.TIME_SLICING:
            return (
                f"[{nvidia}]\n"
                'device-sharing-strategy = "time-slicing"\n\n'
                f"[{nvidia}.time-slicing]\n"
                f"replicas = {replicas(layout)}\n"
                "rename-by-default = true\n"
                "fail-requests-greater-than-one = true\n"
            )
        case Mechanism.MPS:
            return (
                f"[{nvidia}]\n"
                'device-sharing-strategy = "mps"\n\n'
                f"[{nvidia}.mps]\n"
                f"replicas = {replicas(layout)}\n"
                "rename-by-default = true\n"
            )
        case Mechanism.MIG:
            profile, _ = geometries(layout)[0].counts[0]
            return (
                f"[{nvidia}]\n"
                'device-partitioning-strategy = "mig"\n\n'
                f"[{nvidia}.mig.profile]\n"
                f'"{BOTTLEROCKET_GPU[layout.gpu]}" = "{profile}"\n'
            )
        case _:
            return ""


def layout_name(layout: Layout) -> str:
    """A name that changes with the settings; empty where there are none."""
    settings = user_data(layout)
    if not settings:
        return ""
    kind = mechanism(layout)
    if kind is Mechanism.MIG:
        shape = geometries(layout)[0].counts[0][0]
    else:
        shape = f"{'ts' if kind is Mechanism.TIME_SLICING else 'mps'}{replicas(layout)}"
    return content_name(f"{layout.gpu}-{shape}", settings)
