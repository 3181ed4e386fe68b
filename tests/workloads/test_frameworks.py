"""Preallocating frameworks, by how their container is started."""

import pytest

from gpuslice.workloads.frameworks import (
    LIMIT_ARGUMENT,
    LIMIT_ENVIRONMENT,
    recognise,
    recognise_in_kserve,
    recognise_in_ray,
    starts_ranks,
    why_no_limit,
)
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
        (Container(image="rayproject/ray-llm:2.50.0-py311-cu128"), "vllm"),
        (Container(image="nvcr/nvidia/tensorrt-llm/release:1.0"), "tensorrt-llm"),
        (Container(image="app:1", command=("trtllm-serve", "m")), "tensorrt-llm"),
        (Container(image="openmmlab/lmdeploy:v0.9"), "lmdeploy"),
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


@pytest.mark.parametrize(
    "container",
    [
        Container(image="vllm/vllm-openai:v0.11.0"),
        Container(image="mirror.example/team/vllm-openai@sha256:01", args=("--model", "m")),
        Container(image="huggingface/text-generation-inference:3.3", args=("--model-id", "m")),
        Container(image="tensorflow/serving:2.19.0-gpu"),
        Container(image="app:1", command=("tini", "--", "vllm", "serve", "m")),
        Container(image="app:1", args=("python3", "-m", "sglang.launch_server", "--model-path", "m")),
        Container(image="app:1", command=("python", "serve.py"), args=("--gpu-memory-utilization", "0.8")),
    ],
)
def test_a_limit_is_set_where_the_frameworks_own_command_runs(container):
    found = recognise(container)
    assert found is not None
    assert found.limit == "argument"
    assert why_no_limit(found, in_ray=False) == ""


@pytest.mark.parametrize(
    "container",
    [
        Container(image="vllm/vllm-openai:v0.11.0", command=("python", "batch.py")),
        Container(image="vllm/vllm-openai:v0.11.0", command=("sleep", "infinity")),
        Container(image="registry.example/ray-vllm:7"),
        Container(image="registry.example/vllm:7", args=("--model", "m")),
        Container(image="lmsysorg/sglang:latest", command=("python", "app.py")),
        Container(image="app:1", env=(EnvVar(name="VLLM_PORT", value="8004"),), args=("--port", "1")),
        Container(image="vllm/vllm-openai:v1", args=("--model=m", "--kv-cache-memory-bytes=4000000000")),
        Container(image="nvcr/nim/meta/llama:1", args=("--model", "m")),
        Container(image="app:1", command=("trtllm-serve", "m")),
    ],
)
def test_what_only_looks_like_a_framework_takes_no_argument(container):
    found = recognise(container)
    assert found is not None
    assert (found.limit, found.arguments) == ("none", ())
    assert why_no_limit(found, in_ray=False)


RAY_SERVE_LLM = "applications: [{import_path: 'ray.serve.llm:build_openai_app'}]"


@pytest.mark.parametrize(
    ("container", "application", "name"),
    [
        (Container(image="vllm/vllm-openai:v0.11.0"), "", "vllm"),
        (Container(image="rayproject/ray:2.50.0", command=("vllm", "serve", "m")), "", "vllm"),
        (Container(image="rayproject/ray:2.50.0"), RAY_SERVE_LLM, "vllm"),
        (Container(image="rayproject/ray:2.50.0"), "pip: [vllm==0.11]", "vllm"),
        (Container(image="rayproject/ray:2.50.0"), "import_path: app.main", None),
    ],
)
def test_in_a_ray_worker_no_argument_reaches_a_framework(container, application, name):
    found = recognise_in_ray(container, application)
    assert (found and (found.name, found.limit)) == (name and (name, "none"))
    assert found is None or "engine_kwargs" in why_no_limit(found, in_ray=True)


def test_jax_in_a_ray_worker_still_hears_its_variable():
    found = recognise_in_ray(Container(image="nvidia/jax:25.08"), "")
    assert found is not None
    assert found.limit == "environment"


@pytest.mark.parametrize(
    ("args", "name", "own", "limit"),
    [
        (("--model_id=m",), "vllm", True, "argument"),
        (("--model_id=m", "--backend=huggingface"), "vllm", True, None),
        (("--model_id=m", "--backend", "huggingface"), "vllm", True, None),
        ((), "vllm", False, "none"),
        ((), "tensorflow-serving", True, "argument"),
        ((), "nim", False, "none"),
        ((), "triton", True, "none"),
    ],
)
def test_a_kserve_model_hands_arguments_to_kserves_own_runtimes_only(args, name, own, limit):
    found = recognise_in_kserve(Container(args=args), name, own_command=own)
    assert (found and found.limit) == limit


@pytest.mark.parametrize(
    ("line", "ranks"),
    [
        ("torchrun --nnodes=4 train.py", True),
        ("python -m torch.distributed.run train.py", True),
        ("accelerate launch train.py", True),
        ("torchrun --standalone train.py", False),
        ("torchrun --nnodes=1 train.py", False),
        ("python train.py", False),
    ],
)
def test_ranks_of_one_job_are_known_by_their_launcher(line, ranks):
    assert starts_ranks(Container(command=tuple(line.split()))) is ranks
    assert starts_ranks(Container(command=("sh", "-c"), args=(line,))) is ranks


def test_jax_is_limited_by_its_environment_and_tensorflow_and_triton_not_at_all():
    images = ("nvidia/jax:25.08", "tensorflow/tensorflow:2.19.0-gpu", "nvidia/tritonserver:25.09-py3")
    found = [recognise(Container(image=image)) for image in images]
    assert [each and each.limit for each in found] == ["environment", "none", "none"]


def test_each_framework_with_a_limit_has_its_flag_or_variable():
    assert set(LIMIT_ARGUMENT).isdisjoint(LIMIT_ENVIRONMENT)
    assert all(flag.startswith("--") for flag in LIMIT_ARGUMENT.values())
