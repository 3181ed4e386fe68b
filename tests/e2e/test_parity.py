"""The model of Karpenter beside Karpenter's own packages: a fixed part of what `make parity` compares."""

import pytest

from bench.karpenter import crowd
from tools.parity.__main__ import FAMILIES, measured
from tools.parity.build import built
from tools.parity.compare import answers, compare
from tools.parity.fleets import planned_fleets
from tools.parity.scenario import Scenario

SCENARIOS = range(1, 41)


@pytest.fixture(scope="module")
def driver():
    return built()


@pytest.mark.parametrize("name", FAMILIES)
def test_the_model_launches_what_karpenter_launches(driver, name):
    _, make = FAMILIES[name]
    family = measured(driver, [make(seed) for seed in SCENARIOS])
    assert family.decided > len(SCENARIOS) / 4
    assert [(each.scenario.name, each.note) for each in family.off] == []


def test_a_thousand_pods_over_four_pools_get_the_same_nodes_pod_by_pod(driver):
    many = crowd(1_000)
    scenario = Scenario("a thousand pods", many.pools, many.pods, many.overlays)
    ((_, answer),) = answers(driver, [scenario])
    found = compare(scenario, answer)
    assert len(answer["new"]) > 200
    assert found.exact, found.note


def test_karpenter_launches_what_plans_of_random_fleets_promise(driver):
    found = list(planned_fleets(driver, (10, 20, 30)))
    assert [each.compared for each in found if not all(one.exact for one in each.compared)] == []
    for each in found:
        pods = sum(len(one.scenario.pods) for one in each.compared)
        assert pods == each.pods * len(each.compared) > 0
        assert each.cheapest <= each.launched <= 1.05 * each.planned


def test_karpenter_launches_just_the_planned_nodes_where_pods_have_limits_of_their_own(driver):
    found = list(planned_fleets(driver, (10, 12, 20, 30), seats=True, limits=True))
    assert [each.compared for each in found if not all(one.exact for one in each.compared)] == []
    for each in found:
        assert each.launched == pytest.approx(each.planned)
        kinds = {pod.kind for one in each.compared for pod in one.scenario.pods}
        assert any(kind.apart for kind in kinds)
        assert any(kind.spreads for kind in kinds)
