"""What is waited for: Karpenter's verdict on its objects, and rollouts."""

import pytest

from gpuslice.cluster.apply.journal import Ref
from gpuslice.cluster.apply.waiting import Patience, rollout, until_ready
from gpuslice.cluster.client.resources import NODE_OVERLAY, NODE_POOL
from gpuslice.errors import AnswerIsNoError
from tests.cluster.kept import READY, Kept
from tests.cluster.sliced import node_pool, overlay

OVERLAY = Ref.of(NODE_OVERLAY, "l4-ts4-1gpu")
POOL = Ref.of(NODE_POOL, "l4-ts4")
KEY = (NODE_OVERLAY.title, "", "l4-ts4-1gpu")


@pytest.fixture
def cluster():
    return Kept(overlay(), node_pool())


def patience(pause=lambda _seconds: None, seconds=3):
    now = [0.0]

    def let_pass(given):
        now[0] += given
        pause(given)

    return Patience(seconds, lambda _text: None, clock=lambda: now[0], pause=let_pass)


def test_what_is_ready_is_not_waited_for(cluster):
    until_ready(cluster.api(), [OVERLAY, POOL], patience(pytest.fail))


@pytest.mark.parametrize(
    ("conditions", "said"),
    [
        ([], "Karpenter hasn't looked at it yet"),
        (
            [
                READY[0],
                {"type": "ValidationSucceeded", "status": "False", "reason": "Conflict", "message": "with b"},
            ],
            "Conflict: with b",
        ),
        (
            [{"type": "Ready", "status": "False", "reason": "NotReady", "message": "no subnets"}],
            "Ready=False, NotReady: no subnets",
        ),
        ([{**each, "observedGeneration": 1} for each in READY], "hasn't looked at it since it changed"),
    ],
    ids=["no verdict", "refused though ready", "not ready", "verdict on an earlier state"],
)
def test_an_overlay_that_karpenter_does_not_accept_is_no_way_on(cluster, conditions, said):
    live = cluster.kept[KEY]
    live["status"] = {"conditions": conditions}
    live["metadata"]["generation"] = 2
    with pytest.raises(AnswerIsNoError, match=f"is not ready after 3 s: .*{said}") as error:
        until_ready(cluster.api(), [OVERLAY, POOL], patience())
    assert error.value.where == "NodeOverlay l4-ts4-1gpu"


def test_a_verdict_that_comes_in_time_ends_the_wait(cluster):
    cluster.kept[KEY]["status"] = {}
    until_ready(
        cluster.api(),
        [OVERLAY],
        patience(lambda _seconds: cluster.kept[KEY].update(status={"conditions": READY})),
    )


def test_an_object_that_somebody_deletes_meanwhile_is_told(cluster):
    del cluster.kept[KEY]
    with pytest.raises(AnswerIsNoError, match="is gone: somebody deleted it"):
        until_ready(cluster.api(), [OVERLAY], patience())


def workload(kind, status, replicas=2, generation=1):
    spec = {} if kind == "DaemonSet" else {"replicas": replicas}
    return {"kind": kind, "metadata": {"generation": generation}, "spec": spec, "status": status}


@pytest.mark.parametrize(
    ("kind", "status", "state"),
    [
        ("Deployment", {}, "its controller hasn't seen the change yet"),
        ("Deployment", {"updatedReplicas": 1, "replicas": 2}, "1 of 2 pods are new"),
        ("Deployment", {"updatedReplicas": 2, "replicas": 3, "availableReplicas": 3}, "1 old pods remain"),
        (
            "Deployment",
            {"updatedReplicas": 2, "replicas": 2, "availableReplicas": 1},
            "1 of 2 new pods are available",
        ),
        ("Deployment", {"updatedReplicas": 2, "replicas": 2, "availableReplicas": 2}, ""),
        (
            "StatefulSet",
            {"replicas": 2, "availableReplicas": 2, "currentRevision": "a", "updateRevision": "a"},
            "",
        ),
        (
            "StatefulSet",
            {
                "replicas": 2,
                "updatedReplicas": 1,
                "availableReplicas": 2,
                "currentRevision": "a",
                "updateRevision": "b",
            },
            "1 of 2 pods are new",
        ),
        (
            "DaemonSet",
            {"desiredNumberScheduled": 3, "updatedNumberScheduled": 3, "numberAvailable": 2},
            "2 of 3 new pods are available",
        ),
        (
            "DaemonSet",
            {"desiredNumberScheduled": 3, "updatedNumberScheduled": 3, "numberAvailable": 3},
            "",
        ),
    ],
)
def test_a_rollout_is_done_once_all_pods_are_new_and_available(kind, status, state):
    seen = {"observedGeneration": 1, **status} if status else {}
    assert rollout(workload(kind, seen)) == (state, False)


def test_a_rollout_that_its_controller_gave_up_is_not_waited_for():
    gave_up = {"type": "Progressing", "reason": "ProgressDeadlineExceeded", "message": "timed out"}
    state, failed = rollout(workload("Deployment", {"observedGeneration": 1, "conditions": [gave_up]}))
    assert (state, failed) == ("0 of 2 new pods are available: timed out", True)
