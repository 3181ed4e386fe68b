"""Doctor with a plan: what of the cluster isn't as the plan has it."""

import pytest

from gpuslice.cloud import snapshot as catalogs
from gpuslice.cluster.doctor import diagnose
from gpuslice.planner.plan import Assignment
from tests.cluster.made import deployment
from tests.cluster.planned import plan, pool
from tests.cluster.sliced import cluster, node_pool, overlay

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
        resource="nvidia.com/gpu.shared",
        quantity=1,
        because="",
    )


def with_workload(*assignments):
    import msgspec

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
