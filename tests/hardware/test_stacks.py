"""What each stack can do to a GPU."""

from typing import Any

import pytest

from gpuslice.hardware.gpus import GPUS
from gpuslice.hardware.mechanisms import Mechanism
from gpuslice.hardware.mig import Geometry, place
from gpuslice.hardware.stacks import BOTTLEROCKET_GPU, Stack, uniform_geometries, why_not


def _reason(*arguments: Any, **more: Any) -> str:
    reason = why_not(*arguments, **more)
    assert reason is not None
    return reason


@pytest.mark.parametrize("mechanism", Mechanism)
def test_al2023_does_everything(mechanism):
    assert why_not(Stack.AL2023, "H100", mechanism, metered=mechanism is Mechanism.TIME_SLICING) is None


@pytest.mark.parametrize("mechanism", [Mechanism.WHOLE, Mechanism.TIME_SLICING, Mechanism.MPS])
def test_bottlerocket_does_slots_and_whole_gpus(mechanism):
    assert why_not(Stack.BOTTLEROCKET, "L4", mechanism) is None


def test_bottlerocket_meters_nothing():
    assert "meter" in _reason(Stack.BOTTLEROCKET, "L4", Mechanism.TIME_SLICING, metered=True)


def test_bottlerocket_has_no_fractional_gpus():
    assert "GRID" in _reason(Stack.BOTTLEROCKET, "L4", Mechanism.FRACTIONAL)


@pytest.mark.parametrize("gpu", BOTTLEROCKET_GPU)
def test_every_geometry_of_bottlerocket_is_one_that_the_gpu_can_have_and_no_instance_fits_beside_it(gpu):
    table = GPUS[gpu].mig
    offered = uniform_geometries(gpu)
    assert len(offered) == 5
    for profile, count in offered.items():
        assert place(table, Geometry.of({profile: count})) is not None
        assert place(table, Geometry.of({profile: count + 1})) is None
        assert (
            why_not("bottlerocket", gpu, Mechanism.MIG, geometries=[Geometry.of({profile: count})] * 8)
            is None
        )


@pytest.mark.parametrize(
    ("geometries", "reason"),
    [
        ([{"3g.40gb": 1, "1g.10gb": 4}], "one profile only"),
        ([{"1g.10gb": 7}, {"3g.40gb": 2}], "alike"),
        ([{"1g.10gb": 7}, {}], "alike"),
        ([{"1g.10gb": 6}], "7 instances of 1g.10gb, not 6"),
        ([{"4g.40gb": 1}], "did you mean"),
    ],
)
def test_bottlerocket_cuts_all_gpus_into_one_profile_as_often_as_it_fits(geometries, reason):
    cut = [Geometry.of(each) for each in geometries]
    assert reason in _reason("bottlerocket", "H100", Mechanism.MIG, geometries=cut)


def test_bottlerocket_cuts_no_gpu_that_its_mig_manager_does_not_know():
    assert "RTX-PRO-6000" in _reason("bottlerocket", "RTX-PRO-6000", Mechanism.MIG)
    assert uniform_geometries("RTX-PRO-6000") == {}
