"""Needs that owners state in annotations."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuslice.errors import InputError
from gpuslice.hardware.features import Feature
from gpuslice.hardware.mechanisms import Isolation
from gpuslice.hardware.need import Source
from gpuslice.workloads.annotations import KNOWN, NoLimit, Stated, read_annotations


def read(**annotations: str) -> Stated:
    return read_annotations(
        {f"gpuslice.io/{key.replace('_', '-')}": value for key, value in annotations.items()},
        "a.yaml: Deployment a/b",
    )


def test_all_that_can_be_stated_is_read():
    assert read(
        gpu_memory="5200Mi",
        gpu_duty="0.18",
        gpu_model="a10g",
        need_source="measured",
        isolation="hardware",
        tenant="team-a",
        allow_gpus="A10G, L4",
        min_compute_capability="8.6",
        gpu_features="bf16,fp8",
        max_slowdown="1.5",
        interruptible="true",
    ) == Stated(
        memory_mib=5200,
        duty_ppm=180_000,
        on="A10G",
        source=Source.MEASURED,
        isolation=Isolation.HARDWARE,
        tenant="team-a",
        allow=frozenset({"A10G", "L4"}),
        min_compute_capability=(8, 6),
        features=frozenset({Feature.BF16, Feature.FP8}),
        max_slowdown=1500,
        interruptible=True,
    )


def test_nothing_stated_is_nothing_known():
    assert read_annotations({"example.com/gpu-memory": "1"}, "x") == Stated()


def test_no_limit_is_not_the_same_as_nothing_said():
    assert read(max_slowdown="none").max_slowdown == NoLimit()


def test_any_gpu_may_be_allowed():
    assert read(allow_gpus="Any").allow == frozenset({"any"})


def test_a_misspelt_annotation_is_refused_with_the_nearest_name():
    with pytest.raises(InputError) as raised:
        read(gpu_memroy="5Gi")
    assert "unknown annotation 'gpuslice.io/gpu-memroy'" in str(raised.value)
    assert "did you mean 'gpuslice.io/gpu-memory'?" in str(raised.value)


def test_annotations_that_gpuslice_sets_itself_are_no_error():
    assert read(pool="search-l4", plan="x") == Stated()


@pytest.mark.parametrize(
    ("name", "value", "fix"),
    [
        ("gpu_memory", "5200", '"5200Mi"'),
        ("gpu_memory", "-1Gi", "5200Mi"),
        ("gpu_memory", "", "unit"),
        ("gpu_duty", "18", '"0.18"'),
        ("gpu_duty", "0", '"0.18"'),
        ("gpu_duty", "nan", '"0.18"'),
        ("gpu_duty", "1e999999999", '"0.18"'),
        ("gpu_model", "A10H", "A10G"),
        ("need_source", "guessed", "declared"),
        ("isolation", "hard", "hardware"),
        ("tenant", "a b", "label"),
        ("allow_gpus", "any,L4", '"any"'),
        ("allow_gpus", "L4,,", "commas"),
        ("min_compute_capability", "8", '"8.0"'),
        ("gpu_features", "fp6", "fp8"),
        ("max_slowdown", "0.5", '"none"'),
        ("interruptible", "yes", '"true"'),
    ],
)
def test_a_bad_value_is_refused_with_object_annotation_value_and_fix(name, value, fix):
    with pytest.raises(InputError) as raised:
        read(**{name: value})
    text = str(raised.value)
    assert "Deployment a/b: annotation gpuslice.io/" + name.replace("_", "-") in text
    assert fix in text


@given(st.sampled_from(sorted(KNOWN)), st.text(max_size=80))
def test_no_value_does_worse_than_a_message(name, value):
    message = "read"
    try:
        read_annotations({name: value}, "x")
    except InputError as error:
        message = str(error)
    assert 1 <= len(message.split("\n")) <= 2
