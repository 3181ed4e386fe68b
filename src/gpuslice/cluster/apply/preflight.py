"""What must be true of a cluster before a plan is applied to it: checked before anything is asked or written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gpuslice.cluster.apply import applyset, permissions
from gpuslice.cluster.apply.journal import Edit
from gpuslice.cluster.checks import overlays, placement
from gpuslice.cluster.checks.finding import Seen
from gpuslice.cluster.client.api import joined
from gpuslice.cluster.client.resources import (
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
from gpuslice.cluster.client.roles import Role
from gpuslice.cluster.seen.operator_names import CHART_VERSION
from gpuslice.cluster.seen.snapshot import objects_of
from gpuslice.errors import AnswerIsNoError, EnvironmentFailedError
from gpuslice.workloads.objects import fields_of

if TYPE_CHECKING:
    from gpuslice.cloud.catalog import Catalog
    from gpuslice.cluster.apply.journal import Work
    from gpuslice.cluster.client.api import Api
    from gpuslice.cluster.client.resources import Resource
    from gpuslice.cluster.seen.snapshot import Snapshot
    from gpuslice.render.bundle import Bundle


def helm_command(namespace: str, values: str = "gpu-operator/values.yaml") -> list[str]:
    """What installs the GPU Operator, as words of a command line."""
    return (
        f"helm upgrade --install gpu-operator nvidia/gpu-operator --version {CHART_VERSION} "
        f"--namespace {namespace} --create-namespace --wait --values {values}"
    ).split()


def namespace_of(desired: Bundle) -> str:
    """Where the plan expects the GPU Operator."""
    return next(
        (
            str(fields_of(entry, "metadata").get("namespace"))
            for entry in desired.objects
            if entry.get("kind") == "ConfigMap"
        ),
        "gpu-operator",
    )


def readable(snapshot: Snapshot) -> None:
    """Accept a snapshot in which nothing is taken for absent that only couldn't be read.

    Raises:
        EnvironmentFailedError: something couldn't be read that decides over what is applied.
    """
    for resource in (*NODE_SIDE, NODE, DEPLOYMENT, DAEMON_SET):
        for unread in snapshot.unread:
            if unread.what == resource.title:
                raise EnvironmentFailedError(
                    f"{unread.what} can't be read: {unread.why}",
                    where=snapshot.where,
                    fix=f"ask for that role: gpuslice render --rbac {Role.APPLY} --bind-to user:NAME",
                )


class OperatorMissingError(AnswerIsNoError):
    """The GPU Operator isn't installed, and what is wanted needs it."""


def has_operator(desired: Bundle, snapshot: Snapshot) -> None:
    """Accept a cluster with a GPU Operator, where one is needed.

    Raises:
        OperatorMissingError: it has none.
    """
    if desired.cluster_policy is not None and not snapshot.cluster_policies:
        raise OperatorMissingError(
            "the GPU Operator isn't installed, and the plan's pools need it",
            fix="gpuslice render --out manifests; cd manifests; "
            f"{' '.join(helm_command(namespace_of(desired)))} (or let gpuslice do it: --install-operator)",
        )


def check(desired: Bundle, snapshot: Snapshot, catalog: Catalog) -> list[str]:
    """What a person should know before he consents.

    Raises:
        AnswerIsNoError: the plan can't work in this cluster.
    """
    kinds = {entry.get("kind") for entry in desired.objects}
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
    if desired.cluster_policy is not None and snapshot.gpu_operator is not None:
        wanted, there = namespace_of(desired), snapshot.gpu_operator.metadata.namespace
        if wanted != there:
            raise AnswerIsNoError(
                f"the GPU Operator runs in namespace {there}, and the plan's ConfigMaps are for {wanted}",
                fix=f"give --operator-namespace {there}",
            )
    for finding in overlays.kept_from_working(
        Seen(_with_plan(desired, snapshot), catalog), _named(desired, NODE_OVERLAY)
    ):
        raise AnswerIsNoError(
            f"{finding.evidence}: {finding.consequence}", where=finding.subject, fix=finding.fix
        )
    return [
        f"{finding.subject} {finding.evidence}: {finding.consequence}"
        for finding in placement.nfd_kept_off(
            seen, [object_ for object_ in desired.objects if object_.get("kind") == "NodePool"]
        )
    ]


def _with_plan(desired: Bundle, snapshot: Snapshot) -> Snapshot:
    """The cluster with the plan's pools and overlays in it."""
    wanted = [
        object_ for object_ in desired.objects if object_.get("kind") in {NODE_POOL.kind, NODE_OVERLAY.kind}
    ]
    made = objects_of(wanted, "the plan")
    names = {(object_.kind, object_.metadata.name) for object_ in made}
    kept = (object_ for object_ in snapshot.objects if (object_.kind, object_.metadata.name) not in names)
    return replace(snapshot, objects=(*kept, *made))


def _named(desired: Bundle, resource: Resource) -> frozenset[str]:
    return frozenset(
        str(fields_of(entry, "metadata").get("name"))
        for entry in desired.objects
        if entry.get("kind") == resource.kind
    )


def permitted(api: Api, works: Sequence[Work]) -> None:
    """Accept what the user may do to the end, and take back: a dry run doesn't try all of it.

    Raises:
        EnvironmentFailedError: he may not, with what is missing.
    """
    wanted = [asked for work in works for asked in permissions.for_step(work)]
    if api.find(NAMESPACE.path(applyset.NAMESPACE), dict[str, Any]) is None:
        wanted.append(permissions.Asked(NAMESPACE, "create", name=applyset.NAMESPACE))
    refused = permissions.missing(api, [*wanted, *permissions.for_journal()])
    if not refused:
        return
    moving = any(isinstance(work, Edit) and work.workload for work in works)
    role = Role.APPLY_WORKLOADS if moving else Role.APPLY
    raise EnvironmentFailedError(
        f"you may not {joined([str(asked) for asked in refused], 4)}",
        where=f"context {api.name}" if api.name else "",
        fix=f"ask for that role: gpuslice render --rbac {role} --bind-to user:NAME",
    )
