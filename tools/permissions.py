"""The page of what gpuslice must be allowed to do in a cluster."""

from __future__ import annotations

from gpuslice.cluster.apply.permissions import TABLE
from gpuslice.cluster.client.roles import COMMANDS, Role
from tools.markdown import code, page, table


def permission_page() -> str:
    """The page."""
    return page(
        "Permissions",
        "What each verb asks an API server for. `gpuslice render --rbac ROLE` prints this as a ClusterRole, and a Role "
        "in each namespace that it concerns; the end-to-end tests run each verb with nothing else, and with one "
        "permission less.",
        "Everybody who is authenticated may ask for versions, API groups and his own permissions, by Kubernetes' "
        "`system:discovery` and `system:basic-user`. Secrets are never read. With `gpuslice apply "
        "--install-operator`, helm uses your credentials, and needs what the GPU Operator's chart creates.",
        table(
            ("role", "for", "has also what is allowed to"),
            [(code(role), ", ".join(code(each) for each in COMMANDS[role]), _before(role)) for role in Role],
        ),
        *(part for role in Role for part in (f"## {role}", _rows(role))),
    )


def _before(role: Role) -> str:
    order = list(Role)
    return code(order[order.index(role) - 1]) if order.index(role) else "-"


def _rows(role: Role) -> str:
    return table(
        ("resource", "verbs", "where", "for"),
        [
            (
                code(each.resource.title) + "".join(f" {code(name)}" for name in each.names),
                ", ".join(each.verbs),
                each.where.value if each.resource.namespaced else "in the cluster",
                each.why,
            )
            for each in TABLE
            if each.role is role
        ],
    )
