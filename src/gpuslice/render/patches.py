"""A workload's patch: its GPU request becomes the slice's, with node selector and toleration.

With seats there is no node selector: the pods go to whichever pool has a seat free, and tolerate the taints of all.
Nothing else changes, but for the number of replicas where the plan chose that, and required node affinities on labels
that new nodes don't carry: these go.

Built-in kinds get a strategic merge patch, which finds the container by its name. Kinds whose lists can't be merged by
name (custom resources), and containers without a known name, get a JSON patch (RFC 6902).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from msgspec import UNSET, to_builtins

from gpuslice.carriers.objects.files import Object
from gpuslice.carriers.pools import POOL_LABEL
from gpuslice.carriers.table import carrier_asked
from gpuslice.errors import InputError
from gpuslice.render.framework_limit import ArgumentList, Variable, framework_limit
from gpuslice.workloads.requirements import NODE_NAME
from gpuslice.workloads.target import POD_SPEC_OF, Target, Toleration

if TYPE_CHECKING:
    from gpuslice.plan.artefact import Assignment, Layout
    from gpuslice.workloads.requirements import Terms

BUILT_IN: Final = {
    "Pod": "v1",
    "ReplicationController": "v1",
    "Deployment": "apps/v1",
    "StatefulSet": "apps/v1",
    "DaemonSet": "apps/v1",
    "ReplicaSet": "apps/v1",
    "Job": "batch/v1",
    "CronJob": "batch/v1",
}
"""Kinds of Kubernetes itself, and their API versions."""

_REQUIRED: Final = "requiredDuringSchedulingIgnoredDuringExecution"

Patch = Object | list[Object]
"""A strategic merge patch, or the operations of a JSON patch."""


def api_version(target: Target) -> str:
    """The object's API version; empty where it isn't known."""
    return target.api_version or BUILT_IN.get(target.kind, "")


def patch(assignment: Assignment, layout: Layout, name: str, namespace: str) -> Patch:
    """The patch of a workload's object.

    Args:
        assignment: where the workload goes; with seats, one for all its replicas.
        layout: of its pool, as the device plugin offers it.
        name: of the object.
        namespace: of the object; empty: none is written.

    Raises:
        InputError: where in the object its pods are isn't known, or its framework can't be kept to its memory.
    """
    limit = framework_limit(assignment, layout)
    target = assignment.target
    if BUILT_IN.get(target.kind) == api_version(target) and target.container and _listed(target):
        return _strategic(assignment, limit, name, namespace)
    return _operations(assignment, limit)


def tolerations(assignment: Assignment) -> list[Object]:
    """All tolerations of the pod: today's, and the one for its pool's taint. The list can only be replaced whole."""
    own = Toleration(key=POOL_LABEL, operator="Equal", value=assignment.pool, effect="NoSchedule")
    if assignment.asks.seat:
        own = Toleration(key=POOL_LABEL, operator="Exists", effect="NoSchedule")
    # An earlier plan may have left one for another pool, or for all.
    ours = {(POOL_LABEL, "Equal"), (POOL_LABEL, "Exists")}
    kept = [
        toleration
        for toleration in assignment.target.tolerations
        if (toleration.key, toleration.operator) not in ours
    ]
    return [_toleration(toleration) for toleration in (*kept, own)]


def _selector(assignment: Assignment) -> tuple[list[str], dict[str, str]]:
    """Keys of the node selector that go, of those that are there today, and what it is to have."""
    present = {*assignment.target.drop_node_selector}
    if assignment.asks.seat:
        return sorted(present), {}
    return sorted(present - {POOL_LABEL}), {POOL_LABEL: assignment.pool}


def _toleration(toleration: Toleration) -> Object:
    fields: dict[str, object] = to_builtins(toleration)
    return (
        {"key": toleration.key, "operator": toleration.operator} | fields
        if toleration.key
        else {"operator": toleration.operator} | fields
    )


def _pod_spec(target: Target) -> str:
    pointer = target.pod_spec or POD_SPEC_OF.get(target.kind, "")
    if not pointer:
        raise InputError(
            f"where a {target.kind} keeps its pods' spec is not known",
            where=".target.podSpec",
            fix='write its JSON pointer, such as "/spec/template/spec"',
        )
    return pointer


def _listed(target: Target) -> bool:
    """Whether the container stands in a list of named containers."""
    return not target.container_path or target.container_path.split("/")[1] in {
        "containers",
        "initContainers",
    }


def _dropped(present: Iterable[str], asked: Iterable[str]) -> list[str]:
    return sorted({*present} - {*asked})


def _strategic(
    assignment: Assignment, limit: ArgumentList | Variable | None, name: str, namespace: str
) -> Object:
    target = assignment.target
    change = carrier_asked(assignment.asks).pod(assignment.asks, target)
    asked, limits, requests = dict(change.limits), change.gone_from_limits, change.gone_from_requests
    # A null for what isn't there does no harm, so it needn't be known exactly what there is.
    gone: dict[str, object] = dict.fromkeys(_dropped(limits | requests, asked))
    resources: dict[str, object] = {"limits": gone | asked}
    if gone or requests:
        # A request left from today would contradict the limit; without one, Kubernetes takes the limit.
        resources["requests"] = gone | {key: None for key in asked if key in requests}
    container: dict[str, object] = {"name": target.container}
    if gone or asked:
        container["resources"] = resources
    match limit:
        case ArgumentList(field, arguments):
            container[field] = list(arguments)
        case Variable(variable, value):
            container["env"] = [{"name": variable, "value": value}]
    which = target.container_path.split("/")[1] if target.container_path else "containers"
    left, selected = _selector(assignment)
    # As above: an earlier plan's pool, if there is one.
    selector: Object = dict.fromkeys(left if selected else sorted({*left, POOL_LABEL})) | selected
    body: Object = {
        "nodeSelector": selector,
        "tolerations": tolerations(assignment),
        **_affinity(target),
        **({which: [container]} if len(container) > 1 else {}),
    }
    outermost, *inner = _pod_spec(target).strip("/").split("/")
    for key in reversed(inner):
        body = {key: body}
    sized: Object = {} if assignment.service is UNSET else {"replicas": assignment.replicas}
    body = {outermost: {**sized, **body}}
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": api_version(target), "kind": target.kind, "metadata": metadata, **body}


def _affinity(target: Target) -> Object:
    """What changes of the pod's affinity. A list of terms is replaced whole, and none of it is left by a null."""
    if target.patched_affinity is UNSET:
        return {}
    terms = _terms(target.patched_affinity)
    required = {"nodeSelectorTerms": terms} if terms else None
    return {"affinity": {"nodeAffinity": {_REQUIRED: required}}}


def _terms(terms: Terms) -> list[Object]:
    """Terms as Kubernetes has them: conditions on the node's name are apart."""
    return [
        {
            field: conditions
            for field, conditions in (
                ("matchExpressions", [condition.plain() for condition in term if condition.key != NODE_NAME]),
                ("matchFields", [condition.plain() for condition in term if condition.key == NODE_NAME]),
            )
            if conditions
        }
        for term in terms
    ]


def _operations(assignment: Assignment, limit: ArgumentList | Variable | None) -> list[Object]:
    target = assignment.target
    pod = _pod_spec(target)
    container = pod + (target.container_path or f"/containers/{target.container_index}")
    change = carrier_asked(assignment.asks).pod(assignment.asks, target)
    asked, limits, requests = change.limits, change.gone_from_limits, change.gone_from_requests
    operations: list[Object] = []
    if assignment.service is not UNSET:
        operations.append(_add("/spec/replicas", assignment.replicas))
    operations += [_remove(f"{container}/resources/limits", key) for key in _dropped(limits, asked)]
    operations += [_remove(f"{container}/resources/requests", key) for key in sorted(requests)]
    operations += [
        _add(f"{container}/resources/limits/{_escaped(key)}", value) for key, value in asked.items()
    ]
    left, selected = _selector(assignment)
    if target.has_node_selector or target.drop_node_selector:
        operations += [_remove(f"{pod}/nodeSelector", key) for key in left]
        operations += [_add(f"{pod}/nodeSelector/{_escaped(key)}", value) for key, value in selected.items()]
    elif selected:
        operations.append(_add(f"{pod}/nodeSelector", selected))
    operations.append(_add(f"{pod}/tolerations", tolerations(assignment)))
    if target.patched_affinity is not UNSET:
        required = f"{pod}/affinity/nodeAffinity/{_REQUIRED}"
        terms = _terms(target.patched_affinity)
        operations.append(
            _add(required, {"nodeSelectorTerms": terms}) if terms else {"op": "remove", "path": required}
        )
    match limit:
        case ArgumentList(field, arguments):
            operations.append(_add(f"{container}/{field}", list(arguments)))
        case Variable(variable, value):
            entry = {"name": variable, "value": value}
            # Of two variables of one name, the later one counts.
            operations.append(
                _add(f"{container}/env/-", entry) if target.has_env else _add(f"{container}/env", [entry])
            )
    return operations


def _add(path: str, value: object) -> Object:
    return {"op": "add", "path": path, "value": value}


def _remove(parent: str, key: str) -> Object:
    return {"op": "remove", "path": f"{parent}/{_escaped(key)}"}


def _escaped(key: str) -> str:
    """A key as part of a JSON pointer (RFC 6901)."""
    return key.replace("~", "~0").replace("/", "~1")
