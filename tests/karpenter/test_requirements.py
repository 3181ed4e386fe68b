"""Sets of label values, intersected as Karpenter does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuslice.karpenter.requirements import (
    CAPACITY_TYPE,
    ZONE,
    Requirement,
    among,
    combined,
    conflict,
    labelled,
    obstacle,
    requirement,
)

VALUES = ["1", "2", "3", "7", "x"]


@st.composite
def requirements(draw):
    operator = draw(st.sampled_from(["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt", "Gte", "Lte"]))
    if operator in {"In", "NotIn"}:
        return requirement("k", operator, draw(st.lists(st.sampled_from(VALUES), min_size=1)))
    return requirement("k", operator, [draw(st.sampled_from(["0", "2", "3", "9"]))])


@given(requirements(), requirements(), st.sampled_from([*VALUES, "5", "100"]))
def test_an_intersection_has_what_both_have(one, other, value):
    assert one.intersection(other).has(value) == (one.has(value) and other.has(value))


@given(requirements(), requirements())
def test_sets_intersect_if_some_value_is_in_both(one, other):
    listed = [str(number) for number in range(-1, 12)] + ["x", "y"]
    if any(one.has(value) and other.has(value) for value in listed):
        assert one.intersects(other)
    if not one.complement or not other.complement:
        assert one.intersects(other) == any(one.has(value) and other.has(value) for value in listed)


def test_a_node_to_be_made_may_have_any_well_known_label():
    assert obstacle({}, labelled({ZONE: "a"}), undefined=True) is None
    assert obstacle({}, labelled({ZONE: "a"}), undefined=False) is not None


def test_a_label_that_nothing_defines_is_an_obstacle_unless_it_must_be_absent():
    assert obstacle({}, labelled({"team": "x"}), undefined=True) is not None
    assert obstacle({}, combined([requirement("team", "NotIn", ["x"])]), undefined=True) is None
    assert obstacle({}, combined([requirement("team", "DoesNotExist")]), undefined=True) is None


def test_what_neither_wants_is_no_conflict():
    never = combined([requirement("team", "DoesNotExist")])
    assert conflict(never, combined([requirement("team", "NotIn", ["x"])])) is None
    assert conflict(never, labelled({"team": "x"})) is not None


def test_min_values_survive_narrowing():
    narrowed = requirement("k", "In", ["1", "2", "3"], min_values=2).intersection(among("k", "1", "2"))
    assert narrowed == Requirement("k", frozenset({"1", "2"}), min_values=2)


def test_old_names_of_labels_are_taken_for_new_ones():
    assert requirement("failure-domain.beta.kubernetes.io/zone", "In", ["a"]).key == ZONE


def test_an_unknown_operator_is_refused():
    with pytest.raises(ValueError, match="Near"):
        requirement("k", "Near", ["a"])


@pytest.mark.parametrize(
    ("what", "text"),
    [
        (among(CAPACITY_TYPE, "spot"), "karpenter.sh/capacity-type in [spot]"),
        (requirement("k", "NotIn", ["a"]), "k not in [a]"),
        (requirement("k", "Exists"), "k exists"),
        (requirement("k", "Gt", ["3"]), "k exists >= 4"),
        (requirement("k", "Lt", ["3"]), "k exists <= 2"),
        (among("k", *"abcdefg"), "k in [a, b, c, d, e and 2 others]"),
    ],
)
def test_a_requirement_reads_like_a_sentence(what, text):
    assert str(what) == text
