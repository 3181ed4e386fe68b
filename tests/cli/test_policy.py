"""What may be bought, as people say it: in workloads.yaml, by options, and what they are told."""

import json

import pytest

from tests.cli.conftest import WORKLOADS


@pytest.fixture
def strict(tmp_path):
    def written(policy: str):
        path = tmp_path / "strict.yaml"
        path.write_text(WORKLOADS.replace("workloads:\n", f"policy: {policy}\nworkloads:\n", 1))
        return path

    return written


def test_options_add_to_the_policy_of_the_file_and_the_plan_repeats_it(gpuslice, strict):
    file = strict("{forbid: [p4d], maxNodes: {g4dn.xlarge: 5}}")
    ended = gpuslice(
        *("plan", "-f", file, "--forbid", "g5", "--max-nodes", "g4dn.xlarge=3", "--max-spot-share", "0.5"),
        *("--reserved", "g4dn.xlarge=1@0.1", "-o", "json"),
    )
    assert ended.code == 0
    plan = json.loads(ended.out)
    assert plan["policy"] == {
        "forbid": ["p4d", "g5"],
        "maxNodes": {"g4dn.xlarge": 3},
        "maxSpotShare": 0.5,
        "reserved": [{"instanceType": "g4dn.xlarge", "count": 1, "usdPerHour": 0.1}],
    }
    assert [node["purchase"] for pool in plan["pools"] for node in pool["nodes"]].count("reserved") == 1


def test_a_policy_file_goes_over_the_workloads_policy_and_under_the_options(gpuslice, strict, tmp_path):
    file = strict(
        "{forbid: [p4d], maxNodes: {g4dn.xlarge: 5, g6.xlarge: 7}, maxSpotShare: 0.1,"
        " reserved: [{instanceType: g4dn.xlarge, count: 3}]}"
    )
    rules = tmp_path / "policy.yaml"
    rules.write_text(
        "apiVersion: gpuslice.io/v1alpha1\nkind: Policy\nforbid: [g5, p4d]\n"
        "maxNodes: {g4dn.xlarge: 4, g6.2xlarge: 2}\nmaxSpotShare: 0.2\nmaxPools: 9\n"
        "reserved: [{instanceType: g4dn.xlarge, count: 1, usdPerHour: 0.1}]\n"
    )
    ended = gpuslice("plan", "-f", file, "--policy", rules, "--max-nodes", "g6.2xlarge=3", "-o", "json")
    assert ended.code == 0
    assert json.loads(ended.out)["policy"] == {
        "forbid": ["p4d", "g5"],
        "maxNodes": {"g4dn.xlarge": 4, "g6.xlarge": 7, "g6.2xlarge": 3},
        "maxSpotShare": 0.2,
        "reserved": [{"instanceType": "g4dn.xlarge", "count": 1, "usdPerHour": 0.1}],
        "maxPools": 9,
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("forbid: [p33]", "policy.yaml: forbid[0]: no family 'p33' in the catalog of us-east-1"),
        ("maxSpotShare: 2", "policy.yaml: maxSpotShare"),
        ("forbit: [g5]", "forbid"),
    ],
)
def test_what_is_wrong_with_a_policy_file_is_told_by_its_field(gpuslice, fleet, tmp_path, text, words):
    rules = tmp_path / "policy.yaml"
    rules.write_text(f"apiVersion: gpuslice.io/v1alpha1\nkind: Policy\n{text}\n")
    ended = gpuslice("plan", "-f", fleet, "--policy", rules)
    assert (ended.code, ended.out) == (2, "")
    assert words in ended.err
    assert len(ended.err.splitlines()) <= 2


def test_who_has_no_place_for_what_is_forbidden_is_told_so(gpuslice, fleet):
    ended = gpuslice("plan", "-f", fleet, "--forbid", "g4dn")
    assert ended.code == 1
    assert "policy.forbid has g4dn" in ended.out


def test_no_room_is_an_answer_of_two_lines(gpuslice, fleet):
    counts = [
        f"g4dn.{size}=0" for size in ("xlarge", "2xlarge", "4xlarge", "8xlarge", "12xlarge", "16xlarge")
    ]
    options = [word for each in [*counts, "g4dn.metal=0"] for word in ("--max-nodes", each)]
    ended = gpuslice("plan", "-f", fleet, *options)
    assert ended.code == 1
    assert ended.out == ""
    first, second = ended.err.splitlines()
    assert first.startswith("error: no room for all of shop/")
    assert "policy.maxNodes g4dn.xlarge: 0" in first
    assert second == "raise a count, or allow other types"


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        ("{forbid: [p33]}", "policy.forbid[0]: no family 'p33' in the catalog of us-east-1"),
        ("{forbid: p3}", "policy.forbid"),
        ("{maxNodes: {g4dn.xlarge: -1}}", "policy.maxNodes"),
        ("{maxNodes: {g4dn: 1}}", "policy.maxNodes"),
        ("{maxSpotShare: 1.5}", "policy.maxSpotShare"),
        ("{maxSpotShare: .nan}", "policy.maxSpotShare"),
        ("{reserved: [{instanceType: g4dn.xlarge}]}", "policy.reserved[0]"),
        ("{reserved: [{instanceType: g4dn.xlarge, count: 1, ids: [x]}]}", "policy.reserved[0].ids[0]"),
        (
            "{reserved: [{instanceType: g4dn.xlarge, count: 1, usdPerHour: -1}]}",
            "policy.reserved[0].usdPerHour",
        ),
        ("{maxnodes: {}}", "maxNodes"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused_with_its_place(gpuslice, strict, policy, words):
    ended = gpuslice("plan", "-f", strict(policy))
    assert (ended.code, ended.out) == (2, "")
    assert words in ended.err
    assert len(ended.err.splitlines()) <= 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--forbid", "p33"), "error: --forbid: no family 'p33' in the catalog of us-east-1"),
        (("--max-nodes", "g5.xlrge=3"), "error: --max-nodes: no instance type 'g5.xlrge'"),
        (("--reserved", "g5.xlrge=3"), "error: --reserved: no instance type 'g5.xlrge'"),
        (
            ("--reserved", "g5.xlarge=3", "--reserved", "g5.xlarge=2"),
            "error: --reserved: names g5.xlarge twice\nadd the counts up",
        ),
    ],
)
def test_an_option_that_makes_no_sense_is_refused_by_its_name(gpuslice, fleet, options, words):
    ended = gpuslice("plan", "-f", fleet, *options)
    assert (ended.code, ended.out) == (2, "")
    assert words in ended.err
    assert len(ended.err.splitlines()) <= 2


def test_reserved_nodes_are_rendered_only_where_karpenter_can_find_them(gpuslice, strict, tmp_path):
    for ids, code in (("", 2), (", ids: [cr-1]", 0)):
        file = strict(f"{{reserved: [{{instanceType: g4dn.xlarge, count: 2{ids}}}]}}")
        assert gpuslice("plan", "-f", file, "--out", tmp_path / "plan.yaml").code == 0
        ended = gpuslice(
            *(
                "render",
                "-f",
                tmp_path / "plan.yaml",
                "--cluster",
                "c",
                "--role",
                "r",
                "--out",
                tmp_path / "m",
            )
        )
        assert ended.code == code
        if code:
            assert "policy.reserved[0]: g4dn.xlarge is reserved" in ended.err
    classes = (tmp_path / "m/karpenter/ec2nodeclasses.yaml").read_text()
    assert "capacityReservationSelectorTerms:\n  - id: cr-1\n" in classes
