"""What must be true of a cluster before a plan is applied to it: checked before anything is asked or written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gpuslice.cluster import applyset, permissions
from gpuslice.cluster.api import joined
from gpuslice.cluster.checks import overlays, placement
from gpuslice.cluster.finding import Seen
from gpuslice.cluster.journal import Edit
from gpuslice.cluster.resources import (
    DAEMON_SET,
    DEPLOYMENT,
    NAMESPACE,
    NODE,
    NODE_CLASS,
    NODE_FEATURE_RULE,
    NODE_OVERLAY,
    NODE_POOL,
    NODE_SIDE,
)
from gpuslice.errors import AnswerIsNoError, EnvironmentFailedError
from gpuslice.render.operator import CHART_VERSION
from gpuslice.workloads.objects import fields_of

if TYPE_CHECKING:
    from gpuslice.cloud.catalog import Catalog
    from gpuslice.cluster.api import Api
    from gpuslice.cluster.desired import Desired
    from gpuslice.cluster.journal import Work
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


def readable(snapshot: Snapshot) -> None:
    """Accept a snapshot in which nothing is taken for absent that only couldn't be read.

    Raises:
        EnvironmentFailedError: something couldn't be read that decides over what is applied.
    """
    for resource in (*NODE_SIDE, NODE, DEPLOYMENT, DAEMON_SET):
        for each in snapshot.unread:
            if each.what == resource.title:
                raise EnvironmentFailedError(
                    f"{each.what} can't be read: {each.why}",
                    where=snapshot.where,
                    fix=f"ask for that role: gpuslice render --rbac {permissions.Role.APPLY} --bind-to user:NAME",
                )


def check(desired: Desired, snapshot: Snapshot, catalog: Catalog) -> list[str]:
    """What a person should know before he consents.

    Raises:
        AnswerIsNoError: the plan can't work in this cluster.
    """
    kinds = {each.get("kind") for each in desired.objects}
    for resource in (NODE_POOL, NODE_OVERLAY, NODE_CLASS, NODE_FEATURE_RULE):
        if resource.kind in kinds and resource.group_kind not in snapshot.served:
            what = (
                "Node Feature Discovery"
                if resource is NODE_FEATURE_RULE
                else "Karpenter v1.14 or later, with its CRDs"
            )
            raise AnswerIsNoError(f"the cluster doesn't know {resource.title}", fix=f"install {what} first")
    seen = Seen(snapshot, catalog)
    if (
        NODE_OVERLAY.kind in kinds
        and snapshot.karpenter is not None
        and not overlays.reads_overlays(snapshot.karpenter)
    ):
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


def permitted(api: Api, works: Sequence[Work]) -> None:
    """Accept what the user may do to the end, and take back: a dry run doesn't try all of it.

    Raises:
        EnvironmentFailedError: he may not, with what is missing.
    """
    wanted = [asked for each in works for asked in permissions.for_step(each)]
    if api.find(NAMESPACE.path(applyset.NAMESPACE), dict[str, Any]) is None:
        wanted.append(permissions.Asked(NAMESPACE, "create", name=applyset.NAMESPACE))
    found = permissions.missing(api, [*wanted, *permissions.for_journal()])
    if not found:
        return
    moving = any(isinstance(each, Edit) and each.workload for each in works)
    role = permissions.Role.APPLY_WORKLOADS if moving else permissions.Role.APPLY
    raise EnvironmentFailedError(
        f"you may not {joined([str(each) for each in found], 4)}",
        where=f"context {api.name}" if api.name else "",
        fix=f"ask for that role: gpuslice render --rbac {role} --bind-to user:NAME",
    )
