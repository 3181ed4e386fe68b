"""What limits pods on a node beside CPU, memory and GPUs: a plan that breaks any of it is refused."""

from dataclasses import replace

import pytest

from gpuslice.verifier.verify import verify
from gpuslice.workloads.node_limits import EFA, EPHEMERAL_STORAGE, Take, apart, host_port, spread
from tests.planner.good_plans import case


def rules_broken_by(takes=(), stays=()):
    good = case("shared")
    changed = [
        replace(each, takes=takes, stays=stays) if each.name == "red/embed" else each
        for each in good.workloads
    ]
    return {each.rule for each in verify(good.plan, changed, good.catalog)}


def test_what_a_node_has_may_be_taken():
    assert rules_broken_by((Take(EPHEMERAL_STORAGE, 1024), spread("red/embed", 20))) == set()


@pytest.mark.parametrize(
    "take",
    [
        Take(EPHEMERAL_STORAGE, 190 * 1024),
        Take(EFA, 1),
        Take("hugepages-2Mi", 512),
        Take("example.com/fuse", 1),
        host_port("TCP", 8080),
        apart("red/embed"),
        spread("red/embed", 1),
    ],
    ids=lambda take: take.resource,
)
def test_a_plan_is_refused_that_takes_more_of_a_node_than_it_has(take):
    assert "node-limits" in rules_broken_by((take,))


def test_a_plan_is_refused_that_moves_who_stays():
    assert "stays" in rules_broken_by(stays=("its template names the node ip-10-0-0-1",))


def test_two_workloads_with_one_port_are_never_on_one_node():
    good = case("shared")
    names = [each.name for each in good.workloads]
    beside = next(node.pods for pool in good.plan.pools for node in pool.nodes if len(node.pods) > 1)
    port = (host_port("TCP", 9090),)
    changed = [replace(each, takes=port if each.name in beside else ()) for each in good.workloads]
    assert names
    assert "node-limits" in {each.rule for each in verify(good.plan, changed, good.catalog)}
