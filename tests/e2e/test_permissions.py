"""Each verb works for somebody who has its role and nothing else, needs all of it, and says what is missing."""

import re
from dataclasses import replace
from typing import Any

import pytest
import yaml
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.apps_v1 import DaemonSet, StatefulSet
from lightkube.resources.core_v1 import ConfigMap, Namespace

from gpuslice.cloud.selection import choose
from gpuslice.cluster.apply.permissions import Where, of_role
from gpuslice.cluster.checks.doctor import CHECKS, diagnose, untold
from gpuslice.cluster.checks.finding import Severity
from gpuslice.cluster.client.api import connect
from gpuslice.cluster.client.kubeconfig import load
from gpuslice.cluster.client.resources import (
    AUTO_NODE_CLASS,
    CUSTOM_OWNERS,
    DEPLOYMENT,
    KNOWN,
    NODE_OVERLAY,
    NODE_POOL,
    POD,
)
from gpuslice.cluster.client.roles import Role
from gpuslice.cluster.seen.read import read
from gpuslice.cluster.status import status_of
from gpuslice.rehearsal import crds
from tests.cluster.plugin_chart import chart as plugin_chart
from tests.e2e.allowed import asked, grant, revoke
from tests.e2e.applying import (
    QUICK,
    TARGET,
    deployment,
    gpuslice,
    rendered,
    standing,
    two_pools,
    wait_for_pods,
)
from tests.e2e.between import Between
from tests.render.plans import SHARED, TS4, assignment, plan, pool

KINDS = {(each.group, each.plural): each for each in KNOWN.values()}
VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
LOOKING = ("scan", "doctor", "status")
BY_DRY_RUN = {"get", "patch", "create"}
"""Verbs of which the API server itself tells, when all is tried; a dry run of a deletion has nothing to delete."""


@pytest.fixture(scope="module", autouse=True)
def every_kind_is_served(control_plane, tmp_path_factory):
    """Kinds of others, which are read where they are served: here, all are."""
    file = tmp_path_factory.mktemp("crds") / "others.yaml"
    file.write_text(yaml.safe_dump_all(definition(each) for each in (*CUSTOM_OWNERS, AUTO_NODE_CLASS)))
    with control_plane.client() as client:
        crds.install(client, [], [file])


def definition(each):
    anything = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": each.title,
            "annotations": {"api-approved.kubernetes.io": "unapproved, for a test"},
        },
        "spec": {
            "group": each.group,
            "scope": "Namespaced" if each.namespaced else "Cluster",
            "names": {"kind": each.kind, "plural": each.plural},
            "versions": [{"name": each.version, "served": True, "storage": True, "schema": anything}],
        },
    }


@pytest.fixture(autouse=True)
def nobody_keeps_a_role(client):
    yield
    revoke(client)


def without(role, row, verb):
    """A role one permission less."""
    kept = tuple(each for each in row.verbs if each != verb)
    rows = (replace(each, verbs=kept) if each is row else each for each in of_role(role))
    return tuple(each for each in rows if each.verbs)


def own(role):
    """Row by row and verb by verb, what a role has beyond those before it."""
    return [(row, verb) for row in of_role(role) if row.role is role for verb in row.verbs]


@pytest.fixture
def recorded(control_plane, tmp_path):
    """Runs the program as the stranger; what it asked the API server for is kept, as (verb, kind, namespace, name)."""
    requests: set[tuple[str, str, str, str]] = set()

    def look(method, path):
        request = understood(method, path.partition("?")[0])
        if request:
            requests.add(request)

    between = Between(control_plane.stranger_kubeconfig)
    between.answer = look
    with between.running():
        yield lambda *arguments: gpuslice(between.config(tmp_path), *arguments), requests


def understood(method, path):
    match = re.fullmatch(
        r"/(?:api|apis/(?P<group>[^/]+))/v[^/]+/(?:namespaces/(?P<namespace>[^/]+)/(?=.))?"
        r"(?P<plural>[^/]+)(?:/(?P<name>[^/]+))?",
        path,
    )
    if match is None or (match["group"] or "", match["plural"]) not in KINDS:
        return None  # versions, groups, and what one may do: everybody may ask for these
    verb = VERBS.get(method) or ("get" if match["name"] else "list")
    title = KINDS[match["group"] or "", match["plural"]].title
    return verb, title, match["namespace"] or "", match["name"] or ""


def used(one, requests):
    """Whether a permission was made use of."""
    return any(
        (verb, title) == (one.verb, one.resource.title)
        and namespace == (one.namespace or namespace)
        and name == (one.name or name)
        for verb, title, namespace, name in requests
    )


def test_whoever_may_view_can_scan_diagnose_and_count_and_needs_all_of_it(
    control_plane, cluster, recorded, tmp_path
):
    run, requests = recorded
    grant(control_plane, cluster, Role.VIEW)
    for verb in LOOKING:
        requests.clear()
        code, out, err = run(verb)
        assert code == 0, out + err
        assert "be read" not in out + err
        unused = [str(each) for row in of_role(Role.VIEW) for each in asked(row) if not used(each, requests)]
        assert not unused, (verb, unused)


def test_what_a_viewer_may_not_list_is_named(control_plane, cluster):
    catalog = choose("")
    for row, verb in own(Role.VIEW):
        grant(control_plane, cluster, Role.VIEW, without(Role.VIEW, row, verb))
        code, _, err = gpuslice(control_plane.stranger_kubeconfig, "scan")
        cannot = f'cannot {verb} resource "{row.resource.plural}"'
        assert cannot in err
        if row.resource is POD:
            assert code == 3
            assert "gpuslice render --rbac" in err
            continue
        assert code == 0
        assert f"note: {row.resource.title} can't be read" in err
        assert "gpuslice render --rbac view --bind-to user:NAME" in err
        # The other verbs say what they know by the same reading of the cluster.
        with connect(load(str(control_plane.stranger_kubeconfig))) as api:
            seen = read(api)
        assert {each.what for each in seen.unread} == {row.resource.title}
        found = diagnose(seen, catalog)
        told = [each.evidence for each in found] + [each.why for each in untold(seen, CHECKS)]
        assert any(cannot in each for each in told)
        assert {each.severity for each in found} <= {Severity.UNKNOWN}
        assert any(cannot in each for each in status_of(seen, catalog).notes)


@pytest.mark.parametrize("verb", ["doctor", "status"])
def test_a_check_or_count_that_lacks_something_says_so(control_plane, cluster, verb):
    (row,) = (each for each in of_role(Role.VIEW) if each.resource is NODE_OVERLAY)
    grant(control_plane, cluster, Role.VIEW, without(Role.VIEW, row, "list"))
    code, out, err = gpuslice(control_plane.stranger_kubeconfig, verb)
    said = " ".join((out + err).split())
    assert code == 0
    assert 'cannot list resource "nodeoverlays"' in said
    assert "gpuslice render --rbac view --bind-to user:NAME" in said


def test_a_device_plugin_elsewhere_is_looked_at_by_whoever_may(control_plane, cluster):
    """NVIDIA's chart in a namespace of its own, beside a GPU Operator: its ConfigMap is what the role must reach."""
    grant(control_plane, cluster, Role.VIEW)
    cluster.create(Namespace(metadata=ObjectMeta(name="nvidia")))
    plugin: Any = DaemonSet.from_dict(plugin_chart())
    cluster.create(plugin)
    name = ObjectMeta(name="nvdp-configs", namespace="nvidia")
    cluster.create(ConfigMap(metadata=name, data={"other": "version: v1\n"}))
    try:
        arguments = ("doctor", "--only", "GS401")
        code, out, _ = gpuslice(control_plane.stranger_kubeconfig, *arguments)
        said = " ".join(out.split())
        assert code == 0
        assert 'cannot get resource "configmaps" in API group "" in the namespace "nvidia"' in said
        assert "--operator-namespace" in said
        code, out, _ = gpuslice(control_plane.kubeconfig, *arguments)
        assert code == 1
        assert "DaemonSet nvidia/nvdp-nvidia-device-plugin" in out
        assert "'default'; ConfigMap nvdp-configs has other" in " ".join(out.split())
    finally:
        cluster.delete(DaemonSet, "nvdp-nvidia-device-plugin", namespace="nvidia")
        cluster.delete(Namespace, "nvidia")


def test_whoever_may_apply_can_take_it_back_and_needs_all_of_it(control_plane, cluster, recorded, tmp_path):
    run, requests = recorded
    grant(control_plane, cluster, Role.APPLY)
    before = standing(cluster)
    directory = rendered(two_pools(), tmp_path)
    for arguments in (("-f", directory, *QUICK), ("--rollback", "--yes")):
        code, _, err = run("apply", *arguments)
        assert code == 0, err
    assert standing(cluster) == before
    # Whoever patches what isn't there yet creates it: no request of its own.
    made = {"create"} if any(verb == "patch" for verb, *_ in requests) else set()
    unused = [
        str(each)
        for row in of_role(Role.APPLY)
        for each in asked(row)
        if not used(each, requests) and not ("patch" in row.verbs and each.verb in made)
    ]
    assert not unused


def test_whoever_may_not_do_all_of_an_apply_does_nothing_of_it(control_plane, cluster, tmp_path):
    directory = rendered(two_pools(), tmp_path)
    before = standing(cluster)
    for row, verb in own(Role.APPLY):
        grant(control_plane, cluster, Role.APPLY, without(Role.APPLY, row, verb))
        code, _, err = gpuslice(control_plane.stranger_kubeconfig, "apply", "-f", directory, *QUICK)
        assert code == 3, f"{verb} {row.resource.title} {row.where}: {err}"
        told_early = verb in BY_DRY_RUN and not (row.where is Where.JOURNAL and verb == "create")
        if told_early:
            assert f'cannot {verb} resource "{row.resource.plural}"' in err
        else:
            assert f"you may not {verb} {row.resource.title}" in err
            assert "gpuslice render --rbac apply" in err
        assert standing(cluster) == before
        assert not list(cluster.list(ConfigMap, namespace="gpuslice", fields={"metadata.name": "gpuslice"}))


@pytest.mark.parametrize("resource", [NODE_POOL, DEPLOYMENT], ids=lambda each: each.plural)
def test_what_can_not_be_read_is_not_taken_for_absent(control_plane, cluster, tmp_path, resource):
    (row,) = (each for each in of_role(Role.APPLY) if each.resource is resource and "list" in each.verbs)
    grant(control_plane, cluster, Role.APPLY, without(Role.APPLY, row, "list"))
    before = standing(cluster)
    arguments = ("apply", "-f", rendered(two_pools(), tmp_path), *QUICK)
    code, _, err = gpuslice(control_plane.stranger_kubeconfig, *arguments)
    assert code == 3
    assert f"{resource.title} can't be read" in err
    assert standing(cluster) == before


def test_a_rollback_that_could_not_end_does_not_begin(control_plane, cluster, tmp_path):
    directory = rendered(two_pools(), tmp_path)
    grant(control_plane, cluster, Role.APPLY)
    assert gpuslice(control_plane.stranger_kubeconfig, "apply", "-f", directory, *QUICK)[0] == 0
    applied = standing(cluster)
    (row,) = (each for each, verb in own(Role.APPLY) if each.resource is NODE_POOL and verb == "delete")
    grant(control_plane, cluster, Role.APPLY, without(Role.APPLY, row, "delete"))
    code, _, err = gpuslice(control_plane.stranger_kubeconfig, "apply", "--rollback", "--yes")
    assert code == 3
    assert "you may not delete nodepools.karpenter.sh" in err
    assert standing(cluster) == applied


def test_whoever_may_move_workloads_can_and_brings_them_back(control_plane, busy, tmp_path):
    grant(control_plane, busy, Role.APPLY_WORKLOADS)
    before = standing(busy)
    directory = rendered(two_pools(), tmp_path)
    code, _, err = gpuslice(
        control_plane.stranger_kubeconfig, "apply", "-f", directory, *QUICK, "--workloads"
    )
    assert code == 0, err
    assert {each.spec.nodeName for each in wait_for_pods(busy, 6)} == {"of-search-l4-ts4", "of-chat-l4-704"}
    code, _, err = gpuslice(control_plane.stranger_kubeconfig, "apply", "--rollback", "--yes")
    assert code == 0, err
    assert standing(busy) == before


def test_whoever_may_not_move_a_kind_of_workload_moves_nothing(control_plane, cluster, tmp_path):
    template = deployment("any", "search").spec.template
    selector = deployment("any", "search").spec.selector
    absent: Any = deployment("web", "search", replicas=0)
    cluster.create(absent)
    for kind in (StatefulSet, DaemonSet):
        spec: dict[str, Any] = {"selector": selector.to_dict(), "template": template.to_dict()}
        spec |= {"serviceName": "any", "replicas": 0} if kind is StatefulSet else {}
        made: Any = kind.from_dict({"metadata": {"name": "any", "namespace": "search"}, "spec": spec})
        cluster.create(made)
    named = {"Deployment": "search/web", "StatefulSet": "search/any", "DaemonSet": "search/any"}
    try:
        for row, verb in own(Role.APPLY_WORKLOADS):
            one = assignment(
                named[row.resource.kind], "slots", SHARED, target=TARGET | {"kind": row.resource.kind}
            )
            directory = rendered(
                plan((pool("slots", TS4, ("g6.xlarge",), tenant="search"),), (one,)),
                tmp_path / row.resource.kind,
            )
            grant(control_plane, cluster, Role.APPLY_WORKLOADS, without(Role.APPLY_WORKLOADS, row, verb))
            before = standing(cluster)
            arguments = ("apply", "-f", directory, *QUICK, "--workloads")
            code, _, err = gpuslice(control_plane.stranger_kubeconfig, *arguments)
            assert code == 3, err
            assert f'cannot {verb} resource "{row.resource.plural}"' in err
            assert standing(cluster) == before
    finally:
        for kind in (StatefulSet, DaemonSet):
            cluster.delete(kind, "any", namespace="search")
