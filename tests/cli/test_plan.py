"""`gpuslice plan`: what people read, what programs parse, and how it ends."""

import json
import re
from pathlib import Path

import pytest
import yaml
from msgspec import structs

from gpuslice.cli.console import Output
from gpuslice.cli.shown.plan import print_plan
from gpuslice.plan.artefact import GeometryEntry, Layout, Metered
from gpuslice.plan.reading import read_plan
from gpuslice.plan.words import layout_in_words
from tests.cli.conftest import WORKLOADS
from tests.planner.seated import seated

FLEET = Path(__file__).parents[2] / "examples" / "fleet"
MANIFEST = """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  namespace: shop
  annotations: {gpuslice.io/gpu-memory: 2Gi, gpuslice.io/gpu-duty: "0.1", gpuslice.io/gpu-model: T4%s}
spec:
  replicas: 2
  template:
    spec:
      containers:
      - {name: main, image: x, resources: {requests: {cpu: 500m, memory: 1Gi}, limits: {nvidia.com/gpu: 1}}}
"""


def blocks(out: str) -> list[list[str]]:
    return [each.splitlines() for each in out.strip("\n").split("\n\n")]


def test_a_directory_with_a_file_of_workloads_is_told_to_name_the_file(gpuslice, tmp_path):
    (tmp_path / "workloads.yaml").write_text(WORKLOADS)
    ended = gpuslice("plan", "-f", tmp_path)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.endswith(f"name the file in it: -f {tmp_path / 'workloads.yaml'}\n")


def test_the_table_says_what_it_costs_who_goes_where_and_what_was_assumed(gpuslice, fleet):
    ended = gpuslice("plan", "-f", fleet)
    assert ended.code == 0
    costs, workloads, pools, assumed = blocks(ended.out)
    assert [re.split(r"\s{2,}", line.strip())[0] for line in costs[1:4]] == [
        "whole GPUs",
        "planned",
        "proven least",
    ]
    dollars = [float(re.findall(r"[\d,]+\.\d\d", line)[0].replace(",", "")) for line in costs[1:4]]
    assert dollars[0] > dollars[1] >= dollars[2]
    assert "less than whole GPUs: $" in costs[2]
    assert workloads[0].split() == ["WORKLOAD", "PODS", "SLOWDOWN", "POOL", "WHY"]
    assert [line.split()[:2] for line in workloads[1:]] == [["shop/search", "2"], ["shop/train", "1"]]
    assert "its need is not known" in workloads[2]
    assert pools[0].split() == ["POOL", "$", "AN", "HOUR", "NODES", "LAYOUT"]
    assert all("g4dn" in line for line in pools[1:])
    assert assumed[0] == "Assumed:"
    assert any("prices of" in line for line in assumed)


def test_the_verdict_stands_on_stderr_whatever_is_printed(gpuslice, fleet):
    for output in ("table", "json", "name"):
        assert re.match(
            r"planned for \$[\d.]+ an hour, [\d.]+% less", gpuslice("plan", "-f", fleet, "-o", output).err
        )


def test_json_and_yaml_are_the_plan_and_nothing_else(gpuslice, fleet, tmp_path):
    as_json = json.loads(gpuslice("plan", "-f", fleet, "-o", "json").out)
    as_yaml = yaml.safe_load(gpuslice("plan", "-f", fleet, "-o", "yaml").out)
    assert as_json == as_yaml
    assert as_json["kind"] == "Plan"
    out = tmp_path / "plan.json"
    gpuslice("plan", "-f", fleet, "--out", out)
    assert json.loads(out.read_text()) == as_json


def test_names_are_those_of_the_pools(gpuslice, fleet):
    plan = json.loads(gpuslice("plan", "-f", fleet, "-o", "json").out)
    assert gpuslice("plan", "-f", fleet, "-o", "name").out.split() == [pool["name"] for pool in plan["pools"]]


def test_the_same_workloads_give_the_same_bytes(gpuslice, fleet):
    first, second = (gpuslice("plan", "-f", fleet, "-o", "yaml").out for _ in range(2))
    assert first == second


def test_out_writes_a_plan_that_render_takes(gpuslice, fleet, tmp_path):
    out = tmp_path / "plan.yaml"
    ended = gpuslice("plan", "-f", fleet, "--out", out)
    assert ended.code == 0
    assert f"written to {out}; next: gpuslice render -f {out}" in ended.err
    assert read_plan(str(out)).assignments
    rendered = gpuslice("render", "-f", out, "--cluster", "lab", "--role", "nodes", "-o", "name")
    assert rendered.code == 0
    assert "nodepool" in rendered.out


def test_standard_input_is_a_file_like_any(gpuslice, fleet):
    assert (
        gpuslice("plan", "-f", "-", "-o", "yaml", stdin=WORKLOADS).out
        == gpuslice("plan", "-f", fleet, "-o", "yaml").out
    )


def test_manifests_are_planned_as_they_are(gpuslice, tmp_path):
    (tmp_path / "web.yaml").write_text(MANIFEST % "")
    for source in (tmp_path, tmp_path / "web.yaml"):
        ended = gpuslice("plan", "-f", source, "-o", "json")
        assert [(each["workload"], each["replicas"]) for each in json.loads(ended.out)["assignments"]] == [
            ("shop/web", 2)
        ]


def test_manifests_from_a_stream_are_for_scan(gpuslice):
    ended = gpuslice("plan", "-f", "-", stdin=MANIFEST % "")
    assert ended.code == 2
    assert ended.err == (
        "error: stdin: holds manifests, not workloads\ngpuslice scan --from - -o yaml | gpuslice plan -f -\n"
    )


def test_replicas_of_the_peak_are_planned_where_asked(gpuslice, fleet):
    plan = json.loads(gpuslice("plan", "-f", fleet, "--at", "peak", "-o", "json").out)
    assert sum(each["replicas"] for each in plan["assignments"] if each["workload"] == "shop/search") == 3


@pytest.mark.parametrize("manifests", [False, True])
def test_nothing_is_sliced_on_a_guess_unless_that_is_asked_for(gpuslice, fleet, tmp_path, manifests):
    source = fleet
    if manifests:
        source = tmp_path / "web.yaml"
        source.write_text(MANIFEST % ", gpuslice.io/need-source: assumed")
    believed, doubted = (
        json.loads(gpuslice("plan", "-f", source, "-o", "json", *flags).out)["assignments"][-1]["slice"]
        for flags in (["--accept-assumed"], [])
    )
    assert doubted.endswith("/whole")
    assert not believed.endswith("/whole")


def test_what_fits_nothing_is_named_and_the_rest_is_planned(gpuslice, misfit, tmp_path):
    out = tmp_path / "plan.yaml"
    ended = gpuslice("plan", "-f", misfit, "--out", out)
    assert ended.code == 1
    assert "\nNot placed:\n  shop/giant: " in ended.out
    assert ended.err.endswith("1 of 3 workloads fit nothing\n")
    written = yaml.safe_load(out.read_text())
    assert [each["workload"] for each in written["assignments"]] == ["shop/search", "shop/train"]
    assert [each["workload"] for each in written["unplaced"]] == ["shop/giant"]


def test_a_plan_for_nobody_has_no_tables_of_pools(gpuslice, tmp_path, misfit):
    alone = tmp_path / "alone.yaml"
    alone.write_text(WORKLOADS.partition("- name")[0] + misfit.read_text().removeprefix(WORKLOADS))
    ended = gpuslice("plan", "-f", alone)
    assert ended.code == 1
    assert "POOL" not in ended.out
    assert "shop/giant" in ended.out
    assert gpuslice("plan", "-f", alone, "-o", "name").out == ""


def test_no_time_still_gives_a_plan(gpuslice, fleet):
    ended = gpuslice("plan", "-f", fleet, "--time-limit", "0", "-o", "json")
    assert ended.code == 0
    assert json.loads(ended.out)["assignments"]


def test_a_search_that_was_cut_short_says_so(gpuslice):
    ended = gpuslice("plan", "-f", FLEET, "--time-limit", "0", "-o", "json")
    assert ended.code == 0
    summary = json.loads(ended.out)["summary"]
    assert (summary["termination"], summary["status"]) == ("time-limit", "feasible")
    assert summary["boundUsdPerHour"] <= summary["optimalUsdPerHour"] <= summary["usdPerHour"]


def test_long_rows_stay_readable_in_a_terminal_of_100_columns(gpuslice, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    narrow = gpuslice("plan", "-f", FLEET, "--time-limit", "0").out
    assert max(map(len, narrow.splitlines())) <= 100
    lines = narrow.splitlines()
    at = next(at for at, line in enumerate(lines) if line.startswith("search/embedder "))
    assert lines[at + 1].startswith("    one of ")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "missing option '-f'"),
        (("-f", "{fleet}", "--gap", "2"), "invalid value for '--gap'"),
        (("-f", "{fleet}", "--gap", "nan"), "invalid value for '--gap'"),
        (("-f", "{fleet}", "--time-limit", "-1"), "invalid value for '--time-limit'"),
        (("-f", "{fleet}", "--time-limit", "soon"), "invalid value for '--time-limit'"),
        (("-f", "{fleet}", "--stack", "ubuntu"), "invalid value for '--stack'"),
        (("-f", "{fleet}", "--at", "noon"), "invalid value for '--at'"),
        (("-f", "{fleet}", "-o", "xml"), "invalid value for '-o'"),
        (("-f", "{fleet}", "--overhead", "lots"), "'lots' is not understood"),
        (("-f", "{fleet}", "--catalog", "{fleet}"), "workloads.yaml"),
        (("-f", "/nonexistent"), "/nonexistent: no such file"),
        (("-f", "a" * 5000), "can't be read: File name too long"),
        (("-f", "."), "no manifests"),
        (("-f", "{fleet}", "--frobnicate"), "no such option: --frobnicate"),
    ],
)
def test_bad_usage_is_refused_in_two_lines_and_nothing_is_written(
    gpuslice, fleet, tmp_path, monkeypatch, arguments, says
):
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    out = tmp_path / "plan.yaml"
    out.write_text("as it was")
    ended = gpuslice("plan", *(each.format(fleet=fleet) for each in arguments), "--out", out)
    assert ended.code == 2
    assert ended.out == ""
    assert says in ended.err
    assert ended.err.startswith("error: ")
    assert len(ended.err.splitlines()) <= 2
    assert out.read_text() == "as it was"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["empty", "plan.yaml", "workloads.yaml"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "is empty"),
        (WORKLOADS.replace("replicas: 1", "replica: 1"), "did you mean"),
        (WORKLOADS.replace("memory: 3Gi, duty: 0.1", "memory: 3, duty: 0.1"), "memory"),
        (WORKLOADS.replace("shop/train", "shop/search"), "is that of workloads[0] too"),
        (WORKLOADS.replace("us-east-1", "eu-north-7"), "not of eu-north-7"),
        (
            WORKLOADS.replace("replicas: 1", "replicas: 0").replace("{now: 2, peak: 3}", "0"),
            "no workload with replicas",
        ),
        ("\0\1\2", "is binary"),
    ],
)
def test_bad_workloads_are_refused_by_file_and_field(gpuslice, tmp_path, content, says):
    path = tmp_path / "workloads.yaml"
    path.write_text(content)
    ended = gpuslice("plan", "-f", path, "--out", tmp_path / "plan.yaml")
    assert ended.code == 2
    assert says in ended.err
    assert len(ended.err.splitlines()) == 2
    assert not (tmp_path / "plan.yaml").exists()


def test_a_plan_is_no_workloads_and_workloads_no_plan(gpuslice, fleet, tmp_path):
    plan = tmp_path / "plan.yaml"
    gpuslice("plan", "-f", fleet, "--out", plan)
    ended = gpuslice("plan", "-f", plan)
    assert ended.code == 2
    assert "is of kind Plan; kind Workloads is wanted" in ended.err
    ended = gpuslice("render", "-f", fleet, "--cluster", "lab", "--role", "nodes")
    assert ended.code == 2
    assert "is of kind Workloads; kind Plan is wanted\n" in ended.err
    assert "gpuslice plan" in ended.err


def test_a_place_that_cannot_be_written_is_the_environments_fault(gpuslice, fleet):
    ended = gpuslice("plan", "-f", fleet, "--out", "/nonexistent/plan.yaml")
    assert ended.code == 3
    assert ended.out == ""
    assert "no directory /nonexistent" in ended.err


@pytest.mark.parametrize(
    ("layout", "words"),
    [
        (Layout("L4", "whole"), "L4, whole"),
        (Layout("L4", "time-slicing", replicas=4), "L4, 4 slots a GPU by time-slicing"),
        (
            Layout("L4", "time-slicing", replicas=16, metered=Metered("21Gi", 704)),
            "L4, metered: 21Gi and 70.4% of its time",
        ),
        (
            Layout("H100", "mig", geometry=(GeometryEntry("3g.40gb", 1), GeometryEntry("1g.10gb", 4))),
            "H100, MIG: 1 3g.40gb + 4 1g.10gb",
        ),
        (
            Layout("H100", "mig", geometries=((GeometryEntry("3g.40gb", 2),), ())),
            "H100, MIG: 2 geometries on 2 GPUs",
        ),
    ],
)
def test_layouts_are_described_in_a_few_words(layout, words):
    assert layout_in_words(layout) == words


def test_the_example_of_services_is_planned_with_replicas_that_carry_its_load(gpuslice):
    example = Path(__file__).parents[2] / "examples/services/workloads.yaml"
    ended = gpuslice("plan", "-f", example, "-o", "json")
    assert ended.code == 0
    plan = json.loads(ended.out)
    assert len(plan["assignments"]) == 11
    for each in plan["assignments"]:
        served = each["service"]
        assert served["latencyMs"] < served["limitMs"]
        assert each["replicas"] * served["throughput"] >= served["demand"]
        assert (each["replicas"] - 1) * served["throughput"] < served["demand"]
    # One machine of eight GPUs is the least that has these instances at all.
    assert plan["summary"]["usdPerHour"] == plan["summary"]["boundUsdPerHour"]


def test_a_bill_that_moves_with_the_order_of_arrival_is_shown_as_a_spread(capsys):
    from msgspec.structs import replace

    from gpuslice.cli.shown.plan import print_summary
    from gpuslice.plan.artefact import BillSpread
    from tests.planner.good_plans import case

    plan, _, _ = case("shared")

    def printed(*bills):
        print_summary(replace(plan, summary=replace(plan.summary, spread=BillSpread(*bills))))
        return capsys.readouterr().out

    assert "Karpenter's bill comes to $3.00 to $5.25" in " ".join(printed(3.0, 4.0, 5.25).split())
    assert "on average" not in printed(3.0, 3.0, 3.0)


def test_a_workload_with_seats_is_one_row_and_pools_without_nodes_are_counted(capsys):
    print_plan(seated(), Output.TABLE)
    said = capsys.readouterr()
    _, workloads, pools = blocks(said.out)
    assert [re.split(r"\s{2,}", line.strip()) for line in workloads[1:]] == [
        ["red/a", "2", "1.50x", "mixed", "cheapest for red/a"],
        ["red/b", "2", "1.50x", "2 pools", "cheapest for red/b"],
    ]
    assert [line.split()[0] for line in pools[1:]] == ["mixed", "own-b"]
    assert "1 more pool without nodes" in said.err
    assert "1 workload in several pools: gpuslice explain WORKLOAD --seats" in said.err


def test_a_reason_that_is_not_that_of_all_pods_says_of_how_many(capsys):
    plan = seated()
    *others, last = plan.assignments
    plan = structs.replace(plan, assignments=(*others, structs.replace(last, because="alone")))
    print_plan(plan, Output.TABLE)
    assert "2 pools   1 of 2: " in capsys.readouterr().out
