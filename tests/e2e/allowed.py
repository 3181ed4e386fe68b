"""What a user may do in a scratch cluster: exactly the rows of a table, from one moment to the next."""

import time
from typing import Any

from lightkube import ApiError
from lightkube.resources.core_v1 import Namespace
from lightkube.resources.rbac_authorization_v1 import ClusterRole, ClusterRoleBinding, RoleBinding
from lightkube.resources.rbac_authorization_v1 import Role as NamespacedRole

from gpuslice.cluster.apply.permissions import Asked, Subject, Where, manifests, missing, of_role
from gpuslice.cluster.client.api import connect
from gpuslice.cluster.client.kubeconfig import load
from gpuslice.cluster.client.roles import Role
from gpuslice.rehearsal.control_plane import STRANGER

OPERATOR = "gpu-operator"
KINDS = {
    each.__name__: each for each in (ClusterRole, ClusterRoleBinding, RoleBinding, NamespacedRole, Namespace)
}
NAMESPACES = {Where.CLUSTER: "", Where.OPERATOR: OPERATOR, Where.JOURNAL: "gpuslice"}


def grant(control_plane, client, role, rows=None):
    """Let the stranger do what a role has, or these rows, and nothing else; once the API server knows."""
    rows = of_role(role) if rows is None else rows
    objects: list[Any] = manifests(role, OPERATOR, [Subject("User", STRANGER)], rows)
    made: list[Any] = [KINDS[each["kind"]].from_dict(each) for each in objects]
    for each in made:
        client.apply(each, field_manager="test", force=True)
    kept = {(type(each), each.metadata.namespace, each.metadata.name) for each in made}
    mine = {"app.kubernetes.io/managed-by": "gpuslice"}
    for kind in (ClusterRole, ClusterRoleBinding, NamespacedRole, RoleBinding):
        everywhere = {"namespace": "*"} if kind in {NamespacedRole, RoleBinding} else {}
        for each in client.list(kind, labels=mine, **everywhere):
            if (kind, each.metadata.namespace, each.metadata.name) not in kept:
                client.delete(kind, each.metadata.name, namespace=each.metadata.namespace)
    allowed = {each for row in rows for each in asked(row)}
    refused = {each for row in of_role(Role.APPLY_WORKLOADS) for each in asked(row)} - allowed
    with connect(load(str(control_plane.stranger_kubeconfig), "")) as api:
        end = time.monotonic() + 20
        while set(missing(api, [*allowed, *refused])) != refused:
            assert time.monotonic() < end, "the API server doesn't take the roles"
            time.sleep(0.1)


def revoke(client):
    """Take everything back."""
    mine = {"app.kubernetes.io/managed-by": "gpuslice"}
    for kind in (ClusterRole, ClusterRoleBinding, NamespacedRole, RoleBinding):
        everywhere = {"namespace": "*"} if kind in {NamespacedRole, RoleBinding} else {}
        for each in client.list(kind, labels=mine, **everywhere):
            try:
                client.delete(kind, each.metadata.name, namespace=each.metadata.namespace)
            except ApiError as error:
                if error.status.code != 404:
                    raise


def asked(row):
    """A row, verb by verb."""
    return [
        Asked(row.resource, verb, NAMESPACES[row.where], name)
        for verb in row.verbs
        for name in row.names or ("",)
    ]
