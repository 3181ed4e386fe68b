"""A framework that takes all the memory it sees is told how much that may be, as a share of the whole GPU."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuslice.errors import InputError
from gpuslice.hardware.gpus import GPUS
from gpuslice.plan.artefact import Layout
from gpuslice.render.framework_limit import ArgumentList, Variable, framework_limit, without_flag
from tests.render.plans import METERED_500, MPS8, SHARED, TS4, assignment

L4_MIB = GPUS["L4"].memory_mib


def limit(framework, memory="5600Mi", layout=TS4) -> Any:
    more = {} if memory is None else {"memoryLimit": memory}
    given_one = assignment("a/b", "p", SHARED, target={"framework": framework}, **more)
    return framework_limit(given_one, msgspec.convert(layout, Layout))


@pytest.mark.parametrize(
    ("name", "flag"),
    [
        ("vllm", "--gpu-memory-utilization"),
        ("sglang", "--mem-fraction-static"),
        ("tgi", "--cuda-memory-fraction"),
    ],
)
@pytest.mark.parametrize("layout", [TS4, METERED_500])
def test_a_limit_by_argument_is_a_share_of_the_whole_gpu(name, flag, layout):
    framework = {"name": name, "limit": "argument", "arguments": ["--model", "m"]}
    assert limit(framework, "5600Mi", layout) == ArgumentList("args", ("--model", "m", f"{flag}=0.24"))


def test_a_limit_by_variable_is_set_for_jax():
    framework = {"name": "jax", "limit": "environment"}
    assert limit(framework) == Variable("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.24")


def test_the_list_that_held_the_arguments_is_the_one_that_is_replaced():
    framework = {"name": "vllm", "limit": "argument", "field": "command", "arguments": ["vllm", "serve", "m"]}
    assert limit(framework).field == "command"


@pytest.mark.parametrize(
    "today",
    [
        ["--gpu-memory-utilization=0.9"],
        ["--gpu-memory-utilization", "0.9"],
        ["--gpu_memory_utilization=0.9"],
        ["--gpu_memory_utilization", "0.9"],
        ["--gpu-memory-utilization=0.9", "--gpu-memory-utilization", "0.8"],
    ],
)
def test_an_earlier_value_goes_in_whatever_spelling(today):
    assert without_flag(["--model", "m", *today, "--port=1"], "--gpu-memory-utilization") == (
        "--model",
        "m",
        "--port=1",
    )


@given(st.lists(st.text(max_size=8)))
def test_other_arguments_stay_as_they_are(arguments):
    kept = [each for each in arguments if not each.startswith("--x")]
    assert without_flag(kept, "--x") == tuple(kept)


@given(st.integers(min_value=L4_MIB // 100 + 1, max_value=L4_MIB))
def test_the_share_is_never_more_than_the_limit_and_at_most_a_hundredth_less(mib):
    share = limit({"name": "jax", "limit": "environment"}, f"{mib}Mi").value
    assert float(share) * L4_MIB <= mib + 1e-6
    assert (float(share) + 0.01) * L4_MIB > mib - 1e-6


@pytest.mark.parametrize("memory", ["100Mi", "0", "100Gi"])
def test_a_share_of_nothing_or_of_more_than_the_gpu_is_refused(memory):
    with pytest.raises(InputError, match="no share"):
        limit({"name": "jax", "limit": "environment"}, memory)


def test_a_framework_that_nothing_limits_is_refused_where_the_mechanism_does_not_limit_it_either():
    for layout in (TS4, MPS8):
        with pytest.raises(InputError, match="sees all of it"):
            limit({"name": "triton"}, layout=layout)


def test_under_mps_a_framework_sees_the_whole_card_and_is_told_its_share():
    assert limit({"name": "vllm", "limit": "argument"}, layout=MPS8) is not None


def test_a_slice_that_is_all_a_process_sees_needs_no_limit_of_the_framework():
    assert limit({"name": "triton"}, layout={"gpu": "L4", "mechanism": "whole"}) is None


def test_a_workload_without_a_limit_keeps_its_arguments():
    assert limit({"name": "vllm", "limit": "argument", "arguments": ["a"]}, None) is None
