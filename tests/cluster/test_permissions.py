"""What each verb must be allowed to do, and the roles that are made of it."""

from typing import Any

import httpx2 as httpx
import msgspec
import pytest

from gpuslice.cluster.apply.journal import Edit, Put, Ref, Remove
from gpuslice.cluster.apply.permissions import (
    Asked,
    Subject,
    for_journal,
    for_step,
    manifests,
    missing,
    of_role,
)
from gpuslice.cluster.client.api import Api
from gpuslice.cluster.client.resources import CONFIG_MAP, DEPLOYMENT, NODE_POOL
from gpuslice.cluster.client.roles import Role
from gpuslice.errors import InputError

POOL = Ref.of(NODE_POOL, "l4")
WEB = Ref.of(DEPLOYMENT, "web", "shop")


def verbs(work):
    return {each.verb for each in for_step(work)}


def made(role, namespace, subjects=()) -> list[Any]:
    return list(manifests(role, namespace, subjects))


def server(allowed):
    """An API server that allows what a function says; and what it was asked."""
    asked = []

    def answer(request):
        attributes = msgspec.json.decode(request.content)["spec"]["resourceAttributes"]
        asked.append(attributes)
        return httpx.Response(201, json={"status": {"allowed": allowed(attributes)}})

    http = httpx.Client(base_url="http://cluster", transport=httpx.MockTransport(answer))
    return Api(http), asked


def test_a_step_needs_what_taking_it_back_needs():
    assert verbs(Put(POOL, {}, created=True)) == {"get", "create", "patch", "delete"}
    assert verbs(Put(POOL, {})) == {"get", "patch"}
    assert verbs(Remove(POOL, {})) == {"get", "create", "patch", "delete"}
    assert verbs(Edit(WEB, (), workload=True)) == {"get", "patch"}
    assert all(
        (each.namespace, each.name) == ("shop", "web") for each in for_step(Edit(WEB, (), workload=True))
    )


def test_a_role_has_what_those_before_it_have():
    view, apply, workloads = (set(of_role(each)) for each in Role)
    assert view < apply < workloads
    assert {verb for each in view for verb in each.verbs} == {"list", "get"}


def test_config_maps_are_allowed_only_where_they_are_needed():
    for each in made(Role.APPLY_WORKLOADS, "nvidia"):
        rules = each.get("rules", ())
        touched = any("configmaps" in rule["resources"] for rule in rules)
        assert touched == (each["kind"] == "Role")
        assert each["metadata"].get("namespace", "") in {"", "nvidia", "gpuslice"}
    assert not any("secrets" in str(each) or "*" in str(each) for each in made(Role.APPLY_WORKLOADS, "x"))


def test_every_role_is_bound_to_whoever_is_named():
    account = Subject.parse("serviceaccount:ci/gpuslice")
    bindings = [
        each for each in made(Role.APPLY, "gpu-operator", [account]) if each["kind"].endswith("Binding")
    ]
    assert [each["kind"] for each in bindings] == ["ClusterRoleBinding", "RoleBinding", "RoleBinding"]
    for each in bindings:
        assert each["subjects"] == [{"kind": "ServiceAccount", "name": "gpuslice", "namespace": "ci"}]
    assert Subject.parse("group:a:b").object["name"] == "a:b"


@pytest.mark.parametrize("text", ["", "me", "user:", "robot:x", "serviceaccount:x", "serviceaccount:/x"])
def test_a_subject_that_is_none_is_refused(text):
    with pytest.raises(InputError, match="user:NAME"):
        Subject.parse(text)


def test_what_is_allowed_by_name_alone_is_allowed():
    api, asked = server(lambda each: each.get("name") == "web" and each.get("namespace") == "shop")
    wanted = [Asked(DEPLOYMENT, "patch", "shop", "web"), Asked(DEPLOYMENT, "patch", "shop", "db")]
    assert missing(api, wanted) == [wanted[1]]
    assert len(asked) == 4  # everywhere, in the namespace, and each by name


def test_what_is_allowed_everywhere_is_asked_for_once():
    api, asked = server(lambda _: True)
    assert not missing(api, [Asked(DEPLOYMENT, "patch", "shop", str(each)) for each in range(50)])
    assert len(asked) == 1


def test_where_nobody_may_ask_the_write_will_tell():
    http = httpx.Client(
        base_url="http://cluster", transport=httpx.MockTransport(lambda _: httpx.Response(403, json={}))
    )
    assert not missing(Api(http), for_journal())


def test_what_is_missing_is_said_as_kubectl_says_it():
    assert str(Asked(NODE_POOL, "patch", "", "l4")) == "patch nodepools.karpenter.sh l4"
    assert str(Asked(CONFIG_MAP, "create", "gpuslice")) == "create configmaps in namespace gpuslice"
