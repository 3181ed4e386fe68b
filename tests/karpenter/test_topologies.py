"""Spreads, pod affinity and anti-affinity."""

from collections import Counter

from gpuslice.karpenter.model import Node, PodTerm, Spread, Taint, Unsatisfiable
from gpuslice.karpenter.provision import provision
from gpuslice.karpenter.requirements import HOSTNAME, ZONE
from gpuslice.karpenter.templates import Pools
from tests.karpenter.cases import SHARED, kind, machine, pods, pool

ZONES = ("a", "b", "c")
APP = (("app", "x"),)
POOLS = Pools([pool("p", machine("x", zones=ZONES, **{SHARED: 16}))])


def app(name="w", **settings):
    return kind(name, labels={"app": "x"}, **settings)


def zones(decision):
    return Counter(each.launch.zone for each in decision.new for _ in each.pods)


def test_pods_are_spread_over_zones():
    decision = provision(POOLS, [], pods(app(spreads=(Spread(ZONE, 1, APP),)), 9))
    assert zones(decision) == {"a": 3, "b": 3, "c": 3}
    assert len(decision.new) == 3


def test_pods_are_spread_over_nodes():
    decision = provision(POOLS, [], pods(app(spreads=(Spread(HOSTNAME, 2, APP),)), 5))
    assert [len(each.pods) for each in decision.new] == [2, 2, 1]


def test_a_spread_that_cannot_be_kept_fails_or_is_ignored():
    only_a = Pools([pool("p", machine("x", **{SHARED: 16}))])
    strict = Spread(ZONE, 1, APP, min_domains=2)
    assert len(provision(only_a, [], pods(app(spreads=(strict,)), 3)).failed) == 2
    loose = Spread(ZONE, 1, APP, Unsatisfiable.IGNORE, min_domains=2)
    assert not provision(only_a, [], pods(app(spreads=(loose,)), 3)).failed


def test_a_spread_counts_the_pods_that_are_there():
    allocatable = {"cpu": 3000, "memory": 9000, "pods": 20, SHARED: 4}
    of = app(spreads=(Spread(ZONE, 1, APP),))
    there = Node("n", "p", {ZONE: "a"}, allocatable, allocatable, pods=pods(of, 2, start=100))
    assert zones(provision(POOLS, [there], pods(of, 2))) == {"b": 1, "c": 1}


def test_pods_that_keep_apart_get_a_node_each():
    decision = provision(POOLS, [], pods(app(apart=(PodTerm(HOSTNAME, APP),)), 4))
    assert [len(each.pods) for each in decision.new] == [1, 1, 1, 1]


def test_keeping_apart_works_both_ways():
    shy, other = (
        app("shy", cpu=900, apart=(PodTerm(HOSTNAME, (("app", "y"),)),)),
        kind("other", labels={"app": "y"}),
    )
    decision = provision(POOLS, [], [*pods(shy, 1), *pods(other, 1)])
    assert [len(each.pods) for each in decision.new] == [1, 1]
    allocatable = {"cpu": 3000, "memory": 9000, "pods": 20, SHARED: 4}
    there = Node("n", "p", {}, allocatable, allocatable, pods=pods(shy, 1))
    assert not provision(POOLS, [there], pods(other, 1)).to_nodes


def test_pods_that_keep_together_share_a_zone_and_wait_for_the_first():
    leader = kind("leader", cpu=100, labels={"app": "y"}, selector={ZONE: "b"})
    follower = app("follower", cpu=900, near=(PodTerm(ZONE, (("app", "y"),)),))
    decision = provision(POOLS, [], [*pods(follower, 3), *pods(leader, 1)])
    assert zones(decision) == {"b": 4}
    assert provision(POOLS, [], pods(follower, 3)).failed


def test_pods_that_keep_to_their_own_kind_begin_somewhere():
    decision = provision(POOLS, [], pods(app(near=(PodTerm(ZONE, APP),)), 20))
    assert len(zones(decision)) == 1
    assert not decision.failed


def test_a_pod_relaxed_to_tolerate_an_avoided_taint_begins_to_count_anew():
    avoided = pool("b", machine("y"), taints=(Taint("avoid", effect="PreferNoSchedule"),))
    limited = pool("p", machine("x", **{SHARED: 16}), limits={SHARED: 16})
    first = app("first", cpu=900)
    spread = app("spread", spreads=(Spread(HOSTNAME, 1, APP),))
    everyone = [*pods(first, 3), *pods(spread, 2)]
    assert len(provision(Pools([limited]), [], everyone).failed) == 2
    # The three that are there don't count for the group that the toleration makes; its own pods do.
    assert len(provision(Pools([limited, avoided]), [], everyone).failed) == 1


def test_spreads_of_pods_that_select_by_the_same_label_share_one_count():
    def spread(zone):
        return app(zone, selector={ZONE: zone}, spreads=(Spread(HOSTNAME, 1, APP),))

    # Nodes of the second kind's pods lie outside what the first kind's group counts, so they never fill up.
    decision = provision(POOLS, [], [*pods(spread("a"), 1), *pods(spread("b"), 3, start=10)])
    assert [len(each.pods) for each in decision.new] == [1, 3]
