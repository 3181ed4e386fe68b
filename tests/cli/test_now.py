"""What is paid now beside a plan: read from a cluster, never made up; whole GPUs are hypothetical."""

import json
import re
from datetime import date

import pytest
from msgspec import structs

from gpuslice.artefacts.documents import dump_json
from gpuslice.cli import console
from gpuslice.cli.console import Output
from gpuslice.cli.shown import prices
from gpuslice.cli.shown.plan import print_plan
from gpuslice.plan.reading import read_plan
from tests.cluster.made import deployment, node, pod

SLOT = {"nvidia.com/gpu.shared": "1"}
GPU = {"nvidia.com/gpu": "1"}
KNOWN = {
    "gpuslice.io/gpu-memory": "4Gi",
    "gpuslice.io/gpu-duty": "0.1",
    "gpuslice.io/gpu-model": "A10G",
    "gpuslice.io/allow-gpus": "A10G",
}
SHARED = {"nvidia.com/gpu.product": "NVIDIA-A10G-SHARED", "nvidia.com/gpu.replicas": "4"}
A10G = 1.006  # dollars an hour of a g5.xlarge


def runs(name, asks, count, on, **template):
    """A Deployment and its pods, as many on each node."""
    return [
        deployment(name, asks=asks, replicas=count, **template),
        *(
            pod(f"{name}-{index}", asks=asks, owner=("Deployment", name), node=on[index * len(on) // count])
            for index in range(count)
        ),
    ]


def shared(name, **fields):
    return node(name, "g5.xlarge", labels=SHARED, capacity={"nvidia.com/gpu": "4"}, **fields)


@pytest.fixture
def scanned(gpuslice, tmp_path):
    """Objects of a cluster, scanned: workloads.yaml, and what was said."""

    def scan(*objects):
        source, out = tmp_path / "cluster.json", tmp_path / "workloads.yaml"
        source.write_text(dump_json({"apiVersion": "v1", "kind": "List", "items": list(objects)}))
        ended = gpuslice("scan", "--from", source, "--out", out)
        assert ended.code == 0
        return out, ended.err

    return scan


def row(out, name):
    line = next(line for line in out.splitlines() if line.startswith(f"{name} "))
    return float(re.findall(r"[\d,]+\.\d\d", line)[0].replace(",", "")), line


def test_savings_are_against_what_is_paid_now(gpuslice, scanned):
    # Three on each of two nodes, whose CPU they fill: as good as can be.
    path, said = scanned(*runs("tag", GPU, 6, ["n1", "n2"], annotations=KNOWN), shared("n1"), shared("n2"))
    assert "now: $2.01 an hour" in said
    assert "6 pods have 1 of 4 slots by time-slicing of A10G each: shop/tag" in said
    ended = gpuslice("plan", "-f", path)
    assert row(ended.out, "now")[0] == row(ended.out, "planned")[0] == 2.01
    assert "as much as now" in row(ended.out, "planned")[1]
    usd, words = row(ended.out, "whole GPUs")
    assert usd == 6.04
    assert "hypothetical" in words
    assert "today" not in ended.out


def test_a_workload_of_unknown_need_keeps_its_share_and_its_nodes(gpuslice, scanned):
    path, said = scanned(
        *runs("dark", GPU, 4, ["n1"]),
        *runs("light", GPU, 3, ["n2", "n3", "n4"], annotations=KNOWN),
        shared("n1"),
        *(node(name) for name in ("n2", "n3", "n4")),
    )
    assert "1 without (1 keep the share of a GPU that they have)" in said
    ended = gpuslice("plan", "-f", path)
    assert ended.code == 0
    assert row(ended.out, "now")[0] == 4.02
    assert row(ended.out, "planned")[0] == 1.01
    assert row(ended.out, "left as it is")[0] == 1.01
    assert "50.0% less than now: $2.01 an hour" in row(ended.out, "planned")[1]
    assert "Left where it is:\n  shop/dark: " in ended.out
    assert "whole GPUs for it would be $4.02 an hour" in ended.out
    assert "1 of 2 workloads are left where they are" in ended.err


def test_a_node_that_others_are_on_goes_on(gpuslice, scanned):
    path, _ = scanned(
        *runs("dark", GPU, 2, ["n1"]), *runs("light", GPU, 2, ["n1"], annotations=KNOWN), shared("n1")
    )
    ended = gpuslice("plan", "-f", path, "--strict")
    assert ended.code == 1  # shop/light gets a node of its own, and the old one stays for shop/dark
    assert ended.out.startswith("dearer than now: $2.01 an hour instead of $1.01, 100% more\n")


def test_a_dearer_plan_says_so_first_and_fails_where_that_is_asked_for(gpuslice, scanned, monkeypatch):
    path, _ = scanned(*runs("dark", GPU, 4, ["n1"]), shared("n1"))
    asked = gpuslice("plan", "-f", path, "--unknown", "whole")
    assert asked.code == 0
    first = asked.out.splitlines()[0]
    assert first == "dearer than now: $4.02 an hour instead of $1.01, 300% more"
    assert gpuslice("plan", "-f", path, "--unknown", "whole", "--strict").code == 1
    assert gpuslice("plan", "-f", path, "--strict").code == 0
    data = gpuslice("plan", "-f", path, "--unknown", "whole", "-o", "json")
    assert "dearer than now" in data.err
    now = json.loads(data.out)["summary"]["now"]
    assert (now["usdPerHour"], now["nodes"]) == (A10G, 1)
    monkeypatch.setattr(console, "_terminal", lambda: True)
    monkeypatch.setenv("COLUMNS", "200")
    assert gpuslice("plan", "-f", path, "--unknown", "whole").out.startswith(f"\x1b[1;31m{first}\x1b[0m")


def test_whom_to_ask_is_a_person(gpuslice, scanned):
    path, _ = scanned(*runs("dark", GPU, 4, ["n1"]), shared("n1"))
    ended = gpuslice("plan", "-f", path, "--unknown", "ask")
    assert ended.code == 2
    assert "--unknown keep" in ended.err


@pytest.mark.parametrize(("answer", "left"), [(True, 0), (False, 1)])
def test_a_persons_answer_decides(gpuslice, scanned, monkeypatch, answer, left):
    import typer

    from gpuslice.cli import planning

    asked = []

    def confirm(question, *, err):
        asked.append(question)
        return answer and err

    monkeypatch.setattr(typer, "confirm", confirm)
    monkeypatch.setattr(planning, "_at_a_terminal", lambda: True)
    path, _ = scanned(*runs("dark", GPU, 4, ["n1"]), shared("n1"))
    plan = json.loads(gpuslice("plan", "-f", path, "--unknown", "ask", "-o", "json").out)
    assert len(plan.get("unplaced", ())) == left
    assert "shop/dark" in asked[0]


SPOT = {"karpenter.sh/capacity-type": "spot"}


def test_spot_nodes_without_a_price_leave_now_unknown(gpuslice, scanned):
    path, said = scanned(
        *runs("api", GPU, 2, ["n1", "n2"], annotations=KNOWN),
        node("n1", labels=SPOT),
        node("n2"),
    )
    assert "now: at least $1.01 an hour" in said
    assert "1 g5.xlarge (spot); on demand they would be $1.01 an hour" in said
    ended = gpuslice("plan", "-f", path)
    assert "1 of them, which on demand are $1.01 an hour" in row(ended.out, "now")[1]
    assert "less than whole GPUs" in row(ended.out, "planned")[1]
    assert "for 1 workload that is on spot now" in row(ended.out, "planned")[1]


def test_nodes_that_plan_is_given_are_said_to_be_for_scan(gpuslice, scanned, tmp_path):
    scanned(*runs("tag", GPU, 6, ["n1", "n2"], annotations=KNOWN), shared("n1"), shared("n2"))
    ended = gpuslice("plan", "-f", tmp_path / "cluster.json")
    assert "has nodes, which are read by scan alone" in ended.out


def test_nodes_of_which_no_price_is_known_are_not_called_free(gpuslice, scanned):
    _, said = scanned(
        *runs("api", GPU, 1, ["n1"], annotations=KNOWN),
        node("n1", labels={"topology.kubernetes.io/region": "eu-west-1"}),
    )
    assert "now: not known" in said
    assert "$0.00" not in said


def test_nodes_without_a_gpu_pod_are_no_merit_of_the_plan(gpuslice, scanned):
    path, _ = scanned(*runs("api", GPU, 1, ["n1"], annotations=KNOWN), node("n1"), node("n2"))
    words = row(gpuslice("plan", "-f", path).out, "planned")[1]
    assert "50.0% less than now: $1.01 an hour, $1.01 of it for nodes without a GPU pod" in words


def test_manifests_alone_say_nothing_of_now(gpuslice, tmp_path):
    source = tmp_path / "in.json"
    objects = [
        deployment("light", asks=GPU, replicas=4, annotations=KNOWN),
        deployment("dark", asks={"nvidia.com/mig-1g.5gb": "1"}, replicas=7),
        deployment("slot", asks=SLOT, replicas=8),
    ]
    source.write_text(dump_json({"apiVersion": "v1", "kind": "List", "items": objects}))
    ended = gpuslice("plan", "-f", source)
    assert ended.code == 0
    assert not any(line.startswith("now") for line in ended.out.splitlines())
    assert "% less than whole GPUs" in row(ended.out, "planned")[1]
    assert "parts of GPUs already (7 of mig-1g.5gb, 8 of gpu.shared)" in ended.out
    assert "shop/dark: it stays where it is: it has MIG 1g.5gb" in ended.out
    assert "shop/slot: it stays where it is: it has a slot of a shared GPU" in ended.out


def test_on_demand_prices_are_not_what_spot_pays(gpuslice, tmp_path):
    source = tmp_path / "in.json"
    spot = deployment("spot", asks=GPU, replicas=4, annotations=KNOWN, selector=SPOT)
    source.write_text(dump_json({"apiVersion": "v1", "kind": "List", "items": [spot]}))
    words = row(gpuslice("plan", "-f", source).out, "planned")[1]
    assert "less than whole GPUs" in words
    assert "1 workload that is on spot now" in words
    assert "leaving spot may cost more" in words


def test_a_sum_that_is_not_its_nodes_is_refused(gpuslice, scanned):
    path, _ = scanned(*runs("dark", GPU, 4, ["n1"]), shared("n1"))
    path.write_text(path.read_text().replace("usdPerHour: 1.006\n  nodes", "usdPerHour: 3.0\n  nodes"))
    ended = gpuslice("plan", "-f", path)
    assert ended.code == 2
    assert "today.usdPerHour: is 3.00, and its nodes come to 1.01" in ended.err


def test_old_prices_warn(gpuslice, scanned, tmp_path, monkeypatch):
    path, said = scanned(*runs("api", GPU, 1, ["n1"], annotations=KNOWN), node("n1"))
    plan = tmp_path / "plan.yaml"
    assert "days ago" not in said + gpuslice("plan", "-f", path, "--out", plan).err
    monkeypatch.setattr(prices, "_day", lambda: date(2026, 9, 19))
    for ended in (
        gpuslice("scan", "--from", tmp_path / "cluster.json"),
        gpuslice("plan", "-f", path),
        gpuslice("report", "-f", plan, "-f", path, "--out", tmp_path / "report.html"),
    ):
        assert "note: prices are of 2026-07-20, 61 days ago" in ended.err


def test_without_a_bound_nothing_is_called_proven(gpuslice, fleet, tmp_path, capsys):
    gpuslice("plan", "-f", fleet, "--out", tmp_path / "plan.yaml")
    made = read_plan(str(tmp_path / "plan.yaml"))
    summary = structs.replace(made.summary, bound_usd_per_hour=0.0)
    print_plan(structs.replace(made, summary=summary), Output.TABLE)
    words = row(capsys.readouterr().out, "proven least")[1]
    assert "not proven" in words
    assert "at it" not in words


def test_the_report_has_now_and_what_goes_on(gpuslice, scanned, tmp_path):
    path, _ = scanned(
        *runs("dark", GPU, 4, ["n1"]),
        *runs("light", GPU, 3, ["n2", "n3", "n4"], annotations=KNOWN),
        shared("n1"),
        *(node(name) for name in ("n2", "n3", "n4")),
    )
    plan, page = tmp_path / "plan.yaml", tmp_path / "report.html"
    gpuslice("plan", "-f", path, "--out", plan)
    assert gpuslice("report", "-f", plan, "-f", path, "--out", page).code == 0
    text = page.read_text()
    assert "<dt>Now</dt>" in text
    assert "Left where it is: 1 workload" in text
    assert "Whole GPUs</th>" in text
    assert "hypothetical: each pod has whole GPUs" in text
    assert "oday" not in text.replace("slower than today", "").replace("runs on today", "").replace(
        "nodes of today", ""
    )
