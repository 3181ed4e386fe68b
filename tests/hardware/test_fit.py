"""Which slice fits which need: every rule with figures computed by hand, and what must hold for all of them.

L4: 22,558 MiB, 121 TFLOPS, 300 GB/s. A10G: 22,515 MiB, 70 TFLOPS, 600 GB/s. T4: 14,909 MiB, 65 TFLOPS, 320 GB/s.
"""

from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gpuslice.hardware import cut
from gpuslice.hardware.features import Feature
from gpuslice.hardware.fit import Binds, Fit, fit, slot_times
from gpuslice.hardware.gpus import GPUS, Gpu
from gpuslice.hardware.mechanisms import Isolation, Mechanism
from gpuslice.hardware.need import ANY_GPU, Need
from gpuslice.hardware.slices import Slice
from tests.strategies import fits, known_needs, models, needs, slices

L4, A10G, T4, H100, A100 = (GPUS[name] for name in ("L4", "A10G", "T4", "H100", "A100-40GB"))
TS, MPS = Mechanism.TIME_SLICING, Mechanism.MPS
ANY = frozenset({ANY_GPU})


def need(on: str | None = "L4", memory: int | None = 1000, duty: float | None = 0.1, **more: Any) -> Need:
    return Need(memory_mib=memory, duty_ppm=None if duty is None else round(duty * 1_000_000), on=on, **more)


def mig(gpu: Gpu, name: str) -> Slice:
    assert gpu.mig is not None
    profile = gpu.mig.profile(name)
    assert profile is not None
    return cut.mig(gpu, profile)


# Memory


def test_a_slot_keeps_a_margin_of_its_memory():
    slot = cut.slot(L4, TS, 4)  # 5,639 MiB, less 5 %: 5,357
    assert fit(need(memory=5357), slot).fits
    refused = fit(need(memory=5358), slot)
    assert refused.binds is Binds.MEMORY
    assert "5358Mi" in refused.reason
    assert "5357Mi" in refused.reason


def test_alone_on_a_gpu_as_large_as_todays_no_margin_is_kept():
    assert fit(need("L4", memory=22_558, duty=0.1), cut.whole(L4)).fits
    assert fit(need("A10G", memory=22_558, duty=0.1), cut.whole(L4)).fits


def test_alone_on_a_smaller_gpu_than_todays_the_margin_is_kept():
    # A10G has 43 MiB less than L4: 22,515 less 5 % is 21,389.
    assert fit(need("L4", memory=21_389, allow=ANY), cut.whole(A10G)).fits
    assert fit(need("L4", memory=21_390, allow=ANY), cut.whole(A10G)).binds is Binds.MEMORY


def test_a_shared_gpu_keeps_the_margin_even_if_it_is_todays():
    assert fit(need("L4", memory=21_430, duty=0.1), cut.metered(L4, 704)).fits
    assert fit(need("L4", memory=21_431, duty=0.1), cut.metered(L4, 704)).binds is Binds.MEMORY


def test_half_of_a_gpu_with_more_memory_than_todays_keeps_the_margin_too():
    half = cut.slot(H100, TS, 2)
    assert half.memory_mib > T4.memory_mib
    wanted = need("T4", memory=half.memory_mib, duty=0.1, allow=ANY)
    assert fit(wanted, half).binds is Binds.MEMORY
    assert fit(replace(wanted, memory_mib=half.memory_mib * 95 // 100), half).fits


def test_a_fraction_has_a_fraction_of_the_memory():
    # 22,558 / 8 is 2,819, less 5 %: 2,678.
    assert fit(need(memory=2678, duty=0.01), cut.fractional(L4, Fraction(1, 8))).fits
    assert fit(need(memory=2679, duty=0.01), cut.fractional(L4, Fraction(1, 8))).binds is Binds.MEMORY


# Speed


@pytest.mark.parametrize(
    ("on", "gpu", "slowdown"),
    [
        ("L4", L4, Fraction(1)),
        ("A10G", L4, Fraction(2)),  # 300 GB/s of 600, though it computes faster
        ("T4", L4, Fraction(320, 300)),
        ("T4", A10G, Fraction(65, 70)),  # compute gains less than bandwidth
    ],
)
def test_alone_the_worse_ratio_of_compute_and_bandwidth_counts(on, gpu, slowdown):
    answer = fit(need(on, duty=0.3), cut.whole(gpu))
    assert answer.slowdown == slowdown
    assert answer.utilisation == Fraction(3, 10) * slowdown


def test_a_mig_instance_runs_at_its_share_of_multiprocessors_or_of_memory_slices():
    # 16 of 132 multiprocessors are less than one memory slice of eight.
    assert fit(need("H100", duty=0.09), mig(H100, "1g.10gb")).slowdown == Fraction(132, 16)
    # 64 of 132 are less than four of eight.
    assert fit(need("H100", duty=0.09), mig(H100, "4g.40gb")).slowdown == Fraction(132, 64)
    # 14 of 108 are more than one of eight.
    assert fit(need("A100-40GB", duty=0.09), mig(A100, "1g.5gb")).slowdown == 8


def test_an_mps_slot_runs_at_its_share_of_threads():
    answer = fit(need(duty=0.2), cut.slot(L4, MPS, 4))
    assert (answer.slowdown, answer.utilisation) == (Fraction(4), Fraction(8, 10))
    assert fit(need(duty=0.200001), cut.slot(L4, MPS, 4)).binds is Binds.LOAD


def test_a_fraction_runs_at_its_fraction():
    assert fit(need(duty=0.1), cut.fractional(L4, Fraction(1, 8))).slowdown == 8
    assert fit(need(duty=0.11), cut.fractional(L4, Fraction(1, 8))).binds is Binds.LOAD


def test_time_sliced_neighbours_slow_down_by_processor_sharing():
    # Three neighbours of 0.1 each: a load of 0.3 / 0.88.
    slot = cut.slot(L4, TS, 4, 100)
    assert fit(need(duty=0.1), slot).slowdown == Fraction(44, 29)
    # On a GPU of half the rate the same work keeps it busy twice as long, and is slower by that as well.
    assert fit(need("A10G", duty=0.05), slot).slowdown == Fraction(88, 29)


def test_a_slot_is_judged_by_the_heaviest_neighbours_that_its_pool_admits():
    light = need(duty=0.01)
    assert fit(light, cut.slot(L4, TS, 4, 100)).slowdown == Fraction(44, 29)
    assert fit(light, cut.slot(L4, TS, 4, 10)).slowdown == Fraction(880, 850)
    assert fit(light, cut.slot(L4, TS, 4)).slowdown == Fraction(880, 880 - 3 * 176)


def test_neighbours_never_slow_down_by_more_than_full_contention():
    overloaded = Slice(L4, TS, 2, 22_558, Fraction(1), Fraction(1), time_milli=1000)
    assert fit(need(duty=0.1), overloaded).slowdown == Fraction(200, 88)


def test_on_a_metered_gpu_the_neighbours_take_what_is_left_of_its_time():
    # 0.704 - 0.1 at an efficiency of 0.88.
    assert fit(need(duty=0.1), cut.metered(L4, 704)).slowdown == Fraction(880, 880 - 604)
    assert fit(need(duty=0.1), cut.metered(L4, 350)).slowdown == Fraction(880, 880 - 250)


def test_the_expected_slowdown_keeps_to_the_limit():
    slot = cut.slot(L4, TS, 4, 100)  # 44/29 = 1.5172…
    assert fit(need(max_slowdown_milli=1518), slot).fits
    refused = fit(need(max_slowdown_milli=1517), slot)
    assert refused.binds is Binds.SLOWDOWN
    assert "1.5 times slower" in refused.reason


def test_a_limit_below_one_asks_for_no_more_than_todays_speed():
    assert fit(need(max_slowdown_milli=500), cut.whole(L4)).fits
    assert fit(need("A10G", max_slowdown_milli=500), cut.whole(L4)).binds is Binds.SLOWDOWN


def test_without_a_limit_any_slowdown_will_do():
    assert fit(need("H100", duty=0.001, allow=ANY), cut.slot(T4, MPS, 8)).fits


# Sustained load


def test_a_slower_gpu_is_kept_busy_four_fifths_at_most():
    assert fit(need("A10G", duty=0.4), cut.whole(L4)).fits
    assert fit(need("A10G", duty=0.401), cut.whole(L4)).binds is Binds.LOAD


def test_a_gpu_as_fast_as_todays_carries_todays_load():
    assert fit(need("L4", duty=1.0), cut.whole(L4)).fits
    assert fit(need("T4", duty=1.0, allow=ANY), cut.whole(A10G)).fits


def test_a_time_sliced_pod_takes_no_more_than_its_slots_time():
    assert fit(need(duty=0.176), cut.slot(L4, TS, 4)).fits
    refused = fit(need(duty=0.1761), cut.slot(L4, TS, 4))
    assert refused.binds is Binds.LOAD
    assert "busy 17.6% of the time, a slot has 17.6%" in refused.reason
    # Duty counts on the slice's GPU: half as fast, twice as busy.
    assert fit(need("A10G", duty=0.088), cut.slot(L4, TS, 4)).fits
    assert not fit(need("A10G", duty=0.0881), cut.slot(L4, TS, 4)).fits


def test_a_metered_pod_takes_no_more_than_the_pools_time():
    assert fit(need(duty=0.35), cut.metered(L4, 350)).time_milli == 350
    assert fit(need(duty=0.3501), cut.metered(L4, 350)).binds is Binds.LOAD


def test_time_is_rounded_up_to_thousandths():
    assert fit(need(duty=0.1001), cut.metered(L4, 350)).time_milli == 101


def test_a_duty_elsewhere_becomes_time_here_by_the_worse_ratio():
    # A10G against T4: 70 to 65 of compute, 600 to 320 of bandwidth. 0.1 of a T4 is 0.1 x 65/70 of an A10G: 92.9.
    answer = fit(need("T4", duty=0.1, allow=ANY), cut.metered(A10G, 350))
    assert answer.time_milli == 93
    assert answer.utilisation == Fraction(65, 700)


# Measured on slices


def test_what_was_measured_on_slices_goes_there_and_nowhere_else():
    there, elsewhere = cut.slot(L4, TS, 4), cut.slot(L4, TS, 3)
    measured = need(slices=frozenset({there.name}), memory=5357)
    assert fit(measured, there) == Fit()
    assert fit(measured, elsewhere).binds is Binds.PROFILE
    assert fit(replace(measured, memory_mib=5358), there).binds is Binds.MEMORY
    # How much memory it takes need not be known: it has run there.
    assert fit(replace(measured, memory_mib=None), there) == Fit()


# Isolation, preallocation, unknown needs, several GPUs


@pytest.mark.parametrize(
    ("wanted", "good"),
    [
        (Isolation.NONE, {"whole", "fractional", "mig", "mps", "time-slicing", "metered"}),
        (Isolation.MEMORY, {"whole", "fractional", "mig", "mps"}),
        (Isolation.HARDWARE, {"whole", "fractional", "mig"}),
    ],
)
def test_each_mechanism_isolates_what_it_isolates(wanted, good):
    offered = {
        "whole": cut.whole(L4),
        "fractional": cut.fractional(L4, Fraction(1, 2)),
        "mig": mig(H100, "3g.40gb"),
        "mps": cut.slot(L4, MPS, 2),
        "time-slicing": cut.slot(L4, TS, 2),
        "metered": cut.metered(L4, 704),
    }
    answers = {name: fit(need(isolation=wanted), each) for name, each in offered.items()}
    assert {name for name, answer in answers.items() if answer.fits} == good
    assert {answer.binds for name, answer in answers.items() if name not in good} <= {Binds.ISOLATION}


def test_who_takes_all_memory_and_cannot_be_limited_never_goes_where_it_sees_the_whole_gpu():
    greedy = need(limitable=False)
    for slice_ in (cut.slot(L4, TS, 2), cut.metered(L4, 704), cut.slot(L4, MPS, 2)):
        assert fit(greedy, slice_).binds is Binds.PREALLOCATION
        assert fit(need(), slice_).fits
    for slice_ in (
        cut.whole(L4),
        mig(H100, "1g.10gb"),
        cut.fractional(L4, Fraction(1, 2)),
    ):
        assert fit(greedy, slice_).fits


def test_ranks_of_one_job_get_whole_gpus_or_fractions_of_their_own():
    ranks = need(gang=True)
    for slice_ in (cut.slot(L4, TS, 2), cut.metered(L4, 704), cut.slot(L4, MPS, 2), mig(H100, "1g.10gb")):
        assert fit(ranks, slice_).binds is Binds.GANG
    for slice_ in (cut.whole(L4), cut.fractional(L4, Fraction(1, 2))):
        assert fit(ranks, slice_).fits


@pytest.mark.parametrize(
    "unknown",
    [need(memory=None, allow=ANY), need(duty=None, allow=ANY), need(on=None, allow=ANY)],
    ids=["memory", "duty", "model"],
)
@pytest.mark.parametrize(
    "slice_",
    [
        cut.slot(L4, TS, 2),
        cut.metered(L4, 704),
        cut.slot(L4, MPS, 2),
        mig(H100, "7g.80gb"),
        cut.fractional(L4, Fraction(1, 2)),
    ],
    ids=lambda each: each.name,
)
def test_nothing_is_sliced_on_a_guess(unknown, slice_):
    assert fit(unknown, slice_).binds is Binds.UNKNOWN


def test_an_unknown_need_keeps_a_gpu_as_good_as_todays():
    unknown = need("A10G", memory=None, duty=None)
    assert fit(unknown, cut.whole(A10G)).fits
    assert fit(unknown, cut.whole(GPUS["L40S"])).fits
    refused = fit(unknown, cut.whole(L4))  # half the bandwidth
    assert refused.binds is Binds.UNKNOWN
    assert "bandwidth" in refused.reason
    refused = fit(need("L4", memory=None, duty=None, min_compute_capability=(8, 0)), cut.whole(A10G))
    assert refused.binds is Binds.UNKNOWN
    assert "less memory" in refused.reason
    refused = fit(need("L4", memory=1000, duty=None, min_compute_capability=(8, 0)), cut.whole(A10G))
    assert refused.binds is Binds.UNKNOWN
    assert "less compute" in refused.reason


def test_unknown_memory_keeps_as_much_memory_as_today_even_if_the_duty_is_known():
    assert fit(need("A100-40GB", memory=None, duty=0.05), cut.whole(A10G)).binds is Binds.UNKNOWN
    assert fit(need("A100-40GB", memory=None, duty=0.05), cut.whole(H100)).fits


def test_unknown_duty_with_known_memory_asks_for_todays_speed_only():
    assert fit(need("T4", memory=1000, duty=None), cut.whole(A10G)).fits
    assert fit(need("A10G", memory=1000, duty=None), cut.whole(L4)).binds is Binds.UNKNOWN
    assert fit(need("A10G", memory=23_000, duty=None, allow=ANY), cut.whole(A10G)).binds is Binds.MEMORY


def test_the_owner_may_name_the_models_for_an_unknown_need():
    assert fit(need("H100", memory=None, duty=None, allow=frozenset({"T4"})), cut.whole(T4)).fits
    assert fit(need(None, memory=None, duty=None, allow=ANY), cut.whole(T4)).fits


def test_a_need_without_any_model_is_placed_nowhere():
    assert fit(need(None, memory=None, duty=None), cut.whole(H100)).binds is Binds.MODEL


def test_several_gpus_come_only_whole():
    several = need(gpus=4)
    assert fit(several, cut.whole(L4)).fits
    for slice_ in (
        cut.slot(L4, TS, 2),
        cut.slot(L4, MPS, 2),
        cut.fractional(L4, Fraction(1, 2)),
    ):
        assert fit(several, slice_).binds is Binds.COUNT
    assert fit(replace(several, allow=frozenset({"H100"})), mig(H100, "7g.80gb")).binds is Binds.COUNT


def test_several_gpus_stay_on_their_model_unless_others_are_named():
    several = need(gpus=4)
    assert fit(several, cut.whole(H100)).binds is Binds.MODEL
    assert fit(replace(several, allow=frozenset({"H100"})), cut.whole(H100)).fits


# Compatibility


def test_compute_capability_is_not_below_todays_unless_allowed():
    refused = fit(need("L4"), cut.whole(A10G))
    assert refused.binds is Binds.CAPABILITY
    assert "8.6, below 8.9" in refused.reason
    assert fit(need("L4", allow=frozenset({"A10G"})), cut.whole(A10G)).fits
    assert fit(need("L4", min_compute_capability=(8, 0)), cut.whole(A10G)).fits
    assert fit(need("T4", min_compute_capability=(8, 9)), cut.whole(A10G)).binds is Binds.CAPABILITY
    assert (
        fit(need("T4", allow=ANY, min_compute_capability=(8, 9)), cut.whole(A10G)).binds is Binds.CAPABILITY
    )


def test_only_the_models_allowed_will_do():
    assert fit(need("T4", allow=frozenset({"T4"})), cut.whole(L4)).binds is Binds.MODEL
    assert fit(need("T4", allow=ANY), cut.whole(L4)).fits


@pytest.mark.parametrize(
    ("feature", "slice_", "has"),
    [
        (Feature.BF16, cut.whole(T4), False),
        (Feature.BF16, cut.whole(A10G), True),
        (Feature.FP8, cut.whole(A10G), False),
        (Feature.FP8, cut.whole(L4), True),
        (Feature.FP4, cut.whole(H100), False),
        (Feature.FP4, cut.whole(GPUS["B200"]), True),
        (Feature.ENCODER, cut.whole(H100), False),
        (Feature.ENCODER, cut.whole(T4), True),
        (Feature.JPEG, cut.whole(A10G), False),
        (Feature.JPEG, cut.whole(L4), True),
        # A MIG instance has engines of its own, or none.
        (Feature.DECODER, mig(A100, "1g.5gb"), False),
        (Feature.DECODER, mig(A100, "2g.10gb"), True),
        (Feature.JPEG, mig(A100, "2g.10gb"), False),
        (Feature.JPEG, mig(A100, "7g.40gb"), True),
        (Feature.DECODER, mig(H100, "1g.10gb"), True),
        (Feature.BF16, mig(A100, "1g.5gb"), True),
    ],
)
def test_a_feature_asked_for_is_there(feature, slice_, has):
    answer = fit(need("T4", duty=0.01, features=frozenset({feature}), allow=ANY), slice_)
    assert answer.fits is has
    assert answer.binds in {None, Binds.FEATURE}


def test_a_refusal_says_what_binds_and_why_and_a_fit_says_nothing():
    refused = fit(need(memory=30_000), cut.whole(L4))
    assert not refused.fits
    assert refused.reason
    assert fit(need(), cut.whole(L4)).reason == ""


# All slots at once


def test_slot_times_are_a_pods_own_time_and_the_most_that_its_limit_bears():
    # Of k slots the others may take 0.88 x (1 - 1/1.6) = 0.33 of the GPU together.
    times = slot_times(need(duty=0.04, max_slowdown_milli=1600), L4, TS)
    assert times == {k: (40, min(330 // (k - 1), 704 // k)) for k in range(2, 10)}


def test_without_a_limit_slots_end_where_memory_or_time_do():
    assert max(slot_times(need(memory=1000, duty=0.001), L4, TS)) == 21  # 22,558 / 21 less 5 % is 1,020
    assert max(slot_times(need(memory=100, duty=0.05), L4, TS)) == 14  # 704 / 14 is 50
    assert slot_times(need(memory=100, duty=0.4), L4, TS) == {}


def test_half_of_a_gpu_less_the_margin_is_the_most_that_any_slot_has():
    # 22,558 / 2 less 5 % is 10,715.
    assert set(slot_times(need(memory=10_715, duty=0.01), L4, TS)) == {2}
    assert slot_times(need(memory=10_716, duty=0.01), L4, TS) == {}
    assert max(slot_times(need(memory=1020, duty=0.001), L4, TS)) == 21
    assert max(slot_times(need(memory=1021, duty=0.001), L4, TS)) == 20


def test_a_gpu_that_is_too_slow_even_whole_has_no_slots():
    assert slot_times(need("H100", max_slowdown_milli=1000, allow=ANY), T4, MPS) == {}


def test_slots_on_another_gpu_go_by_the_worse_ratio():
    # A10G against L4: 70 to 121 of compute. 10 thousandths become 17.3; 3 x 70/121 is 1.7355, and of k slots the
    # others may take 0.88 x (1 - 1/1.7355) = 0.3729 of the GPU together.
    times = slot_times(need("L4", duty=0.01, max_slowdown_milli=3000, allow=ANY), A10G, TS)
    assert (times[2], times[3]) == ((18, 352), (18, 372 // 2))
    # L4 against A10G: 300 to 600 of bandwidth. 1.5 is left of the limit, and 0.88 x (1 - 1/1.5) is 0.2933.
    times = slot_times(need("A10G", duty=0.01, max_slowdown_milli=3000, allow=ANY), L4, TS)
    assert (times[2], times[3]) == ((20, 293), (20, 293 // 2))
    # A limit below one is one: of an A10G, 14/13 as fast as a T4, 0.88 x (1 - 13/14) = 0.0629 is left.
    assert slot_times(need("T4", duty=0.01, max_slowdown_milli=500, allow=ANY), A10G, TS)[2] == (10, 62)
    # 0.88 x (1 - 1/1.325) is 0.21585.
    assert slot_times(need("A10G", duty=0.01, max_slowdown_milli=2650, allow=ANY), L4, TS)[2] == (20, 215)


def test_an_mps_part_as_fast_as_todays_gpu_carries_todays_load():
    # H100 has 10.47 times the bandwidth of a T4: up to ten parts are each as fast as a T4, and may be as busy.
    assert max(slot_times(need("T4", duty=1.0), H100, MPS)) == 10
    assert max(slot_times(need("T4", duty=0.5), H100, MPS)) == 16  # 0.8 of 10.47 / 0.5


def test_needs_that_may_not_be_sliced_have_no_slots():
    for each in (need(gpus=2), need(memory=None), need(isolation=Isolation.HARDWARE), need("H100")):
        assert slot_times(each, L4, TS) == slot_times(each, L4, MPS) == {}
    assert slot_times(need(limitable=False), L4, TS) == {}
    assert slot_times(need(), L4, Mechanism.MIG) == {}


# What holds for all needs and slices


def _larger(slice_: Slice, data) -> Slice:
    """The same slice with more of one or several things; the fewest sharers are two where it is shared."""
    step = st.fractions(0, 1)
    room = 1 - slice_.compute, 1 - slice_.bandwidth
    return replace(
        slice_,
        memory_mib=slice_.memory_mib + data.draw(st.integers(0, 50_000)),
        compute=slice_.compute + data.draw(step) * room[0],
        bandwidth=slice_.bandwidth + data.draw(step) * room[1],
        sharers=data.draw(st.integers(min(slice_.sharers, 2), slice_.sharers)),
    )


@given(fits(), st.data())
def test_a_bigger_slice_never_fits_less(pair, data):
    need, slice_ = pair
    answer = fit(need, slice_)
    better = fit(need, _larger(slice_, data))
    assert better.fits
    if answer.slowdown is not None:
        assert better.slowdown is not None
        assert better.slowdown <= answer.slowdown


@given(known_needs(), models, st.sampled_from([TS, MPS]), st.data())
def test_fewer_slots_never_fit_less(need, model, mechanism, data):
    gpu = GPUS[model]
    assume(mechanism in gpu.mechanisms)
    replicas = data.draw(st.integers(3, cut.most_slots(gpu, mechanism)))
    fewer = data.draw(st.integers(2, replicas - 1))
    time = data.draw(st.integers(1, cut.slot_time_milli(mechanism, replicas)))
    if fit(need, cut.slot(gpu, mechanism, replicas, time)).fits:
        assert fit(need, cut.slot(gpu, mechanism, fewer, time)).fits
        assert fit(replace(need, isolation=Isolation.NONE), cut.whole(gpu)).fits


@given(fits(), st.data())
def test_a_smaller_need_never_fits_less(pair, data):
    need, slice_ = pair
    assume(need.known)
    smaller = replace(need, memory_mib=data.draw(st.integers(1, need.memory_mib)))
    if slice_.metered_milli is None:
        # On a metered GPU, who takes less leaves more to the neighbours, and may be slower for it.
        smaller = replace(smaller, duty_ppm=data.draw(st.integers(1, need.duty_ppm)))
    assert fit(smaller, slice_).fits


@given(fits(), st.sampled_from(Isolation))
def test_more_isolation_wanted_never_makes_more_slices_fit(pair, less):
    need, slice_ = pair
    if less.rank <= need.isolation.rank:
        assert fit(replace(need, isolation=less), slice_).fits


@given(fits(), st.data())
def test_asking_for_less_never_fits_less(pair, data):
    need, slice_ = pair
    eased = data.draw(
        st.sampled_from(
            [
                replace(need, max_slowdown_milli=None),
                replace(need, features=frozenset()),
                replace(need, limitable=True),
                replace(need, min_compute_capability=(0, 0)),
                replace(need, allow=ANY),
            ]
        )
    )
    assert fit(eased, slice_).fits


SHARABLE = known_needs(
    allow=ANY, features=frozenset(), isolation=Isolation.NONE, limitable=True, min_compute_capability=(0, 0)
)


@given(SHARABLE | known_needs(), st.integers(1, 3), models, st.sampled_from([TS, MPS]), st.data())
def test_slot_times_say_what_fit_says(need, shrink, model, mechanism, data):
    gpu = GPUS[model]
    need = replace(
        need,
        memory_mib=max(need.memory_mib // 10**shrink, 1),
        duty_ppm=max(need.duty_ppm // 10 ** (shrink - 1), 1),
    )
    assume(mechanism in gpu.mechanisms)
    times = slot_times(need, gpu, mechanism)
    most = cut.most_slots(gpu, mechanism)
    assert list(times) == list(range(2, len(times) + 2))
    edge = len(times) + 1
    for replicas in {
        2,
        min(edge, most) if edge > 1 else 2,
        min(edge + 1, most),
        data.draw(st.integers(2, most)),
    }:
        ceiling = cut.slot_time_milli(mechanism, replicas)
        own, bearable = times.get(replicas, (1, 0))
        for time in {
            1,
            own - 1,
            own,
            own + 1,
            bearable,
            bearable + 1,
            ceiling,
            data.draw(st.integers(1, ceiling)),
        }:
            if 1 <= time <= ceiling:
                answer = fit(need, cut.slot(gpu, mechanism, replicas, time))
                assert answer.fits == (own <= time <= bearable), (replicas, time, answer.reason)
    if mechanism is TS:
        assert all(own == fit(need, cut.whole(gpu)).time_milli for own, _ in times.values()) or not times


@given(needs(), slices())
def test_an_answer_is_complete(need, slice_):
    answer = fit(need, slice_)
    assert bool(answer.reason) != answer.fits
    if answer.fits and need.known:
        assert answer.slowdown
        assert answer.utilisation
        assert answer.time_milli
