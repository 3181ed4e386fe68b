"""`gpuslice apply` where there is no GPU Operator, and how its difference is printed."""

import sys
from contextlib import contextmanager

import pytest
import yaml

from gpuslice.cli import apply as verb
from gpuslice.render import manifests
from tests.cluster.kept import Kept
from tests.cluster.made import deployment
from tests.render.plans import CATALOG, METERED_704, SETTINGS, SHARED, TS4, assignment, plan, pool

TARGET = {"container": "main", "gpuLimits": ["nvidia.com/gpu"]}
POLICY = {
    "apiVersion": "nvidia.com/v1",
    "kind": "ClusterPolicy",
    "metadata": {"name": "cluster-policy"},
    "spec": {"devicePlugin": {"enabled": True}, "driver": {"enabled": False}},
}


@pytest.fixture
def directory(tmp_path):
    """A rendered plan of two pools and two workloads."""
    made = plan(
        (
            pool("search-l4-ts4", TS4, ("g6.xlarge",), tenant="search"),
            pool("chat-l4-704", METERED_704, ("g6.xlarge",), tenant="chat"),
        ),
        (
            assignment("search/embedder", "search-l4-ts4", SHARED, target=TARGET),
            assignment("chat/worker", "chat-l4-704", SHARED, gpuMemory="3Gi", gpuTime=90, target=TARGET),
        ),
    )
    for path, text in manifests.render(made, CATALOG, SETTINGS).items():
        file = tmp_path / "manifests" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return tmp_path / "manifests"


@pytest.fixture
def cluster(monkeypatch):
    """A served cluster with two workloads and no GPU Operator."""
    asks = {"nvidia.com/gpu": "1"}
    served = Kept(deployment("embedder", "search", asks=asks), deployment("worker", "chat", asks=asks))

    @contextmanager
    def connected(*_):
        yield served.api()

    monkeypatch.setattr(verb, "connected", connected)
    return served


@pytest.fixture
def helm(tmp_path, monkeypatch, cluster):
    """A helm on the PATH, which writes down its arguments and values; the operator is there once it ran."""

    def made(ends_with=0):
        folder = tmp_path / "bin"
        folder.mkdir()
        program = folder / "helm"
        program.write_text(
            f"#!{sys.executable}\nimport pathlib, sys\nhere = pathlib.Path({str(tmp_path)!r})\n"
            "(here / 'arguments').write_text(' '.join(sys.argv[1:]))\n"
            "(here / 'values').write_text(pathlib.Path(sys.argv[sys.argv.index('--values') + 1]).read_text())\n"
            f"sys.exit({ends_with})\n"
        )
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(folder))
        run = verb._install

        def installed(*arguments, **options):
            run(*arguments, **options)
            cluster.store(POLICY)

        monkeypatch.setattr(verb, "_install", installed)
        return tmp_path

    return made


def test_without_the_operator_the_one_command_that_installs_it_is_printed(gpuslice, cluster, directory):
    ended = gpuslice("apply", "-f", directory, "--yes")
    assert ended.code == 1
    assert "the GPU Operator isn't installed" in ended.err
    assert "helm upgrade --install gpu-operator nvidia/gpu-operator --version" in ended.err
    assert "--values gpu-operator/values.yaml" in ended.err
    assert (directory / "gpu-operator" / "values.yaml").exists()
    assert cluster.written == cluster.tried == []


def test_the_operator_is_installed_by_helm_with_the_rendered_values(gpuslice, cluster, directory, helm):
    written = helm()
    ended = gpuslice("apply", "-f", directory, "--install-operator", "--yes")
    assert ended.code == 0, ended.err
    arguments = (written / "arguments").read_text()
    assert arguments.startswith("upgrade --install gpu-operator nvidia/gpu-operator --version")
    assert "--namespace gpu-operator" in arguments
    values = directory / "gpu-operator" / "values.yaml"
    assert yaml.safe_load((written / "values").read_text()) == yaml.safe_load(values.read_text())
    assert {name for kind, _, name in cluster.standing() if kind.startswith("nodepools")} == {
        "search-l4-ts4",
        "chat-l4-704",
    }


def test_helm_does_not_run_before_somebody_has_said_yes(gpuslice, cluster, directory, helm):
    written = helm()
    ended = gpuslice("apply", "-f", directory, "--install-operator")
    assert ended.code == 2
    assert "--yes" in ended.err
    assert not (written / "arguments").exists()
    assert cluster.written == []


def test_a_dry_run_installs_nothing(gpuslice, cluster, directory, helm):
    written = helm()
    assert gpuslice("apply", "-f", directory, "--install-operator", "--dry-run", "--yes").code == 1
    assert not (written / "arguments").exists()


def test_where_helm_fails_or_is_not_there_nothing_is_written(gpuslice, cluster, directory, helm, monkeypatch):
    helm(ends_with=1)
    ended = gpuslice("apply", "-f", directory, "--install-operator", "--yes")
    assert (ended.code, "helm failed" in ended.err) == (3, True)
    monkeypatch.setenv("PATH", "")
    ended = gpuslice("apply", "-f", directory, "--install-operator", "--yes")
    assert (ended.code, "there is no helm on the PATH" in ended.err) == (3, True)
    assert cluster.written == []


def test_the_difference_is_grouped_by_pool_and_summed_up(gpuslice, cluster, directory):
    cluster.store(POLICY)
    ended = gpuslice("apply", "-f", directory, "--workloads", "--dry-run")
    assert ended.code == 0, ended.err
    headings = [line for line in ended.out.splitlines() if line.startswith("== ")]
    assert headings == ["== cluster", "== pool chat-l4-704", "== pool search-l4-ts4", "== workloads"]
    assert "\x1b" not in ended.out
    for words in ("2 pools added", "1 ClusterPolicy changed", "2 Deployments will restart"):
        assert words in ended.err
    assert cluster.written == []


@pytest.mark.parametrize(
    ("setting", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)], ids=str
)
def test_a_terminal_gets_colours(gpuslice, cluster, directory, monkeypatch, setting, coloured):
    cluster.store(POLICY)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in setting.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    out = gpuslice("apply", "-f", directory, "--workloads", "--dry-run").out
    for text, colour in (("+   name: chat-l4-704", 32), ("@ NodePool chat-l4-704  (new)", 36)):
        assert (f"\x1b[{colour}m{text}\x1b[0m" in out) == coloured
        assert text in out
