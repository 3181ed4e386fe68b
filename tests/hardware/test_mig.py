"""MIG: profiles as real cards report them, and the geometries that follow from their placements."""

from collections import Counter
from fractions import Fraction
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuslice.errors import InputError
from gpuslice.hardware.facts import Confidence
from gpuslice.hardware.gpus import GPUS
from gpuslice.hardware.mig import (
    Geometry,
    bandwidth_share,
    check_geometry,
    compute_share,
    maximal_geometries,
    place,
)
from gpuslice.hardware.mig_profiles import MigProfile, MigTable
from gpuslice.hardware.resource_names import mig_instance
from tests.hardware.geometries import valid_geometries

TABLES = {name: gpu.mig for name, gpu in GPUS.items() if gpu.mig is not None}

# nvmlDeviceGetGpuInstanceProfileInfo and …PossiblePlacements on real cards, driver 580.159.04, one row a profile:
# name, sliceCount, instanceCount, multiprocessorCount, memorySizeMB, copyEngineCount, decoderCount, encoderCount,
# jpegCount, ofaCount, placements' starts, placements' size.
READINGS = {
    "H100": (
        ("1g.10gb", 1, 7, 16, 9984, 1, 1, 0, 1, 0, (0, 1, 2, 3, 4, 5, 6), 1),
        ("2g.20gb", 2, 3, 32, 20096, 2, 2, 0, 2, 0, (0, 2, 4), 2),
        ("3g.40gb", 3, 2, 60, 40448, 3, 3, 0, 3, 0, (0, 4), 4),
        ("4g.40gb", 4, 1, 64, 40448, 4, 4, 0, 4, 0, (0,), 4),
        ("7g.80gb", 7, 1, 132, 81152, 8, 7, 0, 7, 1, (0,), 8),
        ("1g.10gb+me", 1, 1, 16, 9984, 1, 1, 0, 1, 1, (0, 1, 2, 3, 4, 5, 6), 1),
        ("1g.20gb", 1, 4, 26, 20096, 1, 1, 0, 1, 0, (0, 2, 4, 6), 2),
    ),
    "H200": (
        ("1g.18gb", 1, 7, 16, 16384, 1, 1, 0, 1, 0, (0, 1, 2, 3, 4, 5, 6), 1),
        ("2g.35gb", 2, 3, 32, 33280, 2, 2, 0, 2, 0, (0, 2, 4), 2),
        ("3g.71gb", 3, 2, 60, 71424, 3, 3, 0, 3, 0, (0, 4), 4),
        ("4g.71gb", 4, 1, 64, 71424, 4, 4, 0, 4, 0, (0,), 4),
        ("7g.141gb", 7, 1, 132, 143360, 8, 7, 0, 7, 1, (0,), 8),
        ("1g.18gb+me", 1, 1, 16, 16384, 1, 1, 0, 1, 1, (0, 1, 2, 3, 4, 5, 6), 1),
        ("1g.35gb", 1, 4, 26, 33280, 1, 1, 0, 1, 0, (0, 2, 4, 6), 2),
    ),
}


def row(profile):
    return (
        profile.name,
        profile.compute_slices,
        profile.most,
        profile.sms,
        profile.memory_mib,
        profile.copy_engines,
        profile.decoders,
        profile.encoders,
        profile.jpeg_engines,
        profile.ofa_engines,
        profile.starts,
        profile.memory_slices,
    )


@pytest.mark.parametrize("name", READINGS)
def test_profiles_are_as_read_from_a_real_card(name):
    profiles = TABLES[name].profiles
    assert sorted(map(row, profiles)) == sorted(READINGS[name])
    assert {each.confidence for each in profiles} == {Confidence.READ}


@pytest.mark.parametrize(
    ("name", "profiles"),
    [
        ("A100-40GB", "7g.40gb 4g.20gb 3g.20gb 2g.10gb 1g.10gb 1g.5gb"),
        ("A100-80GB", "7g.80gb 4g.40gb 3g.40gb 2g.20gb 1g.20gb 1g.10gb"),
        ("H100", "7g.80gb 4g.40gb 3g.40gb 2g.20gb 1g.20gb 1g.10gb"),
        ("H200", "7g.141gb 4g.71gb 3g.71gb 2g.35gb 1g.35gb 1g.18gb"),
        ("B200", "7g.180gb 4g.90gb 3g.90gb 2g.45gb 1g.45gb 1g.23gb"),
        ("B300", "7g.269gb 4g.135gb 3g.135gb 2g.67gb 1g.67gb 1g.34gb"),
        ("RTX-PRO-4500", "2g.32gb 1g.16gb"),
        ("RTX-PRO-6000", "4g.96gb 2g.48gb 1g.24gb"),
    ],
)
def test_plain_profiles_have_nvidias_names_largest_first(name, profiles):
    assert [each.name for each in TABLES[name].plain] == profiles.split()


def test_rtx_pro_6000_is_cut_on_a_grid_of_twelve():
    table = TABLES["RTX-PRO-6000"]
    placements = {
        each.name: (each.compute_slices, each.most, each.starts, each.memory_slices) for each in table.plain
    }
    assert table.grid == 12
    assert placements == {
        "1g.24gb": (1, 4, (0, 3, 6, 9), 3),
        "2g.48gb": (2, 2, (0, 6), 6),
        "4g.96gb": (4, 1, (0,), 12),
    }


@pytest.mark.parametrize("name", TABLES)
def test_no_instance_offers_more_than_the_name_or_the_card_has(name):
    gpu, table = GPUS[name], TABLES[name]
    for profile in table.profiles:
        gigabytes = int(profile.name.split(".")[1].partition("gb")[0])
        assert profile.memory_mib <= (gigabytes + 1) * 1024
        assert profile.memory_mib * profile.most <= 1.01 * gpu.memory_mib
        assert profile.sms * profile.most <= gpu.sms
        assert all(start + profile.memory_slices <= table.grid for start in profile.starts)


def test_a_resource_is_named_as_the_device_plugin_names_it():
    profiles = {each.name: mig_instance(each.name) for each in TABLES["H100"].profiles}
    assert profiles["1g.10gb"] == "nvidia.com/mig-1g.10gb"
    assert profiles["1g.10gb+me"] == "nvidia.com/mig-1g.10gb.me"


def test_shares_are_those_of_sms_and_memory_slices():
    three = TABLES["H100"].profile("3g.40gb")
    assert three is not None
    assert compute_share(GPUS["H100"], three) == Fraction(60, 132)
    assert bandwidth_share(TABLES["H100"], three) == Fraction(1, 2)


@pytest.mark.parametrize(
    "counts",
    [
        {"1g.10gb": 7},
        {"3g.40gb": 2},
        {"4g.40gb": 1, "3g.40gb": 1},
        {"4g.40gb": 1, "2g.20gb": 1, "1g.10gb": 1},
        {"3g.40gb": 1, "2g.20gb": 1, "1g.10gb": 2},
        {"3g.40gb": 1, "1g.10gb": 4},
        {"2g.20gb": 3, "1g.10gb": 1},
        {"1g.20gb": 4},
        {"1g.20gb": 1, "1g.10gb": 6},
        {"1g.10gb+me": 1, "1g.10gb": 6},
        {"7g.80gb": 1},
    ],
    ids=str,
)
def test_an_a100_can_be_cut_into(counts):
    check_geometry(GPUS["A100-80GB"], Geometry.of(counts))


@pytest.mark.parametrize(
    ("counts", "reason"),
    [
        ({"4g.40gb": 2}, "at most 1 of MIG profile 4g.40gb, not 2"),
        ({"1g.10gb": 8}, "at most 7 of MIG profile 1g.10gb, not 8"),
        ({"1g.10gb+me": 2}, "at most 1 of MIG profile 1g.10gb+me, not 2"),
        ({"1g.10gb": 10**9}, "at most 7"),
        ({"4g.40gb": 1, "1g.10gb": 4}, "it needs 8 compute slices of 7"),
        ({"3g.40gb": 2, "1g.10gb": 1}, "it needs 9 memory slices of 8"),
        ({"7g.80gb": 1, "1g.10gb": 1}, "it needs 8 compute slices of 7"),
        ({}, "without instances"),
    ],
    ids=str,
)
def test_an_a100_cannot_be_cut_into(counts, reason):
    with pytest.raises(InputError) as error:
        check_geometry(GPUS["A100-80GB"], Geometry.of(counts))
    assert reason in error.value.message
    assert error.value.fix
    assert place(TABLES["A100-80GB"], Geometry.of(counts)) in {None, ()}


def test_a_profile_of_another_card_is_refused_with_the_nearest():
    with pytest.raises(InputError) as error:
        check_geometry(GPUS["A100-80GB"], Geometry.of({"3g.20gb": 1}))
    assert error.value.message == "A100-80GB has no MIG profile '3g.20gb'"
    assert "did you mean '3g.40gb'?" in error.value.fix
    assert "7g.80gb, 4g.40gb" in error.value.fix


def test_a_card_without_mig_says_so():
    with pytest.raises(InputError, match="L4 has no MIG"):
        check_geometry(GPUS["L4"], Geometry.of({"1g.10gb": 1}))


def test_instances_that_fit_by_sums_may_still_have_no_place():
    # Two wide profiles that may only start at one and the same slice.
    wide = MigProfile("2g.2gb", 2, 2, (1,), 1, 1, 1, Confidence.INFERRED, 1, 1)
    other = MigProfile("1g.2gb", 1, 2, (0, 2), 2, 1, 1, Confidence.INFERRED, 1, 1)
    table = MigTable(grid=4, compute_slices=4, profiles=(wide, other))
    assert place(table, Geometry.of(["2g.2gb", "1g.2gb"])) is None
    assert {str(each) for each in maximal_geometries(table)} == {"1×2g.2gb", "2×1g.2gb"}


def test_compute_slices_bind_where_memory_does_not():
    two = MigProfile("2g.1gb", 2, 1, (0, 1, 2, 3), 4, 1, 1, Confidence.INFERRED, 1, 1)
    table = MigTable(grid=4, compute_slices=5, profiles=(two,))
    assert [str(each) for each in maximal_geometries(table)] == ["2×2g.1gb"]


def test_a_geometry_is_one_value_however_it_is_written():
    assert Geometry.of(["1g.10gb", "3g.40gb", "1g.10gb"]) == Geometry.of(
        {"3g.40gb": 1, "1g.10gb": 2, "2g.20gb": 0}
    )
    geometry = Geometry.of({"1g.10gb": 1, "1g.20gb": 1, "1g.10gb+me": 1, "3g.40gb": 1})
    assert str(geometry) == "1×3g.40gb + 1×1g.20gb + 1×1g.10gb + 1×1g.10gb+me"
    assert (geometry.instances, geometry.count("1g.20gb"), geometry.count("7g.80gb")) == (4, 1, 0)


def test_a_negative_count_is_refused():
    with pytest.raises(InputError, match=r"-1 instances of MIG profile '1g\.10gb'"):
        Geometry.of({"1g.10gb": -1})


@pytest.mark.parametrize("name", TABLES)
def test_valid_geometries_are_exactly_the_multisets_that_brute_force_can_place(name):
    """Every profile at every start, present or not: slow, simple, and sharing no code with the search."""
    table = TABLES[name]
    spots = [(profile, start) for profile in table.plain for start in profile.starts]
    arrangements: list[tuple[frozenset[int], int, tuple[str, ...]]] = [(frozenset(), 0, ())]
    for profile, start in spots:
        cells = frozenset(range(start, start + profile.memory_slices))
        arrangements += [
            (taken | cells, compute + profile.compute_slices, (*chosen, profile.name))
            for taken, compute, chosen in arrangements
            if not taken & cells and compute + profile.compute_slices <= table.compute_slices
        ]
    found = {frozenset(Counter(chosen).items()) for _, _, chosen in arrangements if chosen}
    valid = valid_geometries(table)
    assert {frozenset(each.counts) for each in valid} == found
    assert len(valid) == len(found)


def test_a100_has_the_19_arrangements_of_nvidias_user_guide():
    """Arrangements are profiles at their starts; the guide's figure is older than the 1g with double memory."""
    spots = [(p, start) for p in TABLES["A100-40GB"].plain if p.name != "1g.10gb" for start in p.starts]

    def fits(chosen: frozenset[tuple[MigProfile, int]]) -> bool:
        cells = [start + offset for profile, start in chosen for offset in range(profile.memory_slices)]
        return len(cells) == len(set(cells)) and sum(profile.compute_slices for profile, _ in chosen) <= 7

    empty: frozenset[tuple[MigProfile, int]] = frozenset()
    arrangements, fresh = set(), {empty}
    while fresh:
        larger = {
            each: {each | {spot} for spot in spots if spot not in each and fits(each | {spot})}
            for each in fresh
        }
        arrangements |= {each for each, extended in larger.items() if not extended}
        fresh = set().union(*larger.values())
    # More than the maximal multisets: 3g at slice 0 leaves room for three 1g, at slice 4 for four.
    assert len(arrangements) == 19


@pytest.mark.parametrize("name", TABLES)
def test_placements_keep_instances_apart_at_allowed_starts(name):
    table = TABLES[name]
    for geometry in valid_geometries(table):
        placement = place(table, geometry)
        assert placement is not None
        assert Geometry.of([profile.name for profile, _ in placement]) == geometry
        assert all(start in profile.starts for profile, start in placement)
        cells = [start + offset for profile, start in placement for offset in range(profile.memory_slices)]
        assert len(cells) == len(set(cells))
        assert max(cells) < table.grid
        assert sum(profile.compute_slices for profile, _ in placement) <= table.compute_slices


def _with(geometry: Geometry, name: str) -> Geometry:
    return Geometry.of({**dict(geometry.counts), name: geometry.count(name) + 1})


@pytest.mark.parametrize("name", TABLES)
def test_maximal_geometries_take_nothing_more_and_hold_all_others(name):
    table = TABLES[name]
    maximal = maximal_geometries(table)
    assert all(
        place(table, _with(each, profile.name)) is None for each, profile in product(maximal, table.plain)
    )
    for valid in valid_geometries(table):
        assert any(all(each.count(profile) >= count for profile, count in valid) for each in maximal)


def test_cards_of_one_grid_have_the_same_geometries():
    def shapes(table: MigTable) -> set[frozenset[tuple[tuple[int, int], int]]]:
        shape = {each.name: (each.compute_slices, each.memory_slices) for each in table.plain}
        return {frozenset((shape[name], count) for name, count in each) for each in valid_geometries(table)}

    sevens = [table for table in TABLES.values() if table.compute_slices == 7]
    assert len(sevens) == 6
    assert all(shapes(each) == shapes(sevens[0]) for each in sevens)
    assert len(valid_geometries(TABLES["RTX-PRO-6000"])) == 9


@given(st.data())
def test_whatever_is_left_of_a_valid_geometry_is_valid(data):
    name = data.draw(st.sampled_from(sorted(TABLES)))
    geometry = data.draw(st.sampled_from(valid_geometries(TABLES[name])))
    smaller = Geometry.of({profile: data.draw(st.integers(0, count)) for profile, count in geometry})
    if smaller.instances:
        assert smaller in valid_geometries(TABLES[name])
        check_geometry(GPUS[name], smaller)


@given(st.data())
def test_checking_and_placing_agree_on_any_multiset(data):
    name = data.draw(st.sampled_from(sorted(TABLES)))
    profiles = [*(each.name for each in TABLES[name].profiles), "1g.1gb"]
    geometry = Geometry.of(data.draw(st.dictionaries(st.sampled_from(profiles), st.integers(0, 8))))
    placed = bool(place(TABLES[name], geometry))
    try:
        check_geometry(GPUS[name], geometry)
    except InputError:
        assert not placed
    else:
        assert placed
