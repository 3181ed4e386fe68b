"""What runs and is paid for in a cluster: nodes with their prices, and the share of a GPU that each pod has."""

from dataclasses import replace

import pytest

from gpuslice.cloud import snapshot as catalogs
from gpuslice.cloud.catalog import Purchase
from gpuslice.cluster.seen.inventory import workloads_of
from gpuslice.cluster.seen.today import today_of
from tests.cluster.made import deployment, node, pod, snapshot

GPU = {"nvidia.com/gpu": "1"}
SLOT = {"nvidia.com/gpu.shared": "1"}
CATALOG = catalogs.bundled()
TYPES = CATALOG.by_name()


def price(name, purchase=Purchase.ON_DEMAND):
    return TYPES[name].prices[purchase] / 1e6


def today(*objects, catalog=CATALOG, **options):
    seen = snapshot(*objects)
    return today_of(seen, catalog, workloads_of(seen, catalog=catalog, region="us-east-1", **options))


def runs(name, on, *, asks=GPU, count=1):
    """A Deployment and its pods, all on one node."""
    return (
        deployment(name, asks=asks, replicas=count),
        *(
            pod(f"{name}-{on}-{index}", asks=asks, owner=("Deployment", name), node=on)
            for index in range(count)
        ),
    )


def test_nodes_that_are_alike_are_listed_once_with_what_each_carries():
    found = today(
        *runs("api", "n1"),
        *runs("batch", "n3", count=2),
        node("n1", "g6.xlarge"),
        node("n2", "g6.xlarge"),
        node("n3", "g5.12xlarge", capacity={"nvidia.com/gpu": "4"}),
        node("cpu", "m5.large", capacity={"cpu": "2"}),
    )
    assert [(nodes.instance_type, nodes.count, nodes.pods) for nodes in found.nodes] == [
        ("g5.12xlarge", 1, {"shop/batch": 2}),
        ("g6.xlarge", 1, {}),
        ("g6.xlarge", 1, {"shop/api": 1}),
    ]
    assert found.usd_per_hour == pytest.approx(2 * price("g6.xlarge") + price("g5.12xlarge"))
    assert found.idle_usd == pytest.approx(price("g6.xlarge"))
    assert found.read == "2026-11-23"
    assert found.prices == CATALOG.prices_date


def test_without_a_gpu_node_nothing_is_known_of_today():
    assert today(deployment("api", asks=GPU), node("cpu", "m5.large", capacity={"cpu": "2"})) is None


SPOT = {"karpenter.sh/capacity-type": "spot"}


def test_a_spot_node_costs_the_spot_price_where_that_is_known_and_else_is_marked():
    kind = TYPES["g6.xlarge"]
    with_spot = replace(
        CATALOG, instance_types=(replace(kind, prices={**kind.prices, Purchase.SPOT: 300_000}),)
    )
    objects = (node("n1", "g6.xlarge", labels=SPOT), node("n2", "g6.xlarge"))
    known = today(*objects, catalog=with_spot)
    assert known.usd_per_hour == pytest.approx(0.3 + price("g6.xlarge"))
    assert known.unpriced == 0
    unknown = today(*objects)
    assert unknown.usd_per_hour == pytest.approx(price("g6.xlarge"))
    assert unknown.unpriced == 1
    assert unknown.on_demand_usd == pytest.approx(price("g6.xlarge"))


def test_nodes_of_another_region_or_of_no_known_type_have_no_price_at_all():
    found = today(
        node("n1", "g6.xlarge", labels={"topology.kubernetes.io/region": "eu-west-1"}),
        node("n2", "own-server", labels={"nvidia.com/gpu.product": "NVIDIA-L4"}),
    )
    assert (found.usd_per_hour, found.unpriced, found.on_demand_usd) == (0, 2, 0)


SHARED = {"nvidia.com/gpu.replicas": "4", "nvidia.com/gpu.product": "NVIDIA-A10G-SHARED"}
SINGLE = {"nvidia.com/mig.strategy": "single", "nvidia.com/gpu.product": "NVIDIA-A100-SXM4-40GB-MIG-1g.5gb"}
BY_CONFIG = {"nvidia.com/mig.strategy": "single", "nvidia.com/mig.config": "all-2g.10gb"}
MPS = {"nvidia.com/gpu.sharing-strategy": "mps", "nvidia.com/gpu.replicas": "2"}
MIG = {"nvidia.com/mig-1g.5gb": "1"}
MEDIA = {"nvidia.com/mig-1g.10gb.me": "1"}
SHARED_MIG = {"nvidia.com/mig-3g.20gb.shared": "1"}
P4D = "p4d.24xlarge"


@pytest.mark.parametrize(
    ("asks", "machine", "labels", "offers", "share"),
    [
        (GPU, "g5.xlarge", {}, 1, "a whole GPU"),
        (GPU, "g5.12xlarge", {}, 4, "a whole GPU"),
        (GPU, "g5.xlarge", {"nvidia.com/gpu.replicas": "1"}, 1, "a whole GPU"),
        (SLOT, "g5.xlarge", {}, 4, "1 of 4 slots by time-slicing"),
        (SLOT, "g5.12xlarge", {}, 12, "1 of 3 slots by time-slicing"),
        (GPU, "g5.xlarge", SHARED, 4, "1 of 4 slots by time-slicing"),
        (GPU, "g5.xlarge", {}, 4, "1 of 4 slots by time-slicing"),
        (GPU, "g5.xlarge", MPS, 2, "1 of 2 slots by mps"),
        (MIG, P4D, {}, 56, "MIG 1g.5gb"),
        (MEDIA, "p5.48xlarge", {}, 8, "MIG 1g.10gb+me"),
        (SHARED_MIG, P4D, {"nvidia.com/mig-3g.20gb.replicas": "2"}, 32, "MIG 3g.20gb, shared by 2"),
        (GPU, P4D, SINGLE, 56, "MIG 1g.5gb"),
        (GPU, P4D, BY_CONFIG, 24, "MIG 2g.10gb"),
        (GPU, "g6f.large", {}, 1, "a part of a card, by itself"),
    ],
)
def test_the_share_of_a_gpu_is_read_whatever_it_is_called(asks, machine, labels, offers, share):
    offered = dict.fromkeys(asks, str(offers))
    found = today(*runs("api", "n1", asks=asks), node("n1", machine, labels=labels, capacity=offered))
    assert [(str(one), one.workload, one.pods) for one in found.shares] == [(share, "shop/api", 1)]


def test_pods_of_nobody_who_was_read_keep_their_node():
    found = today(
        *runs("api", "n1", asks=SLOT),
        pod("other", asks=SLOT, node="n1"),
        pod("renamed", asks={"nvidia.com/gpu.10gb": "1"}, node="n1"),
        pod("web", node="n1"),
        *runs("lab", "n2"),
        node("n1", "g5.xlarge", capacity={"nvidia.com/gpu.shared": "4"}),
        node("n2", "g5.xlarge"),
        exclude=["shop/other"],
    )
    assert [(nodes.pods, nodes.others) for nodes in found.nodes] == [
        ({"shop/api": 1}, 2),
        ({"shop/lab": 1}, 0),
    ]
    assert [nodes.pods for nodes in found.staying({"shop/api", "shop/lab"})] == [{"shop/api": 1}]
    assert [nodes.pods for nodes in found.staying({"shop/api"})] == [{"shop/api": 1}, {"shop/lab": 1}]


def test_pods_that_wait_are_on_no_node():
    found = today(
        deployment("api", asks=GPU, replicas=2),
        pod("api-1", asks=GPU, owner=("Deployment", "api"), node="n1"),
        pod("api-2", asks=GPU, owner=("Deployment", "api"), phase="Pending"),
        node("n1", "g5.xlarge"),
    )
    assert [nodes.pods for nodes in found.nodes] == [{"shop/api": 1}]
