"""How a node comes to offer extended resources that no device plugin registers: by Node Feature Discovery.

Karpenter is promised them by the NodeOverlay. On the node, NFD makes them by a NodeFeatureRule. What the rule matches
has to tell one pool's nodes from another's, which may differ in nothing else:

- not the node's label `gpuslice.io/pool`: rules see features, and labels of nodes are none;
- not GPU Feature Discovery's labels: from GPU Operator v26 on it publishes them as labels of a NodeFeature object
  (USE_NODE_FEATURE_API, on by default), so `local.label` is empty; its feature file, where that is chosen, is deleted
  whenever it restarts, and the capacity with it; and replicas and product may be the same in both pools;
- not the DMI product name: the instance type is the same in both pools.

So the node says it itself: its user data writes a feature file, for NFD's `local` source, before any pod runs. The line
`# +no-label` keeps it from becoming a node label.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from gpuslice.carriers.objects.files import Object
from gpuslice.carriers.objects.naming import OWNED

FEATURE_FILE: Final = "/etc/kubernetes/node-feature-discovery/features.d/gpuslice"

_BOUNDARY: Final = "GPUSLICE"


def rule(feature: str, name: str, offered: Mapping[str, str]) -> Object:
    """The NodeFeatureRule (v1alpha1) that gives nodes with a feature what the overlay promises.

    Args:
        feature: its key.
        name: its value.
        offered: amounts by extended resource. NFD compares numbers: plain ones, no suffix.
    """
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
                            "matchExpressions": {feature: {"op": "In", "value": [name]}},
                        }
                    ],
                    "extendedResources": dict(offered),
                }
            ]
        },
    }


def user_data(feature: str, name: str) -> str:
    """User data of nodes with a feature (AL2023): Karpenter appends its NodeConfig as another MIME part."""
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
            f"printf '%s\\n' '# +no-label' '{feature}={name}' > {directory}/.{file}",
            f"mv {directory}/.{file} {FEATURE_FILE}",
            f"--{_BOUNDARY}--",
            "",
        )
    )
