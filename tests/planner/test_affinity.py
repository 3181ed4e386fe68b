"""What pods require of their nodes binds what is bought for them, and with whom they may share."""

from dataclasses import replace
from itertools import product

import msgspec
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from gpuslice.cloud.catalog import Purchase
from gpuslice.cloud.labels import node_facts
from gpuslice.cloud.snapshot import bundled
from gpuslice.planner.clock import Clock
from gpuslice.planner.model.classes import classes_of
from gpuslice.planner.model.groups import groups_of
from gpuslice.planner.settings import Settings
from gpuslice.planner.solve import solve
from gpuslice.workloads.requirements import Requirement, entered, pins_of
from gpuslice.workloads.target import Target
from tests.planner.planned import home, prices, solved
from tests.planner.workload import workload
from tests.strategies import OVERHEAD, catalog_of

INSTANCE = "karpenter.k8s.aws/instance-"
ZONE = "topology.kubernetes.io/zone"
CAPACITY = "karpenter.sh/capacity-type"
TYPES = ("g6.xlarge", "g6.2xlarge", "g6.4xlarge", "g6e.xlarge", "g5.xlarge")
CATALOG = catalog_of(*(bundled().by_name()[name] for name in TYPES))
WITH_FRACTIONS = catalog_of(*CATALOG.instance_types, bundled().by_name()["g6f.large"])


def needs(key, operator="In", *values):
    return Requirement(key, operator, values)


def requiring(name, *terms, selector=None, **more):
    return workload(name, target=Target(node_selector=selector or {}, node_affinity=terms), **more)


def with_spot(catalog):
    kinds = (
        replace(kind, prices={**kind.prices, Purchase.SPOT: kind.prices[Purchase.ON_DEMAND] // 3})
        for kind in catalog.instance_types
    )
    return replace(catalog, instance_types=tuple(kinds))


@pytest.mark.parametrize(
    ("condition", "types"),
    [
        (
            needs("node.kubernetes.io/instance-type", "In", "g6.2xlarge", "g6.4xlarge"),
            {"g6.2xlarge", "g6.4xlarge"},
        ),
        (
            needs("beta.kubernetes.io/instance-type", "NotIn", "g6.xlarge", "g6f.large"),
            {"g6.2xlarge", "g6.4xlarge", "g5.xlarge"},
        ),
        (needs(f"{INSTANCE}gpu-count", "In", "1"), {"g6.xlarge", "g6.2xlarge", "g5.xlarge"}),
        (needs(f"{INSTANCE}gpu-count", "Lt", "1"), {"g6f.large"}),
        (needs(f"{INSTANCE}cpu", "Gt", "4"), {"g6.2xlarge", "g6.4xlarge"}),
        (needs(f"{INSTANCE}memory", "Gt", "40000"), {"g6.4xlarge"}),
        (needs(f"{INSTANCE}size", "In", "2xlarge"), {"g6.2xlarge"}),
        (needs(f"{INSTANCE}generation", "Lt", "6"), {"g5.xlarge"}),
        (needs(f"{INSTANCE}category", "In", "g"), None),
        (needs(f"{INSTANCE}gpu-name", "NotIn", "l4"), {"g5.xlarge"}),
        (needs(f"{INSTANCE}gpu-memory", "Gt", "40000"), {"g6e.xlarge"}),
        (needs(f"{INSTANCE}local-nvme", "Exists"), None),
        (needs("kubernetes.io/arch", "In", "amd64"), None),
        (needs("eks.amazonaws.com/instance-size", "In", "2xlarge"), {"g6.2xlarge"}),
        (needs(CAPACITY, "In", "on-demand"), None),
    ],
)
def test_only_machines_that_have_what_is_required_are_listed(condition, types):
    plan = solved([requiring("a/app", (condition,), on="A10G")], WITH_FRACTIONS).plan
    _, pool = home(plan, "a/app")
    if types is None:
        assert (
            pool.instance_types
            == home(solved([workload("a/app", on="A10G")], WITH_FRACTIONS).plan, "a/app")[1].instance_types
        )
    else:
        assert {*pool.instance_types} <= types
        assert {node.instance_type for node in plan.optimal_nodes} <= types
    assert pool.requires == ()


@pytest.mark.parametrize(
    ("condition", "says"),
    [
        (needs("kubernetes.io/hostname", "In", "n1"), "no new node has"),
        (needs("metadata.name", "In", "n1"), "no new node has"),
        (needs("kubernetes.io/os", "In", "windows"), "--drop-selector kubernetes.io/os"),
        (needs("topology.kubernetes.io/region", "In", "eu-west-1"), "no machine meets"),
        (needs("node-role.kubernetes.io/gpu", "Exists"), "no machine meets"),
        (needs(f"{INSTANCE}network-bandwidth", "Gt", "1000"), "no machine meets"),
        (needs(CAPACITY, "In", "spot"), "may not be interrupted"),
        (needs(CAPACITY, "In", "reserved"), "no machine meets"),
        (needs(ZONE, "In"), "no machine meets"),
        (needs(ZONE, "DoesNotExist"), "no machine meets"),
    ],
)
def test_what_no_new_node_meets_leaves_the_workload_where_it_is(condition, says):
    plan = solved([requiring("a/app", (condition,)), workload("a/free")], CATALOG).plan
    (left,) = plan.unplaced
    assert left.workload == "a/app"
    assert str(condition) in left.reason
    assert says in left.reason


def test_where_spot_has_no_price_that_is_said():
    wanted = requiring("a/app", (needs(CAPACITY, "In", "spot"),), interruptible=True)
    (left,) = solved([wanted, workload("a/free")], CATALOG).plan.unplaced
    assert "nothing that would do has a price of spot" in left.reason


def test_spot_is_bought_for_who_requires_it_and_for_no_one_who_requires_the_other():
    workloads = [
        requiring("a/spot", (needs(CAPACITY, "In", "spot"),), interruptible=True),
        requiring("a/stable", (needs(CAPACITY, "NotIn", "spot"),), interruptible=True),
    ]
    plan = solved(workloads, with_spot(CATALOG)).plan
    assert home(plan, "a/spot")[1].purchases == ("spot",)
    assert home(plan, "a/stable")[1].purchases == ("on-demand",)


@pytest.mark.parametrize(
    ("one", "other", "shared"),
    [
        (needs("team", "In", "vision"), needs("team", "In", "vision"), True),
        (needs("team", "In", "vision"), needs("team", "Exists"), True),
        (needs("team", "In", "vision"), needs("team", "In", "speech"), False),
        (needs("team", "In", "vision"), needs("team", "DoesNotExist"), False),
        (needs("team", "In", "vision"), needs("rack", "In", "r1"), True),
        (needs("team", "In", "vision"), needs("rack", "DoesNotExist"), True),
        (needs(ZONE, "In", "us-east-1a"), needs(ZONE, "In", "us-east-1a"), True),
        (needs(ZONE, "In", "us-east-1a"), needs(ZONE, "In", "us-east-1b"), False),
        (needs(ZONE, "NotIn", "us-east-1c"), needs(ZONE, "In", "us-east-1a"), True),
        (needs(ZONE, "NotIn", "us-east-1a"), needs(ZONE, "In", "us-east-1a"), False),
        (needs("team", "In", "vision", "speech"), needs("team", "In", "speech"), True),
        (needs(f"{INSTANCE}cpu", "Gt", "4"), needs(f"{INSTANCE}cpu", "Lt", "16"), True),
        (needs(f"{INSTANCE}cpu", "Gt", "8"), needs(f"{INSTANCE}cpu", "Lt", "8"), False),
    ],
)
def test_who_disagrees_never_shares_a_pool(one, other, shared):
    plan = solved([requiring("a/one", (one,)), requiring("a/other", (other,))], CATALOG).plan
    pools = home(plan, "a/one")[1], home(plan, "a/other")[1]
    assert (pools[0].name == pools[1].name) is shared
    assert sum(node.count for node in plan.optimal_nodes) == (1 if shared else 2)


def test_a_pool_carries_what_is_required_there_and_takes_in_who_requires_nothing():
    workloads = [requiring("a/tied", selector={"team": "vision", ZONE: "us-east-1a"}), workload("a/free")]
    plan = solved(workloads, CATALOG).plan
    (pool,) = plan.pools
    assert pool.requires == (needs("team", "In", "vision"), needs(ZONE, "In", "us-east-1a"))
    assert len({each.pool for each in plan.assignments}) == 1


def test_either_of_two_terms_will_do():
    size, team = needs(f"{INSTANCE}size", "In", "4xlarge"), needs("team", "In", "vision")
    plan = solved([requiring("a/app", (size,), (team,))], CATALOG).plan
    _, pool = home(plan, "a/app")
    assert pool.requires == (team,)  # the other machine is dearer
    assert "g6.4xlarge" not in pool.instance_types


def test_seats_keep_who_disagrees_apart_too():
    workloads = [
        requiring("a/one", selector={"team": "vision"}, replicas=3),
        requiring("a/other", selector={"team": "speech"}, replicas=3),
        workload("a/free", replicas=3),
    ]
    plan = solved(workloads, CATALOG, seats=True).plan
    for pool in plan.pools:
        labels = {pin.values[0] for pin in pool.requires}
        assert labels == ({"vision"} if "a/one" in pool.seats else set()) | (
            {"speech"} if "a/other" in pool.seats else set()
        )


def test_a_plan_after_another_keeps_pools_that_are_bound_to_what_is_required():
    workloads = [
        requiring("a/one", selector={"team": "vision"}, replicas=3),
        requiring("a/other", (needs(ZONE, "In", "us-east-1a"),), replicas=3),
        workload("a/free", replicas=3, duty=0.3),
    ]
    first = solved(workloads, CATALOG).plan
    settings = Settings(OVERHEAD, previous=first, min_saving=1.0)
    after = solve([*workloads, workload("a/new", replicas=9)], CATALOG, settings, clock=Clock(60.0)).plan
    assert after.summary.change
    assert after.summary.change.restarts == 0
    bound = {pool.name: pool.requires for pool in after.pools}
    assert {pool.name: pool.requires for pool in first.pools}.items() <= bound.items()


def test_a_pool_does_not_keep_whom_it_is_bound_to_no_longer():
    tied = requiring("a/one", selector={"team": "vision"}, replicas=3)
    first = solved([tied], CATALOG).plan
    moved = requiring("a/one", selector={"team": "speech"}, replicas=3)
    settings = Settings(OVERHEAD, previous=first, min_saving=1.0)
    (pool,) = solve([moved], CATALOG, settings, clock=Clock(60.0)).plan.pools
    assert pool.requires == (needs("team", "In", "speech"),)
    assert pool.name != first.pools[0].name


def test_what_is_required_in_other_words_is_one_group():
    here = [kind for kind in CATALOG.instance_types if kind.gpu == "L4"]
    family = requiring("a/family", (needs(f"{INSTANCE}family", "In", "g6", "g6f"),))
    name = requiring("a/name", (needs(f"{INSTANCE}gpu-name", "In", "l4"),))
    classes = classes_of([family, name, workload("a/free")])
    (group,) = groups_of(classes, here, "us-east-1")
    assert group.members == (0, 1, 2)


CONDITIONS = st.one_of(
    st.builds(needs, st.just("team"), st.sampled_from(["In", "NotIn"]), st.sampled_from(["a", "b"])),
    st.builds(
        needs, st.just(ZONE), st.sampled_from(["In", "NotIn"]), st.sampled_from(["us-east-1a", "us-east-1b"])
    ),
    st.builds(
        needs,
        st.just(f"{INSTANCE}size"),
        st.sampled_from(["In", "NotIn"]),
        st.sampled_from(["xlarge", "2xlarge"]),
    ),
    st.builds(needs, st.just(f"{INSTANCE}cpu"), st.sampled_from(["Gt", "Lt"]), st.sampled_from(["4", "8"])),
)
TERMS = st.lists(st.lists(CONDITIONS, max_size=2).map(tuple), max_size=2).map(tuple)


@examples(max_examples=25)
@given(st.lists(TERMS, min_size=1, max_size=4))
def test_every_machine_of_a_pool_meets_what_each_of_its_pods_requires(required):
    workloads = [
        requiring(f"a/app{number}", *terms, replicas=number + 1, duty=0.1, memory=4000)
        for number, terms in enumerate(required)
    ]
    plan = solved(workloads, CATALOG).plan
    types = CATALOG.by_name()
    for assignment, pool in product(plan.assignments, plan.pools):
        if assignment.pool == pool.name:
            for name in pool.instance_types:
                facts = node_facts(types[name], Purchase.ON_DEMAND, "us-east-1")
                assert entered(assignment.target.requires, facts, pool.requires)
    if not plan.unplaced:
        free = [
            replace(one, target=msgspec.structs.replace(one.target, node_affinity=())) for one in workloads
        ]
        bound, _, _ = prices(solved(free, CATALOG).plan)
        assert prices(plan)[1] >= bound


@given(TERMS, TERMS)
def test_whoever_can_be_on_one_node_is_in_a_group_that_has_it(first, second):
    classes = classes_of([requiring("a/one", *first), requiring("a/other", *second, cpu=501)])
    groups = groups_of(classes, CATALOG.instance_types, "us-east-1")
    for kind in CATALOG.instance_types:
        facts = node_facts(kind, Purchase.ON_DEMAND, "us-east-1")
        joint = [one + other for one in first or ((),) for other in second or ((),)]
        together = any(entered((term,), facts, pins_of(term)) for term in joint)
        assert together is any(
            {0, 1} <= {*group.members} and group.has(kind, Purchase.ON_DEMAND) for group in groups
        )
