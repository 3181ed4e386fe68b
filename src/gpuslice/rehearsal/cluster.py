"""A whole scratch cluster: control plane, played EC2 and nodes, Node Feature Discovery's master, and Karpenter."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gpuslice.cloud.catalog import Catalog
from gpuslice.rehearsal import ec2
from gpuslice.rehearsal.build import Binaries
from gpuslice.rehearsal.control_plane import ControlPlane
from gpuslice.rehearsal.karpenter import PlayedEc2, start_ec2, start_karpenter, start_nfd_master
from gpuslice.rehearsal.nodes import NodePlayer
from gpuslice.render.settings import RenderSettings


@dataclass(frozen=True, slots=True)
class ScratchCluster:
    """A running one.

    Attributes:
        control_plane: of it; has the kubeconfig and the logs.
        ec2: to make instance types run out.
        nodes: to make nodes misbehave.
    """

    control_plane: ControlPlane
    ec2: PlayedEc2
    nodes: NodePlayer


@contextmanager
def scratch_cluster(
    binaries: Binaries, catalog: Catalog, *, directory: Path | None = None, more_crds: Iterable[Path] = ()
) -> Iterator[ScratchCluster]:
    """Start everything, and end it when the block is left.

    Args:
        binaries: all three.
        catalog: region, instance types and prices.
        directory: for logs and state; None: a temporary one, removed at the end.
        more_crds: files with CRDs to install besides.

    Raises:
        EnvironmentFailedError: something doesn't start.
    """
    with ControlPlane.start(binaries, directory, more_crds=more_crds) as control_plane:
        played = start_ec2(control_plane, catalog, sys.executable)
        start_nfd_master(control_plane, binaries)
        start_karpenter(control_plane, binaries, played)
        with NodePlayer(control_plane.kubeconfig, played, catalog).playing() as player:
            yield ScratchCluster(control_plane, played, player)


def settings(consolidate_after: str = "5m") -> RenderSettings:
    """What manifests are rendered with that are meant for a scratch cluster."""
    return RenderSettings(cluster=ec2.CLUSTER, role=ec2.ROLE, consolidate_after=consolidate_after)
