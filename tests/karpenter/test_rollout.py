"""From pods as they arrive to a fleet, and what consolidation leaves of it."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuslice.karpenter.model import Budget, Pod
from gpuslice.karpenter.requirements import CAPACITY_TYPE, requirement
from gpuslice.karpenter.rollout import Arrival, Arrivals, arrivals, rollout
from gpuslice.karpenter.settling import settled
from gpuslice.karpenter.templates import Pools
from tests.karpenter.cases import GPU_MEMORY, SHARED, kind, machine, pool, sliced

ALL = (Budget("100%"),)
ON_DEMAND = (requirement(CAPACITY_TYPE, "In", ["on-demand"]),)
METERED = Pools(
    [pool("m", machine("g6.xlarge", **{SHARED: 10, GPU_MEMORY: 21}), budgets=ALL, requirements=ON_DEMAND)]
)
EIGHT = [
    (kind(f"m{at}", requests={GPU_MEMORY: size}), 1) for at, size in enumerate((14, 12, 9, 8, 6, 5, 3, 3))
]


def test_the_same_eight_metered_pods_take_three_or_four_nodes_as_they_arrive():
    counts = {
        len(rollout(METERED, arrivals(EIGHT, pattern, seed), seed).nodes)
        for pattern in Arrivals
        for seed in range(10)
    }
    assert counts == {3, 4}


def test_small_pods_are_spread_over_nodes_that_large_ones_need():
    # Eight of 14 take a node each, six of 7 go three to a node: ten nodes. When several nodes are ready at once,
    # kube-scheduler spreads the small ones over them, and some large ones find none.
    pods = [(kind("large", requests={GPU_MEMORY: 15}), 8), (kind("small", requests={GPU_MEMORY: 7}), 6)]
    counts = {len(rollout(METERED, arrivals(pods, Arrivals.AT_ONCE, seed), seed).nodes) for seed in range(10)}
    assert min(counts) == 10
    assert max(counts) > 10


def test_consolidation_never_leaves_more_nodes_than_were_launched():
    for seed in range(10):
        fleet = rollout(METERED, arrivals(EIGHT, Arrivals.TRICKLE, seed), seed)
        rest = settled(METERED, fleet.nodes, fleet.unbound, seed)
        assert 3 <= len(rest.nodes) <= min(4, len(fleet.nodes))
        assert sum(len(node.pods) for node in rest.nodes) == 8
        assert not rest.stuck


def test_a_batch_ends_after_a_second_without_pods_and_after_ten_seconds_at_most():
    types = {"g6.xlarge": 12, "g6.12xlarge": 48}
    pools = Pools([pool("a", *types)], overlays=sliced("a", types))
    of = kind(cpu=100)

    def nodes(times):
        arriving = [Arrival(at, Pod(of, int(at), f"{number:03}")) for number, at in enumerate(times)]
        return sorted(node.instance_type for node in rollout(pools, arriving, 0).nodes)

    assert nodes([*[0] * 12, 0.9]) == ["g6.12xlarge"]
    assert nodes([*[0] * 12, 1.1]) == ["g6.xlarge", "g6.xlarge"]
    assert nodes([0.7 * at for at in range(13)]) == ["g6.12xlarge"]
    assert nodes([0.9 * at for at in range(13)]) == [
        "g6.xlarge",
        "g6.xlarge",
    ]  # the last comes after ten seconds


def test_pods_that_come_when_nodes_are_ready_are_bound_without_karpenter():
    pools = Pools([pool("a", "g6.xlarge")], overlays=sliced("a", {"g6.xlarge": 4}))
    of = kind()
    fleet = rollout(pools, [Arrival(0, Pod(of, 0, "a")), Arrival(500, Pod(of, 500, "b"))], 0)
    assert [len(node.pods) for node in fleet.nodes] == [2]
    assert fleet.passes == 1


def test_what_fits_nowhere_stays_unbound_and_the_rollout_ends():
    fleet = rollout(METERED, [Arrival(0, Pod(kind("huge", cpu=10**6), 0, "a"))], 0)
    assert [pod.uid for pod in fleet.unbound] == ["a"]
    assert not fleet.nodes


@pytest.mark.parametrize("pattern", list(Arrivals))
def test_a_rollout_follows_from_its_seed(pattern):
    one, other = (rollout(METERED, arrivals(EIGHT, pattern, 7), 7) for _ in range(2))
    assert [(node.name, [pod.uid for pod in node.pods]) for node in one.nodes] == [
        (node.name, [pod.uid for pod in node.pods]) for node in other.nodes
    ]


@given(
    st.lists(st.integers(1, 21), min_size=1, max_size=12), st.sampled_from(list(Arrivals)), st.integers(0, 99)
)
def test_every_pod_is_bound_once_and_no_node_is_overfull(sizes, pattern, seed):
    counts = [(kind(f"k{at}", requests={GPU_MEMORY: size}), 1) for at, size in enumerate(sizes)]
    fleet = rollout(METERED, arrivals(counts, pattern, seed), seed)
    bound = Counter(pod.uid for node in fleet.nodes for pod in node.pods)
    assert set(bound.values()) == {1}
    assert len(bound) == len(sizes)
    rest = settled(METERED, fleet.nodes, fleet.unbound, seed)
    assert rest.price <= fleet.price
    for node in rest.nodes:
        assert all(amount >= 0 for amount in node.free().values())
    assert sum(len(node.pods) for node in rest.nodes) == len(sizes)


def test_pods_go_to_the_emptier_node_and_to_the_one_with_fewer_of_their_kind():
    pools = Pools([pool("a", machine("x", **{SHARED: 8}))])
    large, small = kind("large", cpu=3000), kind("small", cpu=100)
    arriving = [Arrival(0, Pod(large, 0, "a")), Arrival(0.1, Pod(large, 0, "b"))]
    arriving += [Arrival(1000 + at, Pod(small, 1000 + at, f"s{at}")) for at in range(4)]
    fleet = rollout(pools, arriving, 0)
    assert [len(node.pods) for node in fleet.nodes] == [3, 3]


def test_a_fleet_without_need_of_change_is_left_alone():
    pools = Pools([pool("a", "g6.xlarge", requirements=ON_DEMAND)], overlays=sliced("a", {"g6.xlarge": 4}))
    fleet = rollout(pools, arrivals([(kind(), 8)], Arrivals.AT_ONCE, 0), 0)
    assert settled(pools, fleet.nodes, fleet.unbound, 0).steps == ()


def test_a_command_that_can_never_launch_ends_the_search_and_is_told():
    types = {"g6.xlarge": 4, "g6.12xlarge": 16}
    pools = Pools([pool("a", *types, budgets=ALL)], overlays=sliced("a", types))
    (node,) = rollout(pools, arrivals([(kind(), 16)], Arrivals.AT_ONCE, 0), 0).nodes
    node.pods = node.pods[:3]
    assert settled(pools, [node], [], 0).stuck
