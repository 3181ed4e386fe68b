from dataclasses import replace

import pytest

from gpuslice.rehearsal.comparison import LaunchedNode, Outcome, compare
from tests.render.plans import CATALOG, SHARED, TS4, assignment, plan, pool, seated

PLAN = plan((pool("p", TS4, ("g6.xlarge", "g6.12xlarge")),), (assignment("a/w", "p", SHARED, replicas=8),))
PROMISED = {"p": {"g6.xlarge": {SHARED: 4, "nvidia.com/gpu": 0}}}
NODE = LaunchedNode("p", "g6.xlarge", "on-demand", {SHARED: 4})
GOOD = Outcome([NODE, NODE], {("a/w", "p"): 8}, {})


def test_a_rehearsal_that_does_what_the_plan_says_matches():
    found = compare(PLAN, CATALOG, PROMISED, GOOD)

    assert found.matches
    assert found.planned_usd_per_hour == found.launched_usd_per_hour == 2.0


@pytest.mark.parametrize(
    "wrong",
    [
        replace(GOOD, nodes=[NODE]),
        replace(GOOD, nodes=[NODE, NODE, NODE]),
        replace(GOOD, nodes=[NODE, replace(NODE, instance_type="g6.12xlarge")]),
        replace(GOOD, nodes=[NODE, replace(NODE, registered={SHARED: 3})]),
        replace(GOOD, nodes=[NODE, replace(NODE, registered={})]),
        replace(GOOD, nodes=[NODE, replace(NODE, registered={SHARED: 4, "nvidia.com/gpu": 1})]),
        replace(GOOD, bound={("a/w", "p"): 7}),
        replace(GOOD, bound={("a/w", "other"): 8}),
        replace(GOOD, troubles=["a node class is not ready"]),
    ],
)
def test_whatever_is_otherwise_is_a_difference(wrong):
    assert not compare(PLAN, CATALOG, PROMISED, wrong).matches


def test_a_pod_without_a_node_comes_with_what_is_said_of_it():
    found = compare(PLAN, CATALOG, PROMISED, replace(GOOD, bound={("a/w", "p"): 7}, why={"a/w": "no room"}))

    assert [(each.bound, each.why) for each in found.workloads] == [(7, "no room")]


SEATED = plan(
    (
        pool("p", TS4, ("g6.xlarge",), count=1, seats={"a/w": 4}, maxNodes=1),
        pool("q", TS4, ("g6.xlarge",), count=1, seats={"a/w": 4}),
    ),
    (seated("a/w", "p", SHARED, 4), seated("a/w", "q", SHARED, 2)),
)
BOTH = [NODE, replace(NODE, pool="q")]


@pytest.mark.parametrize(
    ("bound", "matches", "whys"),
    [
        ((4, 2), True, ("", "")),
        ((3, 3), True, ("all its pods run, some on other seats of theirs",) * 2),
        ((3, 2), False, ("no room", "")),
    ],
)
def test_which_of_its_seats_a_workload_leaves_free_is_no_difference(bound, matches, whys):
    here = {("a/w", "p"): bound[0], ("a/w", "q"): bound[1]}

    found = compare(
        SEATED, CATALOG, {**PROMISED, "q": PROMISED["p"]}, Outcome(BOTH, here, {"a/w": "no room"})
    )

    assert found.matches == matches
    assert tuple(each.why for each in found.workloads) == whys
