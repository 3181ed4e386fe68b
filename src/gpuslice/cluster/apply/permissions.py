"""What each verb needs to be allowed at an API server: one table, of which roles, checks and documentation are made.

Everybody who is authenticated may ask for versions, groups and their own permissions (`system:discovery` and
`system:basic-user` of Kubernetes), so these are not in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from gpuslice.carriers.objects.files import Object
from gpuslice.carriers.objects.naming import OWNED
from gpuslice.cluster.apply import applyset
from gpuslice.cluster.apply.journal import Edit, Put, Work
from gpuslice.cluster.client.api import ApiError
from gpuslice.cluster.client.resources import (
    AUTOSCALER,
    CLUSTER_POLICY,
    CONFIG_MAP,
    CUSTOM_OWNERS,
    DAEMON_SET,
    DEPLOYMENT,
    NAMESPACE,
    NODE,
    NODE_CLASS,
    NODE_FEATURE_RULE,
    NODE_OVERLAY,
    NODE_POOL,
    NODE_SIDE,
    OWNERS,
    POD,
    STATEFUL_SET,
    VOLUME,
    VOLUME_CLAIM,
    Resource,
)
from gpuslice.cluster.client.roles import Role
from gpuslice.errors import InputError

if TYPE_CHECKING:
    from gpuslice.cluster.client.api import Api

_RBAC: Final = "rbac.authorization.k8s.io"
_REVIEWS: Final = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


class Where(StrEnum):
    """Where a permission is needed."""

    CLUSTER = "everywhere"
    OPERATOR = "in the GPU Operator's namespace"
    JOURNAL = "in the namespace gpuslice"


@dataclass(frozen=True, slots=True)
class Permission:
    """One row.

    Attributes:
        role: the first one that has it.
        resource: the kind.
        verbs: of the API server.
        why: what it is needed for.
        where: in which namespaces.
        names: the only objects that it is for; empty: all.
    """

    role: Role
    resource: Resource
    verbs: tuple[str, ...]
    why: str
    where: Where = Where.CLUSTER
    names: tuple[str, ...] = ()


_WRITTEN: Final = ("get", "create", "patch", "delete")


def _table() -> Iterator[Permission]:
    yield Permission(Role.VIEW, POD, ("list",), "what asks for GPUs, and on which nodes it runs")
    yield Permission(Role.VIEW, NODE, ("list",), "what the nodes are and offer")
    for resource in OWNERS:
        yield Permission(Role.VIEW, resource, ("list",), "whose pods they are; the GPU machinery's own")
    yield Permission(Role.VIEW, AUTOSCALER, ("list",), "how many replicas there may be")
    for resource in (VOLUME_CLAIM, VOLUME):
        yield Permission(Role.VIEW, resource, ("list",), "which zone a workload's volumes are in")
    for resource in CUSTOM_OWNERS:
        yield Permission(Role.VIEW, resource, ("list",), "whose pods they are")
    for resource in NODE_SIDE:
        yield Permission(Role.VIEW, resource, ("list",), "what decides over nodes and their slices")
    yield Permission(
        Role.VIEW, CONFIG_MAP, ("get",), "how device plugin and MIG manager are set", Where.OPERATOR
    )
    for resource in (NODE_CLASS, NODE_OVERLAY, NODE_POOL, NODE_FEATURE_RULE):
        yield Permission(Role.APPLY, resource, _WRITTEN, "the plan's own; a rollback deletes them")
    yield Permission(
        Role.APPLY,
        CONFIG_MAP,
        ("create", "patch", "delete"),
        "device plugin and MIG layouts of the plan; a rollback deletes them",
        Where.OPERATOR,
    )
    yield Permission(Role.APPLY, CLUSTER_POLICY, ("get", "patch"), "the fields that the plan's pools need")
    yield Permission(
        Role.APPLY,
        NAMESPACE,
        ("get",),
        "whether there is a place for the journal",
        names=(applyset.NAMESPACE,),
    )
    # A name can't limit who may create: the object has none yet when that is decided.
    yield Permission(Role.APPLY, CONFIG_MAP, ("create",), "the journal", Where.JOURNAL)
    yield Permission(
        Role.APPLY, CONFIG_MAP, ("get", "update"), "the journal", Where.JOURNAL, (applyset.PARENT,)
    )
    for resource in (DEPLOYMENT, STATEFUL_SET, DAEMON_SET):
        yield Permission(
            Role.APPLY_WORKLOADS, resource, ("get", "patch"), "the plan's patches, and their rollouts"
        )


TABLE: Final = tuple(_table())
"""Every permission that gpuslice needs, by role."""


def of_role(role: Role) -> tuple[Permission, ...]:
    """The permissions of a role, and of those below it."""
    order = list(Role)
    return tuple(permission for permission in TABLE if order.index(permission.role) <= order.index(role))


@dataclass(frozen=True, slots=True)
class Subject:
    """Who gets a role: "User", "Group" or "ServiceAccount", which has a namespace."""

    kind: str
    name: str
    namespace: str = ""

    @classmethod
    def parse(cls, text: str) -> Subject:
        """Of "user:NAME", "group:NAME" or "serviceaccount:NAMESPACE/NAME".

        Raises:
            InputError: it is none of these.
        """
        word, colon, name = text.partition(":")
        kind = {"user": "User", "group": "Group", "serviceaccount": "ServiceAccount"}.get(word, "")
        namespace = ""
        if kind == "ServiceAccount":
            namespace, slash, name = name.partition("/")
            colon = slash and namespace
        if not kind or not colon or not name:
            raise InputError(
                f"{text[:60]!r} is nobody that a role can be bound to",
                where="--bind-to",
                fix="write user:NAME, group:NAME or serviceaccount:NAMESPACE/NAME",
            )
        return cls(kind, name, namespace)

    @property
    def object(self) -> Object:
        """The subject of a binding that it is."""
        if self.kind == "ServiceAccount":
            return {"kind": self.kind, "name": self.name, "namespace": self.namespace}
        return {"apiGroup": _RBAC, "kind": self.kind, "name": self.name}


def manifests(
    role: Role,
    operator_namespace: str,
    subjects: Sequence[Subject] = (),
    permissions: Iterable[Permission] | None = None,
) -> list[Object]:
    """A role as objects: a ClusterRole, a Role in each namespace that it concerns, and who has them.

    Args:
        role: which.
        operator_namespace: where the GPU Operator runs.
        subjects: who gets it; none: nobody is bound.
        permissions: to put into it; None: what the table has.
    """
    rows = tuple(of_role(role) if permissions is None else permissions)
    name = f"gpuslice-{role}"
    objects: list[Object] = []
    if any(row.where is Where.JOURNAL for row in rows):
        # So nobody has to be allowed to make namespaces.
        objects.append(_object("v1", "Namespace", applyset.NAMESPACE))
    places = {Where.CLUSTER: "", Where.OPERATOR: operator_namespace, Where.JOURNAL: applyset.NAMESPACE}
    for where, namespace in places.items():
        rules = _rules(row for row in rows if row.where is where)
        if not rules:
            continue
        kind = "Role" if namespace else "ClusterRole"
        objects.append({**_object(f"{_RBAC}/v1", kind, name, namespace), "rules": rules})
        if subjects:
            binding = _object(f"{_RBAC}/v1", f"{kind}Binding", name, namespace)
            reference = {"apiGroup": _RBAC, "kind": kind, "name": name}
            objects.append(
                {**binding, "roleRef": reference, "subjects": [subject.object for subject in subjects]}
            )
    return objects


def _object(api_version: str, kind: str, name: str, namespace: str = "") -> Object:
    metadata: Object = {"name": name, **({"namespace": namespace} if namespace else {}), "labels": OWNED}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata}


def _rules(permissions: Iterable[Permission]) -> list[Object]:
    """Rules as RBAC has them: one for all kinds of a group with the same verbs."""
    by_kind: dict[tuple[str, str, tuple[str, ...]], list[str]] = {}
    for permission in permissions:
        by_kind.setdefault(
            (permission.resource.group, permission.resource.plural, permission.names), []
        ).extend(permission.verbs)
    alike: dict[tuple[str, tuple[str, ...], tuple[str, ...]], list[str]] = {}
    for (group, plural, names), verbs in by_kind.items():
        alike.setdefault((group, tuple(dict.fromkeys(verbs)), names), []).append(plural)
    return [
        {
            "apiGroups": [group],
            "resources": plurals,
            "verbs": list(verbs),
            **({"resourceNames": list(names)} if names else {}),
        }
        for (group, verbs, names), plurals in alike.items()
    ]


@dataclass(frozen=True, slots=True)
class Asked:
    """Something that somebody wants to do.

    Attributes:
        resource: the kind.
        verb: of the API server.
        namespace: empty: in all, or it has none.
        name: of the object; empty: any.
    """

    resource: Resource
    verb: str
    namespace: str = ""
    name: str = ""

    def __str__(self) -> str:
        """The permission in words: "patch nodepools.karpenter.sh"."""
        what = f"{self.verb} {self.resource.title}"
        what += f" {self.name}" if self.name else ""
        return f"{what} in namespace {self.namespace}" if self.namespace else what


def for_step(work: Work) -> Iterator[Asked]:
    """What a step, and taking it back, need."""
    role = Role.APPLY_WORKLOADS if isinstance(work, Edit) and work.workload else Role.APPLY
    verbs = {
        verb
        for permission in of_role(role)
        if (permission.resource.group, permission.resource.plural) == (work.ref.group, work.ref.plural)
        and permission.where is not Where.JOURNAL
        for verb in permission.verbs
        if verb != "list"
    }
    if isinstance(work, Put) and not work.created:
        verbs -= {"create", "delete"}
    for verb in sorted(verbs):
        yield Asked(work.ref.resource, verb, work.ref.namespace, work.ref.name)


def for_journal() -> Iterator[Asked]:
    """What writing the journal needs, where its namespace is there."""
    for permission in TABLE:
        if permission.where is Where.JOURNAL:
            for verb in permission.verbs:
                yield Asked(permission.resource, verb, applyset.NAMESPACE, *permission.names)


def missing(api: Api, wanted: Iterable[Asked]) -> list[Asked]:
    """What of this the user isn't allowed to do, as the API server's authorizers say.

    A whole kind is asked for first; where that is refused, namespace by namespace, and in the end object by object.
    """
    known: dict[Asked, bool] = {}

    def allowed(asked: Asked) -> bool:
        if asked not in known:
            known[asked] = _allowed(api, asked)
        return known[asked]

    return [
        asked
        for asked in dict.fromkeys(wanted)
        if not any(
            allowed(wider)
            for wider in dict.fromkeys(
                (
                    Asked(asked.resource, asked.verb),
                    Asked(asked.resource, asked.verb, asked.namespace),
                    asked,
                )
            )
        )
    ]


def _allowed(api: Api, asked: Asked) -> bool:
    attributes = {
        "verb": asked.verb,
        "group": asked.resource.group,
        "version": asked.resource.version,
        "resource": asked.resource.plural,
    }
    attributes |= {"namespace": asked.namespace} if asked.namespace else {}
    attributes |= {"name": asked.name} if asked.name else {}
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    try:
        status: Any = api.send("POST", _REVIEWS, body).get("status")
    except ApiError as error:
        if error.code not in {403, 404}:
            raise
        return True  # nobody may ask here: what is refused will be refused when it is done
    return isinstance(status, dict) and bool(status.get("allowed"))
