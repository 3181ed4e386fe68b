"""The rendered directory's README: what to do, in which order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gpuslice.carriers.device_plugin.gpu_operator import CHART_VERSION
from gpuslice.hardware.stacks import Stack
from gpuslice.workloads.requirements import own_label

if TYPE_CHECKING:
    from gpuslice.plan.artefact import Plan
    from gpuslice.render.settings import RenderSettings
    from gpuslice.workloads.requirements import Requirement

_TITLE: Final = """\
# GPU slicing for {cluster}

Rendered by gpuslice from a plan of {pools} pools at ${usd:.2f} an hour (prices of {prices}). Don't edit: render
again.

1. Karpenter v1.14 or later on AWS, with the feature gate `NodeOverlay` (Helm:
   `settings.featureGates.nodeOverlay=true`). Without it Karpenter doesn't know what the pools offer, and pods
   stay pending. EKS Auto Mode has no such gate.
2. Subnets and security groups carry the tag `karpenter.sh/discovery: {cluster}`, and nodes may have
   {identity}.
"""
_OPERATOR: Final = """\
3. The GPU Operator, from NVIDIA's Helm repository. It brings Node Feature Discovery:
   ```
   helm upgrade --install gpu-operator nvidia/gpu-operator --version {version} \\
     --namespace {namespace} --create-namespace --values gpu-operator/values.yaml
   ```
   If it runs already with other values, apply `gpu-operator/cluster-policy-patch.yaml` instead (how: in that
   file). Its device plugin waits for the ConfigMaps of the next step.
"""
_BOTTLEROCKET: Final = """\
3. No GPU Operator is needed: Bottlerocket brings its own device plugin. One that is there leaves these nodes
   alone.
"""
_APPLY: Final = """\
4. Daemonsets of your own (logs, metrics, security) run on the pools' nodes only if they tolerate the taint
   `gpuslice.io/pool`. See to it before workloads move.
5. Everything else:
   ```
   kubectl apply --server-side -k .
   ```
"""
_SEATS: Final = """\

Some pools have seats: `gpuslice.io/seat-NAMESPACE.NAME` is a place for one replica of that workload and of nobody
else. Its pods ask for one instead of naming a pool; pools with a weight of 100 are filled first, and never grow.
Pods for which no seat is free, such as those of a rollout's `maxSurge`, get nodes of their workload's own pool (weight
1), and restart once more when Karpenter moves them to seats. With `maxSurge: 0` new pods take the seats of old ones.
"""
_BOUND: Final = """\

Pods require something of the nodes of some pools, which their NodePools give them:

{pools}
"""
_WORKLOADS: Final = """\
6. The workloads: `workloads/` is a kustomize component for the overlay that has them (how: in its
   `kustomization.yaml`). Move one at a time and watch it: `kubectl rollout status`.
"""


def readme(plan: Plan, settings: RenderSettings, *, patched: bool) -> str:
    """The text.

    Args:
        plan: that is rendered.
        settings: of the cluster.
        patched: whether there are patches of workloads.
    """
    identity = (
        f"the role `{settings.role}`"
        if settings.role
        else f"the instance profile `{settings.instance_profile}`"
    )
    parts = [
        _TITLE.format(
            cluster=settings.cluster,
            pools=len(plan.pools),
            usd=plan.summary.usd_per_hour,
            prices=plan.catalog.prices,
            identity=identity,
        ),
        _OPERATOR.format(version=CHART_VERSION, namespace=settings.operator_namespace)
        if Stack(plan.stack) is Stack.AL2023
        else _BOTTLEROCKET,
        _APPLY,
    ]
    seated = any(pool.seats for pool in plan.pools)
    return "".join(
        (*parts, *((_WORKLOADS,) if patched else ()), *((_SEATS,) if seated else ()), *_bound(plan))
    )


def _bound(plan: Plan) -> list[str]:
    """What nodes of pools have since their pods require it, and what patches take out of pods; empty: nothing."""
    lines = [
        f"- `{pool.name}`: {', '.join(f'`{_said(pin)}`' for pin in pool.requires)}"
        for pool in plan.pools
        if pool.requires
    ]
    return [_BOUND.format(pools="\n".join(lines))] if lines else []


def _said(pin: Requirement) -> str:
    return f"{pin.key}={pin.values[0]}" if own_label(pin.key) else str(pin)
