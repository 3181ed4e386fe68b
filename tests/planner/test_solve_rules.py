"""The rules of planning, each on a fleet made by hand for it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from gpuslice.cloud.catalog import InstanceType, Purchase
from gpuslice.hardware.mechanisms import Isolation
from gpuslice.hardware.need import ANY_GPU
from gpuslice.hardware.stacks import Stack
from gpuslice.plan.artefact import Layout, Plan
from gpuslice.units import parse_memory_mib
from gpuslice.verifier.verify import verify
from gpuslice.workloads.model import Workload
from gpuslice.workloads.target import Framework, Target
from tests.planner.planned import cost, home, prices, solved
from tests.planner.workload import workload
from tests.strategies import (
    A10G,
    A100_X8,
    H100,
    L4,
    L4_EIGHTH,
    L4_X4,
    OVERHEAD,
    T4,
    T4G,
    catalog_of,
    instance_type,
)


def mechanisms(plan: Plan) -> set[str]:
    return {pool.layout.mechanism for pool in plan.pools}


def layouts(plan: Plan) -> list[Layout]:
    return [*(pool.layout for pool in plan.pools), *(node.layout for node in plan.optimal_nodes)]


def planned(workloads: Sequence[Workload], *types: InstanceType, stack: Stack = Stack.AL2023) -> Plan:
    """A plan that the verifier accepts with all workloads before it."""
    catalog = catalog_of(*types)
    plan = solved(workloads, catalog, stack=stack).plan
    assert verify(plan, workloads, catalog) == []
    return plan


# Sharing


def test_small_pods_of_one_tenant_share_one_gpu():
    plan = planned([workload(replicas=6)], L4)
    assert [node.count for pool in plan.pools for node in pool.nodes] == [1]
    assert cost(plan) == 977_600
    assert plan.summary.status == "optimal"


@pytest.mark.parametrize("isolation", [Isolation.NONE, Isolation.MEMORY])
def test_two_tenants_never_share_a_time_sliced_or_mps_gpu(isolation):
    fleet = [workload(f"{tenant}/app", isolation=isolation) for tenant in ("red", "blue")]
    plan = planned(fleet, L4, L4_X4)
    # Both would fit one GPU many times over.
    assert cost(plan) == 2 * 977_600
    for nodes in ([node for pool in plan.pools for node in pool.nodes], plan.optimal_nodes):
        assert [len(node.pods) for node in nodes] == [1, 1]
    assert cost(planned([replace(each, tenant="one") for each in fleet], L4, L4_X4)) == 977_600


def test_two_tenants_may_share_a_card_by_mig():
    fleet = [
        workload(f"{tenant}/app", on="H100", memory=9000, duty=0.01, isolation=Isolation.HARDWARE)
        for tenant in ("red", "blue")
    ]
    plan = planned(fleet, H100)
    assert mechanisms(plan) == {"mig"}
    assert cost(plan) == 6_880_000


def test_two_tenants_may_share_a_machine_whose_gpus_they_have_whole():
    fleet = [workload(f"{tenant}/app", replicas=2, memory=None, duty=None) for tenant in ("red", "blue")]
    plan = planned(fleet, L4_X4)
    assert [(node.count, len(node.pods)) for pool in plan.pools for node in pool.nodes] == [(1, 2)]


@pytest.mark.parametrize(
    ("types", "mechanism"), [((H100,), "mig"), ((L4, L4_EIGHTH), "fractional"), ((L4,), "whole")]
)
def test_hardware_isolation_gets_mig_a_fraction_or_a_whole_gpu(types, mechanism):
    each = workload(replicas=2, on="T4", duty=0.01, isolation=Isolation.HARDWARE, allow=frozenset({ANY_GPU}))
    assert mechanisms(planned([each], *types)) == {mechanism}


def test_enforced_memory_is_never_time_sliced():
    fleet = [workload(f"red/app{i}", isolation=Isolation.MEMORY) for i in range(4)]
    assert mechanisms(planned(fleet, L4)) == {"mps"}


def test_pods_that_cannot_be_limited_share_no_gpu_that_they_see_whole():
    fleet = [workload(f"red/app{i}", limitable=False, preallocates=True) for i in range(4)]
    assert mechanisms(planned(fleet, L4)) == {"whole"}


def test_a_daemonset_is_not_planned():
    plan = planned([workload("red/agent", target=Target(kind="DaemonSet")), workload("red/app")], L4)
    assert [each.workload for each in plan.unplaced] == ["red/agent"]
    assert [each.workload for each in plan.assignments] == ["red/app"]


def test_a_preallocating_framework_is_told_its_part_where_nothing_enforces_it():
    target = Target(framework=Framework("vllm", "argument", "args", ("--model=m",)))
    fleet = [workload(f"red/app{i}", memory=5000, preallocates=True, target=target) for i in range(3)]
    plan = planned(fleet, L4)
    for each in plan.assignments:
        limit = parse_memory_mib(str(each.memory_limit))
        assert 5000 <= limit <= 22_558 // 3
        assert each.target == target


def test_equal_slots_serve_where_no_metered_time_suits_the_limit():
    # Two of 0.3 are 1.52 times slower together. Metered, 500 is too little for both, and 650 lets in too much else.
    assert cost(planned([workload(replicas=2, duty=0.3, max_slowdown_milli=1550)], L4)) == 977_600


def test_slots_for_many_do_not_hide_the_slots_that_others_need():
    fleet = [
        *(
            workload(f"red/app{i}", replicas=2, memory=5000, duty=0.1, max_slowdown_milli=2000)
            for i in range(4)
        ),
        workload("red/safe", replicas=8, memory=5000, duty=0.1, isolation=Isolation.MEMORY),
    ]
    assert cost(planned(fleet, replace(L4_X4, gpu_count=2))) == 2 * 4_601_600


# Several GPUs, unknown needs


def test_pods_of_several_gpus_get_whole_ones():
    plan = planned([workload(replicas=2, gpus=4, memory=None, duty=None, cpu=8000)], L4, L4_X4)
    assignment, pool = home(plan, "red/app")
    assert (pool.layout.mechanism, assignment.asks.count, assignment.asks.resource) == (
        "whole",
        4,
        "nvidia.com/gpu",
    )
    assert [(node.instance_type, node.count) for node in pool.nodes] == [("g6.12xlarge", 2)]


def test_an_unknown_need_gets_a_whole_gpu_and_is_named_among_the_assumptions():
    plan = planned([workload("red/dark", memory=None, duty=None), workload("red/known")], L4)
    assignment, pool = home(plan, "red/dark")
    assert pool.layout.mechanism == "whole"
    assert "measure" in assignment.because
    assert any("red/dark" in each and "red/known" not in each for each in plan.assumptions)


# Machines


def test_only_who_may_be_interrupted_lands_on_spot():
    cheap = replace(L4, prices={**L4.prices, Purchase.SPOT: 300_000})
    fleet = [workload("red/batch", memory=20_000, interruptible=True), workload("red/shop", memory=20_000)]
    plan = planned(fleet, cheap)
    assert home(plan, "red/batch")[1].purchases == ("spot",)
    assert home(plan, "red/shop")[1].purchases == ("on-demand",)
    assert cost(plan) == 1_277_600


def test_without_a_price_for_spot_nobody_is_on_spot():
    plan = planned([workload(interruptible=True)], L4)
    assert plan.pools[0].purchases == ("on-demand",)


def test_who_may_be_interrupted_shares_a_node_with_who_may_not_where_that_is_cheapest():
    cheap = replace(L4, prices={**L4.prices, Purchase.SPOT: 900_000})
    plan = planned([workload("red/batch", interruptible=True), workload("red/shop")], cheap)
    assert cost(plan) == 977_600


def test_arm_pods_run_on_arm_machines_only():
    plan = planned(
        [workload("red/arm", on="T4", arch="arm64"), workload("red/x86", on="T4")],
        T4,
        replace(T4G, prices={Purchase.ON_DEMAND: 900_000}),
    )
    assert home(plan, "red/arm")[1].instance_types == ("g5g.2xlarge",)
    assert home(plan, "red/x86")[1].instance_types == ("g4dn.xlarge",)


def test_a_machine_without_a_price_is_no_option():
    plan = planned([workload()], replace(L4, prices={}), replace(L4_X4, name="g6.12xlarge"))
    assert {node.instance_type for pool in plan.pools for node in pool.nodes} == {"g6.12xlarge"}


def test_daemonsets_take_their_part_of_every_node():
    cpu = L4.allocatable_cpu_milli - OVERHEAD.cpu_milli
    assert planned([workload(cpu=cpu)], L4).summary.status == "optimal"
    assert planned([workload(cpu=cpu + 1)], L4).summary.status == "infeasible"


def test_every_node_keeps_to_its_number_of_pods():
    small = instance_type("g6.few", "L4", 1.0, pods=OVERHEAD.pods + 2)
    plan = planned([workload(replicas=6, memory=500, duty=0.001)], small)
    assert sum(node.count for pool in plan.pools for node in pool.nodes) == 3


def test_metered_pools_are_on_machines_with_one_gpu():
    # Unequal pods: equal slots would waste most of a GPU.
    sizes = ((11_000, 0.2), (5_000, 0.1), (3_000, 0.05), (1_500, 0.02))
    fleet = [
        workload(f"{tenant}/app{i}", memory=memory, duty=duty)
        for tenant in ("red", "blue", "green")
        for i, (memory, duty) in enumerate(sizes)
    ]
    plan = planned(fleet, L4, L4_X4)
    metered = [pool for pool in plan.pools if pool.layout.metered]
    assert len(metered) == 3
    assert {name for pool in metered for name in pool.instance_types} == {"g6.2xlarge"}
    assert all(each.asks.gpu_memory and each.asks.gpu_time for each in plan.assignments)


def test_machines_with_several_gpus_are_cut_into_slots_sized_for_any_mix():
    fleet = [workload(f"red/app{i}", memory=5000, duty=0.1) for i in range(8)]
    plan = planned(fleet, replace(L4_X4, gpu_count=2))
    (pool,) = plan.pools
    assert pool.layout.mechanism in {"time-slicing", "mps"}
    assert not pool.layout.metered
    assert pool.layout.replicas == 4


# Stacks


def test_bottlerocket_never_meters():
    sizes = ((11_000, 0.2), (5_000, 0.1), (3_000, 0.05), (1_500, 0.02))
    fleet = [workload(f"red/app{i}", memory=memory, duty=duty) for i, (memory, duty) in enumerate(sizes)]
    assert any(pool.layout.metered for pool in planned(fleet, L4).pools)
    plan = planned(fleet, L4, stack=Stack.BOTTLEROCKET)
    assert not any(layout.metered for layout in layouts(plan))


def test_bottlerocket_never_mixes_mig_profiles():
    hard: dict[str, Any] = {"on": "H100", "duty": 0.01, "isolation": Isolation.HARDWARE}
    fleet = [workload("red/large", 1, memory=38_000, **hard), workload("red/small", 3, memory=9000, **hard)]
    assert cost(planned(fleet, H100)) == 6_880_000
    plan = planned(fleet, H100, stack=Stack.BOTTLEROCKET)
    for layout in layouts(plan):
        assert not layout.geometries
        assert not layout.geometry or len(layout.geometry) == 1


def test_bottlerocket_has_no_fractional_machines():
    plan = planned([workload(duty=0.01)], L4, L4_EIGHTH, stack=Stack.BOTTLEROCKET)
    assert plan.pools[0].instance_types == ("g6.2xlarge",)


# Unplaced


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (workload("red/bad", memory=30_000, duty=0.1), "30000Mi"),
        (workload("red/bad", allow=frozenset({"B200"})), "not among the GPUs allowed"),
        (workload("red/bad", min_compute_capability=(9, 0)), "compute capability 8.9, below 9.0"),
        (workload("red/bad", on="H100", duty=0.9, allow=frozenset({ANY_GPU})), "busy"),
        (
            workload("red/bad", on="H100", max_slowdown_milli=2000, allow=frozenset({ANY_GPU})),
            "slower than on H100",
        ),
        (workload("red/bad", arch="arm64"), "its pods are arm64"),
        (workload("red/bad", cpu=90_000), "asks for 90 CPU"),
        (workload("red/bad", ram=90_000), "asks for 90000Mi"),
        (workload("red/bad", gpus=8, memory=None, duty=None), "needs 8 GPUs, g6.2xlarge has 1"),
        (workload("red/bad", on=None, memory=None, duty=None), "no GPU model is known"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_who_fits_nothing_is_named_with_the_reason_and_the_others_are_planned(bad, words):
    plan = planned([workload("red/good"), bad], L4)
    (unplaced,) = plan.unplaced
    assert (unplaced.workload, unplaced.replicas) == ("red/bad", 1)
    assert words in unplaced.reason
    assert plan.summary.status == "infeasible"
    assert [each.workload for each in plan.assignments] == ["red/good"]
    assert cost(plan) == 977_600


def test_the_reason_given_is_that_of_the_nearest_miss():
    # T4 is too old for it, A10G too; L4 would do but for its memory.
    plan = planned([workload("red/bad", memory=30_000)], T4, A10G, L4)
    assert plan.unplaced[0].reason == "needs 30000Mi, a slice has 22558Mi"


def test_a_fleet_of_which_nobody_fits_is_an_empty_plan():
    plan = planned([workload(cpu=90_000)], L4)
    assert (plan.pools, plan.assignments, plan.summary.status) == ((), (), "infeasible")
    assert prices(plan) == (0, 0, 0)


def test_a_machine_whose_price_is_not_known_is_named_as_the_reason():
    plan = planned([workload()], replace(L4, prices={}))
    assert "price isn't known" in plan.unplaced[0].reason


def test_no_replicas_need_no_nodes():
    plan = planned([workload(replicas=0)], L4)
    assert (plan.pools, plan.unplaced, plan.summary.status) == ((), (), "optimal")


# Homes


def test_replicas_with_one_template_go_to_one_pool():
    # Alone on the small card, or with others: the cheapest packing splits them, a Deployment can't be.
    fleet = [
        workload("red/app", 5, memory=9000, duty=0.1, on="T4"),
        workload("red/big", memory=12_000, on="T4"),
    ]
    plan = planned(fleet, T4, A10G, L4)
    assert sorted(each.workload for each in plan.assignments) == ["red/app", "red/big"]


def test_bare_pods_may_go_to_several_pools():
    # Three on each large card and the last on a small one is cheapest, which a Deployment can't have.
    pods = workload("red/pods", 4, memory=7000, on="T4", target=Target(kind="Pod"))
    types = replace(T4, prices={Purchase.ON_DEMAND: 500_000}, allocatable_cpu_milli=900), L4
    plan = planned([pods], *types)
    assert prices(plan)[1:] == (1_477_600, 1_477_600)
    assert len({each.pool for each in plan.assignments}) == 2
    deployed = planned([replace(pods, target=Target())], *types)
    assert prices(deployed)[1:] == (1_477_600, 2 * 977_600)
    assert len(deployed.assignments) == 1


@pytest.mark.parametrize(("memory", "replicas"), [(19_000, 2), (15_000, 3), (9_000, 7), (19_000, 7)])
def test_bare_pods_may_take_several_kinds_of_instances_of_one_card(memory, replicas):
    hard: dict[str, Any] = {
        "on": "H100",
        "duty": 0.01,
        "isolation": Isolation.HARDWARE,
        "target": Target(kind="Pod"),
    }
    fleet = [
        workload("red/pods", replicas, memory=memory, **hard),
        workload("red/more", 2, memory=memory // 2, **hard),
    ]
    plan = planned(fleet, H100)
    for each in fleet:
        placed = [found.replicas for found in plan.assignments if found.workload == each.name]
        assert sum(placed) == each.replicas


def test_many_tenants_may_each_have_a_metered_pool():
    sizes = ((11_000, 0.2), (5_000, 0.1), (3_000, 0.05))
    fleet = [
        workload(f"team{tenant}/app{i}", memory=memory, duty=duty, cpu=200)
        for tenant in range(40)
        for i, (memory, duty) in enumerate(sizes)
    ]
    assert cost(planned(fleet, L4)) == 40 * 977_600


def test_equal_workloads_are_dealt_out_completely():
    fleet = [workload(f"red/app{i}", replicas=i + 1, memory=7000) for i in range(4)]
    plan = planned(fleet, L4)
    assert {each.workload: each.replicas for each in plan.assignments} == {
        "red/app0": 1,
        "red/app1": 2,
        "red/app2": 3,
        "red/app3": 4,
    }


# What the plan says


def test_the_plan_names_its_prices_and_what_it_takes_for_granted():
    plan = planned([workload(slowdown_defaulted=True, max_slowdown_milli=2000)], L4)
    text = "\n".join(plan.assumptions)
    assert "2026-07-20" in text
    assert "daemonsets take 180m CPU" in text
    assert "1 service states no maxSlowdown" in text
    assert (plan.catalog.region, plan.catalog.prices) == ("us-east-1", "2026-07-20")


def test_a_baseline_counts_whom_it_would_run_outside_their_rules():
    fleet = [workload("red/big", memory=20_000), workload("red/small")]
    by_name = {each.name: each for each in planned(fleet, L4).summary.baselines}
    assert by_name["whole-gpu"].misfits == 0
    assert by_name["whole-gpu"].usd_per_hour == pytest.approx(2 * 0.9776)
    assert by_name["time-slicing-4"].misfits == 1  # a quarter of the memory is not enough for one of them
    assert "all-1g-mig" not in by_name


def test_eight_gpus_are_cut_each_in_its_own_way_or_alike():
    fleet = [
        workload("red/large", 8, on="A100-40GB", memory=18_000, duty=0.2, isolation=Isolation.HARDWARE),
        workload("red/small", 20, on="A100-40GB", memory=4000, duty=0.02, isolation=Isolation.HARDWARE),
    ]
    plan = planned(fleet, A100_X8)
    assert mechanisms(plan) == {"mig"}
    assert cost(plan) == 21_957_642
