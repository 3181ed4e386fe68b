"""Provisioning: what was seen of the real Karpenter v1.14.1, and what its source says."""

import pytest

from gpuslice.karpenter.model import (
    MinValues,
    Node,
    NodePool,
    Offering,
    Pod,
    PodClass,
    Preferences,
    Preferred,
    Settings,
    Taint,
    Toleration,
)
from gpuslice.karpenter.provision import provision
from gpuslice.karpenter.requirements import CAPACITY_TYPE, INSTANCE_TYPE, ZONE, requirement
from gpuslice.karpenter.templates import Pools
from tests.karpenter.cases import (
    GPU,
    GPU_MEMORY,
    SHARED,
    bought,
    kind,
    launched,
    loads,
    machine,
    pods,
    pool,
    sliced,
)

MIXED = {"g6.xlarge": 4, "g6.12xlarge": 16}


def small_and_large(**settings):
    return Pools([pool("a", *MIXED)], overlays=sliced("a", MIXED), **settings)


@pytest.mark.parametrize(
    ("count", "nodes"),
    [
        (4, [("g6.xlarge", 4)]),
        (5, [("g6.12xlarge", 5)]),  # $4.60, where two of $0.80 would do
        (8, [("g6.12xlarge", 8)]),
        (16, [("g6.12xlarge", 16)]),
        (17, [("g6.12xlarge", 16), ("g6.xlarge", 1)]),
    ],
)
def test_a_batch_grows_toward_the_largest_type_allowed(count, nodes):
    assert loads(provision(small_and_large(), [], pods(kind(), count))) == nodes


def test_one_type_for_each_pool_keeps_batches_on_the_cheap_one():
    pools = Pools([pool("a", "g6.xlarge")], overlays=sliced("a", {"g6.xlarge": 4}))
    assert loads(provision(pools, [], pods(kind(), 5))) == [("g6.xlarge", 4), ("g6.xlarge", 1)]


def test_pools_of_equal_weight_go_by_name_the_last_first_at_any_price():
    cheap, dear = machine("g6.xlarge", price=1), machine("g5.xlarge", price=9_000_000)
    slots = {"a": cheap, "z": dear}
    pools = Pools(
        [pool(name, each) for name, each in slots.items()],
        overlays=[each for name, kind_ in slots.items() for each in sliced(name, {kind_.name: 4})],
    )
    assert launched(provision(pools, [], pods(kind(), 1))) == ["g5.xlarge"]


def test_the_heavier_pool_comes_first_at_any_price():
    pools = Pools(
        [pool("a", "g6.12xlarge", weight=7), pool("z", "g6.xlarge")],
        overlays=[*sliced("a", {"g6.12xlarge": 16}), *sliced("z", {"g6.xlarge": 4})],
    )
    assert launched(provision(pools, [], pods(kind(), 1))) == ["g6.12xlarge"]


METERED = Pools([pool("m", machine("g6.xlarge", **{SHARED: 10, GPU_MEMORY: 22}))])


def metered(sizes):
    """Pods that differ in GPU memory alone, created in this order."""
    return [Pod(kind(f"m{at}", requests={GPU_MEMORY: size}), at, str(at)) for at, size in enumerate(sizes)]


@pytest.mark.parametrize(
    ("order", "nodes"),
    [((14, 12, 9, 8, 6, 5, 3, 3), 3), ((8, 3, 12, 5, 3, 14, 6, 9), 3), ((12, 6, 3, 3, 8, 5, 14, 9), 4)],
)
def test_metered_pods_take_more_nodes_in_an_unlucky_order_of_arrival(order, nodes):
    assert len(provision(METERED, [], metered(order)).new) == nodes


def test_pods_are_taken_by_cpu_then_memory_then_age_and_gpus_do_not_count():
    big_gpu = kind("gpu", cpu=100, memory=100, slots=4)
    more_memory, more_cpu = kind("memory", cpu=200, memory=900), kind("cpu", cpu=900, memory=100)
    old, young = Pod(kind("old", cpu=200), 1, "z"), Pod(kind("young", cpu=200), 2, "a")
    pools = Pools([pool("a", machine("g6.12xlarge", **{SHARED: 16}))])
    listed = [*pods(big_gpu, 1), young, old, *pods(more_memory, 1), *pods(more_cpu, 1)]
    order = [each.kind.name for each in provision(pools, [], listed).new[0].pods]
    assert order == ["cpu", "old", "young", "memory", "gpu"]


def test_the_open_node_with_the_fewest_pods_comes_first():
    pools = Pools([pool("a", machine("x", **{SHARED: 6}))])
    large, small = kind("large", cpu=1900), kind("small", cpu=10)
    decision = provision(pools, [], [*pods(large, 3), *pods(small, 5)])
    assert [len(each.pods) for each in decision.new] == [4, 4]


def test_nodes_that_are_there_come_before_new_ones_initialized_before_others_then_by_name():
    def node(name, **settings):
        allocatable = {"cpu": 3000, "memory": 9000, "pods": 20, SHARED: 1}
        return Node(name, "a", {}, allocatable, allocatable, **settings)

    decision = provision(
        small_and_large(),
        [node("c"), node("a", initialized=False, initialized_at=None), node("b"), node("0", deleting=True)],
        pods(kind(), 4),
    )
    assert list(decision.to_nodes) == ["b", "c", "a"]
    assert loads(decision) == [("g6.xlarge", 1)]


def test_a_node_with_less_than_nothing_of_a_resource_takes_nobody():
    allocatable = {"cpu": 3000, "memory": 9000, "pods": 20, SHARED: 4}
    over = Node("n", "a", {}, allocatable, {**allocatable, GPU: -1})
    assert not provision(small_and_large(), [over], pods(kind(), 1)).to_nodes


def test_a_pod_that_does_not_tolerate_a_taint_goes_elsewhere():
    taint = Taint("tenant", "x")
    pools = Pools(
        [
            pool("z", machine("g6.xlarge", **{SHARED: 4}), taints=(taint,)),
            pool("a", machine("g5.xlarge", **{SHARED: 4})),
        ]
    )
    assert launched(provision(pools, [], pods(kind(), 1))) == ["g5.xlarge"]
    tolerant = kind(tolerations=(Toleration("tenant", "Equal", "x", "NoSchedule"),))
    assert launched(provision(pools, [], pods(tolerant, 1))) == ["g6.xlarge"]


def test_selectors_narrow_a_node_to_be_made_for_all_who_come_after():
    pools = Pools([pool("a", machine("g6.xlarge", zones=("a", "b"), **{SHARED: 4}))])
    in_a, in_b = kind("in-a", cpu=900, selector={ZONE: "a"}), kind("in-b", selector={ZONE: "b"})
    decision = provision(pools, [], [*pods(in_a, 1), *pods(in_b, 1), *pods(kind("any", cpu=10), 1)])
    assert [(bought(each).zone, len(each.pods)) for each in decision.new] == [("a", 2), ("b", 1)]


def test_a_label_that_no_pool_defines_is_met_by_none():
    decision = provision(small_and_large(), [], pods(kind(selector={"team": "x"}), 1))
    assert len(decision.failed) == 1


def test_alternatives_and_preferences_are_given_up_one_by_one():
    def needs(*terms, preferred=()):
        return kind(affinity=terms, preferred=preferred)

    pools = small_and_large()
    never, large = (
        (requirement(ZONE, "In", ["nowhere"]),),
        (requirement(INSTANCE_TYPE, "In", ["g6.12xlarge"]),),
    )
    assert launched(provision(pools, [], pods(needs(never, large), 1))) == ["g6.12xlarge"]
    assert not launched(provision(pools, [], pods(needs(never), 1)))
    liked = (Preferred(1, large), Preferred(9, never))
    assert launched(provision(pools, [], pods(needs(preferred=liked), 1))) == ["g6.12xlarge"]
    ignoring = small_and_large(settings=Settings(preferences=Preferences.IGNORE))
    assert launched(provision(ignoring, [], pods(needs(preferred=liked), 1))) == ["g6.xlarge"]


def test_an_avoided_taint_is_tolerated_when_nothing_else_is_left():
    pools = Pools(
        [pool("a", machine("g6.xlarge", **{SHARED: 4}), taints=(Taint("t", effect="PreferNoSchedule"),))]
    )
    assert launched(provision(pools, [], pods(kind(), 1))) == ["g6.xlarge"]


def test_daemonsets_take_their_part_of_each_node_that_they_run_on():
    both = [
        pool("a", machine("g6.xlarge", **{SHARED: 4}), taints=(Taint("t"),)),
        pool("b", machine("g5.xlarge", **{SHARED: 4})),
    ]
    daemon = PodClass("d", {"cpu": 3000, "memory": 10}, tolerations=(Toleration(operator="Exists"),))
    only_b = PodClass("d", {"cpu": 3000, "memory": 10})
    wants = kind(cpu=1500, tolerations=(Toleration(operator="Exists"),))
    assert launched(provision(Pools(both, daemons=[daemon]), [], pods(wants, 1))) == []
    assert launched(provision(Pools(both, daemons=[only_b]), [], pods(wants, 1))) == ["g6.xlarge"]


def test_whole_gpus_are_refused_by_a_sliced_pool():
    whole = kind(slots=0, requests={GPU: 1})
    assert provision(small_and_large(), [], pods(whole, 1)).failed


def test_limits_count_the_largest_type_that_a_new_node_might_become():
    pools = Pools([pool("a", *MIXED, limits={"cpu": 100_000})], overlays=sliced("a", MIXED))
    decision = provision(pools, [], pods(kind(), 60))
    # 48 + 48 CPUs are reserved, though the first node could have been small; then 4 are left for one small node.
    assert loads(decision) == [("g6.12xlarge", 16), ("g6.12xlarge", 16), ("g6.xlarge", 4)]
    assert len(decision.failed) == 24


def test_limits_count_nodes_that_are_there():
    there = Node("n", "a", {}, {"cpu": 98_000}, {"cpu": 0, "memory": 0, "pods": 0})
    pools = Pools([pool("a", *MIXED, limits={"cpu": 100_000})], overlays=sliced("a", MIXED))
    assert provision(pools, [there], pods(kind(), 1)).failed


def test_a_limit_of_slots_counts_overlaid_capacity():
    pools = Pools([pool("a", "g6.xlarge", limits={SHARED: 8})], overlays=sliced("a", {"g6.xlarge": 4}))
    decision = provision(pools, [], pods(kind(), 20))
    assert loads(decision) == [("g6.xlarge", 4), ("g6.xlarge", 4)]
    assert len(decision.failed) == 12


def test_a_limit_of_nodes_stops_further_passes_but_not_a_single_large_one():
    pools = Pools([pool("a", "g6.xlarge", limits={"nodes": 2})], overlays=sliced("a", {"g6.xlarge": 4}))
    assert len(provision(pools, [], pods(kind(), 20)).new) == 5
    full = {"cpu": 0, "memory": 0, "pods": 0}
    there = [Node(name, "a", {}, full, full) for name in "xy"]
    assert len(provision(pools, there, pods(kind(), 20)).failed) == 20


def test_a_type_that_ec2_is_out_of_is_passed_over():
    pools = Pools(
        [pool("a", machine("g6.xlarge", available=False, **{SHARED: 4}), machine("g5.xlarge", **{SHARED: 4}))]
    )
    assert launched(provision(pools, [], pods(kind(), 1))) == ["g5.xlarge"]


def test_min_values_keep_a_pod_from_narrowing_a_node_too_far():
    two = requirement(INSTANCE_TYPE, "Exists", min_values=2)
    offered = [machine("g6.xlarge", **{SHARED: 4}), machine("g6.12xlarge", **{SHARED: 16})]
    pools = [pool("a", *offered, requirements=(two,))]
    assert launched(provision(Pools(pools), [], pods(kind(), 8))) == ["g6.xlarge", "g6.xlarge"]
    large = pods(kind(cpu=20_000), 1)
    assert provision(Pools(pools), [], large).failed
    best_effort = Pools(pools, settings=Settings(min_values=MinValues.BEST_EFFORT))
    assert launched(provision(best_effort, [], large)) == ["g6.12xlarge"]


def test_a_node_is_held_to_the_min_values_that_its_first_pod_left():
    two = requirement(INSTANCE_TYPE, "Exists", min_values=2)
    offered = [machine("g6.xlarge", **{SHARED: 4}), machine("g6.12xlarge", **{SHARED: 16})]
    pools = Pools(
        [pool("a", *offered, requirements=(two,))], settings=Settings(min_values=MinValues.BEST_EFFORT)
    )
    large, small = pods(kind("large", cpu=20_000), 1), pods(kind("small"), 3)
    assert loads(provision(pools, [], [*large, *small])) == [("g6.12xlarge", 4)]


def test_a_pod_that_nothing_fits_does_not_keep_others_waiting():
    decision = provision(small_and_large(), [], [*pods(kind("huge", cpu=999_000), 2), *pods(kind(), 1)])
    assert [each.kind.name for each in decision.failed] == ["huge", "huge"]
    assert launched(decision) == ["g6.xlarge"]


def test_sliced_types_are_preferred_to_whole_gpus_and_bare_metal_at_any_price():
    types = (
        machine("g6.xlarge", price=5_000_000, **{GPU: 0, SHARED: 4}),
        machine("g5.xlarge", price=1_000_000, **{GPU: 1, SHARED: 4}),
        machine("g4dn.metal", price=1_000, **{SHARED: 4}),
    )
    decision = provision(Pools([pool("a", *types)]), [], pods(kind(), 1))
    assert launched(decision) == ["g6.xlarge"]
    assert bought(decision.new[0]).named == ("g6.xlarge",)


def test_spot_is_taken_where_it_is_allowed_unless_it_costs_more():
    def how(spot, capacity_types=("spot", "on-demand")):
        offered = machine("g6.xlarge", price=800_000, spot=spot, **{SHARED: 4})
        allowed = requirement(CAPACITY_TYPE, "In", capacity_types)
        decision = provision(Pools([pool("a", offered, requirements=(allowed,))]), [], pods(kind(), 1))
        return bought(decision.new[0]).capacity_type, decision.price

    assert how(300_000) == ("spot", 300_000)
    assert how(900_000) == ("on-demand", 800_000)
    assert how(900_000, ["spot"]) == ("spot", 900_000)
    assert how(300_000, ["on-demand"]) == ("on-demand", 800_000)


def test_the_cheapest_zone_of_the_cheapest_type_is_launched():
    offers = (Offering("on-demand", "a", 9), Offering("on-demand", "b", 7))
    base = machine("g6.xlarge", **{SHARED: 4})
    cheap = type(base)(base.name, base.capacity, base.overhead, offers)
    chosen = provision(
        Pools([NodePool("a", (cheap, machine("g5.xlarge", **{SHARED: 4})))]), [], pods(kind(), 1)
    ).new[0]
    assert (bought(chosen).zone, bought(chosen).price, chosen.types) == ("b", 7, ("g6.xlarge", "g5.xlarge"))


def test_only_so_many_types_are_named_to_ec2():
    types = [machine(f"t{number}.x", price=1000 - number, **{SHARED: 4}) for number in range(70)]
    chosen = provision(Pools([pool("a", *types)]), [], pods(kind(), 1)).new[0]
    assert len(bought(chosen).named) == 60
    assert bought(chosen).price == 931
    assert len(chosen.types) == 70


def test_a_pod_that_contradicts_itself_about_pools_is_left_alone_not_relaxed():
    liked = (Preferred(1, (requirement("karpenter.sh/nodepool", "In", ["other"]),)),)
    torn = kind(selector={"karpenter.sh/nodepool": "a"}, preferred=liked)
    assert provision(small_and_large(), [], pods(torn, 1)).failed
