"""`gpuslice scan` as a person and a program see it."""

import json
from pathlib import Path

import pytest
import typer
import yaml
from typer.testing import CliRunner

from gpuslice.cli.scan import scan
from gpuslice.errors import InputError
from gpuslice.workloads.artefact import read_workloads

FLEET = str(Path(__file__).parents[2] / "examples" / "fleet")
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "p"},
    "spec": {"containers": [{"name": "a", "resources": {"limits": {"nvidia.com/gpu": 1}}}]},
}
app = typer.Typer()
app.command()(scan)


def run(*arguments: str, stdin: str = "") -> tuple[str, str]:
    result = CliRunner().invoke(app, list(arguments), input=stdin, catch_exceptions=True)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout, result.stderr


def test_the_table_says_what_is_known_and_what_is_missing():
    out, err = run("--from", FLEET)
    lines = {line.split()[0]: line for line in out.splitlines()}
    assert lines["search/answers"].split()[1:] == ["Deployment", "4", "1", "13Gi", "0.35", "A10G", "vllm"]
    assert "unknown: memory, duty" in lines["search/playground"]
    assert err.endswith(
        "19 workloads, 104 GPU pods: 16 with a known need, 1 without (a whole GPU each), 2 of several GPUs\n"
    )


def test_workloads_of_which_not_even_the_gpu_is_known_are_counted(tmp_path):
    (tmp_path / "pod.json").write_text(json.dumps(POD))
    assert "1 don't say which GPU they run on" in run("--from", str(tmp_path))[1]
    assert "don't say" not in run("--from", str(tmp_path), "--today", "T4")[1]


def test_out_writes_workloads_that_plan_can_read(tmp_path):
    path = tmp_path / "workloads.yaml"
    _, err = run("--from", FLEET, "--out", str(path))
    assert len(read_workloads(path).workloads) == 19
    assert f"written to {path}" in err


def test_programs_get_the_artefact_and_nothing_else_on_stdout():
    as_json = json.loads(run("--from", FLEET, "-o", "json")[0])
    as_yaml = yaml.safe_load(run("--from", FLEET, "-o", "yaml")[0])
    assert as_json == as_yaml
    assert as_json["kind"] == "Workloads"


def test_names_alone_can_be_asked_for():
    assert run("--from", FLEET, "-o", "name", "--exclude", "*-*", "--exclude", "media/*")[0].split() == [
        "health/deidentification",
        "health/radiology",
        "research/notebooks",
        "search/answers",
        "search/embedder",
        "search/playground",
        "search/reranker",
    ]


def test_a_trace_is_read_with_its_pods_requests(tmp_path):
    trace = tmp_path / "t.csv"
    trace.write_text("pod,minute,duty,mem_mib\na,0,5,100\n")
    out, err = run(
        "--from-trace", str(trace), "--today", "L40S", "--pod", "cpu=500m,memory=1Gi", "-o", "json"
    )
    assert json.loads(out)["workloads"][0]["pod"] == {"cpu": "500m", "memory": "1Gi"}
    assert "note: GenTD26 has no requests" in err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "there is no kubeconfig"),
        (["--from", FLEET, "--from-trace", "x"], "both given"),
        (["--from", FLEET, "--pod", "cpu=1"], "--pod is for traces"),
        (["--from-trace", "x", "--pod", "cpu:1"], "can't be read"),
        (["--from-trace", "x", "--pod", "memory=8"], "no unit"),
        (["--from-trace", "x", "--exclude", "y"], "--exclude is for manifests"),
        (["--from", "/nonexistent"], "no such file"),
        (["--from", FLEET, "--today", "A10H"], "no GPU of EC2"),
    ],
)
def test_bad_usage_is_refused_with_a_fix(arguments, says, monkeypatch, tmp_path):
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(InputError, match=says) as raised:
        run(*arguments)
    assert raised.value.fix


def test_nothing_is_written_where_the_input_is_bad(tmp_path):
    manifests = tmp_path / "m.yaml"
    manifests.write_text(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: p, annotations: {gpuslice.io/gpu-memoy: 1Gi}}\n"
        "spec: {containers: [{name: a, resources: {limits: {nvidia.com/gpu: 1}}}]}\n"
    )
    with pytest.raises(InputError, match="unknown annotation"):
        run("--from", str(manifests), "--out", str(tmp_path / "w.yaml"))
    assert not (tmp_path / "w.yaml").exists()


def test_manifests_come_from_stdin(monkeypatch):
    out, _ = run("--from", "-", "-n", "prod", "-o", "name", stdin=json.dumps(POD))
    assert out == "prod/p\n"


def test_a_dump_is_scanned_like_its_cluster(gpuslice, tmp_path):
    from gpuslice.cluster.seen import dump
    from tests.cluster.made import deployment, node, pod, snapshot

    asks = {"nvidia.com/gpu": "1"}
    dump.write(
        snapshot(
            deployment("search", asks=asks),
            pod("search-1", asks=asks, owner=("Deployment", "search"), node="n1"),
            node("n1", "g6.xlarge"),
        ),
        str(tmp_path / "dump"),
    )
    ended = gpuslice("scan", "--from", tmp_path / "dump", "--out", tmp_path / "workloads.yaml")
    assert ended.code == 0
    assert "shop/search" in ended.out
    assert "1 GPUs held; asked for: 1 nvidia.com/gpu" in ended.err
    assert "now: $0.80 an hour ($588 a month)" in ended.err
    assert "'on': L4" in (tmp_path / "workloads.yaml").read_text()
    assert gpuslice("scan", "--from", tmp_path / "dump", "-l", "app=other", "-o", "name").out.strip() == ""


def test_options_of_a_cluster_are_refused_for_files(gpuslice):
    ended = gpuslice("scan", "--from", FLEET, "--context", "prod")
    assert ended.code == 2
    assert "--context is for a cluster" in ended.err


@pytest.fixture
def live(monkeypatch):
    """A served cluster with two tenants' workloads."""
    from contextlib import contextmanager

    from gpuslice.cli import connection
    from tests.cluster.made import deployment, node, pod
    from tests.cluster.served import Served

    asks = {"nvidia.com/gpu": "1"}
    objects = [node("n1", "g6.xlarge")]
    for name, namespace in (("search", "shop"), ("lab", "research")):
        secret = [{"name": "KEY", "value": "S3CRET"}]
        objects.append(deployment(name, namespace, asks=asks, labels={"app": name}, env=secret))
        objects.append(
            pod(f"{name}-1", namespace, asks=asks, owner=("Deployment", name), node="n1", env=secret)
        )
    served = Served(*objects)

    @contextmanager
    def connected(*_):
        yield served.api()

    monkeypatch.setattr(connection, "connected", connected)
    return served


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ((), ["research/lab", "shop/search"]),
        (("-A",), ["research/lab", "shop/search"]),
        (("-n", "shop"), ["shop/search"]),
        (("-l", "app=lab"), ["research/lab"]),
        (("--exclude", "shop/*"), ["research/lab"]),
    ],
    ids=str,
)
def test_a_live_cluster_is_scanned_in_part_or_whole(gpuslice, live, options, names):
    ended = gpuslice("scan", *options, "-o", "name")
    assert (ended.code, ended.out.split()) == (0, names)


def test_all_namespaces_and_one_are_not_asked_for_together(gpuslice, live):
    for verb in ("scan", "status"):
        ended = gpuslice(verb, "-A", "-n", "shop")
        assert (ended.code, "-n and -A were both given" in ended.err) == (2, True)


def test_a_dump_of_a_live_cluster_holds_no_value_of_a_variable_and_answers_as_it_does(
    gpuslice, live, tmp_path
):
    said = gpuslice("scan", "-o", "json", "--dump", tmp_path / "dump")
    assert said.code == 0
    assert "5 objects in" in said.err
    assert "S3CRET" not in "".join(each.read_text() for each in (tmp_path / "dump").iterdir())
    assert gpuslice("scan", "--from", tmp_path / "dump", "-o", "json").out == said.out
    assert gpuslice("doctor", "--from", tmp_path / "dump").code == 0


# --- a repository ------------------------------------------------------------------------------------------------

DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  replicas: 3
  template:
    spec:
      containers: [{name: main, image: app, resources: {limits: {nvidia.com/gpu: 1}}}]
"""
TEMPLATE = "apiVersion: v1\nkind: Service\nmetadata:\n  name: {{ .Release.Name }}\n"


def test_what_cannot_be_read_is_said_at_the_end_and_refused_if_that_is_wanted(gpuslice, tmp_path):
    (tmp_path / "a.yaml").write_text(DEPLOYMENT)
    (tmp_path / "b.yaml").write_text(TEMPLATE)
    ended = gpuslice("scan", "--from", tmp_path)
    assert (ended.code, "shop/web" in ended.out) == (0, True)
    assert f"note: not read: {tmp_path}/b.yaml:4:10: a key is no plain text" in ended.err
    strict = gpuslice("scan", "--from", tmp_path, "--strict")
    assert (strict.code, strict.out) == (2, "")
    assert len(strict.err.splitlines()) == 2


def test_an_overlay_is_built_where_that_is_asked_for(gpuslice, tmp_path, monkeypatch):
    program = tmp_path / "bin" / "kubectl"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\ncat "$2/built"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    overlay = tmp_path / "prod"
    overlay.mkdir()
    (overlay / "kustomization.yaml").write_text("resources: [web.yaml]\nreplicas: [{name: web, count: 9}]\n")
    (overlay / "web.yaml").write_text(DEPLOYMENT)
    (overlay / "built").write_text(DEPLOYMENT.replace("replicas: 3", "replicas: 9"))
    named = gpuslice("scan", "--from", overlay)
    assert f"kubectl kustomize {overlay} | gpuslice scan --from -" in named.err
    built = gpuslice("scan", "--from", overlay, "--build", "-o", "json")
    assert [each["replicas"] for each in json.loads(built.out)["workloads"]] == [9]


def test_nodes_among_objects_tell_the_gpu_and_the_region(gpuslice, tmp_path):
    node = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": "n1",
            "labels": {
                "node.kubernetes.io/instance-type": "g6.xlarge",
                "topology.kubernetes.io/region": "eu-west-1",
            },
        },
    }
    containers = [{"name": "a", "resources": {"limits": {"nvidia.com/gpu": 1}}}]
    pod = {**POD, "spec": {"containers": containers, "nodeName": "n1"}}
    file = tmp_path / "in.json"
    file.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": [pod, node]}))
    made = json.loads(gpuslice("scan", "--from", file, "-o", "json").out)
    assert made["region"] == "eu-west-1"
    assert made["workloads"][0]["need"]["on"] == "L4"


def test_build_and_strict_are_for_manifests(gpuslice):
    for option in ("--build", "--strict"):
        ended = gpuslice("scan", option)
        assert (ended.code, "for manifests" in ended.err) == (2, True)
