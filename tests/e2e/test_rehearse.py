"""Plans on real Karpenter: what is launched, registered and bound, and what happens when something goes wrong."""

import time
from collections import Counter
from typing import Any

import pytest
from lightkube.resources.core_v1 import Node, Pod

from gpuslice.cloud.selection import choose
from gpuslice.hardware.need import Need
from gpuslice.plan.defaults import NODE_ROOM
from gpuslice.rehearsal.cluster import settings
from gpuslice.rehearsal.kinds import NodeClaim, NodeOverlay
from gpuslice.rehearsal.nodes import Behaviour
from gpuslice.rehearsal.rehearse import NAMESPACE, Patience, rehearse
from gpuslice.render import manifests
from gpuslice.units import parse_quantity
from gpuslice.workloads.model import Workload
from tests.render.plans import MIG_ALIKE, SEATS, SHARED, TS4, WHOLE, assignment, plan, pool

CATALOG = choose("", "us-east-1")
METERED = {
    "gpu": "L4",
    "mechanism": "time-slicing",
    "replicas": 16,
    "metered": {"memory": "21Gi", "time": 704},
}
MPS4 = {"gpu": "A10G", "mechanism": "mps", "replicas": 4}
WHOLE_L4 = {"gpu": "L4", "mechanism": "whole"}
H100_MIG_BOTTLEROCKET = {"gpu": "H100", "mechanism": "mig", "geometry": [{"profile": "1g.10gb", "count": 7}]}


def workload(name, cpu=500, memory=1024):
    return Workload(name, 0, cpu, memory, Need())


@pytest.fixture
def cluster(scratch):
    """A cluster of its own for each test, with what a plan leaves on it."""
    return scratch


def run(cluster, plan, quiet_s=20.0):
    workloads = [workload(each.workload) for each in plan.assignments]
    return rehearse(cluster, plan, CATALOG, workloads, patience=Patience(quiet_s=quiet_s), say=print)


def test_every_mechanism_comes_out_as_planned_on_al2023(cluster):
    made = plan(
        (
            pool("slots", TS4, ("g6.xlarge",)),
            pool("metered", METERED, ("g6.xlarge",)),
            pool("mps", MPS4, ("g5.xlarge",), count=1),
            pool("mig", MIG_ALIKE, ("p5.48xlarge",), count=1),
            pool("whole", WHOLE_L4, ("g6.xlarge",), count=1),
            pool("fraction", {"gpu": "L4", "mechanism": "fractional"}, ("g6f.2xlarge",), count=1),
        ),
        (
            assignment("a/slots", "slots", SHARED, replicas=8),
            # Ten of 2 Gi each would fit one GPU by their memory, but not by their time.
            assignment("a/metered", "metered", SHARED, replicas=10, gpuMemory="2Gi", gpuTime=130),
            assignment("a/mps", "mps", SHARED, replicas=4),
            assignment("a/mig", "mig", "nvidia.com/mig-1g.10gb", replicas=20),
            assignment("a/whole", "whole", WHOLE, replicas=1),
            assignment("a/fraction", "fraction", WHOLE, replicas=1),
        ),
    )

    found = run(cluster, made)

    assert found.matches, found
    assert {(each.pool, each.resource): set(each.registered) for each in found.slices} == {
        ("slots", SHARED): {4},
        ("metered", SHARED): {16},
        ("metered", "gpuslice.io/gpu-memory"): {21 * 2**30},
        ("metered", "gpuslice.io/gpu-time"): {704},
        ("mps", SHARED): {4},
        ("mig", "nvidia.com/mig-3g.40gb"): {8},
        ("mig", "nvidia.com/mig-1g.10gb"): {32},
        ("whole", WHOLE): {1},
        ("fraction", WHOLE): {1},
    }


def test_every_mechanism_comes_out_as_planned_on_bottlerocket(cluster):
    made = plan(
        (
            pool("slots", TS4, ("g6.xlarge",)),
            pool("mps", MPS4, ("g5.xlarge",), count=1),
            pool("mig", H100_MIG_BOTTLEROCKET, ("p5.48xlarge",), count=1),
        ),
        (
            assignment("a/slots", "slots", SHARED, replicas=8),
            assignment("a/mps", "mps", SHARED, replicas=4),
            assignment("a/mig", "mig", WHOLE, replicas=20),
        ),
        stack="bottlerocket",
    )

    found = run(cluster, made)

    assert found.matches, found
    assert {(each.pool, *each.registered) for each in found.slices} == {
        ("slots", 4, 4),
        ("mps", 4),
        ("mig", 56),
    }


def test_seats_are_taken_as_planned_and_whoever_is_too_many_goes_to_its_own_pool(cluster):
    found = run(cluster, SEATS)

    assert found.matches, found
    assert {each.pool: each.launched for each in found.nodes} == {
        "search-l4-mixed": 2,
        "search-l4-alone": 1,
        "search-embedder": 1,
        "h100-mixed": 1,
    }
    # One seat of the embedder's eight stays free, whichever.
    bound = Counter({each.workload: 0 for each in found.workloads})
    for each in found.workloads:
        bound[each.workload] += each.bound
    assert bound == {"search/embedder": 7, "search/reranker": 2, "chat/asr": 8, "chat/ranker": 16}

    with cluster.control_plane.client() as client:
        pods = {each.metadata.name: each for each in client.list(Pod, namespace=NAMESPACE)}
        reranker = next(
            name
            for name, each in pods.items()
            if (each.metadata.annotations or {}).get("gpuslice.io/workload") == "search/reranker"
        )
        template = pods[reranker].to_dict()["spec"]
        spec = {key: template[key] for key in ("nodeSelector", "tolerations")}
        spec["containers"] = [
            {key: each[key] for key in ("name", "image", "resources")} for each in template["containers"]
        ]
        metadata = {"name": "too-many", "namespace": NAMESPACE}
        client.create(Pod.from_dict({"metadata": metadata, "spec": spec}))
        pools = Counter(_pools_once_running(client, "too-many"))
    assert pools == Counter(
        {**{each.pool: each.launched for each in found.nodes}, "search-reranker": 1}  # which had none
    )


def _pools_once_running(client, name, patience_s=60):
    """The pool of every node, when a pod runs."""
    end = time.monotonic() + patience_s
    while client.get(Pod, name, namespace=NAMESPACE).status.phase != "Running":
        assert time.monotonic() < end, f"{name} waits"
        time.sleep(0.5)
    return [each.metadata.labels["karpenter.sh/nodepool"] for each in client.list(NodeClaim)]


SLOTS = plan((pool("slots", TS4, ("g6.xlarge",)),), (assignment("a/slots", "slots", SHARED, replicas=8),))


def test_slices_that_never_register_leave_pods_waiting_and_no_second_node_comes(cluster):
    cluster.nodes.behaviour = lambda _pool, _type: Behaviour(registers={})

    found = run(cluster, SLOTS)

    assert not found.matches
    assert [(each.planned, each.launched) for each in found.nodes] == [(2, 2)]
    assert [each.bound for each in found.workloads] == [0]
    assert any("requested but not registered" in each for each in found.troubles)


def test_too_few_slices_are_made_up_for_by_more_nodes_without_a_word_from_karpenter(cluster):
    cluster.nodes.behaviour = lambda _pool, _type: Behaviour(registers={SHARED: 3})

    found = run(cluster, SLOTS)

    assert [each.bound for each in found.workloads] == [8]
    assert [(each.planned, each.launched) for each in found.nodes] == [(2, 3)]
    assert [(each.promised, each.registered) for each in found.slices] == [(4, (3, 3, 3))]
    assert not found.troubles


def test_slices_that_register_late_are_waited_for(cluster):
    cluster.nodes.behaviour = lambda _pool, _type: Behaviour(boot_s=2, plugin_s=5)

    assert run(cluster, SLOTS).matches


def test_a_type_out_of_capacity_is_replaced_by_the_pools_next_one(cluster):
    cluster.ec2.out_of_capacity(("g6.xlarge",))
    made = plan((pool("slots", TS4, ("g6.xlarge", "g6.2xlarge")),), SLOTS.assignments)

    found = run(cluster, made, quiet_s=40)

    assert [each.bound for each in found.workloads] == [8]
    assert {(each.instance_type, each.planned, each.launched) for each in found.nodes} == {
        ("g6.xlarge", 2, 0),
        ("g6.2xlarge", 0, 2),
    }


def test_the_only_type_out_of_capacity_leaves_pods_without_a_node(cluster):
    cluster.ec2.out_of_capacity(("g6.xlarge",))

    found = run(cluster, SLOTS)

    assert [(each.planned, each.launched) for each in found.nodes] == [(2, 0)]
    assert [each.bound for each in found.workloads] == [0]
    assert found.launched_usd_per_hour == 0


def test_a_pool_at_its_limit_launches_no_more_and_the_rest_waits(cluster):
    rooms = NODE_ROOM * 2  # nodes, for two planned
    more = assignment("a/slots", "slots", SHARED, replicas=4 * rooms + 3)
    made = plan(SLOTS.pools, (more,))

    found = run(cluster, made)

    assert [(each.planned, each.launched) for each in found.nodes] == [(2, rooms)]
    ((waiting,),) = (found.workloads,)
    assert (waiting.replicas, waiting.bound) == (4 * rooms + 3, 4 * rooms)
    assert "limit" in waiting.why
    assert not found.matches


def test_an_overlay_that_contradicts_ours_is_told(cluster):
    ours = next(
        each
        for file in manifests.objects(SLOTS, CATALOG, settings())
        for each in file.objects
        if each.get("kind") == "NodeOverlay"
    )
    spec: Any = ours["spec"]
    theirs: Any = {
        **ours,
        "metadata": {"name": "z-contradiction"},  # of equal weights, the last name wins
        "spec": {**spec, "capacity": {SHARED: "9"}},
    }
    with cluster.control_plane.client() as client:
        client.create(NodeOverlay.from_dict(theirs))

    found = run(cluster, SLOTS)

    assert not found.matches
    assert any("is not ready" in each and "conflict" in each.lower() for each in found.troubles), found
    # Karpenter believed the other one, and bought a node for eight pods that has four slots.
    assert [each.bound for each in found.workloads] == [8]
    assert [(each.promised, each.registered) for each in found.slices] == [(4, (4, 4))]


def test_a_node_is_what_its_instance_is(cluster):
    """What Karpenter reckons with is what the node has: else it would pack by one figure and schedule by another."""
    run(cluster, SLOTS)

    with cluster.control_plane.client() as client:
        nodes = {each.metadata.name: each.status.allocatable for each in client.list(Node)}
        claims = list(client.list(NodeClaim))
    for claim in claims:
        reckoned, has = claim["status"]["allocatable"], nodes[claim["status"]["nodeName"]]
        for name in ("cpu", "memory", "pods", SHARED):
            assert parse_quantity(has[name], field=name) == parse_quantity(reckoned[name], field=name)
