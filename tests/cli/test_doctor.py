"""`gpuslice doctor`, from a dump."""

import json

import pytest

from gpuslice.artefacts.documents import dump_yaml
from gpuslice.cluster.seen import dump
from gpuslice.measure.use import Lately
from tests.cluster.made import pod
from tests.cluster.planned import plan, pool
from tests.cluster.sliced import ASKS, METERED, cluster, overlay, sliced_node, sliced_pod


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


@pytest.fixture
def metered(dumped):
    return dumped(
        {
            "overlay": overlay(capacity=METERED),
            "node": sliced_node(allocatable=METERED),
            "pod": sliced_pod(asks=ASKS),
            "other": sliced_pod("search-2", asks=ASKS),
        }
    )


def exposition(memory, node="n1"):
    return f'DCGM_FI_DEV_FB_USED{{gpu="0",UUID="GPU-1",Hostname="{node}",pod="search-1",namespace="search"}} {memory}\n'


def test_metered_pods_are_held_against_what_exporters_served(gpuslice, metered, tmp_path):
    (tmp_path / "n1").write_text(exposition(12 * 1024 + 1))
    (tmp_path / "n9").write_text(exposition(90_000, "n9").replace("search-1", "other"))
    ended = gpuslice(
        "doctor", "--from", metered, "--dcgm", tmp_path / "n1", "--dcgm", tmp_path / "n9", "-o", "name"
    )
    assert (ended.code, ended.out) == (0, "GS307 Node n1\n")
    assert "note: not a node of" in ended.err
    assert "n9" in ended.err
    assert "an exporter tells one moment" in ended.err
    (tmp_path / "n1").write_text(exposition(12 * 1024))
    assert gpuslice("doctor", "--from", metered, "--dcgm", tmp_path / "n1", "-o", "name").out == ""


def test_each_metered_pod_is_held_against_what_nvml_told(gpuslice, metered, tmp_path):
    path = tmp_path / "n1.json"
    pods = [{"uid": "uid-search-search-1", "memoryMiB": 6145}, {"uid": "gone", "memoryMiB": 1}]
    path.write_text(json.dumps({"gpus": [{"gpu": {"index": 0}, "pods": pods}]}))
    ended = gpuslice("doctor", "--from", metered, "--nvml", path, "-o", "name")
    assert (ended.code, ended.out) == (0, "GS308 Pod search/search-1\n")
    assert "note: 1 of 2 pods that were measured by NVML aren't in" in ended.err


def test_where_nvml_met_no_pod_that_is_said(gpuslice, metered, tmp_path):
    path = tmp_path / "n1.json"
    path.write_text(json.dumps({"gpus": [{"gpu": {"index": 0}, "pods": []}]}))
    ended = gpuslice("doctor", "--from", metered, "--nvml", path)
    assert (ended.code, ended.out) == (0, "")
    assert "note: no process of a pod was on those GPUs" in ended.err


@pytest.mark.parametrize("option", ["--dcgm", "--nvml"])
def test_readings_that_are_none_are_refused(gpuslice, metered, tmp_path, option):
    (tmp_path / "x").write_text("node_load1 0.3\n")
    ended = gpuslice("doctor", "--from", metered, option, tmp_path / "x")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.count("\n") <= 3


def test_one_stream_is_read_once(gpuslice, metered):
    ended = gpuslice("doctor", "--from", metered, "--dcgm", "-", "--nvml", "-")
    assert ended.code == 2
    assert "standard input was named twice" in ended.err
