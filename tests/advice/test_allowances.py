"""Which single steps a team could take: each is one rule loosened, and whatever fitted before fits after."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from gpuslice.advice.allowances import Kind, policy_steps, steps
from gpuslice.cloud.catalog import Purchase
from gpuslice.hardware.fit import fit
from gpuslice.hardware.mechanisms import Isolation
from gpuslice.hardware.need import ANY_GPU, Need
from gpuslice.planner.model.classes import classes_of
from gpuslice.workloads.model import Service, ServiceProfile, Workload
from gpuslice.workloads.policy import FREE, Policy
from tests.planner.workload import workload
from tests.strategies import A10G, L4, T4, TYPES, catalog_of, known_needs, needs, slices

CATALOG = catalog_of(T4, A10G, L4)
SPOT = catalog_of(replace(T4, prices={**T4.prices, Purchase.SPOT: 200_000}), L4)
NEED = Need(memory_mib=3000, duty_ppm=50_000, on="T4", allow=frozenset({"T4"}), max_slowdown_milli=2000)


def possible(need, catalog=CATALOG, **more):
    """Steps of one small pod with that need, which may be interrupted."""
    app = Workload("red/app", 1, 500, 1024, need, tenant="red", **{"interruptible": True, **more})
    return steps(classes_of([app])[0], catalog)


def taken(need, kind, catalog=CATALOG, **more):
    return {each.words: each.need for each in possible(need, catalog, **more) if each.kind is kind}


def test_each_model_of_the_catalog_that_is_not_allowed_and_would_do_is_a_step():
    found = taken(NEED, Kind.GPU)
    assert list(found) == ["allow A10G too", "allow L4 too"]
    assert found["allow L4 too"] == replace(NEED, allow=frozenset({"T4", "L4"}))


def test_an_older_model_than_todays_is_a_step_where_no_software_is_said_to_need_more():
    need = replace(NEED, on="L4", allow=frozenset(), max_slowdown_milli=None)
    found = taken(need, Kind.GPU)
    assert list(found) == ["allow A10G too", "allow T4 too"]
    assert "L4" in found["allow T4 too"].allow
    assert "H100" in found["allow T4 too"].allow
    assert taken(replace(need, min_compute_capability=(8, 9)), Kind.GPU) == {}


def test_a_model_that_is_too_small_or_too_slow_is_none():
    big = replace(NEED, memory_mib=15_500, on="A10G", allow=frozenset({"A10G"}))
    assert list(taken(big, Kind.GPU)) == ["allow L4 too"]
    busy = replace(NEED, duty_ppm=900_000, on="A10G", allow=frozenset({"A10G"}), max_slowdown_milli=1000)
    assert taken(busy, Kind.GPU) == {}


def test_who_may_run_on_any_gpu_has_no_model_to_allow():
    assert taken(replace(NEED, allow=frozenset({ANY_GPU})), Kind.GPU) == {}


@pytest.mark.parametrize("need", [Need(on="A10G", gpus=2), Need(on="A10G", allow=frozenset({"A10G"}))])
def test_nothing_worse_than_todays_is_proposed_where_the_need_is_not_known(need):
    types = catalog_of(*TYPES)
    found = taken(need, Kind.GPU, types)
    assert list(found) == ["allow A100-40GB too", "allow H100 too"]


def test_a_need_not_known_that_states_no_model_has_no_step():
    assert possible(Need(on="T4")) == ()
    assert possible(Need()) == ()


def test_isolation_is_given_up_level_by_level():
    found = taken(replace(NEED, isolation=Isolation.HARDWARE), Kind.ISOLATION)
    assert list(found) == ["isolation none instead of hardware", "isolation memory instead of hardware"]
    assert taken(NEED, Kind.ISOLATION) == {}


def test_memory_is_a_gibibyte_less_where_there_is_more_than_that():
    assert taken(NEED, Kind.MEMORY) == {"1Gi less GPU memory: 1976Mi": replace(NEED, memory_mib=1976)}
    assert taken(replace(NEED, memory_mib=1024), Kind.MEMORY) == {}


@pytest.mark.parametrize(
    ("now", "then"), [(1000, 1500), (1200, 1500), (1300, 2000), (2000, 3000), (30_000, None)]
)
def test_a_slowdown_is_laxer_by_what_can_be_told(now, then):
    found = taken(replace(NEED, max_slowdown_milli=now), Kind.SLOWDOWN).values()
    assert [each.max_slowdown_milli for each in found] == ([] if then is None else [then])
    assert taken(replace(NEED, max_slowdown_milli=None), Kind.SLOWDOWN) == {}


def test_spot_is_a_step_where_it_has_a_price_and_is_not_allowed_yet():
    assert len(taken(NEED, Kind.SPOT, SPOT, interruptible=False)) == 1
    assert taken(NEED, Kind.SPOT, SPOT, interruptible=True) == {}
    assert taken(NEED, Kind.SPOT, CATALOG, interruptible=False) == {}
    (step,) = (each for each in possible(NEED, SPOT, interruptible=False) if each.kind is Kind.SPOT)
    app = replace(workload(), need=NEED)
    assert step.taken(app) == replace(app, interruptible=True)


def test_of_a_service_only_its_pods_and_how_it_is_bought_are_rules():
    service = Service(10.0, "requests/s", 100.0, (ServiceProfile("L4/whole", 1, 1, 10.0, 20.0),))
    found = possible(NEED, SPOT, interruptible=False, service=service)
    assert [each.kind for each in found] == [Kind.SPOT]


def test_pods_may_request_less_where_they_request_more_than_that():
    app = workload(cpu=1500, ram=4096)
    cpu, memory = (
        each for each in steps(classes_of([app])[0], CATALOG) if each.kind in {Kind.CPU, Kind.POD_MEMORY}
    )
    assert (cpu.words, memory.words) == ("request 500m less CPU: 1", "request 1Gi less memory: 3Gi")
    assert cpu.taken(app) == replace(app, cpu_milli=1000)
    assert memory.taken(app) == replace(app, memory_mib=3072)


def test_a_framework_that_takes_all_memory_could_be_told_not_to():
    assert list(taken(replace(NEED, limitable=False), Kind.LIMIT).values()) == [NEED]


@given(known_needs(), slices())
def test_whatever_fits_before_a_step_fits_after_it(need, slice_):
    if fit(need, slice_).fits:
        for step in possible(need, catalog_of(*TYPES)):
            assert fit(step.need or need, slice_).fits


@given(needs(), st.booleans(), st.integers(0, 4000), st.integers(0, 9000))
def test_a_step_changes_one_thing(need, interruptible, cpu, memory):
    app = Workload("red/app", 1, cpu, memory, need, interruptible=interruptible)
    for step in steps(classes_of([app])[0], SPOT):
        after = step.taken(app)
        fields = [
            *((name, app, after) for name in Workload.__dataclass_fields__ if name != "need"),
            *((name, need, after.need) for name in Need.__dataclass_fields__),
        ]
        assert len([name for name, one, two in fields if getattr(one, name) != getattr(two, name)]) == 1


def test_each_entry_of_a_policy_is_loosened_by_one_step():
    policy = Policy(forbid=("p4d", "g5.xlarge"), max_nodes={"g6.xlarge": 3}, max_spot_share=0.3, max_pools=2)
    found = {each.words: each.policy for each in policy_steps(policy)}
    assert list(found) == [
        "don't forbid p4d",
        "don't forbid g5.xlarge",
        "maxNodes g6.xlarge: 4 instead of 3",
        "maxSpotShare: 0.4 instead of 0.3",
        "maxPools: 3 instead of 2",
    ]
    one, _, nodes, spot, pools = found.values()
    assert one.forbid == ("g5.xlarge",)
    assert nodes.max_nodes == {"g6.xlarge": 4}
    assert spot.max_spot_share == 0.4
    assert pools.max_pools == 3
    assert all(each.forbid == policy.forbid for each in (nodes, spot, pools))


def test_what_is_free_has_no_step():
    assert policy_steps(FREE) == ()
    assert policy_steps(Policy(max_spot_share=1.0, max_pools=UNSET)) == ()
