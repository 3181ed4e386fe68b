"""The reasons that people read."""

from gpuslice.karpenter.model import Taint
from gpuslice.karpenter.provision import provision
from gpuslice.karpenter.requirements import INSTANCE_TYPE, ZONE, requirement
from gpuslice.karpenter.templates import Pools
from gpuslice.karpenter.why import why_node, why_not
from tests.karpenter.cases import SHARED, kind, machine, pods, pool, sliced

MIXED = {"g6.xlarge": 4, "g6.12xlarge": 16}


def test_a_dear_node_is_explained_by_the_pod_that_made_the_cheap_type_fall_out():
    pools = Pools([pool("a", *MIXED)], overlays=sliced("a", MIXED))
    decision = provision(pools, [], pods(kind(), 5))
    assert why_node(pools, decision, decision.new[0]) == (
        "made for w: 0 nodes there and 0 to be made don't take it",
        "in a: the only NodePool",
        "g6.xlarge fell out with pod 5 of 5: not 5 of nvidia.com/gpu.shared",
        "g6.12xlarge, on-demand, $4.60 an hour: the only type left",
    )


def test_pools_passed_over_and_the_order_of_names_are_told():
    pools = Pools(
        [
            pool("a", machine("g5.xlarge", **{SHARED: 4}), machine("g6.xlarge", **{SHARED: 4})),
            pool("b", machine("g6.2xlarge", **{SHARED: 4}), taints=(Taint("t", "x"),)),
        ]
    )
    decision = provision(pools, [], pods(kind(), 1))
    assert why_node(pools, decision, decision.new[0])[1:] == (
        "not in b: the pod doesn't tolerate its taint t=x:NoSchedule",
        "in a: the first that fits; among 2 pools of weight 0 the last name comes first, whatever they cost",
        "g6.xlarge, on-demand, $0.80 an hour: the cheapest of 2 types left",
    )


def reason(pools, of, count=1):
    decision = provision(pools, [], pods(of, count))
    return why_not(pools, decision, decision.failed[0])


def test_a_pod_that_fails_is_told_why_by_each_pool():
    fits = machine("g6.xlarge", **{SHARED: 4})
    assert reason(Pools([pool("a", fits)]), kind(slots=5)) == (
        "a: no instance type has 5 of nvidia.com/gpu.shared for pods",
    )
    assert reason(Pools([pool("a", fits)]), kind(selector={ZONE: "x"})) == (
        "a: no instance type left has what the pod wants, or EC2 is out of it",
    )
    assert reason(Pools([pool("a", fits)]), kind(selector={"team": "x"})) == ("a: the pod wants team in [x]",)
    assert reason(Pools([pool("a", fits, limits={"cpu": 4000})]), kind(), 9) == (
        "a: its limit of cpu is reached",
    )
    both = Pools([pool("a", fits, machine("big.x", cpu=99_000))])
    assert reason(both, kind(cpu=9000)) == ("a: no instance type has all that the pod asks for together",)
    assert reason(Pools([pool("a", machine("x", available=False))]), kind()) == (
        "no NodePool has any instance type that it may launch",
    )
    two = requirement(INSTANCE_TYPE, "Exists", min_values=2)
    values = Pools([pool("a", fits, machine("big.x", cpu=99_000, **{SHARED: 4}), requirements=(two,))])
    assert reason(values, kind(cpu=9000)) == ("a: fewer instance types fit than its minValues ask for",)
