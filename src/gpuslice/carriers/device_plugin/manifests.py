"""The device plugin's own objects as files: for the GPU Operator, and rules for Node Feature Discovery."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import UNSET

from gpuslice.carriers.device_plugin import gpu_operator, metering, mig_parted, plugin_config, seats
from gpuslice.carriers.device_plugin.terms import configured
from gpuslice.carriers.objects.files import HELM_VALUES, POLICY_PATCH, Object, RenderedFile
from gpuslice.carriers.pools import POOL_LABEL
from gpuslice.hardware.mechanisms import Mechanism
from gpuslice.plan.layouts import mechanism

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gpuslice.plan.artefact import Pool

_VALUES: Final = """\
Values for NVIDIA's GPU Operator, chart {version}:

  helm upgrade --install gpu-operator nvidia/gpu-operator --version {version} \\
    --namespace {namespace} --create-namespace --values values.yaml

driver and toolkit are off because the AL2023 NVIDIA image has both. Pools carry a taint, which has to be
tolerated in two places: by the operator's daemonsets, and by Node Feature Discovery's workers.
"""
_UNSAID: Final = """
MPS and MIG need different strategies, so mig.strategy is empty and each node's configuration says its own. Of an empty
one the chart makes `mig: null`, which Helm 3 gets past the API server and Helm 4 doesn't. With Helm 4, install with
--set mig.strategy=single, and take it away afterwards, as gpuslice apply does by itself:

  kubectl patch clusterpolicies.nvidia.com/cluster-policy --type json -p \\
    '[{"op": "remove", "path": "/spec/mig/strategy"}]'
"""
_POLICY: Final = """\
Only where the GPU Operator is installed already, and not by the values beside this file. A patch, no object:
it isn't applied with the rest. Lists are replaced whole: add tolerations of your own first. Node Feature
Discovery's workers need the toleration of {label} too. It points the operator at this plan's device plugin
configuration: copy entries of your own into that first, or nodes that use them lose their sharing. Where nodes use
MIG's single strategy today, its change renames their resources.

  kubectl patch clusterpolicies.nvidia.com/cluster-policy --type merge --patch-file cluster-policy-patch.yaml
"""
_PLUGIN: Final = """\
One entry for each layout, chosen by the node's label nvidia.com/device-plugin.config. Nodes that use an entry
don't notice when it changes, so entries are never edited: a new layout is a new entry, named by its content.
Keep old ones while nodes use them: the plugin ends on a key that isn't there.
"""
_MIG: Final = """\
One entry for each MIG layout, chosen by the node's label nvidia.com/mig.config. It stands in for the
configuration that the MIG manager makes itself: add the entries that nodes outside these pools use. Entries
are named by their content and never edited.
"""
_FEATURES: Final = """\
What metered nodes offer, in bytes and in thousandths of the GPU's time: the same figures as in the pools'
NodeOverlays. The feature that is matched comes from a file that the nodes' user data writes.
"""
_SEATS: Final = """\
What nodes offer of places for replicas, by workload: the same figures as in the pools' NodeOverlays. The feature that
is matched comes from a file that the nodes' user data writes.
"""


def operator_files(pools: Iterable[Pool], namespace: str) -> list[RenderedFile]:
    """What the GPU Operator is told: by Helm or by a patch of its ClusterPolicy, and the ConfigMaps of its parts.

    Args:
        pools: on nodes where it runs.
        namespace: where it runs.
    """
    used = [configured(pool) for pool in pools]
    values = _VALUES.format(version=gpu_operator.CHART_VERSION, namespace=namespace)
    if gpu_operator.unsaid(gpu_operator.kinds_of(used)):
        values += _UNSAID
    policy = _POLICY.format(label=POOL_LABEL)
    plugin: Object = plugin_config.config_map(used, namespace)
    files = [
        RenderedFile(HELM_VALUES, (gpu_operator.helm_values(used),), values, applied=False),
        RenderedFile(POLICY_PATCH, (gpu_operator.cluster_policy_patch(used),), policy, applied=False),
        RenderedFile("gpu-operator/device-plugin-config.yaml", (plugin,), _PLUGIN),
    ]
    cut = [layout for layout in used if mechanism(layout) is Mechanism.MIG]
    if cut:
        manager: Object = mig_parted.config_map(cut, namespace)
        files.append(RenderedFile("gpu-operator/mig-parted-config.yaml", (manager,), _MIG))
    return files


def feature_files(pools: Sequence[Pool]) -> list[RenderedFile]:
    """The rules by which nodes come to offer what no device plugin registers."""
    metered: dict[str, Object] = {}
    seated: dict[str, Object] = {}
    for pool in pools:
        layout = pool.layout
        if pool.seats:
            seated[seats.seats_name(pool)] = seats.rule(pool)
        elif layout.metered is not UNSET:
            metered[metering.layout_name(layout, layout.metered)] = metering.rule(layout, layout.metered)
    named = (("nfd/nodefeaturerules.yaml", metered, _FEATURES), ("nfd/seats.yaml", seated, _SEATS))
    return [
        RenderedFile(path, tuple(rules[name] for name in sorted(rules)), comment)
        for path, rules, comment in named
        if rules
    ]
