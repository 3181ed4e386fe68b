"""The verifier against plans whose nodes, pools and sums were changed: each is refused, by the name of its rule."""

import copy

import pytest

from tests.planner.good_plans import (
    Changes,
    assignment,
    case,
    document_of,
    optimal,
    pool,
    pool_of,
    rules_broken,
)

CHANGES = Changes()
breaks = CHANGES.breaks


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
        "asks": {"resource": "nvidia.com/gpu", "count": 1},
    }
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


@pytest.mark.parametrize(("rule", "of", "change"), CHANGES.all)
def test_a_plan_made_worse_is_refused_by_the_rule_that_it_breaks(rule, of, change):
    good = case(of)
    document = document_of(good)
    change(document)
    assert rule in rules_broken(good, document)
