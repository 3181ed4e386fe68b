"""Replays that a person can compute, and what holds for all of them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpuslice.artefacts.documents import dump_json
from gpuslice.cloud.allocatable import left_for_workloads
from gpuslice.cloud.catalog import Catalog, Purchase
from gpuslice.errors import InputError
from gpuslice.hardware.gpus import GPUS
from gpuslice.hardware.mechanisms import Isolation
from gpuslice.hardware.need import Need
from gpuslice.plan.artefact import Plan
from gpuslice.plan.tutorials import TUTORIALS
from gpuslice.simulator.baselines import baseline
from gpuslice.simulator.cluster import Cluster
from gpuslice.simulator.ledger import quantile
from gpuslice.simulator.policies import ReplayPolicy, of_plan
from gpuslice.simulator.replanning import Replanning
from gpuslice.simulator.replay import digest, look_seconds, replay
from gpuslice.simulator.result import Outcome
from gpuslice.workloads.model import Workload
from gpuslice.workloads.timelines import Life, Timeline
from tests.planner.planned import solved
from tests.strategies import A10G, H100, L4, L4_EIGHTH, OVERHEAD, T4, catalog_of, instance_type

CATALOG = catalog_of(L4, T4, A10G, L4_EIGHTH, H100)
HOUR = 3600
BOOT = 180
AFTER = 300  # consolidateAfter


def app(
    name: str = "red/app", *, memory: int = 5000, duty: float = 0.1, on: str = "L4", replicas: int = 1
) -> Workload:
    need = Need(memory_mib=memory, duty_ppm=round(duty * 1_000_000), on=on, allow=frozenset({on}))
    return Workload(name, replicas, 500, 1024, need, tenant=name.partition("/")[0])


def timeline(*lives: Life, seconds: int = 4 * HOUR, workloads: tuple[Workload, ...] = ()) -> Timeline:
    names = Counter(each.workload for each in lives)
    made = workloads or tuple(app(name, replicas=count) for name, count in names.items())
    return Timeline("by hand", made, tuple(sorted(lives, key=lambda each: each.start)), seconds)


def policy(name: str, demand: Timeline) -> ReplayPolicy:
    if name == "plan":
        plan = solved(demand.workloads, CATALOG).plan
        return of_plan(plan, demand.workloads, CATALOG, OVERHEAD, AFTER)
    return baseline(name, demand.workloads, CATALOG, OVERHEAD, AFTER)


def test_several_gpus_a_pod_stay_on_todays_model_where_everybody_else_is_cut_by_mig():
    eight = (
        instance_type("g6.48xlarge", "L4", 13.35, count=8, cpu=191_450, memory=700_000, pods=345),
        instance_type("p5.48xlarge", "H100", 55.04, count=8, cpu=191_450, memory=1_970_000, pods=100),
    )
    training = Workload("red/train", 1, 8_000, 64_000, Need(gpus=8, on="H100"), tenant="red")
    found = baseline("all-1g-mig", (training, app()), catalog_of(*eight), OVERHEAD, AFTER)
    assert found.misfits == ("red/app",)
    assert found.places["red/train"].shares["h100-whole-amd64"].gpus == 8
    assert {each.name for each in found.offers} == {"h100-whole-amd64", "h100-mig-amd64"}


def test_one_pod_waits_for_its_node_and_the_node_outlives_it_until_it_is_consolidated():
    demand = timeline(Life("red/app", 0, HOUR))
    found = replay(demand, policy("whole-gpu", demand), CATALOG)
    # The batch closes after a second. The node is empty from 3,600; looked at 300 s later, and again after 15 s.
    assert found.pending.p50 == found.pending.longest == 1 + BOOT
    assert found.nodes_launched == found.nodes_at_most == 1
    assert found.usd == pytest.approx(0.9776 * (HOUR + AFTER + 15 - 1) / HOUR, abs=1e-6)
    assert found.gpu_hours_bought == pytest.approx((HOUR + AFTER + 15 - 1) / HOUR, abs=1e-3)
    assert found.gpu_hours_used == pytest.approx((HOUR - 1 - BOOT) / HOUR, abs=1e-3)
    assert (found.evictions, found.never_placed) == (0, 0)


def test_a_second_pod_takes_the_place_that_is_free():
    demand = timeline(Life("red/app", 0, HOUR), Life("red/app", HOUR + 60, 2 * HOUR))
    found = replay(demand, policy("whole-gpu", demand), CATALOG)
    assert found.nodes_launched == 1
    assert found.pending.p50 == 0


def test_pods_that_come_within_a_second_of_another_are_one_batch():
    lives = [Life("red/app", second, None) for second in (0, 1, 2)]
    demand = timeline(*lives, workloads=(app(replicas=3),))
    found = replay(demand, policy("time-slicing-4", demand), CATALOG)
    assert found.nodes_launched == 1
    assert found.pending.longest == 3 + BOOT


def test_a_batch_lasts_ten_seconds_at_most():
    lives = [Life("red/app", second, None) for second in range(15)]
    demand = timeline(*lives, workloads=(app(replicas=15),))
    found = replay(demand, policy("whole-gpu", demand), CATALOG)
    assert found.pending.longest == 10 + BOOT


def test_a_plan_is_exposed_where_its_pods_come_to_hold_more_than_was_planned_for():
    demand = timeline(*(Life("red/app", 0, 2 * HOUR) for _ in range(4)))
    plan = solved(demand.workloads, CATALOG).plan
    assert {each.layout.mechanism for each in plan.pools} == {"time-slicing"}
    planned = of_plan(plan, demand.workloads, CATALOG, OVERHEAD, AFTER)
    assert replay(demand, planned, CATALOG).exposed_gpu_hours == 0

    grown = [replace(each, need=replace(each.need, memory_mib=15_000)) for each in demand.workloads]
    found = replay(demand, of_plan(plan, grown, CATALOG, OVERHEAD, AFTER), CATALOG)
    assert found.exposed_gpu_hours == pytest.approx((2 * HOUR - 1 - BOOT) / HOUR, abs=1e-3)


def test_slots_that_enforce_nothing_are_exposed_for_as_long_as_their_pods_would_hold_too_much():
    """Four pods of 7,000 MiB on an L4: three fit its 22,563 MiB, four don't."""
    assert 3 * 7000 < GPUS["L4"].memory_mib < 4 * 7000
    lives = [Life("red/app", 0, None) for _ in range(3)] + [Life("red/app", HOUR, 2 * HOUR)]
    demand = timeline(*lives, workloads=(app(memory=7000, replicas=4),))
    found = replay(demand, policy("time-slicing-4", demand), CATALOG)
    assert found.exposed_gpu_hours == pytest.approx(1.0, abs=1e-3)
    assert found.misfits == 1
    assert replay(demand, policy("whole-gpu", demand), CATALOG).exposed_gpu_hours == 0


def test_pods_are_moved_off_a_node_that_others_have_room_for():
    """Five pods take two nodes of four slots; when three have gone, the last two fit on one."""
    lives = [Life("red/app", 0, HOUR) for _ in range(3)] + [Life("red/app", 0, None) for _ in range(2)]
    demand = timeline(*lives, workloads=(app(replicas=5),))
    found = replay(demand, policy("time-slicing-4", demand), CATALOG)
    assert found.nodes_at_most == 2
    assert found.over_time.gpus[-1] == pytest.approx(1.0)
    assert found.evictions == 1


def test_who_leaves_before_a_node_is_ready_is_never_placed():
    demand = timeline(Life("red/app", 0, 60))
    found = replay(demand, policy("whole-gpu", demand), CATALOG)
    assert found.never_placed == 1
    assert found.gpu_hours_used == 0


def test_whom_the_scheduler_leaves_over_gets_a_node_of_his_own():
    """Karpenter puts a large pod beside a small one on each of two nodes; the scheduler, the small ones together."""
    cpu = left_for_workloads(L4, OVERHEAD).cpu_milli
    small = replace(app("red/small", replicas=2), cpu_milli=cpu * 4 // 10)
    large = replace(app("red/large", replicas=2), cpu_milli=cpu * 6 // 10)
    lives = [Life(name, 0, None) for name in ("red/small", "red/small", "red/large", "red/large")]
    demand = timeline(*lives, workloads=(small, large))
    found = replay(demand, policy("time-slicing-4", demand), catalog_of(L4))
    assert found.nodes_launched == 3
    assert found.never_placed == 0
    assert found.pending.longest < 2 * 181 + 10


def test_who_waits_to_the_end_takes_no_place_of_those_who_are_there_to_the_end():
    plan = solved([app(replicas=1)], catalog_of(L4)).plan
    demand = timeline(*[Life("red/app", 0, 4 * HOUR)] * 40, workloads=(app(replicas=40),))
    found = replay(demand, of_plan(plan, [app(replicas=1)], catalog_of(L4), OVERHEAD, AFTER), catalog_of(L4))
    assert found.never_placed > 0
    assert found.pending.longest < HOUR


def test_a_workload_without_any_machine_is_never_placed():
    odd = replace(app(), arch="arm64")
    demand = timeline(Life("red/app", 0, None), workloads=(odd,))
    found = replay(demand, policy("whole-gpu", demand), CATALOG)
    assert (found.never_placed, found.usd) == (1, 0)


SPOT_L4 = replace(L4, prices={**L4.prices, Purchase.SPOT: 300_000})


def spot(demand: Timeline) -> tuple[ReplayPolicy, Catalog]:
    """A plan for interruptible workloads, where spot is a third of on-demand."""
    catalog = catalog_of(SPOT_L4)
    workloads = [replace(each, interruptible=True) for each in demand.workloads]
    plan = solved(workloads, catalog).plan
    assert {purchase for pool in plan.pools for purchase in pool.purchases} >= {"spot"}
    return of_plan(plan, workloads, catalog, OVERHEAD, AFTER), catalog


def test_nodes_of_today_are_bought_on_demand_whatever_spot_costs():
    demand = timeline(Life("red/app", 0, HOUR))
    catalog = catalog_of(SPOT_L4)
    for name in ("whole-gpu", "time-slicing-4"):
        found = replay(demand, baseline(name, demand.workloads, catalog, OVERHEAD, AFTER), catalog)
        assert found.usd == pytest.approx(0.9776 * (HOUR + AFTER + 15 - 1) / HOUR, abs=1e-6)


def test_a_plans_pools_are_bought_as_the_plan_says():
    demand = timeline(Life("red/app", 0, HOUR))
    planned, catalog = spot(demand)
    assert replay(demand, planned, catalog).usd == pytest.approx(
        0.3 * (HOUR + AFTER + 15 - 1) / HOUR, abs=1e-6
    )
    # The same workload, not interruptible, is planned and replayed on demand.
    steady = of_plan(solved(demand.workloads, catalog).plan, demand.workloads, catalog, OVERHEAD, AFTER)
    assert replay(demand, steady, catalog).usd > 0.9


def test_a_pool_that_may_buy_both_ways_buys_the_cheaper():
    demand = timeline(Life("red/app", 0, HOUR))
    catalog = catalog_of(SPOT_L4)
    plan = solved(demand.workloads, catalog).plan
    both = msgspec.structs.replace(
        plan,
        pools=tuple(msgspec.structs.replace(pool, purchases=("on-demand", "spot")) for pool in plan.pools),
    )
    found = replay(demand, of_plan(both, demand.workloads, catalog, OVERHEAD, AFTER), catalog)
    assert found.usd < 0.4


def test_spot_nodes_are_taken_back_their_pods_start_again_and_the_bill_is_that_of_the_nodes():
    demand = timeline(*(Life("red/app", 0, None) for _ in range(3)))
    planned, catalog = spot(demand)
    calm = replay(demand, planned, catalog)
    assert calm.interruptions == 0
    found = replay(demand, planned, catalog, spot_interruptions=2.0, seed=3)
    assert found.interruptions > 0
    assert found.nodes_launched > calm.nodes_launched
    assert found.gpu_hours_used < calm.gpu_hours_used  # while a new node boots, nobody runs
    assert found.never_placed == 0
    # With a seed, chance is the same each time; with another, another.
    assert dump_json(found) == dump_json(replay(demand, planned, catalog, spot_interruptions=2.0, seed=3))
    assert dump_json(found) != dump_json(replay(demand, planned, catalog, spot_interruptions=2.0, seed=4))


def test_what_is_bought_on_demand_is_never_taken_back():
    demand = timeline(Life("red/app", 0, None))
    found = replay(demand, policy("whole-gpu", demand), CATALOG, spot_interruptions=60.0)
    assert dump_json(found) == dump_json(replay(demand, policy("whole-gpu", demand), CATALOG))


def test_metered_sharers_hold_what_they_were_planned_with():
    fleet = tuple(
        app(f"red/app-{number}", memory=memory, duty=duty)
        for number, (memory, duty) in enumerate(((9000, 0.2), (5000, 0.1), (3000, 0.1)))
    )
    demand = timeline(*(Life(each.name, 0, None) for each in fleet), workloads=fleet)
    plan = solved(fleet, CATALOG).plan
    assert any(pool.layout.metered for pool in plan.pools)
    assert replay(demand, of_plan(plan, fleet, CATALOG, OVERHEAD, AFTER), CATALOG).exposed_gpu_hours == 0
    grown = tuple(replace(each, need=replace(each.need, memory_mib=12_000)) for each in fleet)
    found = replay(demand, of_plan(plan, grown, CATALOG, OVERHEAD, AFTER), CATALOG)
    assert found.exposed_gpu_hours > 0


@pytest.mark.parametrize("isolation", [Isolation.MEMORY, Isolation.HARDWARE])
def test_what_enforces_memory_is_never_exposed(isolation):
    each = app("red/app", memory=5000, duty=0.02, replicas=7)
    fleet = (replace(each, need=replace(each.need, isolation=isolation, allow=frozenset({"H100"}))),)
    demand = timeline(*(Life("red/app", 0, None) for _ in range(7)), workloads=fleet)
    plan = solved(fleet, CATALOG).plan
    assert {pool.layout.mechanism for pool in plan.pools} <= {"mps", "mig"}
    grown = tuple(replace(one, need=replace(one.need, memory_mib=60_000)) for one in fleet)
    found = replay(demand, of_plan(plan, grown, CATALOG, OVERHEAD, AFTER), CATALOG)
    assert found.exposed_gpu_hours == 0


def replanned(demand: Timeline, hours: int) -> Outcome:
    def plan(workloads: Sequence[Workload]) -> Plan:
        return solved(list(workloads), CATALOG).plan

    made = Replanning(demand, plan, hours, CATALOG, OVERHEAD, AFTER)
    return replay(demand, made.policy(0.0), CATALOG, replanning=made)


def test_a_workload_has_whole_gpus_until_a_plan_has_seen_it():
    """Four pods come half an hour after the first plan; the second, after an hour, slices them onto one GPU."""
    demand = timeline(*(Life("red/app", 1800, None) for _ in range(4)), seconds=3 * HOUR)
    found = replanned(demand, 1)
    assert found.nodes_at_most >= 4
    assert found.replanned == 4
    assert found.over_time.gpus[-1] == pytest.approx(1.0)
    assert (found.never_placed, found.misfits) == (0, 0)


def test_a_plan_is_made_of_what_has_been_and_of_nothing_else():
    seen: list[dict[str, int]] = []

    def plan(workloads: Sequence[Workload]) -> Plan:
        seen.append({each.name: each.replicas for each in workloads})
        return solved(list(workloads), CATALOG).plan

    lives = [Life("red/app", 0, 30 * 60), *(Life("red/app", 45 * 60, None) for _ in range(2))]
    late = [Life("blue/app", 90 * 60, 100 * 60)]
    demand = timeline(*lives, *late, seconds=4 * HOUR)
    made = Replanning(demand, plan, 1, CATALOG, OVERHEAD, AFTER)
    replay(demand, made.policy(0.0), CATALOG, replanning=made)
    assert seen == [{"red/app": 1}, {"red/app": 2}, {"red/app": 2, "blue/app": 1}, {"red/app": 2}]


def test_a_plan_that_comes_out_the_same_moves_nobody():
    demand = timeline(*(Life("red/app", 0, None) for _ in range(4)), seconds=5 * HOUR)
    assert replanned(demand, 1).replanned == 0


def test_a_replay_of_a_thousand_plans_and_more_is_refused():
    demand = timeline(Life("red/app", 0, None), seconds=2000 * HOUR)
    with pytest.raises(InputError, match="would make 2,000 plans"):
        replanned(demand, 1)


def test_series_add_up_to_the_bill():
    demand = timeline(Life("red/app", 0, HOUR), Life("red/app", HOUR, 3 * HOUR))
    found = replay(demand, policy("whole-gpu", demand), CATALOG)
    hours = demand.seconds / HOUR
    assert sum(found.over_time.usd_per_hour) / len(found.over_time.usd_per_hour) * hours == pytest.approx(
        found.usd, rel=1e-3
    )


def test_a_quantile_is_a_wait_that_was_there():
    waits = [float(each) for each in range(200, 0, -1)]
    assert [quantile(waits, share) for share in (0.5, 0.95, 0.99, 1.0)] == [100.0, 190.0, 198.0, 200.0]
    assert [quantile([7.0, 3.0, 5.0], share) for share in (0.5, 0.95)] == [5.0, 7.0]
    assert quantile([], 0.99) == 0.0


def test_long_replays_look_less_often():
    assert look_seconds(HOUR) == 10
    assert look_seconds(13_000_000) == 1300


class Watched(Cluster):
    """A cluster that keeps a book of its own."""

    def __init__(self, *args, **more):
        super().__init__(*args, **more)
        self.lifetimes: dict[str, list[float]] = {}

    def _launch(self, node):
        self.lifetimes[node.name] = [node.price, self._now, -1.0]
        return super()._launch(node)

    def _take_away(self, node):
        assert self.lifetimes[node.name][2] < 0, "a node goes twice"
        self.lifetimes[node.name][2] = self._now
        return super()._take_away(node)

    def _bind(self, running, together):
        assert running.machine is None, "a pod runs twice"
        bound = super()._bind(running, together)
        for machine in self._machines_of(together):
            assert all(amount >= 0 for amount in machine.free.values()), "a node carries more than it can"
        return bound

    @property
    def where(self):
        """The node of each pod that has one."""
        bound = [
            (pod.uid, machine.node.name)
            for machines in self._machines.values()
            for machine in machines.values()
            for pod in machine.node.pods
        ]
        assert len(dict(bound)) == len(bound), "a pod runs twice"
        return dict(bound)


names = st.sampled_from(["red/app", "red/big", "blue/app"])
lives = st.builds(
    lambda name, start, length: Life(name, start, None if length is None else start + length),
    names,
    st.integers(0, 2 * HOUR),
    st.none() | st.integers(1, 2 * HOUR),
)
SIZES = {
    "red/app": app("red/app", memory=4000),
    "red/big": app("red/big", memory=15_000, duty=0.3),
    "blue/app": app("blue/app", memory=3000, on="A10G"),
}


SPOT = catalog_of(SPOT_L4, A10G)


def run(name: str, demand: Timeline) -> tuple[ReplayPolicy, Catalog, Replanning | None, float]:
    """A way to run the cluster: policy, catalog, what plans anew, and how often spot nodes are taken back."""
    if name == "spot":
        plan = solved(demand.workloads, SPOT).plan
        return of_plan(plan, demand.workloads, SPOT, OVERHEAD, AFTER), SPOT, None, 2.0
    if name != "replan-1h":
        return policy(name, demand), CATALOG, None, 0.0
    made = Replanning(
        demand, lambda workloads: solved(list(workloads), CATALOG).plan, 1, CATALOG, OVERHEAD, AFTER
    )
    return made.policy(0.0), CATALOG, made, 0.0


@pytest.mark.slow
@settings(max_examples=40)
@given(st.lists(lives, min_size=1, max_size=25), st.sampled_from([*TUTORIALS, "plan", "spot", "replan-1h"]))
def test_the_bill_is_the_sum_of_lifetimes_and_nobody_runs_twice(drawn, name):
    counts = Counter(each.workload for each in drawn)
    sized = tuple(
        replace(SIZES[each], replicas=count, interruptible=name == "spot")
        for each, count in sorted(counts.items())
    )
    demand = timeline(*drawn, workloads=sized)
    chosen, catalog, replanning, rate = run(name, demand)
    cluster = Watched(
        chosen,
        catalog.by_name(),
        demand.seconds,
        spot_interruptions=rate,
    )
    ledger = cluster.replay(demand.lives, () if replanning is None else replanning.later())
    billed = sum(
        price * ((demand.seconds if end < 0 else end) - start)
        for price, start, end in cluster.lifetimes.values()
    )
    assert ledger.rate.total == pytest.approx(billed)
    assert ledger.used.total <= ledger.bought.total + 1e-6
    assert len(ledger.waits) + cluster.unplaced <= len(demand.lives)
    assert min(ledger.waits, default=0) >= 0
    alive = set(cluster.where.values())
    assert all(cluster.lifetimes[node][2] < 0 for node in alive)

    # Again, on its own: the same bytes.
    def again() -> str:
        chosen, catalog, replanning, rate = run(name, demand)
        return dump_json(replay(demand, chosen, catalog, spot_interruptions=rate, replanning=replanning))

    assert again() == again()


def test_a_plan_is_known_by_its_content():
    demand = timeline(Life("red/app", 0, None))
    plan = solved(demand.workloads, CATALOG).plan
    other = solved((app(replicas=2),), CATALOG).plan
    assert digest(plan) == digest(solved(demand.workloads, CATALOG).plan)
    assert digest(plan) != digest(other)
