"""Metered GPUs: how a node comes to offer `gpuslice.io/gpu-memory` and `gpuslice.io/gpu-time`.

Karpenter is promised the two by the NodeOverlay. On the node, Node Feature Discovery makes extended resources of
them by a NodeFeatureRule. What the rule matches has to tell one layout from another, since two metered pools on one
instance type may differ in nothing but their time:

- not the node's label `gpuslice.io/pool`: rules see features, and labels of nodes are none;
- not GPU Feature Discovery's labels: from GPU Operator v26 on it publishes them as labels of a NodeFeature object
  (USE_NODE_FEATURE_API, on by default), so `local.label` is empty; its feature file, where that is chosen, is deleted
  whenever it restarts, and the capacity with it; and replicas and product may be the same in both pools;
- not the DMI product name: the instance type is the same in both pools.

So the node says it itself: its user data writes a feature file that names the layout, for NFD's `local` source, before
any pod runs. The line `# +no-label` keeps it from becoming a node label.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gpuslice.planner.promised import GPU_MEMORY, GPU_TIME, gpu_memory_bytes
from gpuslice.render.files import Object
from gpuslice.render.naming import OWNED, content_name

if TYPE_CHECKING:
    from gpuslice.planner.plan import Layout, Metered

FEATURE: Final = "gpuslice.io/layout"
FEATURE_FILE: Final = "/etc/kubernetes/node-feature-discovery/features.d/gpuslice"

_BOUNDARY: Final = "GPUSLICE"


def layout_name(layout: Layout, metered: Metered) -> str:
    """The feature's value: one for each GPU model and pair of figures."""
    memory, time = gpu_memory_bytes(metered), metered.time
    return content_name(f"{layout.gpu}-metered-{metered.memory}-{time}", f"{layout.gpu} {memory} {time}")


def rule(layout: Layout, metered: Metered) -> Object:
    """The NodeFeatureRule (v1alpha1) that gives the layout's nodes what the overlay promises."""
    name = layout_name(layout, metered)
    return {
        "apiVersion": "nfd.k8s-sigs.io/v1alpha1",
        "kind": "NodeFeatureRule",
        "metadata": {"name": f"gpuslice-{name}", "labels": OWNED},
        "spec": {
            "rules": [
                {
                    "name": f"gpuslice {name}",
                    "matchFeatures": [
                        {
                            "feature": "local.feature",
                            "matchExpressions": {FEATURE: {"op": "In", "value": [name]}},
                        }
                    ],
                    # NFD compares numbers: plain bytes, no suffix.
                    "extendedResources": {
                        GPU_MEMORY: str(gpu_memory_bytes(metered)),
                        GPU_TIME: str(metered.time),
                    },
                }
            ]
        },
    }


def user_data(layout: Layout, metered: Metered) -> str:
    """User data of the layout's nodes (AL2023): Karpenter appends its NodeConfig as another MIME part."""
    directory, _, file = FEATURE_FILE.rpartition("/")
    # Written aside and moved: NFD skips files with a leading dot, and reads whatever else it finds at once.
    return "\n".join(
        (
            "MIME-Version: 1.0",
            f'Content-Type: multipart/mixed; boundary="{_BOUNDARY}"',
            "",
            f"--{_BOUNDARY}",
            'Content-Type: text/x-shellscript; charset="us-ascii"',
            "",
            "#!/bin/bash",
            "set -eu",
            f"mkdir -p {directory}",
            f"printf '%s\\n' '# +no-label' '{FEATURE}={layout_name(layout, metered)}' > {directory}/.{file}",
            f"mv {directory}/.{file} {FEATURE_FILE}",
            f"--{_BOUNDARY}--",
            "",
        )
    )
