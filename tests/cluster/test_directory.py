"""A rendered directory read back: what a plan is applied from doesn't decide what is applied."""

import pytest

from gpuslice.cluster.apply.directory import read_directory
from gpuslice.render import cluster_wide, manifests
from gpuslice.render.bundle import LeftAlone
from tests.render.plans import CATALOG, PLANS, SETTINGS, SHARED, TS4, assignment, plan, pool

WIDGET = {
    "kind": "Widget",
    "apiVersion": "example.com/v1",
    "podSpec": "/spec/pod",
    "container": "main",
    "gpuLimits": ["nvidia.com/gpu"],
}
ODD = plan(
    (pool("p", TS4, ("g6.xlarge",)), pool("q", TS4, ("g6.xlarge",))),
    (
        assignment("shop/web.v1", "p", SHARED, target={"container": "main"}),
        assignment("shop/widget", "p", SHARED, target=WIDGET),
        assignment("alone", "p", SHARED, target={"kind": "Job", "container": "main"}),
        assignment("shop/both", "p", SHARED),
        assignment("shop/both", "q", SHARED),
        assignment("Trace/Task_1", "q", SHARED),
    ),
)


def written(files, folder):
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return str(folder)


@pytest.mark.parametrize("made", [*PLANS.values(), ODD], ids=[*PLANS, "odd"])
def test_a_plans_directory_is_read_as_the_values_that_were_rendered(made, tmp_path):
    folder = written(manifests.render(made, CATALOG, SETTINGS), tmp_path)
    wanted = manifests.bundle(made, CATALOG, SETTINGS)
    assert read_directory(folder) == wanted
    assert read_directory(folder).digest == wanted.digest
    assert wanted.objects


@pytest.mark.parametrize("text", ["time-slicing=4", "mps=4", "mig=all-1g.10gb"])
def test_so_is_that_of_one_setting_for_all_gpus(text, tmp_path):
    setting = cluster_wide.parse(text)
    folder = written(cluster_wide.render(setting, "gpu-operator"), tmp_path)
    assert read_directory(folder) == cluster_wide.bundle(setting, "gpu-operator")


def test_what_is_not_patched_is_known_by_workload():
    several = "its replicas go to several pools, and one template can name only one"
    assert manifests.bundle(ODD, CATALOG, SETTINGS).unpatched == (
        LeftAlone("Trace/Task_1", "2 to pool q: its name is none that a Kubernetes object can have"),
        LeftAlone("shop/both", f"2 to pool p: {several}"),
        LeftAlone("shop/both", f"2 to pool q: {several}"),
    )


def test_another_limit_is_another_digest():
    one = manifests.bundle(ODD, CATALOG, SETTINGS)
    other = manifests.bundle(PLANS["slots"], CATALOG, SETTINGS)
    assert one.digest != other.digest
