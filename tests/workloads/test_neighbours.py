"""Rules of pods about each other, ports and nodes: what counts on a node, and who stays where it is."""

from typing import Any

import pytest

from gpuslice.artefacts.documents import parse_documents
from gpuslice.errors import InputError
from gpuslice.workloads.artefact import parse_workloads
from gpuslice.workloads.census import from_objects
from gpuslice.workloads.node_limits import EFA, EPHEMERAL_STORAGE, Take, apart, host_port, spread
from gpuslice.workloads.objects import Metadata, convert
from gpuslice.workloads.owners import Object

HOST = "kubernetes.io/hostname"
ZONE = "topology.kubernetes.io/zone"


def deployment(name: str = "web", replicas: int = 4, namespace: str = "shop", **spec: Any) -> dict[str, Any]:
    container = spec.pop("container", {})
    resources = {"limits": {"nvidia.com/gpu": "1", **spec.pop("limits", {})}}
    pod = {"containers": [{"name": "main", "image": "a/b:1", "resources": resources, **container}], **spec}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "replicas": replicas,
            "template": {"metadata": {"labels": {"app": name, "tier": "model"}}, "spec": pod},
        },
    }


def apart_from(key: str = HOST, **term: Any) -> dict[str, Any]:
    term.setdefault("labelSelector", {"matchLabels": {"app": "web"}})
    required = [{"topologyKey": key, **term}]
    return {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}


def near(key: str = HOST, app: str = "web") -> dict[str, Any]:
    required = [{"topologyKey": key, "labelSelector": {"matchLabels": {"app": app}}}]
    return {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}


def spread_by(key: str = HOST, skew: int = 1, app: str = "web", **constraint: Any) -> list[dict[str, Any]]:
    constraint.setdefault("whenUnsatisfiable", "DoNotSchedule")
    selector = {"matchLabels": {"app": app}}
    return [{"topologyKey": key, "maxSkew": skew, "labelSelector": selector, **constraint}]


def read(*objects: dict[str, Any]):
    found, unread = from_objects(
        [
            Object(
                each,
                convert(each["metadata"], Metadata, "x"),
                each["kind"],
                each["metadata"]["namespace"],
                "x",
            )
            for each in objects
        ]
    )
    assert unread == ()
    return {each.name: each for each in found.workloads}


@pytest.mark.parametrize(
    ("spec", "takes"),
    [
        ({"affinity": apart_from()}, {apart("shop/web")}),
        ({"affinity": apart_from(labelSelector={})}, {apart("shop/web")}),
        (
            {"affinity": apart_from(labelSelector={"matchExpressions": [
                {"key": "app", "operator": "In", "values": ["web", "other"]}
            ]})},
            {apart("shop/web")},
        ),
        ({"affinity": apart_from(labelSelector={"matchLabels": {"app": "nobody"}})}, set()),
        ({"affinity": apart_from(labelSelector=None)}, set()),
        ({"affinity": apart_from(namespaces=["elsewhere"])}, set()),
        ({"affinity": apart_from(matchLabelKeys=["pod-template-hash"])}, {apart("shop/web")}),
        ({"topologySpreadConstraints": spread_by()}, {spread("shop/web", 1)}),
        ({"topologySpreadConstraints": spread_by(skew=2, minDomains=3)}, {spread("shop/web", 2)}),
        ({"topologySpreadConstraints": spread_by(skew=4)}, set()),
        ({"topologySpreadConstraints": spread_by(ZONE, skew=4)}, set()),
        ({"topologySpreadConstraints": spread_by(ZONE, whenUnsatisfiable="ScheduleAnyway")}, set()),
        ({"container": {"ports": [{"containerPort": 80, "hostPort": 8080}]}}, {host_port("TCP", 8080)}),
        (
            {"container": {"ports": [{"containerPort": 53, "protocol": "UDP"}]}, "hostNetwork": True},
            {host_port("UDP", 53)},
        ),
        ({"container": {"ports": [{"containerPort": 80}]}}, set()),
        ({"limits": {"ephemeral-storage": "90Gi"}}, {Take(EPHEMERAL_STORAGE, 90 * 1024)}),
        ({"limits": {"vpc.amazonaws.com/efa": 4}}, {Take(EFA, 4)}),
        ({"limits": {"hugepages-2Mi": "1Gi"}}, {Take("hugepages-2Mi", 1024)}),
        ({"limits": {"example.com/fuse": 1}}, {Take("example.com/fuse", 1)}),
    ],
    ids=str,
)  # fmt: skip
def test_what_counts_on_a_node(spec, takes):
    workload = read(deployment(**spec))["shop/web"]
    assert set(workload.takes) == takes
    assert workload.stays == ()


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ({"affinity": apart_from(ZONE)}, f"anti-affinity by {ZONE}"),
        ({"affinity": near()}, f"pod affinity by {HOST}"),
        ({"affinity": near(ZONE, "cache")}, f"pod affinity by {ZONE}"),
        ({"topologySpreadConstraints": spread_by(ZONE)}, f"spread by {ZONE}"),
        ({"topologySpreadConstraints": spread_by("rack")}, "spread by rack"),
        ({"nodeName": "ip-10-0-0-1"}, "ip-10-0-0-1"),
    ],
    ids=str,
)
def test_who_stays_where_it_is(spec, why):
    workload = read(deployment(**spec))["shop/web"]
    assert len(workload.stays) == 1
    assert why in workload.stays[0]


def test_a_single_pod_keeps_any_rule_about_its_own_kind():
    for affinity in (apart_from(ZONE), near()):
        assert read(deployment(replicas=1, affinity=affinity))["shop/web"].stays == ()


def test_workloads_that_all_keep_apart_from_each_other_share_one_rule():
    tier = apart_from(labelSelector={"matchLabels": {"tier": "model"}})
    found = read(deployment(affinity=tier), deployment("api", affinity=tier))
    assert found["shop/web"].takes == found["shop/api"].takes == (apart("shop/api+shop/web"),)


def test_who_keeps_apart_from_others_that_do_not_say_so_stays():
    tier = apart_from(labelSelector={"matchLabels": {"tier": "model"}})
    found = read(deployment(affinity=tier), deployment("api"))
    assert "shop/api" in found["shop/web"].stays[0]
    assert found["shop/api"].stays == ()


def test_another_namespace_is_meant_only_where_it_is_said():
    everywhere = apart_from(labelSelector={"matchLabels": {"tier": "model"}}, namespaceSelector={})
    own = apart_from(labelSelector={"matchLabels": {"tier": "model"}})
    other = deployment("api", namespace="lab")
    assert "lab/api" in read(deployment(affinity=everywhere), other)["shop/web"].stays[0]
    assert read(deployment(affinity=own), other)["shop/web"].takes == (apart("shop/web"),)


def test_the_node_of_a_pod_that_runs_is_the_schedulers_choice():
    pod = deployment()["spec"]["template"]["spec"] | {"nodeName": "ip-10-0-0-1"}
    running = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "one", "namespace": "shop"},
        "spec": pod,
    }
    assert read(running)["shop/one"].stays != ()
    assert read(running | {"status": {"phase": "Running"}})["shop/one"].stays == ()


def claim(name: str, volume: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"volumeName": volume},
    }


def volume(name: str, key: str = ZONE, place: str = "us-east-1a") -> dict[str, Any]:
    term = {"matchExpressions": [{"key": key, "operator": "In", "values": [place]}]}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name, "namespace": ""},
        "spec": {"nodeAffinity": {"required": {"nodeSelectorTerms": [term]}}},
    }


def test_who_has_a_volume_in_a_zone_stays():
    volumes = [{"name": "cache", "persistentVolumeClaim": {"claimName": "cache"}}]
    found = read(deployment(volumes=volumes), claim("cache", "pv-1"), volume("pv-1"))
    assert "us-east-1a" in found["shop/web"].stays[0]
    found = read(deployment(volumes=volumes), claim("cache", "pv-1"), volume("pv-1", HOST, "ip-1"))
    assert "on ip-1" in found["shop/web"].stays[0]


def test_a_volume_that_is_nowhere_yet_or_everywhere_binds_nobody():
    volumes = [{"name": "cache", "persistentVolumeClaim": {"claimName": "cache"}}]
    shared = volume("pv-1") | {"spec": {}}
    assert read(deployment(volumes=volumes), claim("cache", ""))["shop/web"].stays == ()
    assert read(deployment(volumes=volumes), claim("cache", "pv-1"), shared)["shop/web"].stays == ()


def test_a_stateful_set_stays_where_any_of_its_pods_has_a_volume():
    made = deployment() | {"kind": "StatefulSet"}
    made["spec"]["volumeClaimTemplates"] = [{"metadata": {"name": "data"}}]
    found = read(
        made, claim("data-web-3", "pv-1"), volume("pv-1", "topology.ebs.csi.aws.com/zone", "us-east-1b")
    )
    assert "us-east-1b" in found["shop/web"].stays[0]


def test_rules_of_several_kinds_hold_side_by_side():
    tier = {"matchLabels": {"tier": "model"}}
    spreads = [*spread_by(skew=1), *spread_by(skew=3), {**spread_by(skew=3)[0], "labelSelector": tier}]
    found = read(
        deployment(topologySpreadConstraints=spreads),
        deployment("api", topologySpreadConstraints=[{**spread_by(skew=3)[0], "labelSelector": tier}]),
    )
    both = spread("shop/api+shop/web", 3)
    assert set(found["shop/web"].takes) == {spread("shop/web", 1), spread("shop/web", 3), both}
    assert found["shop/api"].takes == (both,)
    assert len({take.resource for take in found["shop/web"].takes}) == 3


def test_a_node_has_as_much_of_a_resource_for_everybody():
    entry = "- name: shop/{}\n  replicas: 1\n  takes: [{{resource: apart/x, amount: 1, most: {}}}]\n"
    text = "apiVersion: gpuslice.io/v1alpha1\nkind: Workloads\nregion: us-east-1\nworkloads:\n"
    documents = parse_documents((text + entry.format("a", 1) + entry.format("b", 2)).encode(), "w.yaml")
    with pytest.raises(InputError, match=r"has 1 by shop/a, and 2 by shop/b"):
        parse_workloads(documents)
