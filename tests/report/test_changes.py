"""What else a workload could have, and what one change would save."""

from dataclasses import replace

import pytest

from gpuslice.costs.alternatives import alternatives, offers
from gpuslice.hardware.mechanisms import Isolation
from gpuslice.hardware.need import Need
from gpuslice.hardware.stacks import Stack
from gpuslice.report.changes import changes, loosened
from gpuslice.workloads.model import Workload
from tests.strategies import L4, L4_EIGHTH, OVERHEAD, catalog_of

CATALOG = catalog_of(L4, L4_EIGHTH)
APP = Workload(
    "red/app",
    5,
    500,
    1024,
    Need(memory_mib=4000, duty_ppm=40_000, on="L4", max_slowdown_milli=4000),
    tenant="red",
)


def _offers(workload: Workload) -> dict[str, float]:
    found = alternatives(workload, CATALOG, OVERHEAD, Stack.AL2023)
    return {each.slice: (each.alone_price or 0) / 1e6 for each in offers(found, workload.replicas)}


def _changes(workload: Workload, paid: float) -> list[tuple[str, float, bool]]:
    now = offers(alternatives(workload, CATALOG, OVERHEAD, Stack.AL2023), workload.replicas)
    after = loosened(workload, CATALOG, OVERHEAD, Stack.AL2023)
    found = changes(after, now, workload.replicas, paid)
    return [(each.words, each.usd_per_hour, each.most) for each in found]


def test_an_offer_is_the_price_of_as_many_nodes_as_all_replicas_fill():
    found = _offers(APP)
    assert found["L4/whole"] == pytest.approx(5 * 0.9776)
    slots = next(int(name.rpartition("/")[2]) for name in found if name.startswith("L4/mps/"))
    assert found[f"L4/mps/{slots}"] == pytest.approx(-(-5 // slots) * 0.9776)


def test_the_cheapest_offer_comes_first():
    found = list(_offers(APP).values())
    assert found == sorted(found)


def test_isolation_is_priced():
    isolated = replace(APP, need=replace(APP.need, isolation=Isolation.HARDWARE))
    whole = _offers(isolated)["L4/whole"]
    (first, *_) = _changes(isolated, whole)
    assert first[0] == "it did without isolation: hardware"
    assert first[1] == pytest.approx(whole - min(_offers(APP).values()))


def test_a_need_that_is_not_known_says_the_most_that_measuring_could_save():
    unknown = replace(APP, need=Need(on="L4"))
    (only,) = _changes(unknown, 5 * 0.9776)
    assert only[0] == "its need were measured"
    assert only[2]
    assert 0 < only[1] < 5 * 0.9776


def test_nothing_is_promised_that_the_workload_could_have_today():
    """It pays for whole nodes in the plan, though it could share as it is: that is no change's saving."""
    best = min(_offers(APP).values())
    assert all(saved <= best for _, saved, _ in _changes(APP, 5 * 0.9776))


def test_several_gpus_have_no_change_to_make():
    assert loosened(replace(APP, need=Need(gpus=4, on="L4")), CATALOG, OVERHEAD, Stack.AL2023) == ()
