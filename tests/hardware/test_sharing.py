"""What sharing costs: processor sharing and its limits, with figures computed by hand."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuslice.hardware.mechanisms import Mechanism
from gpuslice.hardware.sharing import METERED_TIMES, contention, sustained_milli

SLOTTED = st.sampled_from([Mechanism.TIME_SLICING, Mechanism.MPS])


@pytest.mark.parametrize(
    ("mechanism", "sharers", "neighbours", "expected"),
    [
        (Mechanism.TIME_SLICING, 1, Fraction(9, 10), Fraction(1)),
        (Mechanism.TIME_SLICING, 4, Fraction(0), Fraction(1)),
        # 0.3 of the device at an efficiency of 0.88 is a load of 15/44, and 1 / (1 - 15/44) = 44/29.
        (Mechanism.TIME_SLICING, 4, Fraction(3, 10), Fraction(44, 29)),
        (Mechanism.MPS, 4, Fraction(3, 10), Fraction(10, 7)),
        # Processor sharing would say 1 / (1 - 35/44) = 44/9, but two who never rest take turns: 2 / 0.88 = 25/11.
        (Mechanism.TIME_SLICING, 2, Fraction(7, 10), Fraction(25, 11)),
        (Mechanism.TIME_SLICING, 2, Fraction(3), Fraction(25, 11)),
        (Mechanism.MPS, 3, Fraction(1), Fraction(3)),
    ],
)
def test_contention_is_processor_sharing_up_to_full_contention(mechanism, sharers, neighbours, expected):
    assert contention(mechanism, sharers, neighbours) == expected


@given(SLOTTED, st.integers(1, 48), st.fractions(0, 2), st.fractions(0, 2))
def test_more_load_or_more_sharers_never_speed_up(mechanism, sharers, load, more):
    here = contention(mechanism, sharers, load)
    assert 1 <= here <= contention(mechanism, sharers, load + more)
    assert here <= contention(mechanism, sharers + 1, load)


def test_sustained_load_counts_what_sharing_loses():
    assert sustained_milli(Mechanism.TIME_SLICING) == 704  # 0.8 x 0.88
    assert sustained_milli(Mechanism.MPS) == 800


def test_no_metered_time_exceeds_the_sustained_load():
    assert max(METERED_TIMES) == sustained_milli(Mechanism.TIME_SLICING)
    assert sorted(set(METERED_TIMES)) == list(METERED_TIMES)
