"""`gpuslice doctor`, from a dump."""

import json

import pytest

from gpuslice.artefacts.documents import dump_yaml
from gpuslice.cluster import dump
from gpuslice.measure.use import Lately
from tests.cluster.made import pod
from tests.cluster.planned import plan, pool
from tests.cluster.sliced import cluster, overlay, sliced_node, sliced_pod
from tests.cluster.test_use import ASKS, METERED


@pytest.fixture
def dumped(tmp_path):
    def made(changes=None):
        path = tmp_path / "dump"
        dump.write(cluster(changes), str(path))
        return path

    return made


def test_a_healthy_cluster_ends_with_zero(gpuslice, dumped):
    ended = gpuslice("doctor", "--from", dumped())
    assert (ended.code, ended.out) == (0, "")
    assert "0 broken, 0 at risk" in ended.err


def test_what_is_broken_ends_with_one_and_says_what_to_do(gpuslice, dumped):
    ended = gpuslice(
        "doctor", "--from", dumped({"overlay": overlay(capacity={"nvidia.com/gpu.shared": "-4"})})
    )
    assert ended.code == 1
    assert "GS208 BROKEN  NodeOverlay l4-ts4-1gpu" in ended.out
    for word in ("found:", "means:", "do:"):
        assert word in ended.out


def test_a_risk_alone_ends_with_zero(gpuslice, dumped):
    ended = gpuslice("doctor", "--from", dumped({"other": sliced_pod("v", "vision")}), "-o", "name")
    assert (ended.code, ended.out) == (0, "GS603 Node n1\n")


def test_programs_get_every_field(gpuslice, dumped):
    changes = {"p": pod("w", asks={"nvidia.com/gpu.sharde": "1"}, phase="Pending")}
    changes["p"]["spec"]["containers"][0]["resources"]["limits"] = {"nvidia.com/mig-1g.5gb": "1"}
    ended = gpuslice("doctor", "--from", dumped(changes), "-o", "json", "--only", "GS303")
    (found,) = json.loads(ended.out)["findings"]
    assert found["code"] == "GS303"
    assert found["severity"] == "broken"
    assert set(found) == {"code", "severity", "subject", "evidence", "consequence", "fix"}


def test_an_unknown_check_is_refused(gpuslice, dumped):
    ended = gpuslice("doctor", "--from", dumped(), "--only", "GS999")
    assert ended.code == 2
    assert "GS101 … GS803" in ended.err


def test_a_cluster_is_held_against_a_plan(gpuslice, dumped, tmp_path):
    path = tmp_path / "plan.yaml"
    path.write_text(dump_yaml(plan(pool("l4-ts4"), pool("t4-ts2"))))
    ended = gpuslice("doctor", "--from", dumped(), "-f", path, "-o", "name")
    assert ended.code == 1
    assert ended.out.splitlines() == ["GS801 NodePool l4-ts4", "GS801 NodePool t4-ts2"]


@pytest.mark.parametrize("option", ["--token-file", "--sigv4"])
def test_a_way_into_no_prometheus_is_refused(gpuslice, dumped, option):
    ended = gpuslice("doctor", "--from", dumped(), option, "x")
    assert ended.code == 2
    assert "--prometheus URL" in ended.err


def test_metered_pods_are_held_against_what_a_prometheus_says_of_their_nodes(gpuslice, dumped, monkeypatch):
    asked = []

    def lately(server, now):
        asked.append(server.url)
        return {"n1": Lately(12 * 1024 + 1, 0.1)}

    monkeypatch.setattr("gpuslice.measure.use.lately", lately)
    path = dumped(
        {
            "overlay": overlay(capacity=METERED),
            "node": sliced_node(allocatable=METERED),
            "pod": sliced_pod(asks=ASKS),
            "other": sliced_pod("search-2", asks=ASKS),
        }
    )
    assert gpuslice("doctor", "--from", path, "-o", "name").out == ""
    ended = gpuslice("doctor", "--from", path, "--prometheus", "http://prometheus:9090", "-o", "name")
    assert (ended.code, ended.out) == (0, "GS307 Node n1\n")
    assert asked == ["http://prometheus:9090"]
