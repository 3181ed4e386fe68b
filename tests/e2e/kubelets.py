"""Plays the kubelets of nodes without one: bound pods run and become ready, deleted pods go. Karpenter isn't needed."""

import threading
import time
from contextlib import contextmanager, suppress

from lightkube import ApiError
from lightkube.models.core_v1 import NodeCondition, NodeStatus
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Node, Pod
from lightkube.types import PatchType

NEVER_READY = "never-ready"
"""A pod of an image with this word never becomes ready."""


def make_node(client, name, *, resources, labels=None, taints=()):
    """A node that is ready and offers these."""
    from lightkube.models.core_v1 import NodeSpec

    client.create(
        Node(metadata=ObjectMeta(name=name, labels=labels or {}), spec=NodeSpec(taints=list(taints)))
    )
    offered = {"cpu": "64", "memory": "256Gi", "pods": "110", **resources}
    ready = NodeCondition(type="Ready", status="True", reason="Played", message="")
    status = NodeStatus(capacity=offered, allocatable=offered, conditions=[ready])
    client.patch(Node.Status, name, {"status": status.to_dict()})
    with suppress(ApiError):
        client.patch(
            Node, name, {"spec": {"taints": [each.to_dict() for each in taints]}}, patch_type=PatchType.MERGE
        )


@contextmanager
def played(control_plane):
    """Until the end of the block, pods run on whatever node they are bound to."""
    stop = threading.Event()
    with control_plane.client() as client:
        # msgspec (0.22) crashes where two threads meet a type for the first time at once.
        list(client.list(Pod, namespace="*"))

    def play():
        with control_plane.client() as client:
            while not stop.is_set():
                with suppress(ApiError):
                    for pod in client.list(Pod, namespace="*"):
                        _step(client, pod)
                time.sleep(0.2)

    thread = threading.Thread(target=play, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(30)


def _step(client, pod):
    name, namespace = pod.metadata.name, pod.metadata.namespace
    with suppress(ApiError):
        if pod.metadata.deletionTimestamp:
            client.delete(Pod, name, namespace=namespace, grace_period=0)
        elif pod.spec.nodeName and (pod.status is None or pod.status.phase == "Pending"):
            ready = "False" if NEVER_READY in pod.spec.containers[0].image else "True"
            conditions = [{"type": kind, "status": ready} for kind in ("Ready", "ContainersReady")]
            client.patch(
                Pod.Status,
                name,
                {"status": {"phase": "Running", "conditions": conditions}},
                namespace=namespace,
            )
