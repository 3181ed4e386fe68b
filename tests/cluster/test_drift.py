"""Doctor with a plan: what of the cluster isn't as the plan has it."""

import msgspec
import pytest
from msgspec import UNSET

from gpuslice.cloud import snapshot as catalogs
from gpuslice.cluster.checks.doctor import diagnose
from gpuslice.plan.artefact import Assignment, Extended
from tests.cluster.made import deployment
from tests.cluster.planned import plan, pool
from tests.cluster.sliced import ONE, SEAT, SEATS, cluster, node_pool, overlay, seated

CATALOG = catalogs.bundled()


def found(changes=None, wanted=None):
    made = plan(pool()) if wanted is None else wanted
    return {
        (each.code, each.subject): each.evidence
        for each in diagnose(cluster(changes), CATALOG, plan=made)
        if each.code.startswith("GS8")
    }


def as_planned(**changes):
    return {"pool": node_pool(types=("g6.xlarge",)), **changes}


def assigned(workload, pool_name):
    return Assignment(
        workload=workload,
        pool=pool_name,
        replicas=1,
        slice="L4/time-slicing/4",
        asks=Extended(resource="nvidia.com/gpu.shared", count=1),
        because="",
    )


def with_workload(*assignments):
    return msgspec.structs.replace(plan(pool()), assignments=assignments)


def test_a_cluster_as_planned_has_nothing_to_say():
    assert found(as_planned()) == {}


def test_without_a_plan_nothing_is_said_of_one():
    assert [each for each in diagnose(cluster(), CATALOG) if each.code.startswith("GS8")] == []


def test_a_planned_pool_that_is_missing_is_told():
    assert found({"pool": None, "overlay": None, "node": None, "pod": None}) == {
        ("GS801", "NodePool l4-ts4"): "is in the plan and not in the cluster"
    }


def test_a_pool_that_admits_other_machines_is_told():
    assert found() == {("GS801", "NodePool l4-ts4"): "admits g6.2xlarge, which the plan doesn't have"}
    assert found({"pool": node_pool(types=("g6.2xlarge",))}) != {}


@pytest.mark.parametrize(
    ("capacity", "said"),
    [
        (
            {"nvidia.com/gpu": "0", "nvidia.com/gpu.shared": "8"},
            "its overlays promise 8 of nvidia.com/gpu.shared on g6.xlarge, the plan 4",
        ),
        (
            {"nvidia.com/gpu.shared": "4"},
            "its overlays promise 1 of nvidia.com/gpu on g6.xlarge, the plan 0",
        ),
    ],
)
def test_an_overlay_that_promises_other_slices_is_told(capacity, said):
    assert found(as_planned(overlay=overlay(capacity=capacity))) == {("GS801", "NodePool l4-ts4"): said}


def test_a_pool_of_an_earlier_plan_is_told():
    changes = as_planned(old=node_pool("t4-ts2", types=("g4dn.xlarge",)))
    assert found(changes) == {("GS802", "NodePool t4-ts2"): "is gpuslice's, and the plan doesn't have it"}


def test_a_workload_that_was_not_moved_is_told():
    wanted = with_workload(assigned("search/embedder", "l4-ts4"))
    here = deployment("embedder", "search", selector={"gpuslice.io/pool": "l4-ts4"})
    there = deployment("embedder", "search", selector={"gpuslice.io/pool": "t4-ts2"})
    assert found(as_planned(w=here), wanted) == {}
    subject = ("GS803", "Deployment search/embedder")
    assert found(as_planned(w=there), wanted) == {subject: "asks for pool t4-ts2, the plan has it in l4-ts4"}
    assert found(as_planned(w=deployment("embedder", "search")), wanted) == {
        subject: "asks for no pool of gpuslice, the plan has it in l4-ts4"
    }


def test_a_workload_that_the_plan_splits_may_be_in_any_of_its_pools():
    wanted = with_workload(assigned("search/embedder", "t4-ts2"), assigned("search/embedder", "l4-ts4"))
    here = deployment("embedder", "search", selector={"gpuslice.io/pool": "l4-ts4"})
    assert found(as_planned(w=here), wanted) == {}


def with_seats(max_nodes=2):
    """A pool of so many nodes with seats for two workloads, and one of them assigned."""
    made = msgspec.structs.replace(
        pool(), seats={"search/search": 3, "vision/tagger": 1}, max_nodes=max_nodes
    )
    one = assigned("search/search", "l4-ts4")
    given = msgspec.structs.replace(one, asks=msgspec.structs.replace(one.asks, seat=SEAT))
    return msgspec.structs.replace(plan(made), assignments=(given,))


def seated_as_planned(limits=None, capacity=None, **changes):
    made = node_pool(types=("g6.xlarge",))
    made["spec"]["limits"] = {SEAT: "6", "gpuslice.io/seat-vision.tagger": "2"} if limits is None else limits
    changes |= {"pool": made}
    return seated() | changes | ({"overlay": overlay(capacity=capacity)} if capacity else {})


def test_a_pool_with_seats_as_planned_has_nothing_to_say():
    assert found(seated_as_planned(), with_seats()) == {}
    assert found(seated_as_planned({}), with_seats(UNSET)) == {}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"capacity": SEATS | {SEAT: "2"}},
            f"its overlays promise 2 of {SEAT} on g6.xlarge, the plan 3",
        ),
        (
            {"capacity": SEATS | {"gpuslice.io/seat-old.one": "1"}},
            "its overlays promise 1 of gpuslice.io/seat-old.one on g6.xlarge, the plan 0",
        ),
        (
            {"limits": {SEAT: "6", "gpuslice.io/seat-vision.tagger": "8"}},
            "its limit of gpuslice.io/seat-vision.tagger is 8, the plan's is 2",
        ),
        (
            {"limits": {"gpuslice.io/seat-vision.tagger": "2"}},
            f"its limit of {SEAT} is missing, the plan's is 6",
        ),
    ],
)
def test_seats_and_limits_other_than_the_plans_are_told(changes, said):
    assert found(seated_as_planned(**changes), with_seats()) == {("GS801", "NodePool l4-ts4"): said}


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"asks": ONE | {SEAT: "1"}}, ""),
        (
            {"asks": ONE | {SEAT: "1"}, "selector": {"gpuslice.io/pool": "l4-ts4"}},
            f"names pool l4-ts4, the plan has it wherever there is a {SEAT}",
        ),
        (
            {"asks": ONE, "selector": {"gpuslice.io/pool": "t4-ts2"}},
            f"asks for pool t4-ts2, the plan has it wherever there is a {SEAT}",
        ),
        ({"asks": ONE}, f"asks for no pool of gpuslice, the plan has it wherever there is a {SEAT}"),
    ],
)
def test_a_workload_with_seats_has_to_ask_for_one_and_to_name_no_pool(spec, said):
    told = found(seated_as_planned(w=deployment("search", "search", **spec)), with_seats())
    assert told == ({("GS803", "Deployment search/search"): said} if said else {})
