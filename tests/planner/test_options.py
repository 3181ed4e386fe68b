"""Node options: what may be bought and cut, for whom."""

from collections.abc import Sequence
from dataclasses import replace

from hypothesis import given

from gpuslice.cloud.catalog import InstanceType, Purchase
from gpuslice.hardware.mechanisms import Mechanism
from gpuslice.hardware.need import Need
from gpuslice.planner.model.classes import WorkloadClass, classes_of
from gpuslice.planner.model.options import NodeOption, node_options
from gpuslice.planner.model.patterns import capacity, usage
from gpuslice.workloads.model import Workload
from tests.example_budget import few
from tests.strategies import CARRIER, L4, L4_X4, OVERHEAD, catalog_of, catalogs, fleets


def _options(
    fleet: Sequence[Workload], *types: InstanceType
) -> tuple[tuple[NodeOption, ...], tuple[WorkloadClass, ...]]:
    classes = classes_of(fleet)
    return node_options(classes, catalog_of(*types), OVERHEAD, CARRIER), classes


def _app(name: str = "red/app", *, interruptible: bool = False) -> Workload:
    need = Need(memory_mib=2000, duty_ppm=20_000, on="L4")
    return Workload(name, 4, 500, 1024, need, tenant=name.partition("/")[0], interruptible=interruptible)


def test_one_pod_may_be_whole_or_share():
    options, _ = _options([_app()], L4)
    mechanisms = {option.cut.mechanism for option in options}
    assert Mechanism.WHOLE in mechanisms
    assert mechanisms & {Mechanism.TIME_SLICING, Mechanism.MPS}


def test_only_machines_with_one_gpu_are_metered():
    options, _ = _options([_app()], L4, L4_X4)
    assert {option.instance_type.name for option in options if option.cut.metered} == {"g6.2xlarge"}


def test_a_shared_cut_admits_one_tenant():
    options, classes = _options([_app("red/app"), _app("blue/app")], L4, L4_X4)
    for option in options:
        if option.cut.mechanism in {Mechanism.TIME_SLICING, Mechanism.MPS}:
            assert {classes[number].tenant for number in option.classes} == {option.cut.tenant}


def test_spot_is_for_those_who_may_be_interrupted():
    spot = replace(L4, prices={**L4.prices, Purchase.SPOT: 1})
    options, classes = _options([_app("red/app"), _app("red/batch", interruptible=True)], spot)
    for option in options:
        if option.purchase is Purchase.SPOT:
            assert all(classes[number].interruptible for number in option.classes)


def test_a_type_that_another_beats_in_price_and_size_is_left_out():
    options, _ = _options([_app()], L4, replace(L4, name="g6.worse", prices={Purchase.ON_DEMAND: 2_000_000}))
    assert {option.instance_type.name for option in options} == {"g6.2xlarge"}


def test_a_dearer_type_with_more_room_stays():
    larger = replace(
        L4, name="g6.larger", prices={Purchase.ON_DEMAND: 2_000_000}, allocatable_cpu_milli=20_000
    )
    options, _ = _options([_app()], L4, larger)
    assert {option.instance_type.name for option in options} == {"g6.2xlarge", "g6.larger"}


@few
@given(fleets(), catalogs())
def test_whoever_an_option_admits_has_room_there_alone(fleet, catalog):
    classes = classes_of(fleet)
    for option in node_options(classes, catalog, OVERHEAD, CARRIER):
        assert option.price == option.instance_type.prices[option.purchase]
        assert list(option.classes) == sorted(set(option.classes))
        for number in option.classes:
            assert classes[number].arch == option.instance_type.arch
            assert number in option.cut.fits
            sizes, room = usage(number, option, classes), capacity(option)
            assert all(size <= have for size, have in zip(sizes, room, strict=True))


@few
@given(fleets(), catalogs())
def test_options_come_cheapest_first(fleet, catalog):
    prices = [each.price for each in node_options(classes_of(fleet), catalog, OVERHEAD, CARRIER)]
    assert prices == sorted(prices)
