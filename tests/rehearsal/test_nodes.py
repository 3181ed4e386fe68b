"""What the played nodes do with pods."""

from pathlib import Path

from lightkube.resources.core_v1 import Pod

from gpuslice.cloud.selection import choose
from gpuslice.rehearsal.karpenter import PlayedEc2
from gpuslice.rehearsal.nodes import NodePlayer


def pod(uid, *, leaving=False):
    """A pod of a StatefulSet, bound to a node."""
    metadata = {"name": "notebooks-0", "namespace": "research", "uid": uid}
    if leaving:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    return Pod.from_dict({"metadata": metadata, "status": {"phase": "Running"}})


def test_a_pod_is_ended_once_for_the_next_one_has_its_name():
    played = PlayedEc2("http://127.0.0.1:1", "us-east-1", Path("unavailable.json"))
    player = NodePlayer(Path("kubeconfig"), played, choose("", "us-east-1"))
    ended = []
    for operation, each in (
        ("MODIFIED", pod("first", leaving=True)),
        ("MODIFIED", pod("first", leaving=True)),
        ("DELETED", pod("first", leaving=True)),
        ("ADDED", pod("second")),
        ("MODIFIED", pod("second", leaving=True)),
    ):
        work = player._on_pod(operation, each)
        if work is not None:
            ended.append(each.metadata.uid)
            work.close()
    assert ended == ["first", "second"]
