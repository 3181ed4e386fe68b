"""Plans of workloads that nowhere say which GPU they run on."""

import io
import json
import sys

import pytest

from gpuslice.plan.artefact import ModelsToday
from gpuslice.plan.models_today import assumed_in_words

NOWHERE = """\
apiVersion: gpuslice.io/v1alpha1
kind: Workloads
region: us-east-1
workloads:
- {name: shop/app, replicas: 2, pod: {cpu: 500m, memory: 1Gi}}
- {name: lab/sliced, replicas: 2, pod: {cpu: 500m, memory: 1Gi}, need: {memory: 3Gi, duty: 0.1}}
- {name: lab/none, replicas: 0, pod: {cpu: 500m, memory: 1Gi}}
"""


@pytest.fixture
def nowhere(tmp_path):
    path = tmp_path / "workloads.yaml"
    path.write_text(NOWHERE)
    return path


def test_the_first_word_is_which_gpu_is_assumed_and_everybody_is_placed(gpuslice, nowhere):
    ended = gpuslice("plan", "-f", nowhere)
    assert ended.code == 0
    assert ended.out.startswith(
        "2 workloads don't say which GPU they run on: T4 for shop/app, lab/sliced is assumed, the cheapest that"
    )
    assert "Not placed" not in ended.out
    assert ended.out.count("is assumed, the cheapest") == 1


def test_who_is_assumed_on_a_model_gets_whole_ones_of_it(gpuslice, nowhere):
    found = json.loads(gpuslice("plan", "-f", nowhere, "-o", "json").out)
    assert found["modelsToday"] == {"assumed": {"shop/app": "T4", "lab/sliced": "T4"}}
    assert {each["slice"] for each in found["assignments"]} == {"T4/whole"}
    assert found["assumptions"][0].startswith("2 workloads don't say")
    assert found["summary"]["baselines"][0]["name"] == "whole-gpu"


def test_a_model_that_is_stated_counts_as_known_and_stays_with_the_plan(gpuslice, nowhere, tmp_path):
    out = tmp_path / "plan.json"
    ended = gpuslice("plan", "-f", nowhere, "--today", "A10G", "--today", "lab/*=T4", "--out", out)
    assert ended.code == 0
    found = json.loads(out.read_text())
    assert found["modelsToday"] == {"stated": {"shop/app": "A10G", "lab/sliced": "T4", "lab/none": "T4"}}
    slices = {each["workload"]: each["slice"] for each in found["assignments"]}
    assert "/whole" in slices["shop/app"]
    assert "/whole" not in slices["lab/sliced"]
    assert gpuslice("report", "-f", out, "-f", nowhere, "--out", tmp_path / "page.html").code == 0


def test_an_assumed_model_stays_with_the_plan(gpuslice, nowhere, tmp_path):
    out = tmp_path / "plan.json"
    gpuslice("plan", "-f", nowhere, "--out", out)
    page = tmp_path / "page.html"
    assert gpuslice("report", "-f", out, "-f", nowhere, "--out", page).code == 0
    assert "T4, which is assumed" in page.read_text()
    edited = json.loads(out.read_text())
    edited["modelsToday"]["assumed"] = {"shop/app": "T4", "lab/sliced": "X9"}
    out.write_text(json.dumps(edited))
    ended = gpuslice("report", "-f", out, "-f", nowhere, "--out", page)
    assert ended.code == 1
    assert "fit/model: lab/sliced: no GPU model is known" in ended.err


def test_what_nodes_there_are_goes_before_what_would_be_cheaper(gpuslice, nowhere):
    nodes = "today: {usdPerHour: 0.8048, nodes: [{instanceType: g6.xlarge, count: 1, usdPerHour: 0.8048}]}\n"
    nowhere.write_text(NOWHERE.replace("workloads:", f"{nodes}workloads:"))
    found = json.loads(gpuslice("plan", "-f", nowhere, "-o", "json").out)
    assert found["modelsToday"] == {"assumed": {"shop/app": "L4", "lab/sliced": "L4"}}


def test_a_plan_of_nothing_is_not_sent_on_to_render(gpuslice, misfit, tmp_path):
    only = tmp_path / "only.yaml"
    text = misfit.read_text()
    only.write_text(text[: text.index("- name: shop/search")] + text[text.index("- name: shop/giant") :])
    ended = gpuslice("plan", "-f", only, "--out", tmp_path / "plan.yaml")
    assert ended.code == 1
    assert "next: gpuslice render" not in ended.err


@pytest.fixture
def terminal(monkeypatch):
    """A terminal on which somebody has typed some lines."""

    def typed(*lines):
        keys = io.StringIO("".join(f"{line}\n" for line in lines))
        monkeypatch.setattr(keys, "isatty", lambda: True)
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
        return keys

    return typed


@pytest.mark.parametrize(
    ("lines", "models"),
    [
        ([""], {"assumed": {"shop/app": "T4", "lab/sliced": "T4"}}),
        (["a10g"], {"stated": {"shop/app": "A10G", "lab/sliced": "A10G"}}),
        (["A10H", "L4"], {"stated": {"shop/app": "L4", "lab/sliced": "L4"}}),
    ],
)
def test_a_terminal_is_asked_once_for_all_of_them(gpuslice, nowhere, terminal, lines, models):
    ended = gpuslice("plan", "-f", nowhere, "-o", "json", stdin=terminal(*lines))
    assert ended.err.startswith("2 workloads don't say which GPU they run on: shop/app, lab/sliced\n")
    assert json.loads(ended.out)["modelsToday"] == models


def test_nobody_is_asked_where_all_is_said(gpuslice, nowhere, terminal):
    ended = gpuslice("plan", "-f", nowhere, "--today", "T4", stdin=terminal())
    assert ended.code == 0
    assert "Which GPU" not in ended.err


def test_many_workloads_are_counted_by_model():
    words = assumed_in_words(ModelsToday(assumed={f"a/{n}": "T4" for n in range(5)} | {"b/x": "L4"}))
    assert words.startswith(
        "6 workloads don't say which GPU they run on: T4 for a/0, a/1, a/2 and 2 more; L4 for b/x is assumed"
    )
    assert assumed_in_words(ModelsToday(assumed={"b/x": "L4"})).startswith("1 workload doesn't say")
    assert assumed_in_words(ModelsToday(stated={"b/x": "L4"})) == ""
