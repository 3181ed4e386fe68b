"""`gpuslice explain`: the alternatives of one workload, and what binds the whole plan."""

import json
import re

import pytest
import yaml

from tests.cli.conftest import WORKLOADS


def test_a_workload_is_told_where_it_is_and_why_and_what_else_would_do(gpuslice, fleet):
    ended = gpuslice("explain", "shop/search", "-f", fleet)
    assert ended.code == 0
    head, _, rest = ended.out.partition("\n\n")
    where, why, need = head.splitlines()
    assert where.startswith("shop/search: 2 pods on T4/")
    assert why.startswith("  why: ")
    assert (
        need == "  need: 3Gi, busy 10.0% of the time, on T4 (measured); at most 2x slower; GPUs allowed: T4"
    )
    table, _, refused = rest.partition("\n\n")
    assert table.splitlines()[0].split() == [
        *("SLICE", "$", "AN", "HOUR", "WITH", "OTHERS", "PODS", "A", "NODE", "SLOWDOWN", "NODES")
    ]
    prices = [float(line.replace("*", " ").split()[1]) for line in table.splitlines()[1:]]
    assert prices == sorted(prices)
    assert [line for line in table.splitlines() if line.startswith("*")]
    assert refused.startswith("Won't do:\n")


def test_one_reason_against_many_slices_is_one_line(gpuslice, fleet):
    refused = gpuslice("explain", "shop/search", "-f", fleet).out.partition("Won't do:\n")[2].splitlines()
    assert sum("not among the GPUs allowed (T4)" in line for line in refused) == 1
    assert len(refused) < 10


def test_a_workload_that_fits_nothing_is_told_why(gpuslice, misfit):
    ended = gpuslice("explain", "shop/giant", "-f", misfit)
    assert ended.code == 0
    assert ended.out.startswith("shop/giant: not placed\n  why: ")
    assert "WITH OTHERS" not in ended.out
    assert "Won't do:" in ended.out


def test_an_unknown_need_is_said_to_be_unknown(gpuslice, fleet):
    out = gpuslice("explain", "shop/train", "-f", fleet).out
    assert "need: memory not known, duty not known, on T4 (assumed)" in out
    assert "nothing is sliced on a guess" in out


def test_several_gpus_a_pod_are_a_need_of_their_own(gpuslice, tmp_path):
    path = tmp_path / "w.yaml"
    path.write_text(WORKLOADS + "- {name: lab/big, target: {kind: Job}, replicas: 1, need: {gpus: 8}}\n")
    out = gpuslice("explain", "lab/big", "-f", path).out
    assert "need: 8 whole GPUs per pod" in out


def test_models_other_than_that_of_several_gpus_a_pod_are_refused_in_one_line(gpuslice, tmp_path):
    path = tmp_path / "w.yaml"
    big = "- {name: lab/big, target: {kind: Job}, replicas: 1, need: {gpus: 8, on: A100-40GB}}\n"
    path.write_text(WORKLOADS + big)
    refused = gpuslice("explain", "lab/big", "-f", path).out.partition("Won't do:\n")[2]
    assert refused.count("name it in gpu.allow if it will do") == 1


def test_a_workload_without_replicas_has_nothing_to_place(gpuslice, tmp_path):
    path = tmp_path / "w.yaml"
    path.write_text(WORKLOADS.replace("replicas: 1", "replicas: 0"))
    assert gpuslice("explain", "shop/train", "-f", path).out.startswith("shop/train: no replicas")


def test_programs_get_the_alternatives_of_a_workload(gpuslice, fleet):
    as_json = json.loads(gpuslice("explain", "shop/search", "-f", fleet, "-o", "json").out)
    assert as_json == yaml.safe_load(gpuslice("explain", "shop/search", "-f", fleet, "-o", "yaml").out)
    names = gpuslice("explain", "shop/search", "-f", fleet, "-o", "name").out.split()
    assert names == [each["slice"] for each in as_json["alternatives"] if each["fits"]]
    assert as_json["assignments"][0]["slice"] in names
    refused = [each for each in as_json["alternatives"] if not each["fits"]]
    assert all(each["binds"] and each["reason"] for each in refused)


def test_the_whole_plan_is_told_what_binds_it_and_what_the_money_goes_to(gpuslice, fleet):
    ended = gpuslice("explain", "-f", fleet)
    assert ended.code == 0
    prices, pools, drivers, missing = ended.out.strip().split("\n\n")
    assert prices.startswith("planned: $")
    assert "no plan within the rules costs less than $" in prices
    assert pools.splitlines()[1].split()[:5] == ["POOL", "$", "AN", "HOUR", "BINDS"]
    assert {line.split()[0] for line in drivers.splitlines()[2:]} == {"shop/search", "shop/train"}
    assert missing.splitlines()[0] == "What it means while EC2 is out of an instance type:"
    assert len(missing.splitlines()) > 2


def test_a_colon_stands_only_where_parts_follow(gpuslice, tmp_path):
    """Within limits pools are searched for in prices that are no dollars, so that what habits cost isn't known."""
    path = tmp_path / "w.yaml"
    pod = "pod: {cpu: 1, memory: 2Gi}"
    more = "".join(
        f"- {{name: {tenant}/app, replicas: 5, {pod}, need: {{memory: 3Gi, duty: 0.1, on: T4}}}}\n"
        for tenant in ("lab", "web", "ops")
    )
    capped = WORKLOADS.replace("workloads:", "policy: {maxNodes: {g4dn.xlarge: 3}}\nworkloads:") + more
    path.write_text(capped)
    lines = gpuslice("explain", "-f", path).out.splitlines()
    told = next(at for at, line in enumerate(lines) if "more than the cheapest packing" in line)
    assert lines[told].endswith(":") == lines[told + 1].startswith("    ")


def test_programs_get_the_whole_plan_explained(gpuslice, fleet):
    found = json.loads(gpuslice("explain", "-f", fleet, "-o", "json").out)
    assert list(found) == ["summary", "pools", "drivers", "habits", "missing", "unplaced"]
    names = gpuslice("explain", "-f", fleet, "-o", "name").out.split()
    assert names == [each["name"] for each in found["pools"]]
    total = sum(each["usdPerHour"] for each in found["pools"])
    assert total == pytest.approx(found["summary"]["usdPerHour"])
    assert all(0 < share <= 1 for each in found["pools"] for share in each["used"].values())


def test_the_money_of_all_drivers_is_about_the_least_possible_bill(gpuslice, fleet):
    found = json.loads(gpuslice("explain", "-f", fleet, "-o", "json").out)
    total = sum(each["usdPerHour"] for each in found["drivers"])
    assert found["summary"]["boundUsdPerHour"] * 0.9 <= total <= found["summary"]["usdPerHour"] * 1.001


@pytest.fixture
def planned(gpuslice, fleet, tmp_path):
    """A plan of that fleet."""
    path = tmp_path / "plan.json"
    assert gpuslice("plan", "-f", fleet, "--out", path).code == 0
    return path


@pytest.fixture
def no_search(monkeypatch, planned):
    """Whoever plans fails."""

    def search(*_: object, **__: object) -> None:
        pytest.fail("it planned")

    monkeypatch.setattr("gpuslice.planner.solve.solve", search)


@pytest.mark.usefixtures("no_search")
def test_the_plan_that_is_given_is_explained_and_none_is_made(gpuslice, fleet, planned):
    made = json.loads(planned.read_text())
    (assignment,) = [each for each in made["assignments"] if each["workload"] == "shop/search"]
    ended = gpuslice("explain", "shop/search", "-f", planned, "-f", fleet)
    assert ended.code == 0
    where, why, *_ = ended.out.splitlines()
    assert where == f"shop/search: 2 pods on {assignment['slice']}, in pool {assignment['pool']}"
    assert why == f"  why: {assignment['because']}"


def test_the_planned_row_has_the_planned_price(gpuslice, fleet, planned):
    plan = json.loads(gpuslice("explain", "-f", planned, "-f", fleet, "-o", "json").out)
    pays = {each["workload"]: each["usdPerHour"] for each in plan["workloads"]}
    assert sum(pays.values()) + plan["idleUsdPerHour"] == pytest.approx(plan["summary"]["usdPerHour"])
    for name, usd in pays.items():
        found = json.loads(gpuslice("explain", name, "-f", planned, "-f", fleet, "-o", "json").out)
        rows = [each for each in found["alternatives"] if "plannedUsdPerHour" in each]
        assert sum(each["plannedUsdPerHour"] for each in rows) == pytest.approx(usd, abs=1e-6)
        assert {each["slice"] for each in rows} == {each["slice"] for each in found["assignments"]}
        assert f"${usd:,.2f} an hour" in found["assignments"][0]["because"]


def test_alternatives_are_ranked_by_dollars_for_these_replicas(gpuslice, fleet, planned):
    found = json.loads(gpuslice("explain", "shop/search", "-f", planned, "-f", fleet, "-o", "json").out)
    fitting = [each for each in found["alternatives"] if each["fits"]]
    usd = [each.get("plannedUsdPerHour", each["alone"]["usdPerHour"]) for each in fitting]
    assert usd == sorted(usd)
    assert all(-(-2 // each["alone"]["podsPerNode"]) == each["alone"]["nodes"] for each in fitting)
    whole = next(each for each in fitting if each["slice"] == "T4/whole")
    assert whole["alone"] == {
        "usdPerHour": 1.052,
        "instanceType": "g4dn.xlarge",
        "purchase": "on-demand",
        "nodes": 2,
        "podsPerNode": 1,
    }


def test_the_reason_names_the_nearest_loser_and_its_dollars(gpuslice, fleet, planned):
    """Another way to cut the same machine for the same money is no loser."""
    found = json.loads(gpuslice("explain", "shop/search", "-f", planned, "-f", fleet, "-o", "json").out)
    assert "next is T4/whole at $1.05 (alone on 2 g4dn.xlarge)" in found["assignments"][0]["because"]
    alone = {each["slice"]: each["alone"] for each in found["alternatives"] if "alone" in each}
    assert alone["T4/whole"]["usdPerHour"] == 1.052
    assert {nodes["instanceType"] for nodes in alone.values()} == {"g4dn.xlarge"}
    train = json.loads(gpuslice("explain", "shop/train", "-f", planned, "-f", fleet, "-o", "json").out)
    assert train["assignments"][0]["because"].endswith("$0.53 an hour, and nothing else would do")


@pytest.mark.usefixtures("no_search")
def test_a_given_plan_as_a_whole_says_where_its_money_goes(gpuslice, fleet, planned):
    prices, pools, shares, missing = gpuslice("explain", "-f", planned, "-f", fleet).out.strip().split("\n\n")
    assert prices.startswith("planned: $")
    assert pools.splitlines()[1].split()[0] == "POOL"
    assert shares.startswith("What the money goes to: each pays its part of its nodes, and $")
    assert {line.split()[0] for line in shares.splitlines()[2:]} == {"shop/search", "shop/train"}
    assert missing.startswith("What it means while EC2 is out")


def test_a_plan_of_other_workloads_is_refused_in_two_lines(gpuslice, fleet, misfit, planned):
    misfit.write_text(misfit.read_text().replace("replicas: {now: 2, peak: 3}", "replicas: 5"))
    for name in ((), ("shop/search",)):
        ended = gpuslice("explain", *name, "-f", planned, "-f", misfit)
        assert (ended.code, ended.out) == (2, "")
        assert ended.err.startswith("error: -f: the plan is of other workloads: replicas: shop/")
        assert len(ended.err.splitlines()) == 2
    assert gpuslice("explain", "-f", planned, "-f", fleet, "--at", "peak").code == 2


def test_a_plan_alone_is_refused(gpuslice, planned):
    ended = gpuslice("explain", "shop/search", "-f", planned)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.splitlines()[1] == "name these, too: gpuslice explain -f plan.yaml -f workloads.yaml"


@pytest.mark.parametrize("option", ["--seats", "--savings", "--no-fallback", "--effort=2", "--today=T4"])
def test_what_only_planning_could_do_is_refused_beside_a_plan(gpuslice, fleet, planned, option):
    ended = gpuslice("explain", "-f", planned, "-f", fleet, option)
    assert (ended.code, ended.out) == (2, "")
    assert f"{option.partition('=')[0].replace('--no-', '--')} is for making a plan" in ended.err


def test_a_plan_on_assumed_models_is_explained_with_them(gpuslice, tmp_path):
    nowhere, path = tmp_path / "w.yaml", tmp_path / "plan.yaml"
    nowhere.write_text(re.sub(r", 'on': T4|  gpu: .*\n", "", WORKLOADS))
    assert gpuslice("plan", "-f", nowhere, "--out", path).code == 0
    out = gpuslice("explain", "shop/search", "-f", path, "-f", nowhere).out
    assert "on T4, which is assumed," in out
    assert "not the T4 that it is assumed to have today" in out


def test_a_wrong_name_is_refused_with_the_nearest(gpuslice, fleet):
    ended = gpuslice("explain", "shop/serach", "-f", fleet)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == "error: no workload is called 'shop/serach'\ndid you mean 'shop/search'?\n"
    assert "there are shop/search, shop/train" in gpuslice("explain", "x" * 9000, "-f", fleet).err


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
    profiles:
    - {slice: L4/fractional/1-8, batch: 1, rate: 10, latencyMs: 40}
    - {slice: L4/whole, batch: 8, processes: 2, rate: 30, latencyMs: 30}
    - {slice: T4/whole, batch: 8, rate: 90, latencyMs: 60}
    - {slice: H200/mig/1g.18gb, batch: 8, rate: 90, latencyMs: 20}
"""


@pytest.fixture
def service(tmp_path):
    path = tmp_path / "services.yaml"
    path.write_text(SERVICE)
    return path


def test_a_service_is_told_what_each_of_its_profiles_would_take(gpuslice, service):
    ended = gpuslice("explain", "shop/rank", "-f", service)
    assert ended.code == 0
    head, table, refused = ended.out.split("\n\n")
    where, *rest = head.splitlines()
    assert where.startswith("shop/rank: 3 pods on L4/fractional/1-8, in pool ")
    assert rest == [
        "  why: 3 x 10 = 30 requests/s for the 25 asked; 40 ms a batch of 1, below 45",
        "  headroom: 20% above the load",
        "  load: 25 requests/s within 100 ms",
    ]
    rows = [line.replace("*", " ").split() for line in table.splitlines()[1:]]
    assert [(row[0], row[4], row[5]) for row in rows if not row[0].startswith("H200")] == [
        ("L4/fractional/1-8", "10", "3"),
        ("L4/whole", "60", "1"),
    ]
    assert refused.splitlines()[:2] == [
        "Won't do:",
        "  T4/whole, batch 8, processes 1: 60 ms, and below 45 is wanted",
    ]


def test_a_services_profiles_are_data_too(gpuslice, service):
    data = json.loads(gpuslice("explain", "shop/rank", "-f", service, "-o", "json").out)
    (chosen,) = data["assignments"]
    assert (chosen["replicas"], chosen["service"]["throughput"]) == (3, 10.0)
    assert {each["slice"]: each.get("replicas") for each in data["profiles"]}["L4/whole"] == 1
    assert (
        gpuslice("explain", "shop/rank", "-f", service, "-o", "name").out.splitlines()[0]
        == "L4/fractional/1-8"
    )
