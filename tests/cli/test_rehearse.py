"""`gpuslice rehearse`: what it refuses before anything is built or started, and how an outcome is shown."""

import pytest

from gpuslice.artefacts.documents import dump_yaml
from gpuslice.cli import rehearse as verb
from gpuslice.cli.console import Output
from gpuslice.rehearsal import build
from gpuslice.rehearsal.comparison import Comparison, LaunchedNode, Outcome, compare
from tests.render.plans import CATALOG, SHARED, TS4, assignment, plan, pool

PLAN = plan(
    (pool("p", TS4, ("g6.xlarge",)),), (assignment("shop/search", "p", SHARED, replicas=8, target={}),)
)


@pytest.fixture
def plan_file(tmp_path, monkeypatch):
    def unbuilt(*_):
        pytest.fail("something was built")

    monkeypatch.setattr(build, "build", unbuilt)
    path = tmp_path / "plan.yaml"
    path.write_text(dump_yaml(PLAN))
    return path


def test_workloads_that_the_plan_does_not_know_are_refused(gpuslice, plan_file, tmp_path):
    other = tmp_path / "workloads.yaml"
    other.write_text(
        "apiVersion: gpuslice.io/v1alpha1\nkind: Workloads\nregion: us-east-1\n"
        "workloads: [{name: shop/serch, replicas: 1, need: {memory: 1Gi, duty: 0.1, 'on': L4}}]\n"
    )

    ended = gpuslice("rehearse", "-f", plan_file, "--workloads", other)

    assert ended.code == 2
    assert "shop/search is not there" in ended.err
    assert "did you mean 'shop/serch'?" in ended.err


def test_an_instance_type_that_does_not_exist_is_refused(gpuslice, plan_file, tmp_path):
    known = tmp_path / "workloads.yaml"
    known.write_text(
        "apiVersion: gpuslice.io/v1alpha1\nkind: Workloads\nregion: us-east-1\n"
        "workloads: [{name: shop/search, replicas: 8, need: {memory: 1Gi, duty: 0.1, 'on': L4}}]\n"
    )

    ended = gpuslice("rehearse", "-f", plan_file, "--workloads", known, "--out-of-capacity", "g6.xlargr")

    assert ended.code == 2
    assert "did you mean 'g6.xlarge'?" in ended.err


def outcome(nodes, bound, why="") -> Comparison:
    promised = {"p": {"g6.xlarge": {SHARED: 4}}}
    made = Outcome(
        [LaunchedNode("p", "g6.xlarge", "on-demand", {SHARED: each}) for each in nodes],
        {("shop/search", "p"): bound},
        {"shop/search": why},
        ["a node class is not ready"] if why else [],
    )
    return compare(PLAN, CATALOG, promised, made)


def test_the_table_says_what_is_otherwise(capsys):
    verb._print(outcome([4, 3, 0], 7, "no room"), Output.TABLE)

    lines = [" ".join(each.split()) for each in capsys.readouterr().out.splitlines()]
    assert "planned 2.00 2 8" in lines
    assert "rehearsed 3.00 3 7" in lines
    assert "p g6.xlarge 2 3 nvidia.com/gpu.shared: 0 to 4 of 4" in lines
    assert "shop/search p 8 7 no room" in lines
    assert "a node class is not ready" in lines
    assert lines[-1] == "not as planned"


def test_the_table_of_a_rehearsal_that_comes_out_has_no_more_to_say(capsys):
    verb._print(outcome([4, 4], 8), Output.TABLE)

    lines = [" ".join(each.split()) for each in capsys.readouterr().out.splitlines()]
    assert "p g6.xlarge 2 2 as promised" in lines
    assert not any(each.startswith("WORKLOAD") for each in lines)
    assert lines[-1] == "as planned"
