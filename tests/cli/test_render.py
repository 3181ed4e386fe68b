"""`gpuslice render`: what it prints, what it writes, and how it refuses."""

import json
from typing import Any

import msgspec
import pytest
import typer
import yaml
from typer.testing import CliRunner

from gpuslice.artefacts.documents import dump_yaml
from gpuslice.cli.render import render
from gpuslice.errors import InputError
from tests.render.plans import SLOTS, TS4, plan, pool

app = typer.Typer()
app.command()(render)

NAMES = [
    "configmap/gpuslice-device-plugin",
    "ec2nodeclass.karpenter.k8s.aws/gpuslice-al2023",
    "nodeoverlay.karpenter.sh/p-1gpu",
    "nodepool.karpenter.sh/p",
]


@pytest.fixture
def plan_file(tmp_path):
    path = tmp_path / "plan.yaml"
    path.write_text(dump_yaml(plan((pool("p", TS4, ("g6.xlarge",)),))))
    return path


def run(*arguments, **more) -> Any:
    result = CliRunner().invoke(app, [str(each) for each in arguments], **more)
    if isinstance(result.exception, InputError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result


def test_it_prints_what_kubectl_would_apply(plan_file):
    printed = run("-f", plan_file, "--cluster", "lab", "--role", "nodes").stdout
    kinds = [each["kind"] for each in yaml.safe_load_all(printed)]
    assert kinds == ["ConfigMap", "EC2NodeClass", "NodeOverlay", "NodePool"]


def test_it_prints_names_and_json(plan_file):
    assert (
        run("-f", plan_file, "--cluster", "lab", "--role", "nodes", "-o", "name").stdout.splitlines() == NAMES
    )
    listed = json.loads(run("-f", plan_file, "--cluster", "lab", "--role", "nodes", "-o", "json").stdout)
    assert [each["kind"] for each in listed] == ["ConfigMap", "EC2NodeClass", "NodeOverlay", "NodePool"]


def test_it_reads_a_plan_from_stdin(plan_file):
    piped = run("-f", "-", "--cluster", "lab", "--role", "nodes", "-o", "name", input=plan_file.read_text())
    assert piped.stdout.splitlines() == NAMES


def test_it_writes_a_directory_and_prints_no_data(plan_file, tmp_path):
    out = tmp_path / "manifests"
    result = run("-f", plan_file, "--cluster", "lab", "--instance-profile", "nodes", "--out", out)
    assert result.stdout == ""
    assert "README.md" in result.stderr
    assert (out / "kustomization.yaml").is_file()
    assert "instanceProfile: nodes" in (out / "karpenter/ec2nodeclasses.yaml").read_text()


def test_options_reach_the_objects(plan_file):
    options = (
        "--image-version",
        "latest",
        "--root-volume",
        50,
        "--consolidate-after",
        "1h",
        "--operator-namespace",
        "gpu",
    )
    printed = run("-f", plan_file, "--cluster", "lab", "--role", "nodes", *options).stdout
    for expected in ("al2023@latest", "volumeSize: 50Gi", "consolidateAfter: 1h", "namespace: gpu"):
        assert expected in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--cluster", "lab"), "--role: nodes need one role or one instance profile"),
        (
            ("--cluster", "lab", "--role", "nodes", "--image-version", "v1.54.0"),
            "--image-version: 'v1.54.0' is no version",
        ),
        (("--cluster", "lab", "--role", "nodes", "-o", "table"), "-o: objects have no table"),
    ],
)
def test_what_it_cannot_take_is_refused_by_the_flag(plan_file, arguments, message):
    with pytest.raises(InputError, match=message):
        run("-f", plan_file, *arguments)


def test_a_wrong_plan_is_refused_by_file_and_field_and_nothing_is_written(tmp_path):
    path = tmp_path / "plan.yaml"
    path.write_text(dump_yaml(msgspec.to_builtins(SLOTS)).replace("g5g.xlarge", "g5g.xlrge"))
    with pytest.raises(InputError, match=r"plan.yaml: pools\[1\].instanceTypes: instance type 'g5g.xlrge'"):
        run("-f", path, "--cluster", "lab", "--role", "nodes", "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_cluster_wide_setting_needs_neither_plan_nor_cluster(tmp_path):
    result = run("--cluster-wide", "time-slicing=4", "--out", tmp_path / "manifests")
    assert result.stdout == ""
    assert sorted(
        each.relative_to(tmp_path / "manifests").as_posix()
        for each in (tmp_path / "manifests").rglob("*")
        if each.is_file() and not each.name.startswith(".")
    ) == [
        "README.md",
        "gpu-operator/cluster-policy-patch.yaml",
        "gpu-operator/device-plugin-config.yaml",
        "gpu-operator/values.yaml",
        "kustomization.yaml",
    ]


@pytest.mark.parametrize("output", ["yaml", "json", "name"])
def test_a_cluster_wide_setting_is_printed_like_a_plan_and_its_limits_go_to_stderr(output):
    result = run("--cluster-wide", "time-slicing=4", "--operator-namespace", "gpu", "-o", output)
    assert "gpuslice-device-plugin" in result.stdout
    assert ("namespace" in result.stdout) == (output != "name")
    assert "note" not in result.stdout
    for limit in ("tenants aren't kept apart", "no limit of memory", "Karpenter isn't told", "ClusterPolicy"):
        assert limit in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "nothing to render was named"),
        (("-f", "plan.yaml", "--cluster-wide", "mps=2"), "-f and --cluster-wide were given"),
        (("--cluster-wide", "mps=2", "--rbac", "view"), "--cluster-wide and --rbac were given"),
        (("--cluster-wide", "mps=2", "--bind-to", "user:me"), "--bind-to: is for a role"),
        (("--rbac", "view", "--role", "nodes"), "--role: is for a plan"),
        (("--rbac", "view", "--out", "x"), "--out: is for a plan"),
        (("--cluster-wide", "mps=2", "--cluster", "lab"), "--cluster: is for a plan"),
        (("--cluster-wide", "mps=2", "--role", "nodes"), "--role: is for a plan"),
        (("--cluster-wide", "mps=2", "-o", "table"), "-o: objects have no table"),
        (("--cluster-wide", "time-slicing=1"), "--cluster-wide: '1' is no number of pods"),
        (("--cluster-wide", "mps=2", "--operator-namespace", "X_"), "--operator-namespace: 'X_' is no name"),
    ],
)
def test_a_cluster_wide_setting_that_cannot_be_is_refused_by_its_flag(tmp_path, arguments, message):
    with pytest.raises(InputError, match=message) as refused:
        run(*arguments, "--out", tmp_path / "out")
    assert refused.value.exit_code == 2
    assert not (tmp_path / "out").exists()


def test_several_plans_in_one_file_are_refused(plan_file):
    plan_file.write_text(plan_file.read_text() + "---\n" + plan_file.read_text())
    with pytest.raises(InputError, match="holds 2 documents"):
        run("-f", plan_file, "--cluster", "lab", "--role", "nodes")


def test_a_role_is_printed_for_kubectl_and_says_where_nobody_is_bound():
    printed = run("--rbac", "apply", "--operator-namespace", "nvidia")
    objects = list(yaml.safe_load_all(printed.stdout))
    assert [(each["kind"], each["metadata"].get("namespace")) for each in objects] == [
        ("Namespace", None),
        ("ClusterRole", None),
        ("Role", "nvidia"),
        ("Role", "gpuslice"),
    ]
    assert "nobody is bound" in printed.stderr
    bound = run("--rbac", "view", "--bind-to", "group:readers", "-o", "name")
    assert "clusterrolebinding.rbac.authorization.k8s.io/gpuslice-view" in bound.stdout.splitlines()
    assert not bound.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--rbac", "aply"), "--rbac: there is no role 'aply'\ndid you mean 'apply'?"),
        (("--rbac", "view", "--bind-to", "me"), "--bind-to: 'me' is nobody"),
        (("--rbac", "view", "--operator-namespace", "X_"), "--operator-namespace: 'X_' is no name"),
    ],
)
def test_a_role_that_cannot_be_is_refused_by_its_flag(arguments, message):
    with pytest.raises(InputError) as refused:
        run(*arguments)
    assert str(refused.value).startswith(message)
