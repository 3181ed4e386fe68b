"""Cutting a GPU: what one slice of each mechanism can count on."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuslice.errors import InputError
from gpuslice.hardware import cut
from gpuslice.hardware.gpus import GPUS
from gpuslice.hardware.mechanisms import Isolation, Mechanism
from gpuslice.hardware.sharing import sustained_milli
from tests.strategies import models

L4, H100, V100 = GPUS["L4"], GPUS["H100"], GPUS["V100-32GB"]
assert H100.mig is not None
SMALLEST = next(each for each in H100.mig.plain if each.name == "1g.10gb")
SLOTTED = st.sampled_from([Mechanism.TIME_SLICING, Mechanism.MPS])


def test_a_time_sliced_slot_has_its_part_of_the_memory_and_all_of_the_gpu_for_part_of_the_time():
    slot = cut.slot(L4, Mechanism.TIME_SLICING, 4)
    assert (slot.memory_mib, slot.sharers) == (5639, 4)
    assert slot.compute == slot.bandwidth == 1
    assert slot.time_milli == 176  # 704 / 4
    assert slot.isolation is Isolation.NONE
    assert slot.name == "L4/time-slicing/4"


def test_an_mps_slot_has_its_share_of_threads_and_enforced_memory():
    slot = cut.slot(L4, Mechanism.MPS, 4)
    assert (slot.memory_mib, slot.compute, slot.bandwidth) == (5639, Fraction(1, 4), Fraction(1, 4))
    assert slot.isolation is Isolation.MEMORY
    assert slot.name == "L4/mps/4"


def test_a_metered_gpu_shows_all_its_memory_and_the_time_that_the_pods_share():
    slice_ = cut.metered(L4, 500)
    assert (slice_.memory_mib, slice_.time_milli, slice_.metered_milli) == (22558, 500, 500)
    assert slice_.sharers > 1
    assert slice_.name == "L4/time-slicing/metered"


def test_a_mig_instance_has_its_own_multiprocessors_and_memory_slices():
    slice_ = cut.mig(H100, SMALLEST)
    assert (slice_.memory_mib, slice_.compute, slice_.bandwidth) == (9984, Fraction(16, 132), Fraction(1, 8))
    assert (slice_.sharers, slice_.isolation) == (1, Isolation.HARDWARE)
    assert slice_.name == "H100/mig/1g.10gb"


def test_a_fractional_type_has_its_part_of_everything():
    slice_ = cut.fractional(L4, Fraction(1, 8))
    assert (slice_.memory_mib, slice_.compute, slice_.bandwidth) == (2819, Fraction(1, 8), Fraction(1, 8))
    assert (slice_.sharers, slice_.isolation) == (1, Isolation.HARDWARE)
    assert slice_.name == "L4/fractional/1-8"


def test_a_whole_gpu_is_everything():
    slice_ = cut.whole(L4)
    assert (slice_.memory_mib, slice_.sharers) == (22558, 1)
    assert slice_.compute == slice_.bandwidth == 1
    assert (slice_.name, slice_.isolation) == ("L4/whole", Isolation.HARDWARE)


@pytest.mark.parametrize(
    ("gpu", "mechanism", "replicas", "time"),
    [
        (L4, Mechanism.TIME_SLICING, 1, None),
        (L4, Mechanism.TIME_SLICING, 49, None),
        (L4, Mechanism.MPS, 49, None),
        (V100, Mechanism.MPS, 17, None),  # Volta's MPS server takes 16 clients
        (L4, Mechanism.TIME_SLICING, 4, 177),
        (L4, Mechanism.TIME_SLICING, 4, 0),
        (L4, Mechanism.MPS, 4, 201),
    ],
)
def test_slots_beyond_what_the_mechanism_or_the_sustained_load_allows_are_refused(
    gpu, mechanism, replicas, time
):
    with pytest.raises(InputError):
        cut.slot(gpu, mechanism, replicas, time)


def test_mig_on_a_gpu_without_it_is_refused():
    with pytest.raises(InputError, match="no MIG"):
        cut.mig(L4, SMALLEST)


@given(models, SLOTTED, st.data())
def test_all_slots_of_a_gpu_together_are_no_more_than_the_gpu(model, mechanism, data):
    gpu = GPUS[model]
    replicas = data.draw(st.integers(2, cut.most_slots(gpu, mechanism)))
    slot = cut.slot(gpu, mechanism, replicas)
    assert slot.memory_mib * replicas <= gpu.memory_mib
    assert slot.time_milli * replicas <= sustained_milli(mechanism)
    if mechanism is Mechanism.MPS:
        assert slot.compute * replicas == slot.bandwidth * replicas == 1
