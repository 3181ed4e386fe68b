"""The verifier: good plans pass it, no plan makes it fail, and what a plan was made of may not change under it.

The other modules of this name change the plan itself, one rule at a time.
"""

import copy
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, TypeVar

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpuslice.cloud.catalog import Purchase
from gpuslice.hardware.features import Feature
from gpuslice.hardware.mechanisms import Isolation
from gpuslice.plan.artefact import Plan
from gpuslice.verifier.verify import verify, verify_alone
from gpuslice.workloads.target import Target
from tests.planner.good_plans import assignment, case, document_of, pool, rules_broken
from tests.strategies import catalog_of

Part = TypeVar("Part", bound=msgspec.Struct)


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
    wide = {**small, "replicas": 1, "slice": "H100/mig/1g.20gb"}
    wide["asks"] = {**small["asks"], "resource": "nvidia.com/mig-1g.20gb"}
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
    assignment(document, "red/embed")["asks"].update(gpuMemory="6100Mi", gpuTime=103)
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
        ("schema", lambda p: _first_assignment(p, asks=_with(p.assignments[0].asks, count=-1))),
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


def test_memory_of_a_metered_pool_that_is_no_quantity_is_refused():
    good = case("shared")
    document = document_of(good)
    pool(document, "time-slicing", metered=True)["layout"]["metered"]["memory"] = "lots"
    assert rules_broken(good, document) == {"quantity"}


def test_a_plan_by_itself_is_asked_all_but_whether_slices_fit_needs():
    good = case("slots")
    assert verify_alone(good.plan, good.catalog) == []
    dear = _first_node(good.plan, usd_per_hour=0.5)
    assert "price" in {violation.rule for violation in verify_alone(dear, good.catalog)}
    odd = _first_node(good.plan, count=0)
    assert {violation.rule for violation in verify_alone(odd, good.catalog)} == {"schema"}


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
