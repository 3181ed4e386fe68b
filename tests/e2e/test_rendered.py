"""Everything that is rendered passes the real CRDs, their CEL rules included."""

import subprocess
import sys
from pathlib import Path

import pytest
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Namespace

from gpuslice.cluster.apply.directory import read_directory
from gpuslice.cluster.apply.journal import Ref
from gpuslice.cluster.apply.writing import put
from gpuslice.cluster.client.api import connect
from gpuslice.cluster.client.kubeconfig import load
from gpuslice.cluster.client.resources import resource_of
from gpuslice.render import manifests
from tests.e2e.applying import create_if_absent, wait_for_storage
from tests.render.plans import BOTTLEROCKET, CATALOG, METERED, MIG, SEATS, SETTINGS, SLOTS

EXAMPLES = Path(__file__).parents[2] / "examples"


def accepted(control_plane, client, directory):
    """Try every object at the API server, strictly; how many there were."""
    wait_for_storage(client)
    create_if_absent(client, Namespace(metadata=ObjectMeta(name="gpu-operator")))
    objects = read_directory(str(directory)).objects
    with connect(load(str(control_plane.kubeconfig))) as api:
        for each in objects:
            resource = resource_of(each["apiVersion"], each["kind"])
            assert resource is not None, each["kind"]
            metadata = each["metadata"]
            ref = Ref.of(resource, metadata["name"], metadata.get("namespace", ""))
            put(api, ref, each, force=False, dry_run=True)
    return len(objects)


@pytest.mark.parametrize(
    "made",
    [SLOTS, METERED, MIG, BOTTLEROCKET, SEATS],
    ids=["slots", "metered", "mig", "bottlerocket", "seats"],
)
def test_every_mechanism_is_accepted(control_plane, client, tmp_path, made):
    for path, text in manifests.render(made, CATALOG, SETTINGS).items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    assert accepted(control_plane, client, tmp_path) > 3


@pytest.mark.parametrize("stack", ["al2023", "bottlerocket"])
@pytest.mark.parametrize("example", ["fleet", "gentd26/workloads.yaml"])
def test_the_examples_plans_are_accepted(control_plane, client, tmp_path, example, stack):
    def gpuslice(*arguments):
        command = [sys.executable, "-m", "gpuslice", *map(str, arguments)]
        subprocess.run(command, check=False, capture_output=True, timeout=300)

    gpuslice(
        "plan", "-f", EXAMPLES / example, "--stack", stack, "--time-limit", 5, "--out", tmp_path / "plan.yaml"
    )
    gpuslice(
        *(
            "render",
            "-f",
            tmp_path / "plan.yaml",
            "--cluster",
            "lab",
            "--role",
            "NodeRole",
            "--out",
            tmp_path / "m",
        )
    )
    assert accepted(control_plane, client, tmp_path / "m") > 10
