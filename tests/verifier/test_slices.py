"""The verifier against plans whose requests and layouts were changed: each is refused, by the name of its rule."""

import pytest

from tests.planner.good_plans import Changes, assignment, case, document_of, optimal, pool_of, rules_broken

CHANGES = Changes()
breaks = CHANGES.breaks


# What pods ask for


@breaks("quantity")
def _a_gpu_too_few(d):
    assignment(d, "blue/llm")["asks"]["count"] = 3


@breaks("quantity")
def _two_slots_for_one(d):
    assignment(d, "red/embed")["asks"]["count"] = 2


@breaks("resource")
def _a_whole_gpu_asked_for_where_it_is_shared(d):
    assignment(d, "red/embed")["asks"]["resource"] = "nvidia.com/gpu"


@breaks("resource")
def _slots_offered_as_whole_gpus_of_another_name(d):
    pool_of(d, "red/embed")["asShared"] = True


@breaks("resource", of="cut")
def _another_instance_asked_for(d):
    assignment(d, "red/small")["asks"]["resource"] = "nvidia.com/mig-3g.40gb"


@breaks("slice")
def _a_slice_of_another_pool(d):
    assignment(d, "red/embed")["slice"] = assignment(d, "blue/dark")["slice"]


@breaks("slice", of="cut")
def _an_instance_that_no_gpu_has(d):
    each = assignment(d, "red/small")
    each.update(slice="H100/mig/2g.20gb", asks={"resource": "nvidia.com/mig-2g.20gb", "count": 1})


@breaks("request")
def _a_metered_pod_without_a_request(d):
    del assignment(d, "red/embed")["asks"]["gpuMemory"]
    del assignment(d, "red/embed")["asks"]["gpuTime"]


@breaks("request")
def _a_metered_pod_that_asks_for_time_alone(d):
    del assignment(d, "red/embed")["asks"]["gpuMemory"]


@breaks("request")
def _a_metered_pod_that_asks_for_memory_alone(d):
    del assignment(d, "red/embed")["asks"]["gpuTime"]


@breaks("request")
def _a_request_for_a_whole_gpu(d):
    assignment(d, "blue/dark")["asks"].update(gpuMemory="1Gi", gpuTime=1)


@breaks("request")
def _a_request_for_less_memory_than_needed(d):
    assignment(d, "red/embed")["asks"]["gpuMemory"] = "5999Mi"


@breaks("request")
def _a_request_for_less_time_than_needed(d):
    assignment(d, "red/embed")["asks"]["gpuTime"] = 99


@breaks("memory")
def _a_request_for_more_memory_than_the_node_has(d):
    assignment(d, "red/embed")["asks"]["gpuMemory"] = "7Gi"


@breaks("load")
def _a_request_for_more_time_than_the_node_has(d):
    assignment(d, "red/embed")["asks"]["gpuTime"] = 300


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


@pytest.mark.parametrize(("rule", "of", "change"), CHANGES.all)
def test_a_plan_made_worse_is_refused_by_the_rule_that_it_breaks(rule, of, change):
    good = case(of)
    document = document_of(good)
    change(document)
    assert rule in rules_broken(good, document)
