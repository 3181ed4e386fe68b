"""Pods that wait for a GPU which they claim by Dynamic Resource Allocation, and that nothing makes a node for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gpuslice.cluster.seen.snapshot import pod_objects
from gpuslice.workloads.claims import Claims
from gpuslice.workloads.objects import fields_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpuslice.cluster.client.objects import Pod
    from gpuslice.cluster.seen.snapshot import Snapshot

NO_NODES: Final = "neither Karpenter on AWS nor gpuslice makes nodes for claims"


def waiting_for_claims(snapshot: Snapshot) -> Iterator[tuple[Pod, tuple[str, ...]]]:
    """Pods without a node that claim a GPU and ask for none otherwise, each with what it claims in words."""
    claims = Claims(snapshot.objects)
    pods = [pod for pod in snapshot.claiming_pods if not pod.spec.node_name]
    for pod, plain in zip(pods, pod_objects(pods, snapshot.where), strict=True):
        used = tuple(use.what for use in claims.uses(fields_of(plain.data, "spec"), 1, plain.namespace))
        if used:
            yield pod, used
