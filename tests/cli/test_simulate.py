"""`gpuslice simulate`: what it replays, prints, writes and refuses."""

import json

import jsonschema
import msgspec
import pytest

from gpuslice.cloud.snapshot import bundled
from gpuslice.simulator.result import Simulation

COUNTS = (
    "time,workload,replicas\n0,shop/search,2\n3600,shop/search,6\n7200,shop/search,1\n14400,shop/search,1\n"
)


@pytest.fixture
def counts(tmp_path):
    path = tmp_path / "counts.csv"
    path.write_text(COUNTS)
    return path


def test_the_table_has_a_row_for_each_policy_and_what_was_assumed(gpuslice, fleet, counts):
    ended = gpuslice("simulate", "-f", fleet, "--trace", counts)
    assert ended.code == 0
    rows = [line.split()[0] for line in ended.out.splitlines()[1:5]]
    assert rows == ["whole-gpu", "time-slicing-4", "all-1g-mig", "plan"]
    assert "a node takes 180 s from its launch until pods run on it" in ended.out
    assert "replicas of 1 workloads, over 4.0 hours" in ended.out


def test_what_is_written_is_what_is_printed_and_keeps_its_schema(gpuslice, fleet, counts, tmp_path):
    out = tmp_path / "sim.json"
    ended = gpuslice("simulate", "-f", fleet, "--trace", counts, "-o", "json", "--out", out)
    assert json.loads(out.read_text()) == json.loads(ended.out)
    found = msgspec.json.decode(out.read_bytes(), type=Simulation)
    assert [each.name for each in found.outcomes] == ["whole-gpu", "time-slicing-4", "all-1g-mig", "plan"]
    assert found.plan
    jsonschema.validate(json.loads(ended.out), msgspec.json.schema(Simulation))


def test_the_same_seed_gives_the_same_bytes(gpuslice, fleet):
    arguments = ("simulate", "-f", fleet, "--days", 1, "--policies", "whole,plan", "-o", "json")
    once = gpuslice(*arguments, "--seed", 3).out
    assert once == gpuslice(*arguments, "--seed", 3).out
    assert once != gpuslice(*arguments, "--seed", 4).out


def test_a_plan_named_is_the_plan_replayed(gpuslice, fleet, counts, tmp_path):
    plan = tmp_path / "plan.yaml"
    gpuslice("plan", "-f", fleet, "--at", "peak", "--out", plan, "--accept-assumed")
    ended = gpuslice(
        "simulate", "-f", fleet, "-f", plan, "--trace", counts, "--policies", "plan", "-o", "json"
    )
    assert ended.code == 0
    assert json.loads(ended.out)["outcomes"][0]["neverPlaced"] == 0


def test_a_plan_that_breaks_a_rule_is_not_replayed(gpuslice, fleet, counts, tmp_path):
    plan = tmp_path / "plan.yaml"
    gpuslice("plan", "-f", fleet, "--at", "peak", "--out", plan, "--accept-assumed")
    text = plan.read_text()
    plan.write_text(text.replace("usdPerHour: ", "usdPerHour: 1", 1))
    ended = gpuslice("simulate", "-f", fleet, "-f", plan, "--trace", counts)
    assert ended.code == 1
    assert "the plan breaks a rule: " in ended.err
    assert not ended.out


def test_the_plan_that_was_made_can_be_kept_and_is_the_one_replayed(gpuslice, fleet, counts, tmp_path):
    plan, sim, page = (tmp_path / name for name in ("plan.yaml", "sim.json", "report.html"))
    arguments = ("simulate", "-f", fleet, "--trace", counts, "--policies", "plan")
    ended = gpuslice(*arguments, "--plan-out", plan, "--out", sim)
    assert ended.code == 0
    assert f"gpuslice report -f {plan} --simulation {sim}" in " ".join(ended.err.split())
    assert gpuslice("report", "-f", plan, "--simulation", sim, "--out", page).code == 0
    refused = gpuslice(*arguments, "-f", plan, "--plan-out", tmp_path / "again.yaml")
    assert refused.code == 2
    assert "--plan-out" in refused.err


def test_what_if_all_asked_for_hardware_isolation_costs_more(gpuslice, fleet, counts):
    arguments = ("simulate", "-f", fleet, "--trace", counts, "--policies", "plan", "-o", "json")
    usual, isolated = (
        json.loads(gpuslice(*arguments, *more).out)["outcomes"][0]["usd"]
        for more in ((), ("--isolation", "hardware"))
    )
    assert isolated > usual


def test_what_if_another_model_were_allowed_is_seen_in_the_plan(gpuslice, fleet, counts):
    arguments = ("simulate", "-f", fleet, "--trace", counts, "--policies", "plan", "-o", "json")
    usual, moved = (json.loads(gpuslice(*arguments, *more).out)["plan"] for more in ((), ("--allow", "L4")))
    assert usual != moved


def test_what_if_none_asked_for_isolation_costs_less_and_says_so(gpuslice, fleet, counts):
    fleet.write_text(
        fleet.read_text().replace("  gpu: {allow: [T4]}", "  gpu: {allow: [T4]}\n  isolation: hardware")
    )
    arguments = ("simulate", "-f", fleet, "--trace", counts, "--policies", "plan", "-o", "json")
    usual, free = (json.loads(gpuslice(*arguments, *more).out) for more in ((), ("--isolation", "none")))
    assert free["outcomes"][0]["usd"] < usual["outcomes"][0]["usd"]
    assert free["demand"]["notes"] == ["what if: every workload asked for isolation none"]
    assert "notes" not in usual["demand"]


def test_what_if_all_might_run_on_another_model_says_which(gpuslice, fleet, counts, tmp_path):
    plan = tmp_path / "plan.yaml"
    arguments = ("simulate", "-f", fleet, "--trace", counts, "--policies", "plan", "--plan-out", plan)
    ended = gpuslice(*arguments, "--allow", "L4")
    assert ended.code == 0
    assert "what if: every workload might run on L4" in ended.out
    assert "gpu: L4" in plan.read_text()
    assert "gpu: T4" not in plan.read_text()


def test_what_if_spot_nodes_were_taken_back_counts_the_restarts(gpuslice, fleet, counts, tmp_path):
    prices = tmp_path / "prices.yaml"
    prices.write_text("g4dn.xlarge: {spot: 0.1}\n")
    fleet.write_text(
        fleet.read_text().replace("  gpu: {allow: [T4]}", "  gpu: {allow: [T4]}\n  interruptible: true")
    )
    arguments = (
        *("simulate", "-f", fleet, "--trace", counts, "--policies", "whole,plan", "--prices", prices),
        *("--spot-interruptions", "4", "-o", "json"),
    )
    ended = gpuslice(*arguments, "--seed", 1)
    whole, planned = json.loads(ended.out)["outcomes"]
    assert planned["interruptions"] > 0
    assert "interruptions" not in whole  # bought on demand
    assert any(
        "EC2 takes a spot node back 4 times per hour" in each for each in json.loads(ended.out)["assumptions"]
    )
    assert gpuslice(*arguments, "--seed", 1).out == ended.out != gpuslice(*arguments, "--seed", 2).out


def test_a_plan_that_is_made_keeps_the_policy_of_the_workloads(gpuslice, fleet, counts, tmp_path):
    text = fleet.read_text().replace("[T4]", "[T4, L4]")
    plan = tmp_path / "plan.yaml"
    arguments = (
        "simulate",
        "-f",
        fleet,
        "--trace",
        counts,
        "--policies",
        "plan,replan-1h",
        "--plan-out",
        plan,
    )
    for policy, bought in (("{}", "g4dn"), ("{forbid: [g4dn]}", "g6")):
        fleet.write_text(text.replace("workloads:\n", f"policy: {policy}\nworkloads:\n", 1))
        assert gpuslice(*arguments).code == 0
        assert f"instanceType: {bought}." in plan.read_text()
    fleet.write_text(text.replace("workloads:\n", "policy: {forbid: [g4dm]}\nworkloads:\n", 1))
    ended = gpuslice(*arguments)
    assert ended.code == 2
    assert "policy.forbid[0]" in ended.err


def test_rows_that_cannot_be_used_are_counted_named_and_harmless(gpuslice, fleet, tmp_path):
    counts = tmp_path / "counts.csv"
    rows = (
        "0,shop/search,2",
        "-60,shop/search,9",
        ",shop/search,9",
        "60,shop/search,",
        "90,shop/\x1b[2Jghost,3",
    )
    counts.write_text(
        "\n".join(("time,workload,replicas", *rows, "0,shop/search,9", "3600,shop/search,1", ""))
    )
    arguments = ("simulate", "-f", fleet, "--trace", counts, "--policies", "whole")
    found = json.loads(gpuslice(*arguments, "-o", "json").out)["demand"]
    assert found["pods"] == 2
    assert found["notes"] == [
        "skipped: rows of 'shop/\\x1b[2Jghost', which is no workload: 1 (line 6)",
        "skipped: rows without a time and a count: 3 (lines 3, 4, 5)",
        "skipped: rows that count a workload a second time at one moment: 1 (line 7)",
    ]
    ended = gpuslice(*arguments)
    assert "\x1b" not in ended.out
    for note in found["notes"]:
        assert note in ended.out


def test_what_if_instances_cost_something_else(gpuslice, fleet, counts, tmp_path):
    prices = tmp_path / "prices.yaml"
    types = bundled().instance_types
    prices.write_text("".join(f"{each.name}: {{on-demand: 0.01}}\n" for each in types))
    arguments = ("simulate", "-f", fleet, "--trace", counts, "--policies", "whole", "-o", "json")
    usual, cheap = (json.loads(gpuslice(*arguments, *more).out) for more in ((), ("--prices", prices)))
    assert cheap["outcomes"][0]["usd"] < usual["outcomes"][0]["usd"] / 10
    assert any("prices.yaml in place of the catalog's" in each for each in cheap["assumptions"])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("g6.xlarg: {on-demand: 1}", "did you mean 'g6.xlarge'?"),
        ("g6.xlarge: {on-demand: 0}", "on-demand is 0"),
        ("g6.xlarge: {on-demand: .nan}", "found nan"),
        ("g6.xlarge: {spott: 1}", "spott"),
        ("[1, 2]", "prices.yaml"),
    ],
)
def test_prices_that_cannot_be_are_refused(gpuslice, fleet, counts, tmp_path, text, words):
    prices = tmp_path / "prices.yaml"
    prices.write_text(text)
    ended = gpuslice("simulate", "-f", fleet, "--trace", counts, "--prices", prices)
    assert ended.code == 2
    assert words in " ".join(ended.err.split())
    assert not ended.out


def test_a_plan_of_other_prices_is_refused_as_input(gpuslice, fleet, counts, tmp_path):
    plan = tmp_path / "plan.yaml"
    gpuslice("plan", "-f", fleet, "--at", "peak", "--out", plan, "--accept-assumed")
    text = plan.read_text()
    date = text.partition("prices: ")[2].partition("\n")[0]
    plan.write_text(text.replace(date, '"2020-01-01"', 1))
    ended = gpuslice("simulate", "-f", fleet, "-f", plan, "--trace", counts)
    assert ended.code == 2
    assert "the plan is of us-east-1 of 2020-01-01" in " ".join(ended.err.split())


def test_a_policy_may_plan_anew_every_few_hours(gpuslice, fleet, counts):
    ended = gpuslice("simulate", "-f", fleet, "--trace", counts, "--policies", "plan,replan-1h", "-o", "json")
    found = json.loads(ended.out)
    assert [each["name"] for each in found["outcomes"]] == ["plan", "replan-1h"]
    assert gpuslice("simulate", "-f", fleet, "--trace", counts, "--policies", "replan-0h").code == 2


def test_two_outputs_need_two_files(gpuslice, fleet, counts, tmp_path):
    same = tmp_path / "same.json"
    ended = gpuslice("simulate", "-f", fleet, "--trace", counts, "--out", same, "--plan-out", same)
    assert ended.code == 2
    assert not same.exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "neither a trace nor days are named"),
        (("--days", "1"), "days are replayed of workloads"),
        (("--trace", "COUNTS"), "counts replicas of workloads"),
        (("--trace", "COUNTS", "-f", "FLEET", "--policies", "whole-gpus"), "did you mean 'whole-gpu'?"),
        (
            ("--trace", "COUNTS", "-f", "FLEET", "--policies", "plan,plann"),
            "--policies: no policy is called 'plann'",
        ),
        (("--trace", "COUNTS", "-f", "FLEET", "--policies", "replan-0h"), "no policy is called 'replan-0h'"),
        (("--trace", "COUNTS", "-f", "FLEET", "--allow", "L44"), "--allow: no GPU of EC2 is named 'L44'"),
        (("--trace", "COUNTS", "-f", "FLEET", "--policies", ","), "--policies: names no policy"),
        (("--trace", "COUNTS", "-f", "FLEET", "--policies", "plan,whole,plan"), "names 'plan' twice"),
        (("--trace", "COUNTS", "-f", "FLEET", "--allow", ","), "--allow: names no GPU model"),
        (("--trace", "COUNTS", "-f", "FLEET", "--isolation", "some"), "no isolation is called 'some'"),
        (("--trace", "COUNTS", "-f", "FLEET", "-f", "FLEET"), "one file too many"),
        (("--trace", "COUNTS", "--days", "2", "-f", "FLEET"), "a trace and days are both named"),
    ],
)
def test_what_cannot_be_replayed_is_refused_in_words(gpuslice, fleet, counts, arguments, words):
    files = {"COUNTS": counts, "FLEET": fleet}
    ended = gpuslice("simulate", *(files.get(each, each) for each in arguments))
    assert ended.code == 2
    assert words in ended.err
    assert ended.out == ""


def test_a_tutorial_is_known_by_its_former_name(gpuslice, fleet, counts):
    arguments = ("simulate", "-f", fleet, "--trace", counts, "-o", "json", "--policies")
    ended = gpuslice(*arguments, "whole")
    assert ended.out == gpuslice(*arguments, "whole-gpu").out
    assert json.loads(ended.out)["outcomes"][0]["name"] == "whole-gpu"
    assert "names 'whole-gpu' twice" in gpuslice(*arguments, "whole,whole-gpu").err


SERVICE = """\
- name: shop/rank
  target: {kind: Deployment, container: main}
  service:
    demand: {rate: 25, unit: requests/s}
    slo: {latencyMs: 100}
    profiles: [{slice: L4/fractional/1-8, rate: 10, latencyMs: 9}, {slice: L4/whole, rate: 60, latencyMs: 9}]
"""


def test_a_service_sized_by_its_load_is_there_all_the_time(gpuslice, fleet, tmp_path):
    alone = tmp_path / "services.yaml"
    alone.write_text(
        f"apiVersion: gpuslice.io/v1alpha1\nkind: Workloads\nregion: us-east-1\nworkloads:\n{SERVICE}"
    )
    ended = gpuslice("simulate", "-f", alone, "--days", "1", "--policies", "whole-gpu,plan", "-o", "json")
    found = json.loads(ended.out)
    assert [each["nodesAtMost"] for each in found["outcomes"]] == [1, 3]
    assert found["outcomes"][1]["usd"] < found["outcomes"][0]["usd"]
    assert found["demand"]["workloads"] == 1
    assert "1 service is sized by load, which is one figure" in found["demand"]["notes"][0]


def test_counts_of_a_service_sized_by_its_load_are_left_out_and_said(gpuslice, fleet, tmp_path):
    fleet.write_text(fleet.read_text().rstrip() + "\n" + SERVICE)
    counts = tmp_path / "counts.csv"
    counts.write_text(f"{COUNTS}0,shop/rank,40\n")
    ended = gpuslice("simulate", "-f", fleet, "--trace", counts, "--policies", "plan", "-o", "json")
    found = json.loads(ended.out)
    assert "skipped: rows of 'shop/rank', which is sized by load: 1 (line 6)" in found["demand"]["notes"]
    assert found["outcomes"][0]["nodesAtMost"] < 40


def test_a_plan_with_seats_is_replayed(gpuslice, fleet, counts, tmp_path):
    plan = tmp_path / "plan.yaml"
    options = ("--at", "peak", "--out", plan, "--accept-assumed", "--seats")
    assert gpuslice("plan", "-f", fleet, *options).code == 0
    assert "seats:" in plan.read_text()
    ended = gpuslice(
        "simulate", "-f", fleet, "-f", plan, "--trace", counts, "--policies", "plan", "-o", "json"
    )
    assert json.loads(ended.out)["outcomes"][0]["neverPlaced"] == 0
