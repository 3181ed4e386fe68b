"""The verifier against plans that were made worse, one rule at a time: each is refused, and by the name of its rule.

Three fleets of good plans together have every mechanism. A mutation changes the plain data of one of them, as somebody
with an editor would.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache
from typing import Any, NamedTuple, TypeVar

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpuslice.cloud.catalog import Catalog, Purchase
from gpuslice.hardware.need import Feature, Need
from gpuslice.hardware.slices import Isolation
from gpuslice.hardware.stacks import Stack
from gpuslice.planner.plan import Plan
from gpuslice.planner.verify import verify
from gpuslice.workloads.model import Workload
from gpuslice.workloads.target import Target
from tests.planner.planned import solved
from tests.strategies import A10G, H100, L4, L4_EIGHTH, L4_X4, T4, T4G, catalog_of

Document = dict[str, Any]
Part = TypeVar("Part", bound=msgspec.Struct)


class Case(NamedTuple):
    """A plan beside what it was made of."""

    plan: Plan
    workloads: tuple[Workload, ...]
    catalog: Catalog


def _workload(
    name: str, replicas: int, on: str, memory: int | None, duty: float | None, **more: Any
) -> Workload:
    rules = {
        rule: more.pop(rule)
        for rule in ("isolation", "gpus", "max_slowdown_milli", "features")
        if rule in more
    }
    need = Need(memory_mib=memory, duty_ppm=None if duty is None else round(duty * 1_000_000), on=on, **rules)
    more.setdefault("cpu_milli", 500)
    return Workload(name, replicas, memory_mib=1024, need=need, tenant=name.partition("/")[0], **more)


SPOT_L4 = replace(L4, prices={**L4.prices, Purchase.SPOT: 400_000})
DUAL_L4 = replace(L4_X4, name="g6.dual", gpu_count=2, prices={Purchase.ON_DEMAND: 1_900_000})
DUAL_H100 = replace(H100, name="p5.dual", gpu_count=2, prices={Purchase.ON_DEMAND: 13_000_000})
CATALOG = catalog_of(SPOT_L4, L4_X4, DUAL_L4, L4_EIGHTH, T4, T4G, A10G, H100, DUAL_H100)

HARD = Isolation.HARDWARE
# Metered, slots by time-slicing and MPS, whole, fractional, spot, arm64, a preallocator with a limit.
SHARED = (
    _workload("red/embed", 3, "L4", 6000, 0.1),
    _workload("red/rank", 1, "L4", 2000, 0.04, preallocates=True),
    _workload("blue/llm", 2, "L4", None, None, gpus=4, cpu_milli=4000),
    _workload("blue/dark", 1, "A10G", None, None),
    _workload("green/guard", 1, "L4", 2000, 0.02, isolation=HARD, max_slowdown_milli=9000),
    _workload("gray/batch", 1, "L4", 12_000, 0.2, interruptible=True),
    _workload("gray/night", 2, "L4", 4000, 0.1, interruptible=True),
    _workload("teal/arm", 2, "T4G", 6000, 0.05, arch="arm64", isolation=Isolation.MEMORY),
)
# Cards cut by MIG, each in its own way.
CUT = (
    _workload("red/small", 7, "H100", 9000, 0.02, isolation=HARD),
    _workload("blue/large", 2, "H100", 38_000, 0.2, isolation=HARD),
)
SLOTS = tuple(
    _workload(f"red/app{i}", 2, "L4", 5000, 0.1, max_slowdown_milli=2000, preallocates=i == 0)
    for i in range(4)
)


def _cut_plan() -> Plan:
    """One machine: the first card's two large instances, and the second's seven small ones."""
    geometries = [[{"profile": "3g.40gb", "count": 2}], [{"profile": "1g.10gb", "count": 7}]]
    node = {
        "instanceType": "p5.dual",
        "purchase": "on-demand",
        "count": 1,
        "usdPerHour": 13.0,
        "pods": {"red/small": 7, "blue/large": 2},
    }
    layout = {"gpu": "H100", "mechanism": "mig", "geometries": geometries}
    shares = {"1g.10gb": (8.25, 0.165), "3g.40gb": (2.2, 0.44)}  # 132 multiprocessors of 16 and of 60
    document = {
        "apiVersion": "gpuslice.io/v1alpha1",
        "kind": "Plan",
        "catalog": {"region": "us-east-1", "prices": "2026-07-20"},
        "stack": "al2023",
        "overhead": {"cpu": "180m", "memory": "200Mi", "pods": 8},
        "summary": {
            "status": "optimal",
            "termination": "gap",
            "usdPerHour": 13.0,
            "optimalUsdPerHour": 13.0,
            "boundUsdPerHour": 13.0,
            "gap": 0.0,
        },
        "pools": [
            {
                "name": "h100-mig",
                "layout": layout,
                "instanceTypes": ["p5.dual"],
                "purchases": ["on-demand"],
                "nodes": [node],
            }
        ],
        "assignments": [
            {
                "workload": name,
                "pool": "h100-mig",
                "replicas": replicas,
                "slice": f"H100/mig/{profile}",
                "resource": f"nvidia.com/mig-{profile}",
                "quantity": 1,
                "because": "so",
                "expectedSlowdown": shares[profile][0],
                "utilisation": shares[profile][1],
            }
            for name, replicas, profile in (("red/small", 7, "1g.10gb"), ("blue/large", 2, "3g.40gb"))
        ],
        "optimalNodes": [{**node, "layout": layout}],
    }
    return msgspec.convert(document, Plan)


@cache
def case(name: str) -> Case:
    """A good plan: "shared", "cut", "slots" or "alike"."""
    workloads: tuple[Workload, ...]
    match name:
        case "shared":
            workloads, catalog, stack = SHARED, CATALOG, Stack.AL2023
        case "cut":
            return Case(_cut_plan(), CUT, catalog_of(DUAL_H100))
        case "alike":
            workloads, catalog, stack = CUT[:1], catalog_of(H100), Stack.BOTTLEROCKET
        case _:
            workloads, catalog, stack = SLOTS, catalog_of(DUAL_L4), Stack.AL2023
    plan = solved(workloads, catalog, stack=stack).plan
    return Case(plan, workloads, catalog)


def rules_broken(good: Case, document: Document) -> set[str]:
    """The rules that a changed plan breaks."""
    plan = msgspec.convert(document, Plan)
    return {each.rule for each in verify(plan, good.workloads, good.catalog)}


def document_of(good: Case) -> Document:
    """The plan as plain data, to be changed."""
    document: Document = msgspec.json.decode(msgspec.json.encode(good.plan))  # lists, not tuples
    return document


def pool(document: Document, mechanism: str, **wanted: Any) -> Document:
    """The first pool of a mechanism; `metered=True` for a metered one."""
    for each in document["pools"]:
        metered = "metered" in each["layout"]
        if each["layout"]["mechanism"] == mechanism and metered == wanted.get("metered", False):
            found: Document = each
            return found
    raise AssertionError(f"no pool {mechanism} {wanted}")


def assignment(document: Document, workload: str) -> Document:
    """A workload's first assignment."""
    found: Document = next(each for each in document["assignments"] if each["workload"] == workload)
    return found


def pool_of(document: Document, workload: str) -> Document:
    """The pool of a workload's first assignment."""
    name = assignment(document, workload)["pool"]
    found: Document = next(each for each in document["pools"] if each["name"] == name)
    return found


def optimal(document: Document, workload: str) -> Document:
    """The first optimal node that carries a workload."""
    found: Document = next(each for each in document["optimalNodes"] if workload in each["pods"])
    return found


# The plans that are mutated


@pytest.mark.parametrize("name", ["shared", "cut", "slots", "alike"])
def test_the_plans_to_be_mutated_are_good(name):
    good = case(name)
    assert verify(*good) == []
    assert rules_broken(good, document_of(good)) == set()


def test_the_plans_to_be_mutated_have_every_mechanism():
    found = {
        (each.layout.mechanism, bool(each.layout.metered), bool(each.layout.geometries))
        for name in ("shared", "cut", "slots", "alike")
        for each in case(name).plan.pools
    }
    assert found == {
        ("whole", False, False),
        ("time-slicing", True, False),
        ("time-slicing", False, False),
        ("mps", False, False),
        ("fractional", False, False),
        ("mig", False, True),
        ("mig", False, False),
    }


# One change each: the rule that it breaks, the plan, and the change

MUTATIONS: list[tuple[str, str, str, Any]] = []


def breaks(rule: str, *, of: str = "shared") -> Any:
    """Register a mutation of a plan under the rule that it breaks."""

    def register(change: Any) -> Any:
        MUTATIONS.append((rule, of, change.__name__.removeprefix("_"), change))
        return change

    return register


@breaks("catalog")
def _prices_of_another_day(d):
    d["catalog"]["prices"] = "2026-07-21"


@breaks("catalog")
def _another_region(d):
    d["catalog"]["region"] = "eu-west-1"


# Replicas and names


@breaks("replicas")
def _one_replica_too_many_assigned(d):
    assignment(d, "red/embed")["replicas"] += 1


@breaks("replicas")
def _one_replica_too_few_assigned_and_carried(d):
    each = pool_of(d, "red/embed")
    assignment(d, "red/embed")["replicas"] -= 1
    each["nodes"][0]["pods"]["red/embed"] -= 1


@breaks("replicas")
def _a_node_too_few(d):
    del pool_of(d, "gray/batch")["nodes"][0]


@breaks("replicas")
def _a_node_too_many(d):
    pool_of(d, "gray/batch")["nodes"][0]["count"] += 1


@breaks("replicas")
def _a_node_carries_one_more(d):
    pool_of(d, "red/embed")["nodes"][0]["pods"]["red/embed"] += 1


@breaks("unknown-workload")
def _a_node_carries_somebody_unknown(d):
    pool_of(d, "red/embed")["nodes"][0]["pods"]["red/ghost"] = 1


@breaks("replicas")
def _a_workload_left_out(d):
    d["assignments"].remove(assignment(d, "blue/dark"))


@breaks("unknown-workload")
def _an_assignment_for_nobody(d):
    d["assignments"].append({**assignment(d, "blue/dark"), "workload": "blue/ghost"})


@breaks("replicas")
def _on_the_nodes_of_another_pool(d):
    here, there = pool_of(d, "red/embed"), pool_of(d, "blue/dark")
    there["nodes"][0]["pods"]["red/embed"] = here["nodes"][0]["pods"].pop("red/embed")


@breaks("one-home", of="slots")
def _one_template_in_two_halves(d):
    each = assignment(d, "red/app1")
    d["assignments"].append({**each, "replicas": 1})
    each["replicas"] = 1


@breaks("one-home")
def _one_template_in_two_pools(d):
    here, there = pool_of(d, "red/embed"), pool_of(d, "blue/dark")
    each = assignment(d, "red/embed")
    other = {
        **each,
        "pool": there["name"],
        "replicas": 1,
        "slice": "A10G/whole",
        "resource": "nvidia.com/gpu",
    }
    del other["request"]
    each["replicas"] -= 1
    here["nodes"][0]["pods"]["red/embed"] -= 1
    there["nodes"].append({**there["nodes"][0], "pods": {"red/embed": 1}})
    d["assignments"].append(other)


@breaks("pool-names")
def _a_pool_listed_twice(d):
    d["pools"].append(copy.deepcopy(d["pools"][0]))


@breaks("pool-names")
def _a_pool_that_is_not_there(d):
    assignment(d, "red/embed")["pool"] = "nowhere"


@breaks("unplaced")
def _placed_nowhere_twice(d):
    d["unplaced"] = [{"workload": "red/ghost", "replicas": 1, "reason": "so"}] * 2
    d["summary"]["status"] = "infeasible"


@breaks("unplaced")
def _placed_nowhere_without_a_reason(d):
    d["unplaced"] = [{"workload": "red/ghost", "replicas": 1, "reason": " "}]
    d["summary"]["status"] = "infeasible"


@breaks("unplaced")
def _placed_nowhere_with_fewer_replicas(d):
    d["unplaced"] = [{"workload": "red/embed", "replicas": 1, "reason": "so"}]


@breaks("replicas")
def _placed_and_unplaced(d):
    d["unplaced"] = [{"workload": "red/embed", "replicas": 3, "reason": "so"}]
    d["summary"]["status"] = "infeasible"


@breaks("status")
def _unplaced_but_optimal(d):
    d["unplaced"] = [{"workload": "red/ghost", "replicas": 1, "reason": "so"}]


@breaks("status")
def _infeasible_though_all_are_placed(d):
    d["summary"]["status"] = "infeasible"


@breaks("target")
def _pods_from_elsewhere(d):
    assignment(d, "red/embed")["target"] = {"kind": "StatefulSet"}


# Tenants, interruption, architecture


@breaks("tenants")
def _a_metered_pool_for_another_tenant(d):
    pool(d, "time-slicing", metered=True)["tenant"] = "blue"


@breaks("tenants")
def _a_shared_pool_for_nobody_in_particular(d):
    pool(d, "mps")["tenant"] = ""


@breaks("tenants")
def _a_whole_pool_kept_for_another_tenant(d):
    pool(d, "whole")["tenant"] = "red"


@breaks("tenants")
def _two_tenants_on_one_metered_gpu(d):
    here, there = pool_of(d, "red/embed"), pool_of(d, "gray/batch")
    d["pools"].remove(there)
    moved = assignment(d, "gray/batch")
    moved.update(pool=here["name"])
    here["nodes"].append({**here["nodes"][0], "pods": {"gray/batch": 2}})


@breaks("tenants")
def _two_tenants_on_one_optimal_gpu(d):
    here, there = optimal(d, "red/embed"), optimal(d, "gray/batch")
    here["pods"]["gray/batch"] = there["pods"].pop("gray/batch")


@breaks("interruptible")
def _spot_for_who_may_not_be_interrupted(d):
    each = pool_of(d, "red/embed")
    each["purchases"] = ["spot"]
    for node in each["nodes"]:
        node.update(purchase="spot", usdPerHour=0.4)


@breaks("interruptible")
def _spot_as_a_choice_for_who_may_not_be_interrupted(d):
    pool_of(d, "red/embed")["purchases"].append("spot")


@breaks("interruptible")
def _spot_in_the_cheapest_packing(d):
    optimal(d, "red/embed").update(purchase="spot", usdPerHour=0.4)


@breaks("purchases")
def _bought_in_a_way_that_the_pool_has_not(d):
    pool_of(d, "gray/batch")["purchases"] = ["on-demand"]


@breaks("price")
def _a_purchase_without_a_price(d):
    pool_of(d, "gray/batch")["purchases"].append("reserved")


@breaks("arch")
def _an_arm_machine_as_a_choice_for_amd64_pods(d):
    pool_of(d, "red/embed")["instanceTypes"].append("g5g.2xlarge")


@breaks("arch")
def _arm_pods_in_an_optimal_node_of_amd64(d):
    optimal(d, "teal/arm").update(instanceType="g4dn.xlarge", usdPerHour=0.526)


# Machines and prices


@breaks("instance-types")
def _a_machine_that_the_pool_has_not(d):
    pool_of(d, "blue/llm")["instanceTypes"] = ["g6.dual"]


@breaks("instance-types")
def _a_machine_that_the_catalog_has_not(d):
    each = pool_of(d, "red/embed")
    each["instanceTypes"] = ["g9.large"]
    each["nodes"][0]["instanceType"] = "g9.large"


@breaks("instance-types")
def _a_choice_that_the_catalog_has_not(d):
    pool_of(d, "red/embed")["instanceTypes"].append("g9.large")


@breaks("instance-types")
def _an_optimal_machine_that_the_catalog_has_not(d):
    optimal(d, "red/embed")["instanceType"] = "g9.large"


@breaks("instance-types")
def _a_machine_with_another_gpu(d):
    each = pool_of(d, "red/embed")
    each["instanceTypes"] = ["g5.2xlarge"]
    each["nodes"][0].update(instanceType="g5.2xlarge", usdPerHour=1.212)


@breaks("instance-types")
def _a_machine_with_another_gpu_as_a_choice(d):
    pool_of(d, "red/embed")["instanceTypes"].append("g5.2xlarge")


@breaks("instance-types")
def _a_fraction_where_whole_gpus_are_shared(d):
    pool_of(d, "red/embed")["instanceTypes"].append("g6f.xlarge")


@breaks("instance-types")
def _an_optimal_machine_with_another_gpu(d):
    optimal(d, "red/embed").update(instanceType="g5.2xlarge", usdPerHour=1.212)


@breaks("instance-types")
def _a_whole_machine_for_a_fraction(d):
    each = pool_of(d, "green/guard")
    each["instanceTypes"] = ["g6.2xlarge"]
    each["nodes"][0].update(instanceType="g6.2xlarge", usdPerHour=0.9776)


@breaks("price")
def _a_node_a_micro_dollar_cheaper(d):
    pool_of(d, "red/embed")["nodes"][0]["usdPerHour"] -= 1e-6


@breaks("price")
def _an_optimal_node_a_micro_dollar_cheaper(d):
    optimal(d, "red/embed")["usdPerHour"] -= 1e-6


@breaks("sum")
def _a_bill_a_micro_dollar_lower(d):
    d["summary"]["usdPerHour"] -= 1e-6


@breaks("sum")
def _an_optimum_a_micro_dollar_lower(d):
    d["summary"]["optimalUsdPerHour"] -= 1e-6


@breaks("price")
def _spot_where_it_has_no_price(d):
    each = pool_of(d, "blue/dark")
    each["nodes"][0].update(purchase="spot", usdPerHour=0.1)


@breaks("cpu")
def _more_cpu_for_daemonsets_than_planned_for(d):
    d["overhead"]["cpu"] = "7500m"


@breaks("node-memory")
def _more_memory_for_daemonsets_than_planned_for(d):
    d["overhead"]["memory"] = "28Gi"


@breaks("pods")
def _more_pods_of_daemonsets_than_planned_for(d):
    d["overhead"]["pods"] = 57


# What pods ask for


@breaks("quantity")
def _a_gpu_too_few(d):
    assignment(d, "blue/llm")["quantity"] = 3


@breaks("quantity")
def _two_slots_for_one(d):
    assignment(d, "red/embed")["quantity"] = 2


@breaks("resource")
def _a_whole_gpu_asked_for_where_it_is_shared(d):
    assignment(d, "red/embed")["resource"] = "nvidia.com/gpu"


@breaks("resource")
def _another_resource_for_the_pool(d):
    pool_of(d, "red/embed")["resource"] = "nvidia.com/gpu"


@breaks("resource", of="cut")
def _another_instance_asked_for(d):
    assignment(d, "red/small")["resource"] = "nvidia.com/mig-3g.40gb"


@breaks("slice")
def _a_slice_of_another_pool(d):
    assignment(d, "red/embed")["slice"] = assignment(d, "blue/dark")["slice"]


@breaks("slice", of="cut")
def _an_instance_that_no_gpu_has(d):
    each = assignment(d, "red/small")
    each.update(slice="H100/mig/2g.20gb", resource="nvidia.com/mig-2g.20gb")


@breaks("request")
def _a_metered_pod_without_a_request(d):
    del assignment(d, "red/embed")["request"]


@breaks("request")
def _a_request_for_a_whole_gpu(d):
    assignment(d, "blue/dark")["request"] = {"memory": "1Gi", "time": 1}


@breaks("request")
def _a_request_for_less_memory_than_needed(d):
    assignment(d, "red/embed")["request"]["memory"] = "5999Mi"


@breaks("request")
def _a_request_for_less_time_than_needed(d):
    assignment(d, "red/embed")["request"]["time"] = 99


@breaks("memory")
def _a_request_for_more_memory_than_the_node_has(d):
    assignment(d, "red/embed")["request"]["memory"] = "7Gi"


@breaks("load")
def _a_request_for_more_time_than_the_node_has(d):
    assignment(d, "red/embed")["request"]["time"] = 300


@breaks("memory-limit")
def _a_preallocator_without_a_limit(d):
    del assignment(d, "red/rank")["memoryLimit"]


@breaks("memory-limit")
def _a_preallocator_with_more_than_its_request(d):
    assignment(d, "red/rank")["memoryLimit"] = "2001Mi"


@breaks("memory-limit")
def _a_preallocator_with_less_than_it_needs(d):
    assignment(d, "red/rank")["memoryLimit"] = "1999Mi"


@breaks("memory-limit", of="slots")
def _a_preallocator_with_more_than_its_slot(d):
    assignment(d, "red/app0")["memoryLimit"] = "5358Mi"


@breaks("figures")
def _a_rosier_slowdown(d):
    assignment(d, "red/embed")["expectedSlowdown"] -= 0.02


@breaks("figures")
def _a_rosier_utilisation(d):
    assignment(d, "red/embed")["utilisation"] -= 0.002


@breaks("figures")
def _a_slowdown_that_nobody_can_know(d):
    assignment(d, "blue/dark")["expectedSlowdown"] = 1.0


# Layouts


@breaks("layout")
def _a_gpu_that_does_not_exist(d):
    pool_of(d, "red/embed")["layout"]["gpu"] = "L5"


@breaks("layout")
def _an_optimal_gpu_that_does_not_exist(d):
    optimal(d, "red/embed")["layout"]["gpu"] = "L5"


@breaks("layout")
def _mig_on_a_gpu_without_it(d):
    pool_of(d, "blue/dark")["layout"] = {
        "gpu": "A10G",
        "mechanism": "mig",
        "geometry": [{"profile": "1g.5gb", "count": 1}],
    }


@breaks("layout")
def _replicas_of_whole_gpus(d):
    pool_of(d, "blue/dark")["layout"]["replicas"] = 2


@breaks("layout")
def _a_slot_time_of_a_metered_pool(d):
    pool_of(d, "red/embed")["layout"]["slotTime"] = 5


@breaks("layout", of="slots")
def _slots_without_a_number(d):
    del d["pools"][0]["layout"]["replicas"]


@breaks("layout")
def _metered_mps(d):
    pool_of(d, "red/embed")["layout"]["mechanism"] = "mps"


@breaks("geometry")
def _a_geometry_of_a_shared_gpu(d):
    pool_of(d, "red/embed")["layout"]["geometry"] = [{"profile": "1g.10gb", "count": 1}]


@breaks("geometry", of="cut")
def _mig_without_a_geometry(d):
    del d["pools"][0]["layout"]["geometries"]


@breaks("geometry", of="cut")
def _an_optimal_node_of_mig_without_a_geometry(d):
    del d["optimalNodes"][0]["layout"]["geometries"]


@breaks("geometry", of="cut")
def _two_kinds_of_geometry_at_once(d):
    layout = d["pools"][0]["layout"]
    layout["geometry"] = layout["geometries"][0]


@breaks("geometry", of="cut")
def _a_geometry_too_few(d):
    d["pools"][0]["layout"]["geometries"].pop()


@breaks("geometry", of="cut")
def _an_optimal_geometry_too_many(d):
    geometries = d["optimalNodes"][0]["layout"]["geometries"]
    geometries.append(geometries[0])


@breaks("geometry", of="cut")
def _an_instance_too_many_for_the_card(d):
    d["pools"][0]["layout"]["geometries"][0].append({"profile": "4g.40gb", "count": 1})


@breaks("geometry", of="cut")
def _a_profile_listed_twice(d):
    geometry = d["pools"][0]["layout"]["geometries"][1]
    geometry.append(dict(geometry[0]))


@breaks("geometry", of="cut")
def _a_profile_of_another_card(d):
    for geometry in d["pools"][0]["layout"]["geometries"]:
        geometry[0]["profile"] = "1g.18gb"


@breaks("slots", of="cut")
def _a_card_cut_for_others(d):
    d["pools"][0]["layout"]["geometries"] = [[{"profile": "7g.80gb", "count": 1}]] * 2


@breaks("slots", of="cut")
def _an_optimal_card_cut_for_others(d):
    d["optimalNodes"][0]["layout"]["geometries"] = [[{"profile": "1g.10gb", "count": 7}]] * 2


@breaks("stack", of="cut")
def _mixed_geometries_on_bottlerocket(d):
    d["stack"] = "bottlerocket"


@breaks("stack", of="alike")
def _an_unusual_count_on_bottlerocket(d):
    d["pools"][0]["layout"]["geometry"][0]["count"] = 6


@breaks("stack")
def _metered_on_bottlerocket(d):
    d["stack"] = "bottlerocket"


@breaks("metered")
def _two_metered_pools_that_look_alike(d):
    for each in d["pools"]:
        if "metered" in each["layout"]:
            each["layout"]["replicas"] = 16


@breaks("metered")
def _a_metered_machine_with_four_gpus(d):
    each = pool_of(d, "red/embed")
    each["instanceTypes"] = ["g6.12xlarge"]
    each["nodes"][0].update(instanceType="g6.12xlarge", usdPerHour=4.6016)


@breaks("metered")
def _a_metered_machine_with_four_gpus_as_a_choice(d):
    pool_of(d, "red/embed")["instanceTypes"].append("g6.12xlarge")


@breaks("memory")
def _a_metered_gpu_promises_its_margin(d):
    pool_of(d, "red/embed")["layout"]["metered"]["memory"] = "22558Mi"


@breaks("load")
def _a_metered_gpu_promises_all_its_time(d):
    pool_of(d, "red/embed")["layout"]["metered"]["time"] = 1000


@breaks("memory")
def _a_metered_gpu_promises_less_memory_than_it_gives(d):
    pool_of(d, "red/embed")["layout"]["metered"]["memory"] = "16Gi"


@breaks("load")
def _a_metered_gpu_promises_less_time_than_it_gives(d):
    pool_of(d, "red/embed")["layout"]["metered"]["time"] = 300


@breaks("load")
def _an_optimal_metered_gpu_gives_more_time_than_it_has(d):
    optimal(d, "red/embed")["layout"]["metered"]["time"] = 300


@breaks("memory")
def _an_optimal_metered_gpu_gives_more_memory_than_it_has(d):
    optimal(d, "red/embed")["layout"]["metered"]["memory"] = "16Gi"


@breaks("slots")
def _more_pods_on_a_metered_gpu_than_may_share(d):
    pool_of(d, "red/embed")["layout"]["replicas"] = 3


@breaks("fit/memory", of="slots")
def _slots_too_small(d):
    d["pools"][0]["layout"].update(replicas=5, slotTime=100)
    for each in d["assignments"]:
        each["slice"] = each["slice"].rpartition("/")[0] + "/5"


@breaks("slots", of="slots")
def _slots_too_few(d):
    d["pools"][0]["layout"].update(replicas=3, slotTime=100)
    for each in d["assignments"]:
        each["slice"] = each["slice"].rpartition("/")[0] + "/3"


@breaks("fit/sustained load", of="slots")
def _a_slot_time_below_a_pods_own(d):
    d["pools"][0]["layout"].update(mechanism="time-slicing", slotTime=99)
    for each in d["assignments"]:
        each["slice"] = "L4/time-slicing/4"


@breaks("load", of="slots")
def _a_slot_time_beyond_what_is_sustained(d):
    d["pools"][0]["layout"].update(mechanism="time-slicing", slotTime=177)


@breaks("load", of="slots")
def _an_optimal_slot_time_beyond_what_is_sustained(d):
    d["optimalNodes"][0]["layout"].update(mechanism="time-slicing", slotTime=177)


@breaks("slots", of="slots")
def _an_optimal_slot_time_below_a_pods_own(d):
    d["optimalNodes"][0]["layout"].update(mechanism="time-slicing", slotTime=99)


@breaks("slots", of="slots")
def _optimal_slots_too_small(d):
    d["optimalNodes"][0]["layout"].update(replicas=5, slotTime=100)


# The cheapest packing, and the sums


@breaks("slots")
def _an_optimal_node_overfull(d):
    optimal(d, "blue/llm")["pods"]["blue/llm"] += 1


@breaks("cpu")
def _an_optimal_node_with_too_little_cpu(d):
    optimal(d, "red/embed")["pods"]["red/embed"] = 16


@breaks("replicas")
def _an_optimal_node_too_few(d):
    d["optimalNodes"].remove(optimal(d, "blue/dark"))


@breaks("unknown-workload")
def _an_optimal_node_for_somebody_unknown(d):
    optimal(d, "red/embed")["pods"]["red/ghost"] = 1


@breaks("replicas")
def _no_cheapest_packing_at_all(d):
    d["optimalNodes"] = []
    d["summary"].update(optimalUsdPerHour=0.0, boundUsdPerHour=0.0, gap=0.0)


@breaks("bound")
def _a_bound_above_the_optimum(d):
    d["summary"]["boundUsdPerHour"] = d["summary"]["optimalUsdPerHour"] + 0.01


@breaks("bound")
def _an_optimum_above_the_bill(d):
    node = optimal(d, "blue/dark")
    node.update(instanceType="g5.2xlarge", usdPerHour=1.212, count=node["count"] + 50)
    d["summary"]["optimalUsdPerHour"] += 50 * 1.212


@breaks("gap")
def _a_gap_that_is_not_one(d):
    d["summary"]["gap"] += 0.01


@breaks("gap")
def _a_higher_bound_with_the_old_gap(d):
    d["summary"]["boundUsdPerHour"] -= 0.01


@pytest.mark.parametrize(
    ("rule", "of", "change"),
    [pytest.param(rule, of, change, id=name) for rule, of, name, change in MUTATIONS],
)
def test_a_plan_made_worse_is_refused_by_the_rule_that_it_breaks(rule, of, change):
    good = case(of)
    document = document_of(good)
    change(document)
    assert rule in rules_broken(good, document)


# Workloads, not the plan, that changed since


@pytest.mark.parametrize(
    ("rule", "change"),
    [
        ("fit/memory", {"memory_mib": 21_500}),
        ("memory", {"memory_mib": 9_000}),
        ("request", {"memory_mib": 6_001}),
        ("fit/sustained load", {"duty_ppm": 750_000}),
        ("request", {"duty_ppm": 100_001}),
        ("fit/slowdown", {"max_slowdown_milli": 1001}),
        ("fit/isolation", {"isolation": Isolation.MEMORY}),
        ("fit/compute capability", {"min_compute_capability": (9, 0)}),
        ("fit/feature", {"features": frozenset({Feature.FP4})}),
        ("fit/model", {"allow": frozenset({"T4"})}),
        ("fit/need unknown", {"duty_ppm": None}),
        ("fit/several GPUs", {"gpus": 2}),
        ("fit/preallocation", {"limitable": False}),
        ("quantity", {"gpus": 2}),
    ],
    ids=str,
)
def test_a_plan_is_refused_when_a_need_has_grown_out_of_it(rule, change):
    good = case("shared")
    grown = [
        replace(each, need=replace(each.need, **change)) if each.name == "red/embed" else each
        for each in good.workloads
    ]
    assert rule in {each.rule for each in verify(good.plan, grown, good.catalog)}


@pytest.mark.parametrize(
    ("rule", "change"),
    [
        ("cpu", {"cpu_milli": 3000}),
        ("node-memory", {"memory_mib": 12_000}),
        ("replicas", {"replicas": 4}),
        ("tenants", {"tenant": "blue"}),
        ("arch", {"arch": "arm64"}),
        ("memory-limit", {"preallocates": True}),
        ("target", {"target": Target(kind="StatefulSet")}),
        ("replicas", {"name": "red/renamed"}),
        ("unknown-workload", {"name": "red/renamed"}),
    ],
    ids=str,
)
def test_a_plan_is_refused_when_a_workload_has_changed_under_it(rule, change):
    good = case("shared")
    changed = [replace(each, **change) if each.name == "red/embed" else each for each in good.workloads]
    assert rule in {each.rule for each in verify(good.plan, changed, good.catalog)}


def test_a_plan_is_refused_when_a_price_has_changed_under_it():
    good = case("shared")
    dearer = catalog_of(
        *(replace(each, prices={Purchase.ON_DEMAND: 1}) for each in good.catalog.instance_types)
    )
    assert "price" in {each.rule for each in verify(good.plan, good.workloads, dearer)}


def test_a_violation_says_what_where_and_by_how_much():
    good = case("shared")
    document = document_of(good)
    assignment(document, "red/embed")["replicas"] += 1
    texts = [str(each) for each in verify(msgspec.convert(document, Plan), good.workloads, good.catalog)]
    assert "replicas: red/embed: 4 replicas are assigned, not 3" in texts


# What is right though it looks unusual


def test_bare_pods_may_use_several_kinds_of_instances_of_one_node():
    good = case("cut")
    bare = [replace(each, target=Target(kind="Pod")) for each in good.workloads]
    document = document_of(good)
    small, large = document["assignments"]
    small["target"] = large["target"] = {"kind": "Pod"}
    # Six on small instances, and the seventh on one with twice the memory.
    small["replicas"] = 6
    wide = {**small, "replicas": 1, "slice": "H100/mig/1g.20gb", "resource": "nvidia.com/mig-1g.20gb"}
    document["assignments"].append(wide | {"expectedSlowdown": 5.08, "utilisation": 0.102})
    for owner in (document["pools"][0], document["optimalNodes"][0]):
        owner["layout"]["geometries"][1] = [
            {"profile": "1g.20gb", "count": 1},
            {"profile": "1g.10gb", "count": 6},
        ]
    assert verify(msgspec.convert(document, Plan), bare, good.catalog) == []
    # All of them on small instances are more than there are.
    document["assignments"].remove(document["assignments"][-1])
    small["replicas"] = 7
    assert {each.rule for each in verify(msgspec.convert(document, Plan), bare, good.catalog)} == {"slots"}


def test_a_higher_request_than_needed_is_the_owners_choice():
    good = case("shared")
    document = document_of(good)
    assignment(document, "red/embed")["request"].update(memory="6100Mi", time=103)
    assert rules_broken(good, document) == set()


# Whatever the plan holds, the answer is a list

NUMBERS = [0, -1, 1, 49, 10**9, 0.5, float("nan"), float("inf"), -0.01]
JUNK: st.SearchStrategy[Any] = st.sampled_from(
    [*NUMBERS, "", "x", "-5Gi", "1e99", "5Gi", "spot", "whole", "mig", None, [], {}]
)


def _paths(value: object, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in plain data."""
    yield path
    children = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, child in children:
        yield from _paths(child, (*path, key))


@settings(max_examples=settings().max_examples * 3)
@given(st.sampled_from(["shared", "cut", "slots", "alike"]), st.data())
def test_no_plan_makes_the_verifier_fail(name, data):
    good = case(name)
    document = document_of(good)
    for _ in range(data.draw(st.integers(1, 3))):
        paths = [each for each in _paths(document) if each]
        *way, last = data.draw(st.sampled_from(paths))
        parent = document
        for step in way:
            parent = parent[step]
        match data.draw(st.sampled_from(["junk", "delete", "copy"])):
            case "junk":
                parent[last] = data.draw(JUNK)
            case "delete":
                del parent[last]
            case _:
                parent[last] = copy.deepcopy(_at(document, data.draw(st.sampled_from(paths))))
    try:
        plan = msgspec.convert(document, Plan)
    except msgspec.ValidationError:
        return  # the reader's to refuse
    for each in verify(plan, good.workloads, good.catalog):
        assert each.rule
        assert each.message


def _at(value: Any, path: Iterable[Any]) -> Any:
    for step in path:
        value = value[step]
    return value


def _with(part: Part, **fields: Any) -> Part:
    return msgspec.structs.replace(part, **fields)


@pytest.mark.parametrize(
    ("rule", "change"),
    [
        ("schema", lambda p: _with(p, summary=_with(p.summary, usd_per_hour=float("nan")))),
        ("schema", lambda p: _with(p, summary=_with(p.summary, bound_usd_per_hour=float("inf")))),
        ("schema", lambda p: _with(p, summary=_with(p.summary, gap=-0.1))),
        ("schema", lambda p: _with(p, stack="windows")),
        ("schema", lambda p: _with(p, pools=(_with(p.pools[0], name="Bad Name"),))),
        ("schema", lambda p: _first_node(p, count=0)),
        ("schema", lambda p: _first_node(p, count=-1)),
        ("schema", lambda p: _first_node(p, usd_per_hour=-1.0)),
        ("schema", lambda p: _first_node(p, usd_per_hour=float("nan"))),
        ("schema", lambda p: _first_node(p, purchase="stolen")),
        ("schema", lambda p: _first_layout(p, mechanism="magic")),
        ("schema", lambda p: _first_layout(p, replicas=49)),
        ("schema", lambda p: _first_layout(p, replicas=1)),
        ("schema", lambda p: _first_layout(p, slot_time=0)),
        ("schema", lambda p: _first_assignment(p, replicas=0)),
        ("schema", lambda p: _first_assignment(p, quantity=-1)),
        ("schema", lambda p: _first_assignment(p, utilisation=float("nan"))),
        ("schema", lambda p: _first_assignment(p, memory_limit=5)),
        ("quantity", lambda p: _first_assignment(p, memory_limit="much")),
        ("quantity", lambda p: _first_assignment(p, memory_limit="-1Gi")),
        ("quantity", lambda p: _with(p, overhead=_with(p.overhead, cpu="-1"))),
        ("quantity", lambda p: _with(p, overhead=_with(p.overhead, memory="lots"))),
    ],
)
def test_figures_that_no_file_could_hold_are_refused_before_anything_is_asked_of_them(rule, change):
    good = case("slots")
    assert {each.rule for each in verify(change(good.plan), good.workloads, good.catalog)} == {rule}


def _first_node(plan: Plan, **fields: Any) -> Plan:
    first, *others = plan.pools
    node, *rest = first.nodes
    return _with(plan, pools=(_with(first, nodes=(_with(node, **fields), *rest)), *others))


def _first_layout(plan: Plan, **fields: Any) -> Plan:
    first, *others = plan.pools
    return _with(plan, pools=(_with(first, layout=_with(first.layout, **fields)), *others))


def _first_assignment(plan: Plan, **fields: Any) -> Plan:
    first, *others = plan.assignments
    return _with(plan, assignments=(_with(first, **fields), *others))
