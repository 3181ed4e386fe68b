"""What is deleted of earlier plans, and what stays for pods that need it."""

import pytest

from gpuslice.cluster.apply import applyset
from gpuslice.cluster.apply.journal import Ref
from gpuslice.cluster.apply.removing import remove
from gpuslice.cluster.apply.writing import put
from gpuslice.cluster.client.resources import NODE_OVERLAY, NODE_POOL
from tests.cluster.kept import Kept
from tests.cluster.made import node, pod
from tests.cluster.sliced import ONE, SEAT, node_pool, overlay, seated_pod
from tests.cluster.test_faults import apply, cluster, roll_back, wanted

OFFERS = {"nvidia.com/gpu.shared": "4", SEAT: "4"}
OWN, OTHER = Ref.of(NODE_OVERLAY, "own-1gpu"), Ref.of(NODE_OVERLAY, "other-1gpu")


def removed(*pods, going=(OWN,), capacity=OFFERS):
    """Why the pool of a workload alone stays, of which no node is there, beside another with seats; "": it went."""
    served = Kept(*pods)
    api = served.api()
    ref = Ref.of(NODE_POOL, "own")
    for each, made in (
        (ref, node_pool("own")),
        (OWN, overlay("own-1gpu", pools=("own",), capacity=OFFERS)),
        (OTHER, overlay("other-1gpu", pools=("other",), capacity=capacity)),
    ):
        bare = {key: value for key, value in made.items() if key != "status"}
        bare["metadata"] = {"name": each.name}
        put(api, each, applyset.labelled(bare), force=False)
    stayed = remove(api, ref, going)
    assert (stayed is None) == (("nodepools.karpenter.sh", "", "own") not in served.kept)
    return "" if stayed is None else stayed.why


@pytest.mark.parametrize("on", ["n1", ""])
def test_a_pool_that_alone_offers_a_seat_stays_while_pods_ask_for_it_wherever_they_are(on):
    said = "NodePool own stays: 1 pods ask for seats that nothing else offers (search/search-1)"
    assert removed(seated_pod(on=on), capacity=ONE) == said
    assert removed(seated_pod(on=on), capacity=ONE | {SEAT: "0"}) == said


def test_a_pool_goes_where_another_that_stays_offers_the_seat():
    assert removed(seated_pod()) == ""
    assert removed(seated_pod(), going=(OWN, OTHER)) != ""


def test_pods_that_need_no_seat_any_more_keep_no_pool():
    gone = seated_pod()
    gone["metadata"]["deletionTimestamp"] = "2026-11-23T00:00:00Z"
    assert removed(gone, capacity=ONE) == ""
    assert removed(seated_pod(phase="Succeeded"), pod("other", asks=ONE), capacity=ONE) == ""


def test_what_was_made_for_a_pool_stays_as_long_as_that():
    served, both, one = cluster(), wanted(), wanted(metered=False)
    apply(served, both)
    before = served.standing()
    served.store(node("n1", labels={"karpenter.sh/nodepool": "chat-l4-704"}))
    served.store(pod("worker-1", "chat", node="n1"))
    (said,) = apply(served, one)
    assert said == "NodePool chat-l4-704 stays: 1 pods still run on its nodes (chat/worker-1)"
    assert before.keys() <= served.standing().keys()
    del served.kept["pods", "chat", "worker-1"]
    assert apply(served, one) == []
    gone = {kind for kind, _, _ in before.keys() - served.standing().keys()}
    assert {"nodepools.karpenter.sh", "nodeoverlays.karpenter.sh"} <= gone
    assert any("nodefeaturerules" in each for each in gone)


def test_a_rollback_leaves_what_a_pool_needs_that_stays():
    served = cluster()
    before = served.standing()
    apply(served, wanted())
    served.store(node("n1", labels={"karpenter.sh/nodepool": "chat-l4-704"}))
    served.store(pod("worker-1", "chat", node="n1"))
    assert roll_back(served, seconds=0) != []
    kinds = {kind for kind, _, _ in served.standing()}
    assert {
        "nodepools.karpenter.sh",
        "nodeoverlays.karpenter.sh",
        "ec2nodeclasses.karpenter.k8s.aws",
    } <= kinds
    del served.kept["pods", "chat", "worker-1"]
    del served.kept["nodes", "", "n1"]
    assert roll_back(served, seconds=0) == []
    assert served.standing() == before
