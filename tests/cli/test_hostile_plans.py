"""Input that is out to hurt the planner: typed answers of two lines, plans in time, never a solver's message."""

import json

import pytest

HEAD = "apiVersion: gpuslice.io/v1alpha1\nkind: Workloads\nregion: us-east-1\nworkloads:\n"
ENTRY = (
    "- {name: a/b, replicas: 2, pod: {cpu: 100m, memory: 256Mi}, need: {memory: 2Gi, duty: 0.05, 'on': T4}}\n"
)


@pytest.fixture
def planned(gpuslice, tmp_path):
    def run(text: str, *options: str):
        (tmp_path / "w.yaml").write_text(HEAD + text)
        return gpuslice("plan", "-f", tmp_path / "w.yaml", "-o", "json", *options)

    return run


@pytest.mark.parametrize(
    ("found", "wrong"),
    [
        ("memory: 2Gi", "memory: 999999999999999Ti"),
        ("memory: 2Gi", "memory: -1Gi"),
        ("memory: 2Gi", "memory: .inf"),
        ("duty: 0.05", "duty: .nan"),
        ("duty: 0.05", "duty: 1e308"),
        ("duty: 0.05", "duty: 0"),
        ("cpu: 100m", "cpu: 1e400"),
        ("replicas: 2", "replicas: 1000001"),
        ("replicas: 2", "replicas: -1"),
    ],
)
def test_figures_beyond_sense_are_refused_with_their_place(planned, found, wrong):
    ended = planned(ENTRY.replace(found, wrong))
    assert (ended.code, ended.out) == (2, "")
    assert "workloads[0]" in ended.err
    assert len(ended.err.splitlines()) <= 2


def test_needs_larger_than_anything_are_answered_not_solved(planned):
    ended = planned(ENTRY.replace("2Gi", "4000Ti").replace("cpu: 100m", "cpu: 1000000"))
    assert ended.code == 1
    plan = json.loads(ended.out)
    assert plan["summary"]["status"] == "infeasible"
    assert [each["workload"] for each in plan["unplaced"]] == ["a/b"]
    assert plan["unplaced"][0]["reason"]


def test_a_demand_of_nothing_is_said_to_be_nothing(planned):
    ended = planned(ENTRY.replace("replicas: 2", "replicas: 0"))
    assert ended.code == 2
    assert "holds no workload with replicas" in ended.err


def test_a_million_replicas_of_one_class_are_a_plan_as_any(planned):
    ended = planned(ENTRY.replace("replicas: 2", "replicas: 1000000"), "--time-limit", "2")
    assert ended.code == 0
    plan = json.loads(ended.out)
    assert sum(each["replicas"] for each in plan["assignments"]) == 1_000_000
    assert plan["summary"]["boundUsdPerHour"] > 0


def test_reservations_without_end_at_no_price_make_a_plan_that_costs_nothing(planned):
    ended = planned(ENTRY, "--reserved", "g4dn.xlarge=99999", "--max-spot-share", "0")
    assert ended.code == 0
    summary = json.loads(ended.out)["summary"]
    assert (summary["usdPerHour"], summary["optimalUsdPerHour"], summary["boundUsdPerHour"]) == (0, 0, 0)
