"""How a cluster stands: counted, priced, compared with a plan, and what isn't known said."""

import pytest

from gpuslice.cloud import snapshot as catalogs
from gpuslice.cluster.seen.snapshot import Unread
from gpuslice.cluster.status import Slices, status_of
from gpuslice.errors import EnvironmentFailedError
from tests.cluster.made import metadata, node, pod, snapshot
from tests.cluster.planned import plan, pool
from tests.cluster.sliced import (
    ONE,
    SEAT,
    claim_template,
    claiming,
    cluster,
    node_pool,
    overlay,
    seated,
    seated_pod,
    sliced_node,
    sliced_pod,
)

CATALOG = catalogs.bundled()
SHARED = "nvidia.com/gpu.shared"
WHOLE = {"nvidia.com/gpu": "1"}
PRICE = 0.8048


def status(changes=None, wanted=None, **fields):
    return status_of(cluster(changes, **fields), CATALOG, wanted)


def pools(changes=None, wanted=None, **fields):
    return {each.name: each for each in status(changes, wanted, **fields).pools}


def claim(pool_name="l4-ts4", on=""):
    return {
        "apiVersion": "karpenter.sh/v1",
        "kind": "NodeClaim",
        "metadata": metadata("c1", labels={"karpenter.sh/nodepool": pool_name}),
        "status": {"nodeName": on},
    }


def unscheduled(message="0/3 nodes are available", **fields):
    said = [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}]
    return sliced_pod("waits", on="", phase="Pending", conditions=said, **fields)


def theirs(made):
    """A NodePool that gpuslice didn't make."""
    del made["spec"]["template"]["metadata"]["labels"]["gpuslice.io/pool"]
    return made


def ready(made, said="True"):
    made["status"]["conditions"] = [{"type": "Ready", "status": said}]
    return made


def test_slices_are_promised_by_overlays_registered_by_nodes_and_used_by_pods():
    found = pools({"second": sliced_node("n2", allocatable={SHARED: "3"})})["l4-ts4"]
    assert found.slices == (Slices(SHARED, 8, 7, 1),)
    assert (found.nodes, found.usd_per_hour, found.unpriced) == (2, 2 * PRICE, 0)


def test_the_seats_of_a_pool_are_told_together():
    found = pools(seated() | {"other": None})["l4-ts4"]
    assert found.slices == (Slices("gpuslice.io/seat-*", 4, 4, 1), Slices(SHARED, 4, 4, 1))


def test_a_node_on_its_way_is_told_to_pods_that_have_a_seat_there():
    said = [{"type": "PodScheduled", "status": "False", "message": "0/3 nodes"}]
    fields = {"on": "", "phase": "Pending", "conditions": said}
    seats = {
        "c": claim(),
        "a": seated_pod("a", **fields),
        "b": seated_pod("b", seat="gpuslice.io/seat-a.b", **fields),
    }
    found = status(seated() | seats).pending
    assert [(each.pod, each.pool, each.asks, each.reason) for each in found] == [
        ("search/a", "", {SHARED: 1, SEAT: 1}, "0/3 nodes; 1 with seats for it being launched"),
        ("search/b", "", {SHARED: 1, "gpuslice.io/seat-a.b": 1}, "0/3 nodes"),
    ]


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_pods_that_have_ended_use_nothing(phase):
    assert pools({"pod": sliced_pod(phase=phase)})["l4-ts4"].slices == (Slices(SHARED, 4, 4, 0),)


def test_metered_memory_and_time_are_counted_with_sidecars_and_the_largest_init_container():
    asks = {SHARED: "1", "gpuslice.io/gpu-memory": "6Gi", "gpuslice.io/gpu-time": "100"}
    made = sliced_pod(asks=asks)
    made["spec"]["initContainers"] = [
        {"name": "side", "restartPolicy": "Always", "resources": {"limits": {"gpuslice.io/gpu-time": "50"}}},
        {"name": "init", "resources": {"limits": {"gpuslice.io/gpu-memory": "8Gi"}}},
    ]
    offers = {SHARED: "16", "gpuslice.io/gpu-memory": "22Gi", "gpuslice.io/gpu-time": "704"}
    found = pools(
        {"pod": made, "overlay": overlay(capacity=offers), "node": sliced_node(allocatable=offers)}
    )["l4-ts4"]
    gib = 2**30
    assert found.slices == (
        Slices("gpuslice.io/gpu-memory", 22 * gib, 22 * gib, 8 * gib),
        Slices("gpuslice.io/gpu-time", 704, 704, 150),
        Slices(SHARED, 16, 16, 1),
    )


def test_what_was_promised_is_unknown_without_overlays_their_pool_or_the_nodes_type():
    unread = (Unread("nodeoverlays.karpenter.sh", "forbidden"),)
    for found in (
        pools({"overlay": None}, unread=unread),
        pools({"pool": None}),
        pools({"second": sliced_node("n2", labels={"node.kubernetes.io/instance-type": "x9.huge"})}),
    ):
        assert [each.promised for each in found["l4-ts4"].slices] == [None]


def test_no_overlay_at_all_promises_nothing_of_a_resource():
    assert pools({"overlay": None})["l4-ts4"].slices == (Slices(SHARED, None, 4, 1),)


def test_nodes_are_ready_only_if_they_say_so():
    nodes = {"node": ready(sliced_node()), "b": ready(sliced_node("n2"), "Unknown"), "c": sliced_node("n3")}
    found = pools(nodes)["l4-ts4"]
    assert (found.nodes, found.ready) == (3, 1)


def test_an_unknown_price_is_said_and_not_zero():
    odd = sliced_node("n2", labels={"node.kubernetes.io/instance-type": "x9.huge"})
    far = sliced_node("n3", labels={"topology.kubernetes.io/region": "eu-west-3"})
    found = status({"b": odd, "c": far})
    assert (found.usd_per_hour, found.unpriced) == (PRICE, 2)
    prices = {each.instance_type: each.usd_per_hour for each in found.pools[0].machines}
    assert prices == {"g6.xlarge": None, "x9.huge": None}


def test_gpu_nodes_of_no_pool_stand_last_and_other_nodes_and_pools_nowhere():
    cpu = theirs(node_pool("cpu", types=("m7i.large",)))
    cheap = node("n3", "m7i.large", capacity={"cpu": "2"}, labels={"karpenter.sh/nodepool": "cpu"})
    found = status({"cpu": cpu, "b": node("n2", "g5.xlarge"), "c": cheap})
    assert [each.name for each in found.pools] == ["l4-ts4", ""]
    assert found.pools[1].exists is False
    assert [each.instance_type for each in found.pools[1].machines] == ["g5.xlarge"]


def test_a_pool_without_nodes_is_shown_if_it_is_meant_for_gpus():
    whole = theirs(node_pool("whole", types=("g5.xlarge",)))
    vague = theirs(node_pool("vague"))
    vague["spec"]["template"]["spec"]["requirements"] = [
        {"key": "karpenter.k8s.aws/instance-cpu", "operator": "Gt", "values": ["3"]}
    ]
    assert set(pools({"w": whole, "v": vague})) == {"l4-ts4", "whole"}


def test_a_node_of_our_pool_counts_before_it_offers_anything():
    early = sliced_node(
        "n2", allocatable={"cpu": "4"}, labels={"node.kubernetes.io/instance-type": "x9.huge"}
    )
    early["status"]["capacity"] = {"cpu": "4"}
    found = pools({"b": early})["l4-ts4"]
    assert (found.nodes, found.unpriced) == (2, 1)


def test_nodes_outlive_their_pool():
    assert pools({"pool": None})["l4-ts4"].exists is False
    unread = (Unread("nodepools.karpenter.sh", "forbidden"),)
    assert pools({"pool": None}, unread=unread)["l4-ts4"].exists is None


def test_a_pending_pod_has_the_schedulers_reason_in_one_short_line():
    (found,) = status({"p": unscheduled("0/3 nodes:\n" + "x" * 400)}).pending
    assert (found.pod, found.asks, found.pool) == ("search/waits", {SHARED: 1}, "l4-ts4")
    assert found.reason.startswith("0/3 nodes: x")
    assert found.reason.endswith("...")
    assert len(found.reason) == 200


def test_a_pod_that_nobody_looked_at_or_that_goes_says_so():
    gone = unscheduled()
    gone["metadata"]["deletionTimestamp"] = "2026-11-23T00:00:00Z"
    fresh = pod("zz", asks=ONE, phase="Pending")
    assert [each.reason for each in status({"a": gone, "b": fresh}).pending] == [
        "it is being deleted",
        "no scheduler has said anything of it yet",
    ]


def test_a_node_on_its_way_is_named_only_to_pods_of_its_pool():
    found = status({"c": claim(), "a": unscheduled(), "b": pod("zz", asks=WHOLE, phase="Pending")})
    assert found.pools[0].launching == 1
    assert [each.reason.partition("; ")[2] for each in found.pending] == [
        "1 of NodePool l4-ts4 being launched",
        "",
    ]
    assert status({"c": claim(on="n1"), "a": unscheduled()}).pools[0].launching == 0


def test_a_cluster_as_planned_differs_in_nothing():
    found = status(wanted=plan(pool()))
    assert found.differing == ()
    assert found.planned_usd_per_hour == PRICE
    assert status().planned_usd_per_hour is None


@pytest.mark.parametrize(
    ("changes", "wanted", "says"),
    [
        ({}, [pool(count=3)], {"l4-ts4": "1 of 3 nodes"}),
        ({"b": sliced_node("n2")}, [pool()], {"l4-ts4": "2 nodes, planned were 1"}),
        ({}, [pool(usd=0.9)], {"l4-ts4": "other machines or other prices than planned"}),
        ({}, [pool(), pool("gone")], {"gone": "there is no such NodePool; 0 of 1 nodes"}),
        ({"more": node_pool("more")}, [pool()], {"more": "isn't in the plan"}),
        ({"other": node("n2")}, [pool()], {}),
        ({"theirs": theirs(node_pool("whole"))}, [pool()], {}),
    ],
)
def test_what_differs_from_the_plan_is_said_by_pool(changes, wanted, says):
    found = status(changes, plan(*wanted))
    assert {each.name: "; ".join(each.plan.differs) for each in found.differing if each.plan} == says


def test_a_price_that_is_not_known_is_no_difference():
    far = sliced_node(labels={"topology.kubernetes.io/region": "eu-west-3"})
    assert status({"node": far}, plan(pool())).differing == ()


@pytest.mark.parametrize("what", ["nodes", "nodepools.karpenter.sh"])
def test_what_cannot_be_read_is_not_compared(what):
    unread = (Unread(what, "forbidden"),)
    with pytest.raises(EnvironmentFailedError, match="nothing can be compared"):
        status(wanted=plan(pool()), unread=unread)
    assert f"{what} can't be read: forbidden" in status(unread=unread).notes


def test_notes_say_what_figures_leave_out():
    notes = status(wanted=plan(pool(), prices="2020-01-01"), namespaces=("shop",)).notes
    assert [each.partition(":")[0].partition(";")[0] for each in notes] == [
        "pods were read only of shop",
        f"prices are those of us-east-1, {CATALOG.prices_date}",
    ]
    assert status(wanted=plan(pool(), prices=CATALOG.prices_date)).notes == ()


def test_pending_pods_may_be_those_of_one_namespace():
    changes = {"other": unscheduled(namespace="vision")}
    everywhere = status_of(cluster(changes), CATALOG)
    assert [each.pod for each in everywhere.pending] == ["vision/waits"]
    found = status_of(cluster(changes), CATALOG, namespace="search")
    assert found.pending == ()
    assert found.pools == everywhere.pools  # nodes belong to all


def test_a_pod_that_waits_for_a_claim_is_told_with_what_makes_no_node_for_it():
    waiting, running = claiming("claims-1", "shop"), claiming("claims-2", "shop", on="n1")
    (told,) = status_of(snapshot(claim_template(namespace="shop"), waiting, running), CATALOG).pending
    assert (told.pod, told.asks) == ("shop/claims-1", {"a GPU (gpu.nvidia.com) by DRA": 1})
    assert told.reason.endswith("neither Karpenter on AWS nor gpuslice makes nodes for claims")
