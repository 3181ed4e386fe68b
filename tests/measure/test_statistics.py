import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuslice.measure.readings import BIN_SECONDS, Cache, Memory, from_samples, mark_sharers
from gpuslice.measure.statistics import outliers, pool
from gpuslice.workloads.measurement import Confidence
from tests.measure.made import DAY, FORTNIGHT, START, readings


def notes(measured):
    return "; ".join(measured.measurement.notes)


def test_the_need_is_the_peak_memory_and_the_mean_duty_of_the_worst_replica():
    found = pool(
        [
            readings("shop/a", duty=0.2, peak=3000.2),
            readings("shop/b", duty=0.25, peak=2900),
            readings("shop/c", duty=0.1, peak=2800),
        ],
        FORTNIGHT,
    )
    assert (found.memory_mib, found.duty_ppm, found.on) == (3001, 250_000, "A10G")
    assert found.measurement.replicas == 3
    assert found.measurement.confidence is Confidence.HIGH
    assert found.measurement.covered == 1
    assert found.measurement.window == "14d"
    assert not found.measurement.notes


def test_the_peak_of_duty_is_a_quantile_of_five_minute_means():
    day = np.zeros(288)
    day[:40] = 0.9  # 3 hours and 20 minutes of every day
    found = pool([readings(duty=np.tile(day, 14))], FORTNIGHT)
    assert found.measurement.duty_peak == pytest.approx(0.9)
    assert found.duty_ppm == pytest.approx(0.9 * 40 / 288 * 1e6, abs=2)
    assert pool([readings(duty=np.tile(day, 14))], FORTNIGHT, quantile=0.5).measurement.duty_peak == 0


def test_a_window_with_fewer_readings_counts_less_in_the_mean():
    half = readings(duty=[1.0] * 12 + [0.0] * 12, days=0, weights=np.array([1] * 12 + [9] * 12))
    assert pool([half], FORTNIGHT).duty_ppm == pytest.approx(100_000, abs=2)


def test_a_replica_far_above_the_others_is_named():
    usual = [readings(f"shop/r{each}", duty=0.1 + each / 1000) for each in range(9)]
    found = pool([*usual, readings("shop/stuck", duty=0.99)], FORTNIGHT)
    assert found.duty_ppm == 990_000
    assert "shop/stuck (99.0%)" in notes(found)
    assert "r8" not in notes(found)


def test_what_a_shared_gpu_reads_is_no_replicas_own():
    both = mark_sharers(
        [readings("shop/a", gpu="GPU-1"), readings("shop/b", gpu="GPU-1"), readings("shop/c")]
    )
    found = pool(both, FORTNIGHT)
    assert found.memory_mib is None
    assert found.duty_ppm is None
    assert "shared with up to 1 other pod," in notes(found)
    assert "at most 3000Mi and busy at most 20.0% of the time" in notes(found)
    assert found.measurement.confidence is Confidence.LOW


def test_a_pod_that_follows_another_on_a_gpu_shares_nothing():
    first = readings("shop/a", gpu="GPU-1", days=7)
    later = readings("shop/b", gpu="GPU-1", days=7, bins=first.bins + first.bins[-1])
    assert pool(mark_sharers([first, later]), FORTNIGHT).duty_ppm == 200_000


def test_a_workload_on_two_models_has_the_duty_of_the_one_it_ran_on_most():
    found = pool(
        [readings("shop/a", duty=0.2), readings("shop/b", days=2, duty=0.6, model="T4", peak=5000)], FORTNIGHT
    )
    assert (found.on, found.duty_ppm, found.memory_mib) == ("A10G", 200_000, 5000)
    assert "also ran on T4" in notes(found)


def test_the_activity_of_a_mig_instance_is_no_duty_of_the_whole_gpu():
    found = pool([readings(model="H100", mig_profile="1g.10gb")], FORTNIGHT)
    assert found.duty_ppm is None
    assert found.memory_mib == 3000
    assert "1g.10gb" in notes(found)


def test_minutes_are_too_short_to_tell_duty():
    found = pool([readings(days=0.03)], FORTNIGHT)
    assert found.duty_ppm is None
    assert found.memory_mib == 3000
    assert "too short to tell duty" in notes(found)


@pytest.mark.parametrize(
    ("days", "confidence"), [(14, Confidence.HIGH), (8, Confidence.MEDIUM), (0.5, Confidence.LOW)]
)
def test_confidence_falls_with_the_part_of_the_window_that_was_read(days, confidence):
    assert pool([readings(days=days)], FORTNIGHT).measurement.confidence is confidence


def test_a_gap_lowers_what_is_covered_and_is_said():
    bins = np.arange(14 * 288, dtype=np.int64) * BIN_SECONDS
    with_gap = np.concatenate([bins[: 4 * 288], bins[10 * 288 :]])
    found = pool([readings(duty=np.full(with_gap.size, 0.2), bins=with_gap)], FORTNIGHT)
    assert found.measurement.covered == pytest.approx(8 / 14, abs=0.001)
    assert found.duty_ppm == 200_000
    assert "nothing was read in 6d of these 14d" in notes(found)


def test_readings_of_less_than_was_asked_for_are_said():
    assert "asked for 14d, readings are of 2d" in notes(pool([readings(days=2)], FORTNIGHT))
    assert "asked for 14d, readings are of 10d" in notes(pool([readings(days=10)], FORTNIGHT))
    assert "asked for" not in notes(pool([readings(days=14)], FORTNIGHT))


def test_a_workload_that_ended_before_the_window_did_is_said():
    gone = notes(pool([readings(days=10)], FORTNIGHT))
    assert "nothing was read in the last 4d: it may be gone" in gone
    bins = START + np.arange(4 * 288, 14 * 288, dtype=np.int64) * BIN_SECONDS
    assert "it may be gone" not in notes(pool([readings(days=10, bins=bins)], FORTNIGHT))


def test_a_replica_with_a_gap_of_its_own_is_named():
    bins = START + np.arange(14 * 288, dtype=np.int64) * BIN_SECONDS
    with_gap = np.delete(bins, slice(288, 5 * 288))
    some = [readings("shop/a"), readings("shop/b", duty=np.full(with_gap.size, 0.2), bins=with_gap)]
    assert "shop/b were not read for more than a tenth of their time" in notes(pool(some, FORTNIGHT))


def test_pods_that_took_each_others_place_are_said():
    days = [
        readings(
            f"shop/{day}", days=1, bins=START + (day * 288 + np.arange(288, dtype=np.int64)) * BIN_SECONDS
        )
        for day in range(14)
    ]
    assert "14 pods came and went, 1 at a time" in notes(pool(days, FORTNIGHT))
    assert "came and went" not in notes(pool([readings("shop/a"), readings("shop/b")], FORTNIGHT))


def test_gpus_held_at_the_same_time_stay_apart_and_the_busiest_counts():
    both = [readings(duty=0.2, gpu="GPU-1"), readings(duty=0.6, gpu="GPU-2")]
    found = pool(both, FORTNIGHT)
    assert found.duty_ppm == 600_000
    assert "moved" not in notes(found)


def test_a_replica_that_moved_counts_for_all_its_time():
    first = readings(duty=0.2, days=12, gpu="GPU-1")
    later = readings(duty=0.9, days=2, gpu="GPU-2", bins=first.bins[-1] + BIN_SECONDS * np.arange(1, 577))
    found = pool([later, first], FORTNIGHT)
    assert found.duty_ppm == 300_000
    assert "moved once to another GPU" in notes(found)


def test_nothing_read_is_nothing_known():
    found = pool([readings(days=0, duty=[], peak=None)], FORTNIGHT)
    assert (found.memory_mib, found.duty_ppm) == (None, None)
    assert "no memory in use was ever read" in notes(found)
    assert "no duty was ever read" in notes(found)


def test_memory_that_never_moves_and_fills_the_gpu_is_suspected_of_being_a_pool():
    found = pool([readings(peak=20_300, floor=20_250)], FORTNIGHT)
    assert found.suspicion is not None
    assert found.suspicion.like == "vllm"
    assert "pool taken in advance" in found.suspicion.note


@pytest.mark.parametrize(("unchecked", "duty"), [(True, None), (False, 1)])
def test_a_zero_that_nothing_confirms_is_no_duty(unchecked, duty):
    found = pool([readings(duty=0, unchecked=unchecked)], FORTNIGHT)
    assert found.duty_ppm == duty
    assert ("never seen to keep the GPU busy" in notes(found)) is unchecked
    assert pool([readings(duty=0.3, unchecked=unchecked)], FORTNIGHT).duty_ppm == 300_000


def test_who_held_more_than_the_gpu_has_was_on_another():
    found = pool([readings("shop/a", peak=24_000), readings("shop/b", peak=40_000)], FORTNIGHT)
    assert found.memory_mib is None
    assert "shop/b held 40000Mi, more than its GPU has" in notes(found)


@pytest.mark.parametrize(("hours", "needed"), [(14, 12_300), (13, 12_300), (12, 20_300)])
def test_a_caches_use_counts_if_it_was_read_for_as_long_as_memory(hours, needed):
    found = pool([readings(peak=20_300, cache=Cache(0.2, 10_000, hours))], FORTNIGHT)
    assert (found.memory_mib, found.of_caches) == (needed, needed < 20_300)
    assert ("not read for as long as its memory" in notes(found)) is (needed == 20_300)


def test_a_replica_that_has_just_begun_takes_no_suspicion_off_the_others():
    new = readings("shop/new", days=0.01, memory=Memory(20_300, 20_290, 4, 1))
    assert pool([readings(peak=20_300, floor=20_250), new], FORTNIGHT).suspicion is not None
    assert pool([new], FORTNIGHT).suspicion is None


@pytest.mark.parametrize(("peak", "floor"), [(20_300, 12_000), (5_000, 4_990)])
def test_memory_that_moves_or_is_small_is_no_pool(peak, floor):
    assert pool([readings(peak=peak, floor=floor)], FORTNIGHT).suspicion is None


def test_few_replicas_are_not_compared():
    assert outliers({"a": 0.1, "b": 0.9, "c": 0.1}) == []


@given(
    st.lists(st.tuples(st.floats(0, 5 * DAY), st.floats(0, 1), st.floats(1, 80_000)), min_size=1, max_size=60)
)
def test_a_need_lies_within_its_readings(rows):
    seconds, duty, memory = (np.array(each) for each in zip(*rows, strict=True))
    read = from_samples("a", seconds, duty, memory, model="A100-80GB")
    found = pool([read], FORTNIGHT)
    assert found.memory_mib == int(np.ceil(memory.max()))
    assert read.mean_duty == pytest.approx(duty.mean())
    assert read.weights.sum() == len(rows)
    if found.duty_ppm is not None:
        assert duty.min() - 1e-6 <= found.duty_ppm / 1e6 <= duty.max() + 2e-6
    assert 0 <= found.measurement.covered <= 1


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.floats(0, 1))
def test_another_replica_never_lowers_the_need(duties, more):
    few = [readings(f"shop/{index}", days=1, duty=each) for index, each in enumerate(duties)]
    before = pool(few, FORTNIGHT)
    after = pool([*few, readings("shop/new", days=1, duty=more, peak=9000)], FORTNIGHT)
    assert (after.duty_ppm or 0) >= (before.duty_ppm or 0) > 0
    assert (after.memory_mib or 0) >= (before.memory_mib or 0) > 0
