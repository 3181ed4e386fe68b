"""What must be true of a cluster before a plan is applied to it: checked before anything is asked or written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuslice.cluster.checks import overlays, placement
from gpuslice.cluster.finding import Seen
from gpuslice.cluster.resources import NODE_CLASS, NODE_FEATURE_RULE, NODE_OVERLAY, NODE_POOL
from gpuslice.errors import AnswerIsNoError
from gpuslice.render.operator import CHART_VERSION
from gpuslice.workloads.objects import fields_of

if TYPE_CHECKING:
    from gpuslice.cloud.catalog import Catalog
    from gpuslice.cluster.desired import Desired
    from gpuslice.cluster.snapshot import Snapshot


def helm_command(namespace: str, values: str = "gpu-operator/values.yaml") -> list[str]:
    """What installs the GPU Operator, as words of a command line."""
    return (
        f"helm upgrade --install gpu-operator nvidia/gpu-operator --version {CHART_VERSION} "
        f"--namespace {namespace} --create-namespace --wait --values {values}"
    ).split()


def namespace_of(desired: Desired) -> str:
    """Where the plan expects the GPU Operator."""
    return next(
        (
            str(fields_of(each, "metadata").get("namespace"))
            for each in desired.objects
            if each.get("kind") == "ConfigMap"
        ),
        "gpu-operator",
    )


def check(desired: Desired, snapshot: Snapshot, catalog: Catalog) -> list[str]:
    """What a person should know before he consents.

    Raises:
        AnswerIsNoError: the plan can't work in this cluster.
    """
    kinds = {each.get("kind") for each in desired.objects}
    for resource in (NODE_POOL, NODE_OVERLAY, NODE_CLASS, NODE_FEATURE_RULE):
        if resource.kind in kinds and resource.group_kind not in snapshot.served:
            if not snapshot.could_read(resource):
                raise AnswerIsNoError(
                    f"{resource.title} can't be read",
                    fix="ask for the permission to do that",
                )
            what = (
                "Node Feature Discovery"
                if resource is NODE_FEATURE_RULE
                else "Karpenter v1.14 or later, with its CRDs"
            )
            raise AnswerIsNoError(f"the cluster doesn't know {resource.title}", fix=f"install {what} first")
    seen = Seen(snapshot, catalog)
    if NODE_OVERLAY.kind in kinds and snapshot.karpenter is not None:
        gates = [
            variable.value
            for container in snapshot.karpenter.pod.containers
            for variable in container.env
            if variable.name == "FEATURE_GATES"
        ]
        if not any("NodeOverlay=true" in each for each in gates):
            raise AnswerIsNoError(
                f"Karpenter's feature gate NodeOverlay is off ({snapshot.karpenter.name})",
                fix=overlays.GATE_COMMAND,
            )
    if desired.policy is not None and snapshot.gpu_operator is not None:
        wanted, there = namespace_of(desired), snapshot.gpu_operator.metadata.namespace
        if wanted != there:
            raise AnswerIsNoError(
                f"the GPU Operator runs in namespace {there}, and the plan's ConfigMaps are for {wanted}",
                fix=f"give --operator-namespace {there}",
            )
    return [
        f"{each.subject} {each.evidence}: {each.consequence}"
        for each in placement.nfd_kept_off(
            seen, [each for each in desired.objects if each.get("kind") == "NodePool"]
        )
    ]
