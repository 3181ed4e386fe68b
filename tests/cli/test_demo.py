"""`gpuslice demo`: both examples planned, shown and written."""

from functools import partial
from pathlib import Path

import pytest
import yaml

from gpuslice.cli import demo
from gpuslice.cli.planning import make_plan
from gpuslice.workloads.artefact import read_workloads

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(autouse=True)
def _no_time(monkeypatch):
    """Poorer plans, sooner."""
    monkeypatch.setattr(demo, "make_plan", partial(make_plan, time_limit=0))


def test_it_plans_both_examples_and_writes_what_a_cluster_takes(gpuslice, tmp_path):
    out = tmp_path / "demo"
    for _ in range(2):  # a second time over the first
        ended = gpuslice("demo", "--out", out)
        assert ended.code == 0
    assert ended.out.count("\nplanned ") == 2
    assert "fleet: 104 pods" in ended.out
    assert "gentd26: 144 pods" in ended.out
    assert f"gpuslice explain search/embedder -f {out}/fleet/workloads.yaml" in ended.err
    for name, pods in (("fleet", 104), ("gentd26", 144)):
        plan = yaml.safe_load((out / name / "plan.yaml").read_text())
        assert plan["summary"]["usdPerHour"] < plan["summary"]["baselines"][0]["usdPerHour"]
        assert sum(each["replicas"] for each in plan["assignments"]) == pods
        assert (out / name / "manifests" / "kustomization.yaml").is_file()
        assert "Verified: every rule recomputed" in (out / name / "report.html").read_text()
        assert sum(each.replicas for each in read_workloads(out / name / "workloads.yaml").workloads) == pods


def test_the_files_that_it_points_to_are_there(gpuslice, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = gpuslice("demo").err
    named = [word.rstrip(":;,") for word in said.split() if word.startswith("demo/")]
    assert len(named) >= 4
    assert all((tmp_path / each).exists() for each in named)


def test_a_place_that_cannot_be_written_is_said_before_anything_is_planned(gpuslice, tmp_path):
    (tmp_path / "file").write_text("")
    ended = gpuslice("demo", "--out", tmp_path / "file")
    assert (ended.code, ended.out) == (3, "")
    assert len(ended.err.splitlines()) == 2


def test_a_directory_with_files_of_a_person_is_left_alone(gpuslice, tmp_path):
    mine = tmp_path / "fleet" / "manifests" / "mine.yaml"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    ended = gpuslice("demo", "--out", tmp_path)
    assert ended.code == 2
    assert "holds files that gpuslice didn't write: mine.yaml" in ended.err
    assert mine.read_text() == "mine"


def test_examples_that_are_not_installed_are_missed_in_words(gpuslice, tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "__file__", str(tmp_path / "a" / "b" / "demo.py"))
    ended = gpuslice("demo", "--out", tmp_path / "out")
    assert ended.code == 3
    assert "the examples are not installed" in ended.err


def test_the_example_of_the_trace_says_where_it_comes_from():
    text = (EXAMPLES / "gentd26" / "workloads.yaml").read_text()
    head = [line for line in text.splitlines() if line.startswith("#")]
    assert any("--from-trace gentd26_gpu.csv.gz --today A100-80GB" in line for line in head)
    assert len(read_workloads(EXAMPLES / "gentd26" / "workloads.yaml").workloads) < 80
