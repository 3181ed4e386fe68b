"""The GPU Operator: Helm values, and the same settings as a patch of a ClusterPolicy that is there already.

Names of values and fields: GPU Operator v26.7.0. For the AL2023 NVIDIA image, which brings the driver and the container
toolkit itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from gpuslice.carriers.device_plugin import mig_parted
from gpuslice.carriers.device_plugin import plugin_config as device_plugin
from gpuslice.carriers.objects.files import Object
from gpuslice.carriers.pools import POOL_LABEL
from gpuslice.hardware.mechanisms import Mechanism
from gpuslice.plan.layouts import mechanism

if TYPE_CHECKING:
    from gpuslice.plan.artefact import Layout

CHART_VERSION: Final = "v26.7.0"

Kinds = set[tuple[Mechanism, str]]
"""Mechanisms and the GPUs that they are used on."""

_TOLERATIONS: Final = [
    {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"},
    {"key": POOL_LABEL, "operator": "Exists", "effect": "NoSchedule"},
]


def helm_values(layouts: Iterable[Layout]) -> Object:
    """Values for the chart, for a cluster in which these layouts are used."""
    kinds = kinds_of(layouts)
    values: dict[str, object] = {
        "driver": {"enabled": False},
        "toolkit": {"enabled": False},
        "devicePlugin": {"config": _plugin_config()},
        "mig": {"strategy": _strategy(kinds) or ("" if unsaid(kinds) else CHARTS_STRATEGY)},
    }
    manager = _mig_manager(kinds)
    if manager:
        values["migManager"] = manager
    values |= {
        "daemonsets": {"tolerations": _TOLERATIONS},
        "node-feature-discovery": {"worker": {"tolerations": _TOLERATIONS}},
    }
    return values


def cluster_policy_patch(layouts: Iterable[Layout]) -> Object:
    """A JSON merge patch for the ClusterPolicy, for an operator that isn't installed with our values.

    Driver and toolkit stay as they are: other nodes may need them, and on the AL2023 NVIDIA image the operator sees
    that a driver is there.
    """
    kinds = kinds_of(layouts)
    spec: dict[str, object] = {
        "devicePlugin": {"config": _plugin_config()},
        "mig": {"strategy": _strategy(kinds)},  # null removes the field, and "" isn't allowed in it
    }
    manager = _mig_manager(kinds)
    if manager:
        spec["migManager"] = manager
    return {"spec": spec | {"daemonsets": {"tolerations": _TOLERATIONS}}}


CHARTS_STRATEGY: Final = "single"
"""What the chart sets by default. MPS does under it, and GPUs that aren't cut are the same under every strategy.

No strategy at all would be "", of which the chart makes `mig: null`: what Helm 3 does gets past the API server, what
Helm 4 does is refused (tried with both, on a real API server).
"""

WITH_REBOOT: Final = [{"name": "WITH_REBOOT", "value": "true"}]
"""The MIG manager may reboot a node. An A100 changes its MIG mode only by a reset, which a guest may not be able to do
otherwise; newer GPUs need none, and aren't rebooted."""


def kinds_of(layouts: Iterable[Layout]) -> Kinds:
    """What layouts do, and with which GPUs."""
    return {(mechanism(layout), layout.gpu) for layout in layouts}


def _plugin_config() -> Object:
    return {"name": device_plugin.CONFIG_MAP, "default": device_plugin.DEFAULT_KEY}


def _strategy(kinds: Kinds) -> str | None:
    """The cluster-wide MIG strategy; None to leave it to each node's configuration.

    One that is set overrides the nodes' own, and the device plugin doesn't start with MPS under "mixed".
    """
    return None if any(kind is Mechanism.MPS for kind, _ in kinds) else "mixed"


def unsaid(kinds: Kinds) -> bool:
    """Whether the cluster can have no MIG strategy: MPS pools and MIG ones need different ones."""
    return {Mechanism.MPS, Mechanism.MIG} <= {kind for kind, _ in kinds}


def _mig_manager(kinds: Kinds) -> dict[str, object]:
    models = {gpu for kind, gpu in kinds if kind is Mechanism.MIG}
    if not models:
        return {}  # the operator's own configuration stays
    manager: dict[str, object] = {
        "config": {"name": mig_parted.CONFIG_MAP, "default": mig_parted.ALL_DISABLED}
    }
    if any(model.startswith("A100") for model in models):
        manager["env"] = WITH_REBOOT
    return manager
