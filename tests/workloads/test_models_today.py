"""Which GPU workloads run on today, where nothing in their pods says."""

from dataclasses import replace

import pytest

from gpuslice.errors import InputError
from gpuslice.hardware import cut
from gpuslice.hardware.fit import fit
from gpuslice.hardware.gpus import GPUS
from gpuslice.hardware.mechanisms import Mechanism
from gpuslice.hardware.need import Need
from gpuslice.workloads.model import Workload
from gpuslice.workloads.models_today import assumed, stated
from gpuslice.workloads.policy import Policy
from tests.strategies import A10G, L4, L4_EIGHTH, L4_X4, OVERHEAD, T4, catalog_of

CATALOG = catalog_of(T4, A10G, L4, L4_X4, L4_EIGHTH)


ANY = Need()


def workload(need: Need = ANY, cpu_milli: int = 500) -> Workload:
    return Workload("shop/app", 2, cpu_milli, 1024, need, tenant="shop")


def test_what_is_stated_for_a_workload_goes_before_what_is_for_its_namespace_and_that_before_all():
    models = stated(["T4", "shop/*=A10G", "shop/rank*=L4", "shop/ranker=h100"])
    assert [models.of(name) for name in ("shop/ranker", "shop/ranks", "shop/app", "lab/app")] == [
        "H100",
        "L4",
        "A10G",
        "T4",
    ]
    assert stated(["shop/*=A10G"]).of("lab/app") is None


def test_a_workload_that_says_its_model_keeps_it():
    own = workload(need=Need(on="L4"))
    assert stated(["T4"]).given_to(own) is own
    assert stated(["T4"]).given_to(workload()).need.on == "T4"


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["A10H"], "no GPU of EC2"),
        (["T4", "L4"], "T4 and L4 are named for all"),
        (["shop=T4"], "has no namespace"),
        (["shop/*=T4", "shop/*=L4"], "is named twice"),
        (["shop/*="], "no GPU of EC2"),
    ],
)
def test_what_states_no_model_is_refused(texts, words):
    with pytest.raises(InputError, match=words.replace("*", r"\*")):
        stated(texts)


def test_a_pattern_of_no_workload_is_refused_with_the_nearest_name():
    with pytest.raises(InputError) as raised:
        stated(["shop/serach=T4"]).refuse_unused(["shop/search", "lab/app"])
    assert raised.value.fix == "did you mean 'shop/search'?"
    stated(["*/app=T4"]).refuse_unused(["shop/search", "lab/app"])


def test_a_pod_is_assumed_on_the_cheapest_machine_that_holds_it():
    assert assumed(workload(), CATALOG, OVERHEAD).need.assumed_on == "T4"
    fat = workload(cpu_milli=T4.allocatable_cpu_milli)
    machines = [kind for kind in (A10G, L4, L4_X4) if kind.allocatable_cpu_milli > fat.cpu_milli + 500]
    cheapest = min(machines, key=lambda kind: min(kind.prices.values()))
    assert assumed(fat, CATALOG, OVERHEAD).need.assumed_on == cheapest.gpu != "T4"
    assert assumed(workload(need=Need(gpus=4)), CATALOG, OVERHEAD).need.assumed_on == "L4"


def test_a_pod_is_assumed_on_what_there_is_and_what_may_be_bought():
    forbidden = Policy(forbid=(T4.name,))
    assert assumed(workload(), CATALOG, OVERHEAD, forbidden).need.assumed_on != "T4"
    assert assumed(workload(), CATALOG, OVERHEAD, among={A10G.name}).need.assumed_on == "A10G"


def test_a_pod_that_no_machine_holds_is_assumed_on_the_cheapest_all_the_same():
    assert assumed(workload(cpu_milli=10**9), CATALOG, OVERHEAD).need.assumed_on == "T4"
    many = workload(need=Need(gpus=16))
    assert assumed(many, CATALOG, OVERHEAD) is many


def test_memory_that_is_stated_is_no_more_than_the_assumed_model_has():
    assert assumed(workload(need=Need(memory_mib=20_000)), CATALOG, OVERHEAD).need.assumed_on in {
        "A10G",
        "L4",
    }


@pytest.mark.parametrize("need", [Need(on="L4"), Need(allow=frozenset({"L4"}))])
def test_nothing_is_assumed_of_who_says_where_it_may_run(need):
    own = workload(need=need)
    assert assumed(own, CATALOG, OVERHEAD) is own


def test_who_is_assumed_on_a_model_has_whole_ones_of_it_and_nothing_else():
    """Memory and duty are stated, and of what GPU the duty is nobody knows: nothing is sliced on a guess."""
    need = replace(Need(memory_mib=3000, duty_ppm=50_000), assumed_on="L4")
    assert fit(need, cut.whole(GPUS["L4"])).fits
    others = [
        cut.whole(GPUS["A10G"]),
        cut.whole(GPUS["H100"]),
        cut.slot(GPUS["L4"], Mechanism.TIME_SLICING, 2),
        cut.fractional(GPUS["L4"], L4_EIGHTH.gpu_fraction),
        cut.metered(GPUS["L4"], 800),
    ]
    assert not any(fit(need, other).fits for other in others)
