"""A scratch cluster for the tests: real control plane, real Karpenter, played EC2 and nodes. Run by `make e2e`."""

import os
import sys
from pathlib import Path

import pytest

from gpuslice.rehearsal.build import build
from gpuslice.rehearsal.control_plane import ControlPlane

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


@pytest.fixture(scope="module")
def control_plane():
    """etcd, API server, scheduler, controllers and CRDs; no Karpenter and no nodes. One for each test module."""
    real = os.environ.get(CLUSTER_POLICY_CRD)
    built = build(_say, ("control-plane",))
    with ControlPlane.start(built, more_crds=[Path(real)] if real else []) as running:
        yield running


@pytest.fixture
def client(control_plane):
    with control_plane.client() as connected:
        yield connected
