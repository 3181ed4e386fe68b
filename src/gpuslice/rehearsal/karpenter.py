"""Karpenter's AWS controller and Node Feature Discovery's master: real programs, pointed at what is played."""

from __future__ import annotations

import urllib.error
import urllib.request
from functools import partial
from pathlib import Path

import msgspec

from gpuslice.cloud.catalog import Catalog
from gpuslice.hardware.stacks import Stack
from gpuslice.rehearsal import ec2
from gpuslice.rehearsal.build import Binaries, version
from gpuslice.rehearsal.control_plane import ControlPlane
from gpuslice.rehearsal.ports import free_ports
from gpuslice.render.settings import PINNED_IMAGE

_SYSTEM: str = "kube-system"


def start_ec2(control_plane: ControlPlane, catalog: Catalog, interpreter: str) -> PlayedEc2:
    """Start the played EC2 beside a control plane, and wait until it answers.

    Args:
        control_plane: whose processes it joins.
        catalog: region and prices.
        interpreter: Python.
    """
    directory = control_plane.directory
    (port,) = free_ports(1)
    played = PlayedEc2(
        f"http://127.0.0.1:{port}",
        catalog.region,
        directory / "unavailable.json",
    )
    played.out_of_capacity(())
    major_minor = version("k8s.io/kubernetes").removeprefix("v").rpartition(".")[0]
    settings = ec2.Settings(
        port=port,
        region=catalog.region,
        kubernetes=major_minor,
        al2023=PINNED_IMAGE[Stack.AL2023],
        bottlerocket=PINNED_IMAGE[Stack.BOTTLEROCKET],
        prices={
            kind.name: {purchase.value: micro / 1e6 for purchase, micro in kind.prices.items()}
            for kind in catalog.instance_types
        },
        unavailable=str(played.unavailable),
        ready=str(directory / "ec2-ready"),
    )
    file = directory / "ec2.json"
    file.write_bytes(msgspec.json.encode(settings))
    control_plane.processes.start("ec2", (interpreter, "-m", ec2.__name__, file))
    control_plane.processes.wait_until(Path(settings.ready).exists, "the played EC2")
    return played


class PlayedEc2(msgspec.Struct, frozen=True):
    """A running EC2 of ours.

    Attributes:
        endpoint: its URL.
        region: of AWS.
        unavailable: the file that tells it what is out of capacity.
    """

    endpoint: str
    region: str
    unavailable: Path

    def environment(self) -> dict[str, str]:
        """What makes an AWS client talk to it, and to nothing else."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "played",
            "AWS_SECRET_ACCESS_KEY": "played",
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def out_of_capacity(self, types: tuple[str, ...]) -> None:
        """From now on there is none of these instance types; there is enough of all others."""
        written = self.unavailable.with_suffix(".new")
        written.write_bytes(msgspec.json.encode(types))
        written.rename(self.unavailable)


def start_karpenter(control_plane: ControlPlane, binaries: Binaries, played: PlayedEc2) -> None:
    """Start Karpenter and wait until it is ready."""
    metrics, health = free_ports(2)
    settings = {
        "KUBECONFIG": str(control_plane.kubeconfig),
        "CLUSTER_NAME": ec2.CLUSTER,
        "CLUSTER_ENDPOINT": control_plane.server,
        "DISABLE_LEADER_ELECTION": "true",
        "FEATURE_GATES": "NodeOverlay=true",
        # There is no price list to ask: Karpenter's own table of on-demand prices counts.
        "ISOLATED_VPC": "true",
        "KUBERNETES_MIN_VERSION": "1.19.0-0",
        "SYSTEM_NAMESPACE": _SYSTEM,
        "METRICS_PORT": str(metrics),
        "HEALTH_PROBE_PORT": str(health),
    }
    control_plane.processes.start("karpenter", (binaries.karpenter,), settings | played.environment())
    control_plane.processes.wait_until(partial(_ready, f"http://127.0.0.1:{health}/readyz"), "Karpenter")


def start_nfd_master(control_plane: ControlPlane, binaries: Binaries) -> None:
    """Start Node Feature Discovery's master: it makes labels and extended resources of what nodes' workers report."""
    from lightkube.models.core_v1 import NodeSpec
    from lightkube.models.meta_v1 import ObjectMeta
    from lightkube.resources.core_v1 import Node

    (port,) = free_ports(1)
    home = "nfd-master"
    command = (binaries.nfd_master, "-kubeconfig", control_plane.kubeconfig, "-port", str(port))
    settings = {"NODE_NAME": home, "KUBERNETES_NAMESPACE": _SYSTEM}
    with control_plane.client() as client:
        # At its start, and only then, it cleans the node that it runs on.
        client.create(Node(metadata=ObjectMeta(name=home), spec=NodeSpec(unschedulable=True)))
        control_plane.processes.start("nfd-master", command, settings)
        control_plane.processes.wait_until(partial(_ready, f"http://127.0.0.1:{port}/healthz"), "nfd-master")
        client.delete(Node, home)


def _ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310  loopback
            return bool(answer.status == 200)
    except urllib.error.HTTPError:
        return False
