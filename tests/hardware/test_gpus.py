"""The table of GPU models, and the names that lead to them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuslice.errors import InputError
from gpuslice.hardware.facts import Confidence
from gpuslice.hardware.features import Feature
from gpuslice.hardware.gpus import GPUS, gpu_named
from gpuslice.hardware.mechanisms import Mechanism

ALL = sorted(GPUS.values(), key=lambda each: each.name)
FIGURES = (
    "memory_mib",
    "sms",
    "compute_capability",
    "dense_gflops",
    "bandwidth_gbs",
    "encoders",
    "decoders",
    "jpeg_engines",
    "ofa_engines",
)

# Karpenter's word and EC2's GPU memory of every instance family with NVIDIA GPUs, MiB.
EC2 = (
    ("t4", 16384, "T4"),
    ("t4g", 16384, "T4G"),
    ("v100", 32768, "V100-32GB"),
    ("a10g", 22888, "A10G"),
    ("l4", 22888, "L4"),
    ("l40s", 45776, "L40S"),
    ("a100", 40960, "A100-40GB"),
    ("a100", 81920, "A100-80GB"),
    ("h100", 81920, "H100"),
    ("h200", 144384, "H200"),
    ("b200", 183359, "B200"),
    ("b300", 275040, "B300"),
    ("rtx-pro-4500", 32768, "RTX-PRO-4500"),
    ("rtx-pro-server-6000", 98304, "RTX-PRO-6000"),
)


def test_every_gpu_of_ec2_is_found_by_karpenters_word_and_memory():
    assert {gpu_named(word, memory_mib=memory).name for word, memory, _ in EC2} == set(GPUS)
    assert all(gpu_named(word, memory_mib=memory).name == name for word, memory, name in EC2)
    assert all(GPUS[name].instance_gpu_name == word for word, _, name in EC2)


def test_a_fraction_of_a_card_is_found_by_the_cards_word():
    assert gpu_named("l4", memory_mib=2861).name == "L4"


@pytest.mark.parametrize("gpu", ALL, ids=lambda each: each.name)
def test_a_model_is_found_by_its_name_and_label_in_any_case_shared_or_cut(gpu):
    for written in (gpu.name, gpu.product):
        for suffix in ("", "-SHARED", "-MIG-1g.10gb", "-MIG-1g.10gb.me", "-MIG-1g.10gb-SHARED"):
            for spelled in (written + suffix, (written + suffix).lower(), f"  {written}{suffix} "):
                assert gpu_named(spelled) is gpu


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("Tesla T4", "T4"),
        ("NVIDIA A10G", "A10G"),
        ("NVIDIA-H100-80GB-HBM3", "H100"),
        ("NVIDIA-L40S", "L40S"),
        ("a100_80gb", "A100-80GB"),
        ("NVIDIA A100-SXM4-40GB", "A100-40GB"),
        ("V100", "V100-32GB"),
        ("NVIDIA B300 SXM6 AC", "B300"),
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition", "RTX-PRO-6000"),
    ],
)
def test_usual_spellings_are_understood(written, name):
    assert gpu_named(written).name == name


def test_a_name_of_two_models_asks_which():
    with pytest.raises(InputError) as error:
        gpu_named("a100")
    assert str(error.value) == "'a100' is more than one GPU\nwrite A100-40GB or A100-80GB"


@pytest.mark.parametrize("memory_mib", [40960, 40537, 40325])
def test_memory_decides_between_models_of_one_name_whoever_reports_it(memory_mib):
    assert gpu_named("A100", memory_mib=memory_mib).name == "A100-40GB"


@pytest.mark.parametrize(
    ("written", "hint"),
    [("A10", "'A10G'"), ("l40", "'L40S'"), ("H10O", "'H100'"), ("RTX-PRO-600", "'RTX-PRO-6000'")],
)
def test_an_unknown_name_is_refused_with_the_nearest(written, hint):
    with pytest.raises(InputError, match=f"no GPU of EC2 is named {written!r}") as error:
        gpu_named(written)
    assert f"did you mean {hint}?" in error.value.fix


@pytest.mark.parametrize("written", ["", "GPU", "NVIDIA", "Tesla-V100-SXM2-16GB", "NVIDIA-H100-NVL", "A10"])
def test_other_cards_are_never_taken_for_one_of_these(written):
    with pytest.raises(InputError):
        gpu_named(written)


@given(st.text(max_size=80), st.sampled_from([1, 100_000]))
def test_any_text_is_a_gpu_or_a_short_error(text, times):
    try:
        answer = gpu_named(text * times).name
    except InputError as error:
        answer = str(error)
    assert answer in GPUS or (answer.startswith("no GPU of EC2 is named") and len(answer) < 1000)


@pytest.mark.parametrize("gpu", ALL, ids=lambda each: each.name)
def test_every_figure_has_its_source(gpu):
    assert {each.field for each in gpu.facts} == set(FIGURES)
    assert all(gpu.fact(field).source for field in FIGURES)


def test_what_was_read_from_a_card_is_said_to_be_read():
    read = {(gpu.name, each.field) for gpu in ALL for each in gpu.facts if each.confidence is Confidence.READ}
    assert read == {(g, f) for g in ("H100", "H200") for f in ("sms", *FIGURES[5:])}


@pytest.mark.parametrize(
    ("name", "nvml_mib"),
    [
        ("T4", 15360),
        ("A10G", 23028),
        ("L4", 23034),
        ("L40S", 46068),
        ("A100-40GB", 40960),
        ("A100-80GB", 81920),
        ("H100", 85520809984 // 2**20),
        ("H200", 150754820096 // 2**20),
        ("B200", 183359),
        ("B300", 275040),
        ("RTX-PRO-6000", 97887),
    ],
)
def test_usable_memory_is_less_than_nvml_shows_but_not_by_much(name, nvml_mib):
    assert 0.965 * nvml_mib < GPUS[name].memory_mib < nvml_mib


def test_dense_throughput_is_without_sparsity():
    tflops = {name: round(gpu.dense_gflops / 1000) for name, gpu in GPUS.items()}
    # What NVIDIA prints with sparsity, TFLOPS.
    sparse = {"A10G": 140, "L4": 242, "L40S": 733, "A100-80GB": 624, "H100": 1979, "H200": 1979, "B200": 4500}
    assert all(abs(2 * tflops[name] - printed) <= 0.02 * printed for name, printed in sparse.items())
    assert (tflops["T4"], tflops["V100-32GB"]) == (65, 125)  # they know no sparsity


def test_features_follow_the_architecture():
    having = {feature: {name for name, gpu in GPUS.items() if feature in gpu.features} for feature in Feature}
    before_ampere = {"T4", "T4G", "V100-32GB"}
    blackwell = {"B200", "B300", "RTX-PRO-4500", "RTX-PRO-6000"}
    assert having[Feature.BF16] == set(GPUS) - before_ampere
    assert having[Feature.FP8] == {"L4", "L40S", "H100", "H200"} | blackwell
    assert having[Feature.FP4] == blackwell
    assert set(GPUS) - having[Feature.ENCODER] == {"A100-40GB", "A100-80GB", "H100", "H200", "B200", "B300"}
    assert having[Feature.DECODER] == set(GPUS)
    assert set(GPUS) - having[Feature.JPEG] == {*before_ampere, "A10G"}


def test_mechanisms_are_those_of_the_card():
    having = {each: {name for name, gpu in GPUS.items() if each in gpu.mechanisms} for each in Mechanism}
    assert having[Mechanism.WHOLE] == having[Mechanism.TIME_SLICING] == having[Mechanism.MPS] == set(GPUS)
    assert having[Mechanism.FRACTIONAL] == {"L4"}
    assert having[Mechanism.MIG] == {name for name, gpu in GPUS.items() if gpu.mig is not None}
    assert set(GPUS) - having[Mechanism.MIG] == {"T4", "T4G", "V100-32GB", "A10G", "L4", "L40S"}


def test_only_volta_is_limited_to_16_mps_clients():
    assert {name: gpu.mps_clients for name, gpu in GPUS.items() if gpu.mps_clients != 48} == {"V100-32GB": 16}
