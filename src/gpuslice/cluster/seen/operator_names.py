"""Names by which nodes, ConfigMaps and the GPU Operator say how the device plugin and the MIG manager are set."""

from __future__ import annotations

from typing import Final

from gpuslice.carriers.device_plugin import gpu_operator, mig_parted, plugin_config

CHART_VERSION: Final = gpu_operator.CHART_VERSION
"""Of the GPU Operator, that is installed where there is none."""
PLUGIN_LABEL: Final = plugin_config.CONFIG_LABEL
PLUGIN_MAP: Final = plugin_config.CONFIG_MAP
"""Our ConfigMap of the device plugin."""
DEFAULT_KEY: Final = plugin_config.DEFAULT_KEY
MIG_LABEL: Final = mig_parted.CONFIG_LABEL
MIG_MAP: Final = mig_parted.CONFIG_MAP
"""Our ConfigMap of the MIG manager."""
ALL_DISABLED: Final = mig_parted.ALL_DISABLED
