"""`gpuslice report`: what it takes, what it writes, what it refuses."""

import json
import re
from pathlib import Path

import pytest
import yaml

from gpuslice.artefacts.documents import dump_yaml


@pytest.fixture
def plan(gpuslice, fleet: Path, tmp_path: Path) -> Path:
    """A plan of the fleet."""
    path = tmp_path / "plan.yaml"
    assert gpuslice("plan", "-f", fleet, "--out", path).code == 0
    return path


def test_it_writes_one_page_and_says_where(gpuslice, plan, fleet, tmp_path):
    out = tmp_path / "report.html"
    ended = gpuslice("report", "-f", plan, "-f", fleet, "--out", out)
    assert (ended.code, ended.out, ended.err) == (0, "", f"written to {out}\n")
    text = out.read_text()
    assert "Verified: every rule recomputed" in text
    assert "shop/search" in text


def test_the_order_of_the_files_does_not_matter(gpuslice, plan, fleet, tmp_path):
    one, two = tmp_path / "one.html", tmp_path / "two.html"
    gpuslice("report", "-f", plan, "-f", fleet, "--out", one)
    gpuslice("report", "-f", fleet, "-f", plan, "--out", two)
    assert one.read_bytes() == two.read_bytes()


def test_a_plan_from_stdin_is_enough(gpuslice, plan, tmp_path):
    out = tmp_path / "report.html"
    assert gpuslice("report", "-f", "-", "--out", out, stdin=plan.read_bytes()).code == 0
    assert "Not verified: made without the workloads" in out.read_text()


def test_manifests_are_workloads_too(gpuslice, tmp_path):
    manifests = tmp_path / "manifests"
    manifests.mkdir()
    (manifests / "web.yaml").write_text(
        dump_yaml(
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": {"name": "web", "namespace": "shop"},
                "spec": {
                    "replicas": 2,
                    "template": {
                        "metadata": {
                            "annotations": {
                                "gpuslice.io/gpu-memory": "2Gi",
                                "gpuslice.io/gpu-duty": "0.1",
                                "gpuslice.io/gpu-model": "T4",
                            }
                        },
                        "spec": {
                            "containers": [{"name": "main", "resources": {"limits": {"nvidia.com/gpu": 1}}}]
                        },
                    },
                },
            }
        )
    )
    plan, out = tmp_path / "plan.yaml", tmp_path / "report.html"
    gpuslice("plan", "-f", manifests, "--out", plan)
    for source in (manifests, manifests / "web.yaml"):
        assert gpuslice("report", "-f", plan, "-f", source, "--out", out).code == 0
        assert "Verified: every rule recomputed" in out.read_text()


def test_a_plan_of_other_workloads_is_reported_as_broken(gpuslice, plan, fleet, tmp_path):
    fleet.write_text(fleet.read_text().replace("now: 2", "now: 9").replace("peak: 3", "peak: 9"))
    out = tmp_path / "report.html"
    ended = gpuslice("report", "-f", plan, "-f", fleet, "--out", out)
    assert ended.code == 1
    assert "2 replicas are assigned, not 9" in ended.err
    assert "This plan must not be carried out" in out.read_text()


def test_a_plan_that_contradicts_itself_is_reported_as_broken_even_alone(gpuslice, plan, tmp_path):
    document = yaml.safe_load(plan.read_text())
    document["pools"][0]["nodes"][0]["count"] += 1
    edited = tmp_path / "edited.json"
    edited.write_text(json.dumps(document))
    out = tmp_path / "report.html"
    assert gpuslice("report", "-f", edited, "--out", out).code == 1
    assert "nodes carry" in out.read_text()


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (lambda plan: plan["pools"][0]["layout"].update(gpu="X1"), "layout"),
        (lambda plan: plan["pools"][0]["nodes"][0].update(usdPerHour=0.01), "price"),
        (lambda plan: plan["pools"][0].update(instanceTypes=["g9.huge"]), "instance-types"),
        (lambda plan: plan["pools"][0]["nodes"][0].update(instanceType="g9.huge"), "instance-types"),
        (lambda plan: plan["assignments"][0].update(slice="T4/mig/9g"), "slice"),
        (lambda plan: plan["assignments"][0].update(pool="nowhere"), "pool-names"),
        (lambda plan: plan["summary"].update(usdPerHour=0.0), "sum"),
    ],
)
def test_what_is_wrong_with_a_plan_by_itself_is_found_without_workloads(
    gpuslice, plan, tmp_path, change, rule
):
    document = yaml.safe_load(plan.read_text())
    change(document)
    edited, out = tmp_path / "edited.json", tmp_path / "report.html"
    edited.write_text(json.dumps(document))
    assert gpuslice("report", "-f", edited, "--out", out).code == 1
    assert f"<td>{rule}</td>" in out.read_text()


@pytest.mark.parametrize("which", [["plan", "plan"], ["fleet"], ["plan", "fleet", "fleet"]])
def test_one_plan_and_at_most_one_set_of_workloads(gpuslice, plan, fleet, tmp_path, which):
    files = {"plan": plan, "fleet": fleet}
    named = [word for each in which for word in ("-f", files[each])]
    ended = gpuslice("report", *named, "--out", tmp_path / "report.html")
    assert ended.code == 2
    assert "name one plan" in ended.err
    assert not (tmp_path / "report.html").exists()


def test_another_catalog_than_the_plans_is_refused(gpuslice, plan, tmp_path):
    edited = tmp_path / "edited.yaml"
    edited.write_text(plan.read_text().replace("2026-07-20", "2020-01-01"))
    ended = gpuslice("report", "-f", edited, "--out", tmp_path / "report.html")
    assert ended.code == 2
    assert "the plan is of 2020-01-01" in ended.err
    assert "--catalog FILE" in ended.err


def test_something_else_than_a_plan_is_refused(gpuslice, tmp_path):
    path = tmp_path / "thing.yaml"
    path.write_text("a: 1\n")
    ended = gpuslice("report", "-f", path, "--out", tmp_path / "report.html")
    assert ended.code == 2
    assert "Plan" in ended.err


@pytest.fixture
def replayed(gpuslice, plan: Path, fleet: Path, tmp_path: Path) -> Path:
    """A replay of the plan."""
    counts, out = tmp_path / "counts.csv", tmp_path / "sim.json"
    counts.write_text("time,workload,replicas\n0,shop/search,2\n7200,shop/search,1\n")
    ended = gpuslice("simulate", "-f", fleet, "-f", plan, "--trace", counts, "--out", out)
    assert ended.code == 0
    return out


def test_a_replay_of_the_plan_is_shown_with_it(gpuslice, plan, fleet, replayed, tmp_path):
    out = tmp_path / "report.html"
    assert gpuslice("report", "-f", plan, "-f", fleet, "--simulation", replayed, "--out", out).code == 0
    assert "Replayed over time" in out.read_text()


def test_a_replay_of_another_plan_is_refused(gpuslice, plan, replayed, tmp_path):
    edited, out = tmp_path / "edited.json", tmp_path / "report.html"
    document = yaml.safe_load(plan.read_text())
    document["assignments"][0]["because"] = "somebody wished it"
    edited.write_text(json.dumps(document))
    ended = gpuslice("report", "-f", edited, "--simulation", replayed, "--out", out)
    assert ended.code == 2
    assert "is of another plan" in ended.err
    assert not out.exists()


def test_a_replay_of_other_prices_is_refused(gpuslice, plan, fleet, tmp_path):
    replayed, out = tmp_path / "sim.json", tmp_path / "report.html"
    arguments = ("simulate", "-f", fleet, "--days", 1, "--policies", "whole", "--out", replayed)
    assert gpuslice(*arguments).code == 0
    report = ("report", "-f", plan, "--simulation", replayed, "--out", out)
    assert gpuslice(*report).code == 0
    assert "This plan was not among the policies" in out.read_text()
    out.unlink()
    replayed.write_text(replayed.read_text().replace("2026-07-20", "2020-01-01"))
    ended = gpuslice(*report)
    assert ended.code == 2
    assert "has prices of us-east-1 of 2020-01-01, the plan is of us-east-1 of 2026-07-20" in ended.err
    assert not out.exists()


SERVICE = """\
apiVersion: gpuslice.io/v1alpha1
kind: Workloads
region: us-east-1
workloads:
- name: shop/rank
  pod: {cpu: 500m, memory: 1Gi}
  service:
    demand: {rate: 25, unit: requests/s}
    slo: {latencyMs: 100}
    profiles: [{slice: L4/fractional/1-8, rate: 10, latencyMs: 40}]
"""


def test_a_service_stands_with_its_load_and_the_replicas_that_the_plan_gives_it(gpuslice, tmp_path):
    workloads, plan, page = tmp_path / "workloads.yaml", tmp_path / "plan.yaml", tmp_path / "report.html"
    workloads.write_text(SERVICE)
    assert gpuslice("plan", "-f", workloads, "--out", plan).code == 0
    assert gpuslice("report", "-f", plan, "-f", workloads, "--out", page).code == 0
    text = page.read_text()
    assert "25 requests/s within 100 ms" in text
    assert "3 pods" in text
    assert not re.search(r"\b0 pods", text)
    assert "need not known" not in text
    assert "memory not known" not in text
