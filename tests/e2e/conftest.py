"""A scratch cluster for the tests: real control plane, real Karpenter, played EC2 and nodes. Run by `make e2e`."""

import os
import sys
from pathlib import Path

import pytest

from gpuslice.cloud.selection import choose
from gpuslice.rehearsal.build import build
from gpuslice.rehearsal.cluster import scratch_cluster
from gpuslice.rehearsal.control_plane import ControlPlane
from tests.e2e.applying import cleared, prepared, wait_for_pods
from tests.e2e.kubelets import played

CLUSTER_POLICY_CRD = "GPUSLICE_CLUSTERPOLICY_CRD"
"""Environment variable: a file with NVIDIA's own definition of ClusterPolicy; without it our small one stands in."""


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.e2e)


def _say(text):
    print(text, file=sys.__stderr__, flush=True)


@pytest.fixture(scope="session")
def binaries():
    return build(_say)


def _nvidias():
    real = os.environ.get(CLUSTER_POLICY_CRD)
    return [Path(real)] if real else []


@pytest.fixture(scope="module")
def control_plane():
    """etcd, API server, scheduler, controllers and CRDs; no Karpenter and no nodes. One for each test module."""
    built = build(_say, ("control-plane",))
    with ControlPlane.start(built, more_crds=_nvidias()) as running:
        yield running


@pytest.fixture
def scratch(binaries, tmp_path):
    """Karpenter and played nodes as well, and all of it for one test, with what a plan leaves on it."""
    catalog = choose("", "us-east-1")
    with scratch_cluster(binaries, catalog, directory=tmp_path / "scratch", more_crds=_nvidias()) as running:
        yield running


@pytest.fixture
def client(control_plane):
    with control_plane.client() as connected:
        yield connected


@pytest.fixture
def cluster(client):
    """A cluster with a GPU Operator, and nothing of ours."""
    try:
        prepared(client)
        yield client
    finally:
        cleared(client)


@pytest.fixture
def busy(client, control_plane):
    """A cluster whose workloads run on whole GPUs."""
    try:
        prepared(client, workloads=True)
        with played(control_plane):
            wait_for_pods(client, 6)
            yield client
    finally:
        cleared(client)
