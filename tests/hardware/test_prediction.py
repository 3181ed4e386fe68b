from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuslice.hardware.gpus import GPUS
from gpuslice.hardware.mechanisms import Mechanism
from gpuslice.hardware.prediction import Activity, expected_slowdown, thread_share
from gpuslice.hardware.sharing import contention
from tests.hardware.sharing_readings import readings

ALL = readings()
EQUAL = [each for each in ALL if not each.neighbour and each.copies > 1]
FULL_NEIGHBOURS = [each for each in ALL if each.neighbour and each.mechanism is Mechanism.TIME_SLICING]


def error(reading):
    predicted = expected_slowdown(
        reading.alone, reading.mechanism, reading.copies, GPUS[reading.gpu], limited=reading.limited
    )
    return predicted / reading.slowdown - 1


def throughput_error(reading):
    """Of the work that all copies do together, against one alone."""
    return 1 / (1 + error(reading)) - 1


@pytest.mark.parametrize("of", [error, throughput_error], ids=["slowdown", "throughput"])
@pytest.mark.parametrize("gpu", ["H100", "H200"])
@pytest.mark.parametrize(
    ("mechanism", "limited"), [(Mechanism.TIME_SLICING, False), (Mechanism.MPS, True), (Mechanism.MPS, False)]
)
def test_the_prediction_is_near_what_was_measured(gpu, mechanism, limited, of):
    found = [each for each in EQUAL if (each.gpu, each.mechanism, each.limited) == (gpu, mechanism, limited)]
    errors = [abs(of(each)) for each in found]
    assert len(found) == 30
    assert {each.copies for each in found} == {2, 4, 8}
    assert sum(errors) / len(errors) <= 0.15
    assert max(errors) < 0.35


@pytest.mark.parametrize("gpu", ["H100", "H200"])
def test_a_server_of_mps_costs_its_only_client_next_to_nothing(gpu):
    """A program that the host holds up varies by more than this from run to run."""
    found = [each for each in ALL if each.gpu == gpu and each.mechanism is Mechanism.MPS and each.copies == 1]
    errors = [abs(error(each)) for each in found]
    assert len(found) == 10
    assert sum(errors) / len(errors) <= 0.04
    assert max(errors) < 0.1


def test_plans_bound_what_equal_copies_were_measured_at():
    """What a plan expects of a neighbourhood is never below what such neighbours really cost."""
    for each in EQUAL:
        if each.mechanism is Mechanism.TIME_SLICING:
            neighbours = Fraction(each.alone.duty).limit_denominator(1000) * (each.copies - 1)
            assert each.slowdown <= contention(each.mechanism, each.copies, neighbours) * Fraction(
                102, 100
            ), each


def test_turns_are_not_quite_fair():
    """Short kernels beside long ones wait longer than their share: full contention is passed by up to a fifth."""
    over = [
        each.slowdown / float(contention(Mechanism.TIME_SLICING, each.copies, Fraction(each.copies - 1)))
        for each in FULL_NEIGHBOURS
    ]
    assert 1.1 < max(over) < 1.2


def test_a_client_of_mps_reaches_whole_pairs_of_multiprocessors():
    assert [round(thread_share(GPUS["H100"], each) * 132) for each in (2, 4, 8)] == [66, 32, 14]


ACTIVITIES = st.builds(
    lambda duty, sm, dram: Activity(duty, duty * sm, duty * dram),
    st.floats(0, 1),
    st.floats(0, 1),
    st.floats(0, 1),
)


@given(ACTIVITIES, st.sampled_from([Mechanism.TIME_SLICING, Mechanism.MPS]), st.booleans())
def test_another_copy_never_makes_the_others_faster(alone, mechanism, limited):
    found = [expected_slowdown(alone, mechanism, k, GPUS["H100"], limited=limited) for k in range(1, 17)]
    assert found[0] == 1
    assert all(later >= earlier - 1e-9 for earlier, later in pairwise(found))


@given(ACTIVITIES)
def test_turns_give_no_more_throughput_than_one_that_never_pauses(alone):
    for k in (2, 4, 8, 16):
        total = k / expected_slowdown(alone, Mechanism.TIME_SLICING, k, GPUS["H100"])
        assert total <= k + 1e-9
        assert alone.duty * total <= 1 + 1e-9


def test_who_has_a_gpu_part_to_itself_is_not_slowed():
    alone = Activity(0.9, 0.9, 0.9)
    assert expected_slowdown(alone, Mechanism.MIG, 7, GPUS["H100"]) == 1
    assert expected_slowdown(alone, Mechanism.TIME_SLICING, 1, GPUS["H100"]) == 1
