"""What holds of every decision, whatever the pods and pools."""

import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from gpuslice.karpenter.model import Pod, Settings, Taint, Toleration
from gpuslice.karpenter.provision import provision
from gpuslice.karpenter.templates import Pools
from tests.karpenter.cases import SHARED, bought, kind, launched, machine, pool


def sized(size):
    return {"cpu": size * 2000, "memory": size * 4096, SHARED: 2 * size}


@st.composite
def clusters(draw):
    """Pools with limits, taints and weights, and pods of a few classes."""
    pools = [
        pool(
            f"p{number}",
            *(
                machine(f"t{number}-{size}.x", price=draw(st.integers(1, 9)) * size, **sized(size))
                for size in draw(st.lists(st.integers(1, 6), min_size=1, max_size=3, unique=True))
            ),
            weight=draw(st.integers(0, 2)),
            taints=draw(st.sampled_from([(), (Taint("t", str(number)),)])),
            limits=draw(st.sampled_from([{}, {"cpu": 20_000}, {SHARED: 6}, {"nodes": 1}])),
        )
        for number in range(draw(st.integers(1, 3)))
    ]
    kinds = [
        kind(
            f"k{number}",
            cpu=draw(st.sampled_from([100, 900, 1900, 50_000])),
            memory=draw(st.sampled_from([100, 3000])),
            slots=draw(st.integers(0, 3)),
            tolerations=draw(
                st.sampled_from([(), (Toleration(operator="Exists"),), (Toleration("t", "Equal", "1"),)])
            ),
        )
        for number in range(draw(st.integers(1, 4)))
    ]
    pods = [
        Pod(draw(st.sampled_from(kinds)), draw(st.integers(0, 2)), f"{number:03}")
        for number in range(draw(st.integers(0, 40)))
    ]
    return Pools(pools, settings=Settings(exact_ties=draw(st.booleans()))), pods


@given(clusters())
def test_every_pod_is_placed_once_or_fails(cluster):
    pools, pods = cluster
    decision = provision(pools, [], pods)
    seen = Counter(pod.uid for each in decision.new for pod in each.pods)
    seen += Counter(pod.uid for pod in decision.failed)
    assert seen == Counter(pod.uid for pod in pods)


@given(clusters())
def test_no_node_is_overfull_and_each_is_the_cheapest_of_its_types(cluster):
    pools, pods = cluster
    for each in provision(pools, [], pods).new:
        types = {one.name: one for one in pools.by_name[each.pool].instance_types}
        asked = Counter({"pods": len(each.pods)})
        for pod in each.pods:
            asked.update(pod.kind.requests)
        for name in each.types:
            room = types[name].allocatable()
            assert all(amount <= room.get(resource, 0) for resource, amount in asked.items())
        assert bought(each).price == min(types[name].offerings[0].price for name in each.types)


@given(clusters())
def test_limits_are_kept_by_the_largest_types_that_nodes_could_become(cluster):
    pools, pods = cluster
    used: Counter[tuple[str, str]] = Counter()
    for each in provision(pools, [], pods).new:
        types = {one.name: one for one in pools.by_name[each.pool].instance_types}
        used[each.pool, "cpu"] += types[bought(each).instance_type.name].capacity["cpu"]
        used[each.pool, SHARED] += types[bought(each).instance_type.name].capacity[SHARED]
    for (name, resource), amount in used.items():
        assert amount <= pools.by_name[name].limits.get(resource, amount)


@given(clusters(), st.randoms(use_true_random=False))
def test_the_order_in_which_pods_are_listed_changes_nothing(cluster, rng):
    pools, pods = cluster
    shuffled = random.Random(rng.random()).sample(pods, len(pods))
    assert launched(provision(pools, [], pods)) == launched(provision(pools, [], shuffled))


@given(clusters())
def test_swapping_equal_pods_changes_no_node(cluster):
    pools, pods = cluster
    places: dict[object, list[str]] = {}
    for pod in pods:
        places.setdefault((pod.kind, pod.created), []).append(pod.uid)
    swapped = [
        Pod(
            pod.kind,
            pod.created,
            places[pod.kind, pod.created][::-1][places[pod.kind, pod.created].index(pod.uid)],
        )
        for pod in pods
    ]
    assert launched(provision(pools, [], pods)) == launched(provision(pools, [], swapped))
