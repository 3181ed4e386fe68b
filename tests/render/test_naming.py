"""Names from content, and weights that no two overlays share."""

import re

from hypothesis import given
from hypothesis import strategies as st

from gpuslice.carriers.objects.naming import content_name, unique_weights

names = st.text("abcdefghij-0123456789", min_size=1, max_size=20)


def test_a_name_changes_with_the_content_and_only_with_it():
    assert content_name("L4-ts4", "a") == content_name("L4-ts4", "a") != content_name("L4-ts4", "b")
    assert content_name("L4-ts4", "a").startswith("l4-ts4-")


@given(st.text(max_size=200), st.text(max_size=20))
def test_a_name_is_a_value_that_a_label_can_have(stem, content):
    name = content_name("x" + stem, content, short="short")
    assert len(name) <= 63
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?", name)


@given(st.sets(names, max_size=200))
def test_no_two_overlays_share_a_weight(overlays):
    weights = unique_weights(overlays)
    assert weights.keys() == overlays
    assert len(set(weights.values())) == len(overlays)
    assert all(1 <= each <= 10_000 for each in weights.values())


@given(st.sets(names, min_size=1, max_size=50), names)
def test_a_new_overlay_moves_only_those_whose_weight_is_taken(overlays, new):
    before, after = unique_weights(overlays), unique_weights(overlays | {new})
    moved = {each for each in overlays if before[each] != after[each]}
    assert {before[each] for each in moved} <= set(after.values())


def test_the_weight_comes_from_the_name_alone_where_nothing_collides():
    assert unique_weights(["a", "b"])["a"] == unique_weights(["a", "z"])["a"]


def test_names_that_fall_on_one_weight_get_neighbouring_ones():
    # 2,000 names on 9,000 weights: many collide.
    weights = unique_weights(f"pool-{number}-1gpu" for number in range(2000))
    assert len(set(weights.values())) == 2000
