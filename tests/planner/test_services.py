"""Services sized by load: which slice, how many replicas, and what the verifier makes of plans that get it wrong."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st
from msgspec import UNSET

from bench import parvagpu
from gpuslice.cloud.catalog import Purchase
from gpuslice.cloud.selection import choose
from gpuslice.hardware.mechanisms import Isolation
from gpuslice.hardware.need import Need
from gpuslice.plan.artefact import Plan
from gpuslice.planner.clock import Clock
from gpuslice.planner.model.options import node_options
from gpuslice.planner.services import mixing as sizing_services
from gpuslice.units import MICRO_USD
from gpuslice.verifier.services import replica_violations
from gpuslice.verifier.verify import verify
from gpuslice.workloads.model import Service, ServiceProfile, Workload
from gpuslice.workloads.target import Target
from tests.planner.good_plans import Case, Changes, Document, assignment, document_of, rules_broken
from tests.planner.planned import home, prices, solved
from tests.strategies import A100_X8, CARRIER, H100, L4, L4_EIGHTH, L4_X4, OVERHEAD, T4, catalog_of

PARVAGPU = Path(__file__).parent / "data/parvagpu"


def profile(
    slice_: str, rate: float, latency: float = 10, *, batch: int = 4, processes: int = 1
) -> ServiceProfile:
    return ServiceProfile(slice_, batch, processes, rate, latency)


def service(
    name: str, rate: float, *profiles: ServiceProfile, slo: float = 100, share: float = 0.45, **more: Any
) -> Workload:
    need = Need(**{rule: more.pop(rule) for rule in ("isolation", "allow", "memory_mib") if rule in more})
    more.setdefault("tenant", name.partition("/")[0])
    sized = Service(rate, "requests/s", slo, tuple(profiles), share)
    return Workload(name, 0, 500, 1024, need, service=sized, **more)


def served(plan: Plan, name: str) -> tuple[str, int]:
    """The slice and replicas of a service."""
    each, _ = home(plan, name)
    return each.slice, each.replicas


def reason(plan: Plan, name: str) -> str:
    (each,) = (each for each in plan.unplaced if each.workload == name)
    return each.reason


def test_a_service_that_is_unplaced_wants_no_replicas_and_may_have_none():
    slow = service("red/slow", 100, profile("L4/whole", 50, latency=99))
    served_well = service("red/app", 100, profile("L4/whole", 50))
    catalog = catalog_of(L4)
    plan = solved([slow, served_well], catalog).plan
    assert [entry.workload for entry in plan.unplaced] == ["red/slow"]
    assert verify(plan, [slow, served_well], catalog) == []
    (assigned,) = plan.assignments
    (violation,) = replica_violations(slow, [assigned], unplaced=True)
    assert violation.rule == "replicas"


@pytest.mark.parametrize("number", range(6))
def test_parvagpus_scenarios_take_the_fewest_gpus_that_there_are(number):
    services = parvagpu.scenarios(PARVAGPU)[number]
    catalog = parvagpu.one_gpu_a_node(choose("", "us-east-1"))
    plan = solved(services, catalog, gap=0.0).plan
    bound, optimal, _ = prices(plan)
    assert bound == optimal == parvagpu.FEWEST[number] * MICRO_USD
    assert plan.summary.status == "optimal"
    assert not plan.unplaced


def test_the_load_decides_between_few_large_slices_and_many_small_ones():
    # On an eighth for $0.2375 a replica does 10; on a whole L4 for $0.9776 it does 60.
    profiles = (profile("L4/fractional/1-8", 10), profile("L4/whole", 60))
    catalog = catalog_of(L4, L4_EIGHTH)
    few, many = (solved([service("red/app", rate, *profiles)], catalog).plan for rate in (25, 120))
    assert served(few, "red/app") == ("L4/fractional/1-8", 3)
    assert served(many, "red/app") == ("L4/whole", 2)


def test_a_replica_does_what_all_its_processes_do():
    plan = solved([service("red/app", 100, profile("L4/whole", 20, processes=3))], catalog_of(L4)).plan
    each, _ = home(plan, "red/app")
    assert each.replicas == 2
    assert each.service is not UNSET
    assert each.service.throughput == 60
    assert "2 x 3 processes of 20 = 120 requests/s for the 100 asked" in each.because


def test_a_figure_is_what_was_written_and_not_its_nearest_float():
    # In floats, 3 x 0.1 is more than 0.3: two replicas would seem to fall short of 0.6.
    plan = solved([service("red/app", 0.6, profile("L4/whole", 0.1, processes=3))], catalog_of(L4)).plan
    assert served(plan, "red/app") == ("L4/whole", 2)


def test_a_batch_may_take_less_than_its_share_of_the_objective_and_no_more():
    fast, slow = profile("L4/fractional/1-8", 10, 44.9), profile("T4/whole", 1000, 45)
    plan = solved([service("red/app", 10, fast, slow)], catalog_of(L4_EIGHTH, T4)).plan
    assert served(plan, "red/app") == ("L4/fractional/1-8", 1)
    none = solved([service("red/app", 10, slow)], catalog_of(L4_EIGHTH, T4)).plan
    assert reason(none, "red/app") == (
        "no profile's latency is below 45 ms, 0.45 of its objective: the fastest takes 45 ms on T4/whole"
    )
    bold = solved([service("red/app", 10, slow, share=0.5)], catalog_of(T4)).plan
    assert served(bold, "red/app") == ("T4/whole", 1)


def test_what_was_measured_on_an_instance_is_true_on_a_larger_one():
    plan = solved([service("red/app", 10, profile("H100/mig/2g.20gb", 10))], catalog_of(H100)).plan
    each, _ = home(plan, "red/app")
    assert each.slice.startswith("H100/")
    assert not plan.unplaced


def test_a_service_takes_the_instance_that_others_leave():
    # Seven small instances a GPU; six are taken. The service fits the seventh, or a GPU of its own.
    small = Workload(
        "blue/small",
        6,
        500,
        1024,
        Need(memory_mib=9000, duty_ppm=20_000, on="H100", isolation=Isolation.HARDWARE),
        tenant="blue",
    )
    app = service("red/app", 10, profile("H100/mig/1g.10gb", 10), profile("H100/mig/7g.80gb", 100))
    plan = solved([small, app], catalog_of(H100)).plan
    slice_, replicas = served(plan, "red/app")
    assert slice_.startswith("H100/mig/1g")
    assert replicas == 1
    assert [node.count for pool in plan.pools for node in pool.nodes] == [1]


def test_shared_gpus_hold_replicas_that_were_measured_beside_each_other_and_nobody_else():
    apps = [service(f"red/{name}", 35, profile("L4/time-slicing/4", 10)) for name in ("one", "two")]
    small = Workload("red/small", 1, 500, 1024, Need(memory_mib=1000, duty_ppm=10_000, on="L4"), tenant="red")
    plan = solved([*apps, small], catalog_of(L4)).plan
    for each in apps:
        assignment_, pool = home(plan, each.name)
        assert (assignment_.slice, assignment_.replicas) == ("L4/time-slicing/4", 4)
        assert pool.tenant == "red"
        assert {name for node in pool.nodes for name in node.pods} == {each.name}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"allow": frozenset({"T4"})}, "nothing that may be bought offers that"),
        ({"preallocates": True}, "state need.memory"),
        ({"target": Target(kind="Job")}, "a Job has no number of pods in spec.replicas"),
    ],
)
def test_the_rules_of_slices_hold_for_services_too(changes, says):
    app = service("red/app", 10, profile("L4/time-slicing/4", 10), **changes)
    plan = solved([app], catalog_of(L4)).plan
    assert plan.summary.status == "infeasible"
    assert says in reason(plan, "red/app")


@pytest.mark.parametrize("rule", [{"isolation": Isolation.MEMORY}, {"memory_mib": 6000}])
def test_where_the_slice_measured_is_against_a_rule_the_whole_gpu_serves(rule):
    app = service("red/app", 25, profile("L4/time-slicing/4", 10), **rule)
    assert served(solved([app], catalog_of(L4)).plan, "red/app") == ("L4/whole", 3)


def test_a_gpu_that_nobody_sells_here_is_named():
    plan = solved([service("red/app", 10, profile("H200/whole", 10))], catalog_of(L4)).plan
    assert reason(plan, "red/app").startswith("it was measured on H200/whole: nothing that may be bought")


def test_a_load_of_nothing_needs_no_replica():
    app = service("red/idle", 0, profile("L4/whole", 10))
    plan = solved([app, service("red/app", 5, profile("L4/whole", 10))], catalog_of(L4)).plan
    assert [each.workload for each in plan.assignments] == ["red/app"]
    assert not plan.unplaced
    assert solved([app], catalog_of(L4)).plan.summary.usd_per_hour == 0


def test_a_load_beyond_all_reason_is_refused_in_words():
    plan = solved([service("red/app", 1e12, profile("L4/whole", 1e-3))], catalog_of(L4)).plan
    assert "its load would take 1,000,000,000,000,000 replicas; 1,000,000 are the most" in reason(
        plan, "red/app"
    )


def test_whole_gpus_are_what_a_service_is_compared_with():
    profiles = (profile("L4/fractional/1-8", 10), profile("L4/whole", 60))
    plan = solved([service("red/app", 25, *profiles)], catalog_of(L4, L4_EIGHTH)).plan
    whole = next(each for each in plan.summary.baselines if each.name == "whole-gpu")
    assert whole.usd_per_hour == L4.prices[Purchase.ON_DEMAND] / MICRO_USD


SLICES = (
    "L4/whole",
    "L4/fractional/1-8",
    "L4/time-slicing/2",
    "L4/mps/3",
    "H100/mig/1g.10gb",
    "H100/mig/3g.40gb",
)
profiles = st.lists(
    st.builds(
        profile,
        st.sampled_from(SLICES),
        st.integers(1, 50),
        st.integers(1, 60),
        processes=st.integers(1, 3),
    ),
    min_size=1,
    max_size=4,
    unique_by=lambda each: (each.slice, each.processes),
)
fleets = st.lists(
    st.builds(
        lambda number, rate, measured: service(f"red/s{number}", rate, *measured),
        st.integers(0, 9),
        st.integers(1, 300),
        profiles,
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda each: each.name,
)
CATALOG = catalog_of(L4, L4_X4, L4_EIGHTH, H100)


@pytest.mark.slow
@hypothesis.settings(max_examples=25)
@hypothesis.given(fleets)
def test_every_plan_for_services_is_verified_and_bounded(services: Sequence[Workload]):
    plan = solved(services, CATALOG).plan  # verified, or an exception
    bound, optimal, realised = prices(plan)
    assert bound <= optimal <= realised
    assert {each.workload for each in plan.assignments} | {each.workload for each in plan.unplaced} == {
        each.name for each in services
    }


@pytest.mark.slow
@hypothesis.settings(max_examples=15)
@hypothesis.given(fleets, profiles)
def test_more_that_was_measured_costs_no_more(services: Sequence[Workload], more: list[ServiceProfile]):
    first = services[0]
    assert first.service is not None
    known = {(each.slice, each.batch, each.processes) for each in first.service.profiles}
    added = tuple(each for each in more if (each.slice, each.batch, each.processes) not in known)
    better = replace(first, service=replace(first.service, profiles=(*first.service.profiles, *added)))
    before, after = (solved([each], CATALOG).plan for each in (first, better))
    if before.unplaced:
        return
    assert not after.unplaced
    assert prices(after)[0] <= prices(before)[1]


def cheapest(rate: int, whole: int, eighth: int, quarter: int) -> int:
    """Micro-dollars an hour: every mix of whole GPUs, eighths, and GPUs in four slots, counted out."""
    large, small = L4.prices[Purchase.ON_DEMAND], L4_EIGHTH.prices[Purchase.ON_DEMAND]
    return min(
        (wholes + shared) * large + max(-(-left // eighth), 0) * small
        for wholes in range(-(-rate // whole) + 1)
        for shared in range(-(-rate // (4 * quarter)) + 1)
        for left in (rate - wholes * whole - shared * 4 * quarter,)
    )


@pytest.mark.slow
@pytest.mark.parametrize("small", [0, sizing_services._SMALL], ids=["columns", "large"])
@hypothesis.settings(max_examples=10)
@hypothesis.given(st.integers(1, 200), st.integers(20, 90), st.integers(5, 15), st.integers(4, 25))
def test_the_cheapest_mix_is_found_and_what_is_proven_is_not_above_it(small, rate, whole, eighth, quarter):
    measured = (
        profile("L4/whole", whole),
        profile("L4/fractional/1-8", eighth),
        profile("L4/time-slicing/4", quarter),
    )
    app, catalog = service("red/app", rate, *measured), catalog_of(L4, L4_EIGHTH)
    least = cheapest(rate, whole, eighth, quarter)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sizing_services, "_SMALL", small)  # the proof by column generation alone, or by both
        sized = sizing_services.size_services(
            [app],
            (),
            lambda classes: node_options(classes, catalog, OVERHEAD, CARRIER),
            gap=0.0,
            clock=Clock(60.0),
        )
        plan = solved([app], catalog, gap=0.0).plan
    assert sized.bound * MICRO_USD <= least * (1 + 1e-6)
    assert sized.bound * MICRO_USD >= least * 0.5  # and it says something
    assert prices(plan)[1] == least


changes = Changes()


def _good() -> Case:
    workloads = (
        service("red/app", 35, profile("L4/time-slicing/4", 10), profile("L4/whole", 30, 80)),
        service("red/large", 95, profile("H100/mig/1g.10gb", 10), profile("H100/mig/3g.40gb", 35)),
    )
    catalog = catalog_of(L4, H100)
    return Case(solved(workloads, catalog).plan, workloads, catalog)


@pytest.fixture(scope="module")
def good() -> Case:
    return _good()


def _pods(document: Document, workload: str, change: int) -> None:
    """So many pods more, in assignment, pool and packing alike."""
    assignment(document, workload)["replicas"] += change
    nodes = [node for pool in document["pools"] for node in pool["nodes"] if workload in node["pods"]]
    nodes[0]["pods"][workload] += change


@changes.breaks("demand")
def _one_replica_too_few(document: Document) -> None:
    _pods(document, "red/app", -1)


@changes.breaks("replicas")
def _one_replica_too_many(document: Document) -> None:
    _pods(document, "red/app", 1)


@changes.breaks("profile")
def _more_than_was_measured(document: Document) -> None:
    assignment(document, "red/app")["service"]["throughput"] = 20


@changes.breaks("profile")
def _a_profile_that_misses_the_objective(document: Document) -> None:
    assignment(document, "red/app")["service"] |= {"throughput": 30, "latencyMs": 80}


@changes.breaks("profile")
def _nothing_said_of_its_load(document: Document) -> None:
    del assignment(document, "red/app")["service"]


@changes.breaks("figures")
def _another_demand(document: Document) -> None:
    assignment(document, "red/app")["service"]["demand"] = 30


@changes.breaks("figures")
def _another_limit(document: Document) -> None:
    assignment(document, "red/app")["service"]["limitMs"] = 50


@changes.breaks("fit/no profile")
def _a_slice_that_was_not_measured(document: Document) -> None:
    each = assignment(document, "red/app")
    pool = next(pool for pool in document["pools"] if pool["name"] == each["pool"])
    pool["layout"]["replicas"] = 2
    each["slice"] = "L4/time-slicing/2"


@changes.breaks("slices")
def _a_packing_that_does_not_say_which_slices(document: Document) -> None:
    for node in document["optimalNodes"]:
        node.pop("slices", None)


@changes.breaks("demand")
def _a_packing_on_smaller_slices(document: Document) -> None:
    for node in document["optimalNodes"]:
        if "red/large" in node["pods"]:
            node["slices"]["red/large"] = {"H100/mig/1g.10gb": 1}
            node["pods"]["red/large"] = 1


@pytest.mark.parametrize(("rule", "of", "change"), changes.all)
def test_a_plan_that_gets_a_service_wrong_breaks_that_rule(good, rule, of, change):
    assert verify(good.plan, good.workloads, good.catalog) == []
    document = document_of(good)
    change(document)
    assert rule in rules_broken(good, document)


def test_neighbours_beside_which_a_service_was_not_measured_are_refused(good):
    other = service("red/other", 5, profile("L4/time-slicing/4", 10))
    document = document_of(good)
    each = assignment(document, "red/app")
    pool = next(pool for pool in document["pools"] if pool["name"] == each["pool"])
    document["assignments"].append(
        {**each, "workload": "red/other", "replicas": 1, "service": {**each["service"], "demand": 5}}
    )
    pool["nodes"][0]["pods"] = {"red/app": 4, "red/other": 1}
    broken = rules_broken(good._replace(workloads=(*good.workloads, other)), document)
    assert "neighbours" in broken


def test_a_node_of_eight_gpus_is_cut_for_a_whole_fleet_of_services():
    services = [
        service(
            f"red/s{number}", 50, profile("A100-40GB/mig/2g.10gb", 12), profile("A100-40GB/mig/7g.40gb", 40)
        )
        for number in range(3)
    ]
    plan = solved(services, catalog_of(A100_X8)).plan
    assert plan.summary.optimal_usd_per_hour == A100_X8.prices[Purchase.ON_DEMAND] / MICRO_USD
