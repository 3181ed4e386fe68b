"""Preallocating frameworks, by how their container is started."""

import pytest

from gpuslice.workloads.frameworks import LIMIT_ARGUMENT, LIMIT_ENVIRONMENT, recognise
from gpuslice.workloads.objects import Container, EnvVar, Port


@pytest.mark.parametrize(
    ("container", "name"),
    [
        (Container(image="vllm/vllm-openai:v0.11.0"), "vllm"),
        (Container(image="registry.example.com/mirror/vllm-openai@sha256:0123"), "vllm"),
        (Container(image="app:1", command=("vllm", "serve", "m")), "vllm"),
        (Container(image="app:1", command=("python", "-m", "vllm.entrypoints.openai.api_server")), "vllm"),
        (Container(image="app:1", env=(EnvVar(name="VLLM_ATTENTION_BACKEND", value="FLASHINFER"),)), "vllm"),
        (Container(image="lmsysorg/sglang:latest"), "sglang"),
        (Container(image="app:1", args=("-m", "sglang.launch_server")), "sglang"),
        (Container(image="huggingface/text-generation-inference:3.3"), "tgi"),
        (Container(image="tensorflow/serving:2.19.0-gpu"), "tensorflow-serving"),
        (Container(image="tensorflow/tensorflow:2.19.0-gpu"), "tensorflow"),
        (Container(image="app:1", env=(EnvVar(name="XLA_PYTHON_CLIENT_MEM_FRACTION", value=".5"),)), "jax"),
        (Container(image="nvidia/tritonserver:25.09-py3"), "triton"),
        (Container(image="nvidia/tritonserver:25.09-vllm-python-py3"), "triton"),
        (
            Container(image="app:1", ports=tuple(Port(container_port=each) for each in (8000, 8001, 8002))),
            "triton",
        ),
        (Container(image="nvcr/nim/meta/llama-3.1-8b-instruct:1.8"), "nim"),
    ],
)
def test_a_preallocator_is_recognised(container, name):
    found = recognise(container)
    assert found is not None
    assert found.name == name


@pytest.mark.parametrize(
    "container",
    [
        Container(image="huggingface/text-embeddings-inference:86-1.8"),
        Container(image="pytorch/pytorch:2.8.0"),
        Container(image="registry.example.com/evllmx/app:1"),
        Container(image="jaxon/app:1"),
        Container(image="app:1", ports=(Port(container_port=8000),)),
        Container(
            image="tensorflow/tensorflow:2.19.0-gpu",
            env=(EnvVar(name="TF_FORCE_GPU_ALLOW_GROWTH", value="true"),),
        ),
        Container(
            image="nvidia/jax:25.08", env=(EnvVar(name="XLA_PYTHON_CLIENT_PREALLOCATE", value="false"),)
        ),
    ],
)
def test_what_takes_memory_as_it_needs_it_is_none(container):
    assert recognise(container) is None


def test_a_limit_by_argument_carries_the_list_as_it_is():
    found = recognise(
        Container(image="vllm/vllm-openai:v0.11.0", args=("--model=m", "--gpu-memory-utilization=0.9"))
    )
    assert found is not None
    assert (found.limit, found.field) == ("argument", "args")
    assert found.arguments == ("--model=m", "--gpu-memory-utilization=0.9")


def test_a_command_without_args_takes_the_limit_itself():
    found = recognise(Container(image="app:1", command=("vllm", "serve", "m")))
    assert found is not None
    assert (found.field, found.arguments) == ("command", ("vllm", "serve", "m"))


@pytest.mark.parametrize(
    ("command", "args"),
    [
        (("/bin/bash", "-c"), ("exec vllm serve m",)),
        (("sh", "-c", "vllm serve m"), ()),
        (("/start.sh",), ("vllm serve m",)),
        (("tini", "--", "bash", "-c"), ("vllm serve m",)),
        ((), ("-c", "vllm serve m")),
    ],
)
def test_behind_a_shell_no_limit_can_be_set_from_outside(command, args):
    found = recognise(Container(image="vllm/vllm-openai:v1", command=command, args=args))
    assert found is not None
    assert found.limit == "none"


def test_jax_is_limited_by_its_environment_and_tensorflow_and_triton_not_at_all():
    images = ("nvidia/jax:25.08", "tensorflow/tensorflow:2.19.0-gpu", "nvidia/tritonserver:25.09-py3")
    found = [recognise(Container(image=image)) for image in images]
    assert [each and each.limit for each in found] == ["environment", "none", "none"]


def test_each_framework_with_a_limit_has_its_flag_or_variable():
    assert set(LIMIT_ARGUMENT).isdisjoint(LIMIT_ENVIRONMENT)
    assert all(flag.startswith("--") for flag in LIMIT_ARGUMENT.values())
