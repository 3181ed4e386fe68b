"""The verifier against plans whose seats were changed: each is refused, by the name of its rule."""

import pytest

from gpuslice.hardware.gpus import GPUS
from gpuslice.hardware.mechanisms import Isolation
from gpuslice.hardware.resource_names import seat_of
from gpuslice.planner.clock import Clock
from gpuslice.planner.settings import Settings
from gpuslice.planner.solve import solve
from gpuslice.units import MIB, parse_quantity
from gpuslice.verifier.verify import verify
from tests.planner.good_plans import Case, Changes, assignment, case, document_of, rules_broken
from tests.planner.planned import solved
from tests.planner.workload import workload
from tests.strategies import H100, L4, OVERHEAD, catalog_of

CHANGES = Changes()


def breaks(rule):
    return CHANGES.breaks(rule, of="seated")


def own(document, workload):
    """The pool in which a workload is alone."""
    return next(
        each for each in document["pools"] if [*each["seats"]] == [workload] and "maxNodes" not in each
    )


def mixed(document):
    """The pool of those that share its nodes."""
    return next(each for each in document["pools"] if len(each["seats"]) > 1)


def test_the_plan_to_be_mutated_is_good_and_has_every_kind_of_pool():
    good = case("seated")
    assert verify(*good) == []
    document = document_of(good)
    assert rules_broken(good, document) == set()
    assert mixed(document)["maxNodes"] == 3
    assert own(document, "red/a")["layout"]["mechanism"] == "whole"
    assert own(document, "red/a")["asShared"]
    assert not own(document, "red/a").get("nodes")
    assert own(document, "red/b")["nodes"]


@breaks("seats")
def _a_limited_pool_without_its_limit(d):
    del mixed(d)["maxNodes"]


@breaks("seats")
def _a_limit_without_seats(d):
    pool = own(d, "blue/c")
    del pool["seats"]
    pool["maxNodes"] = 1


@CHANGES.breaks("seats", of="shared")
def _a_limit_in_a_plan_without_seats(d):
    d["pools"][0]["maxNodes"] = 1


@breaks("seats")
def _two_nodes_that_are_not_full(d):
    (node,) = own(d, "red/b")["nodes"]
    node |= {"count": 2, "pods": {"red/b": 1}}


@breaks("seats")
def _seats_in_one_pool_none_in_another_and_no_pod_asks_for_one(d):
    pool = own(d, "red/b")
    del pool["seats"], pool["seatNames"]
    for assigned in d["assignments"]:
        if assigned["workload"] == "red/b":
            del assigned["asks"]["seat"]


@breaks("seats")
def _a_limit_of_more_nodes_than_planned(d):
    mixed(d)["maxNodes"] += 1


@breaks("seats")
def _a_seat_that_nobody_takes(d):
    mixed(d)["nodes"][0]["pods"]["red/b"] += 1
    mixed(d)["seats"]["red/b"] += 2


@breaks("memory")
def _more_seats_than_memory(d):
    own(d, "red/b")["seats"]["red/b"] = 3


@breaks("cpu")
def _more_seats_than_cpu(d):
    own(d, "red/b")["seats"]["red/b"] = 16


@breaks("slots")
def _two_seats_on_a_whole_gpu(d):
    own(d, "blue/c")["seats"]["blue/c"] = 2


@breaks("slots")
def _a_seat_for_somebody_whom_the_slice_does_not_fit(d):
    mixed(d)["seats"]["blue/c"] = 1


@breaks("tenants")
def _a_seat_for_another_tenant(d):
    mixed(d)["seats"]["blue/c"] = 1


@breaks("unknown-workload")
def _a_seat_for_nobody(d):
    own(d, "blue/c")["seats"] = {"blue/c": 1, "blue/ghost": 1}


@breaks("seats")
def _nowhere_to_grow(d):
    d["pools"].remove(own(d, "red/a"))


@breaks("seats")
def _two_places_to_grow(d):
    pool = own(d, "red/a")
    d["pools"].append({**pool, "name": "again"})


@breaks("seats")
def _another_seat_than_its_own(d):
    assignment(d, "red/a")["asks"]["seat"] = seat_of("red/b")


@breaks("seats")
def _no_seat(d):
    assignment(d, "blue/c")["asks"].pop("seat")


@breaks("seats")
def _a_seat_where_there_are_none(d):
    own(d, "blue/c").pop("seats")


@breaks("seats")
def _one_seat_for_two(d):
    mixed(d)["seatNames"]["red/a"] = mixed(d)["seatNames"]["red/b"]


@breaks("seats")
def _a_seat_that_is_a_slice(d):
    own(d, "blue/c")["seatNames"]["blue/c"] = assignment(d, "blue/c")["asks"]["seat"] = "nvidia.com/gpu"


@breaks("seats")
def _a_name_for_a_seat_that_is_not_there(d):
    own(d, "blue/c")["seatNames"]["red/a"] = mixed(d)["seatNames"]["red/a"]


@breaks("seats")
def _two_names_for_the_seats_of_one(d):
    mixed(d)["seatNames"]["red/b"] += "x"


@breaks("request")
def _memory_asked_for_as_well(d):
    assignment(d, "red/a")["asks"].update(gpuMemory="12000Mi", gpuTime=200)


@breaks("one-template")
def _two_templates(d):
    assignment(d, "red/b")["memoryLimit"] = "9000Mi"


@breaks("resource")
def _a_whole_gpu_asked_for_by_another_name(d):
    assignment(d, "blue/c")["asks"]["resource"] = "nvidia.com/gpu.shared"


@breaks("resource")
def _several_whole_gpus_under_the_name_of_shared_ones(d):
    own(d, "blue/llm")["asShared"] = True
    assignment(d, "blue/llm")["asks"]["resource"] = "nvidia.com/gpu.shared"


@breaks("instance-types")
def _a_second_type_with_several_gpus(d):
    own(d, "red/b")["instanceTypes"].append("t4")


@breaks("metered")
def _a_second_type_that_cannot_be_metered(d):
    own(d, "red/b")["instanceTypes"].append("g6.12xlarge")


@breaks("seats")
def _more_in_its_own_pool_than_there_are_seats(d):
    own(d, "red/b")["nodes"][0]["pods"]["red/b"] = 3


@breaks("slots")
def _a_pool_of_its_own_that_offers_something_else_than_it_asks_for(d):
    del own(d, "red/a")["asShared"]


@breaks("memory-limit")
def _a_limit_that_leaves_nothing_to_neighbours(d):
    for each in d["assignments"]:
        if each["workload"] == "red/b":
            each["memoryLimit"] = "16000Mi"  # it needs 8000 MiB, and the other seat of its nodes as much


@pytest.mark.parametrize(("rule", "of", "change"), CHANGES.all)
def test_seats_made_worse_are_refused_by_the_rule_that_they_break(rule, of, change):
    good = case(of)
    document = document_of(good)
    change(document)
    assert rule in rules_broken(good, document)


def test_seats_are_not_for_bottlerocket():
    good = case("seated")
    document = document_of(good)
    document["stack"] = "bottlerocket"
    assert "seats" in rules_broken(good, document)


def test_a_whole_gpu_under_the_name_of_shared_ones_has_to_be_the_only_one_of_its_node():
    good = case("seated")
    document = document_of(good)
    own(document, "red/a")["instanceTypes"].append("g6.12xlarge")
    assert "resource" in rules_broken(good, document)


def test_a_limit_holds_in_a_pool_where_nobody_is_yet():
    # Room that red/b leaves does for red/a; alone, its pods would share a card in smaller slots.
    fleet = (
        workload("red/b", 24, "L4", 5000, 0.15, cpu=2500),
        workload("red/a", 8, "L4", 2000, 0.06, cpu=200, preallocates=True),
    )
    catalog = catalog_of(L4)
    wanted = Settings(OVERHEAD, seats=True, without=frozenset({"metered"}))
    good = Case(solve(fleet, catalog, wanted, clock=Clock(60.0)).plan, fleet, catalog)
    document = document_of(good)
    pool = own(document, "red/a")
    assert not pool.get("nodes")
    limit = assignment(document, "red/a")["memoryLimit"]
    assert pool["seats"]["red/a"] * parse_quantity(limit) <= GPUS["L4"].memory_mib * MIB
    pool["layout"]["gpu"] = "H100"
    assert "one-template" in rules_broken(good, document)
    pool["layout"]["gpu"] = "L4"
    assignment(document, "red/a")["memoryLimit"] = "5000Mi"  # less than a slot of the pool where its pods are
    assert rules_broken(good, document) == {"memory-limit"}


def test_a_seat_is_no_slice_of_another_profile_than_the_one_asked_for():
    fleet = (
        workload("red/large", 1, "H100", 30_000, 0.2, isolation=Isolation.HARDWARE),
        workload("red/small", 4, "H100", 9000, 0.02, isolation=Isolation.HARDWARE),
    )
    catalog = catalog_of(H100)
    good = Case(solved(fleet, catalog, seats=True).plan, fleet, catalog)
    document = document_of(good)
    pool = own(document, "red/small")
    assert pool["layout"]["geometry"] == [{"profile": "1g.10gb", "count": 7}]
    pool["layout"]["geometry"] = [{"profile": "3g.40gb", "count": 2}]  # large enough, but nobody asks for it
    pool["seats"] = {"red/small": 2}
    assert rules_broken(good, document) == {"slots"}
