"""Frameworks that take most of the GPU memory they see, recognised by how their container is started.

What such a process holds is what it was given, not what it needs: its reading is never believed as a need. And on a
time-sliced GPU it sees the whole card, so its own limit has to be set. This module says which framework it is and
where that limit goes. It can be set from outside only where the container runs the framework's own command: one that
is known by a variable, a library or a name in its image is started by a program that need not listen. The facts are
those of each project's documentation:

vllm                --gpu-memory-utilization, a share of the GPU (default 0.9); under Ray Serve only in the
                    application's engine_kwargs
sglang              --mem-fraction-static, a share for weights and cache (activations come on top)
tgi                 --cuda-memory-fraction, a share (default 1.0)
tensorflow-serving  --per_process_gpu_memory_fraction, a share
jax                 XLA_PYTHON_CLIENT_MEM_FRACTION, a share (default 0.75)
tensorflow          only from inside the program: no variable limits it (TF_FORCE_GPU_ALLOW_GROWTH=true ends the
                    preallocation, but sets no limit)
tensorrt-llm        --free_gpu_memory_fraction is a share of what is free once the weights are loaded: no limit
lmdeploy            --cache-max-entry-count, likewise of what is free
triton              only in its models' files: each backend has its own pool
nim                 depends on the model's engine: no limit for all of them
"""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING, Final, Literal

from gpuslice.workloads.target import Framework

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gpuslice.workloads.objects import Container

LIMIT_ARGUMENT: Final = {
    "vllm": "--gpu-memory-utilization",
    "sglang": "--mem-fraction-static",
    "tgi": "--cuda-memory-fraction",
    "tensorflow-serving": "--per_process_gpu_memory_fraction",
}
LIMIT_ENVIRONMENT: Final = {"jax": "XLA_PYTHON_CLIENT_MEM_FRACTION"}


def _in_image(*words: str) -> re.Pattern[str]:
    return re.compile(rf"(?:^|[/_-])(?:{'|'.join(words)})(?:$|[/:@_-])")


# Images as they are pulled; the most telling first.
_IMAGES: Final = (
    ("triton", _in_image("tritonserver")),
    ("tensorrt-llm", _in_image("tensorrt-llm", "tensorrtllm", "trtllm", "trt-llm", "tensorrtllm-runtime")),
    ("nim", re.compile(r"(?:^|/)nim/")),
    (
        "tensorflow-serving",
        re.compile(r"(?:^|/)tensorflow/serving|(?:^|[/_-])tensorflow-serving(?:$|[:@_-])"),
    ),
    ("tgi", _in_image("text-generation-inference", "huggingface-pytorch-tgi-inference")),
    ("sglang", _in_image("sglang")),
    ("vllm", _in_image("vllm", "vllm-openai", "ray-llm")),
    ("lmdeploy", _in_image("lmdeploy")),
    ("jax", _in_image("jax", "jax-toolbox", "maxtext")),
    (
        "tensorflow",
        re.compile(r"(?:^|/)tensorflow/tensorflow|(?:^|/)tensorflow(?:-training|-inference)?(?:$|[:@])"),
    ),
)
# Words of a command line. A word boundary that takes "/" and "." for part of the word would miss paths and modules.
_COMMANDS: Final = (
    ("triton", re.compile(r"\btritonserver\b")),
    ("tensorflow-serving", re.compile(r"\btensorflow_model_server\b|\btf_serving_entrypoint\.sh\b")),
    ("tgi", re.compile(r"\btext-generation-launcher\b")),
    ("sglang", re.compile(r"\bsglang\.launch_server\b|\bsglang serve\b")),
    ("vllm", re.compile(r"\bvllm serve\b|\bvllm\.entrypoints\b")),
    ("tensorrt-llm", re.compile(r"\btrtllm-(?:serve|llmapi-launch)\b|\btensorrt_llm\b")),
    ("lmdeploy", re.compile(r"\blmdeploy serve\b")),
)
# Images whose own command is the framework's, so that args are its arguments, whoever mirrors them.
_OWN_COMMAND: Final = {
    "vllm": re.compile(r"(?:^|/)vllm-openai(?:$|[:@])"),
    "tgi": re.compile(r"(?:^|/)text-generation-inference(?:$|[:@])"),
    "tensorflow-serving": re.compile(r"(?:^|/)tensorflow/serving(?:$|[:@])"),
}
# A flag that takes the place of the limit's own.
_INSTEAD: Final = {"vllm": "--kv-cache-memory-bytes"}
# What Ray applications say where their replicas run vLLM, in their configuration or their packages.
_VLLM_IN_RAY: Final = re.compile(r"ray\.serve\.llm|ray\.llm|engine_kwargs|\bvllm\b|llm_configs?\b")
# Variables that only users of the framework set.
_ENVIRONMENT: Final = (
    ("sglang", re.compile(r"SGLANG_|SGL_")),
    ("vllm", re.compile(r"VLLM_")),
    ("jax", re.compile(r"XLA_PYTHON_CLIENT_|JAX_")),
    ("tensorflow", re.compile(r"TF_(FORCE_GPU|GPU|XLA|CONFIG|CPP_MIN)")),
)
# Sets of ports that nobody else has all together.
_PORTS: Final = (("triton", frozenset({8000, 8001, 8002})), ("tensorflow-serving", frozenset({8500, 8501})))

_SHELLS: Final = frozenset({"sh", "bash", "ash", "dash", "zsh"})
_FIRST_WORDS: Final = 4
_TRUE: Final = frozenset({"1", "true", "yes"})


# Images of a server's name that run on something else, or beside the server.
_NO_GPU_IMAGE: Final = re.compile(
    r"cpu|router|gateway|operator|proxy|controller|tpu|neuron|rocm|gaudi|hpu|xpu|lora|download|exporter|scheduler|bench|"
    r"client|sdk|tokeniz|frontend|cache|sidecar"
)
_SERVERS: Final = frozenset({"vllm", "sglang", "tgi", "nim", "triton", "tensorrt-llm"})


def server_in_image(image: str) -> str | None:
    """The server that an image holds, if it is one that is run on a GPU; None where nothing says so."""
    name = image.lower()
    if _NO_GPU_IMAGE.search(name):
        return None
    return next((known for known, pattern in _IMAGES if known in _SERVERS and pattern.search(name)), None)


def recognise(container: Container) -> Framework | None:
    """The preallocating framework that a container runs, with where its limit goes; None where none is seen."""
    name = _name(container)
    if name is None or _told_to_grow(name, {variable.name: variable.value for variable in container.env}):
        return None
    if name in LIMIT_ENVIRONMENT:
        return Framework(name=name, limit="environment")
    if name not in LIMIT_ARGUMENT or not _takes_arguments(name, container):
        return Framework(name=name)
    # The image's own command takes args; a command that stands alone carries its arguments itself.
    field: Literal["args", "command"] = "command" if container.command and not container.args else "args"
    return Framework(name=name, limit="argument", field=field, arguments=getattr(container, field))


def recognise_in_ray(container: Container, application: str) -> Framework | None:
    """The framework in a Ray worker, whose command line KubeRay makes: arguments would never reach it.

    Args:
        container: of the worker.
        application: the configuration of Ray Serve, the job's command and the packages, as text.
    """
    framework = recognise(container)
    if framework is None and _VLLM_IN_RAY.search(application) is not None:
        return Framework(name="vllm")
    return (
        framework if framework is None or framework.limit == "environment" else Framework(name=framework.name)
    )


def recognise_in_kserve(container: Container, name: str, *, own_command: bool) -> Framework | None:
    """The framework behind the runtime of a KServe model.

    Args:
        container: the model's section: its arguments are handed on to the runtime's container.
        name: of the framework that the runtime or the model's format names.
        own_command: whether the runtime is KServe's own, whose command is known to take them.
    """
    words = [*container.args]
    if name == "vllm" and ("--backend=huggingface" in words or "huggingface" in _after("--backend", words)):
        return None  # KServe's server without vLLM: it takes memory as it needs it
    if own_command and name in {"vllm", "tensorflow-serving"}:
        return Framework(name=name, limit="argument", arguments=container.args)
    return Framework(name=name)


_RANKS: Final = re.compile(
    r"\btorchrun\b|\btorch\.distributed\.(?:run|launch)\b|\bdeepspeed\b|\baccelerate launch\b|\bhorovodrun\b|"
    r"\bmpirun\b|--nnodes"
)


def starts_ranks(container: Container) -> bool:
    """Whether a container starts ranks of one job, which talk to those of other pods by NCCL."""
    line = " ".join((*container.command, *container.args))
    return _RANKS.search(line) is not None and re.search(r"--nnodes[ =]?1\b|--standalone", line) is None


def _after(flag: str, words: Sequence[str]) -> Sequence[str]:
    return [value for word, value in itertools.pairwise(words) if word == flag]


_NO_LIMIT: Final = {
    "nim": "what limits it depends on the model's engine",
    "triton": "each of its backends has a pool of its own, in the models' files",
    "tensorrt-llm": "its fraction is of the memory that is free once the weights are loaded",
    "lmdeploy": "its fraction is of the memory that is free once the weights are loaded",
    "tensorflow": "only the program itself can set one",
}


def why_no_limit(framework: Framework, *, in_ray: bool) -> str:
    """Why a framework's own limit can't be set from its pod, and where it can; empty where it can from there."""
    if framework.limit != "none":
        return ""
    if framework.name in _NO_LIMIT:
        return _NO_LIMIT[framework.name]
    if in_ray:
        return (
            "KubeRay makes the worker's command line, so it is set in the application: for Ray Serve as "
            "engine_kwargs.gpu_memory_utilization in serveConfigV2"
        )
    return "the container doesn't run its own command, as far as can be seen"


def _takes_arguments(name: str, container: Container) -> bool:
    """Whether one more argument reaches the framework: where its own command is run, or its own flag is there."""
    if _behind_a_shell(container):
        return False
    words = [*container.command, *container.args]
    flags = {_flag(word) for word in words}
    if _INSTEAD.get(name) in flags:
        return False
    if _flag(LIMIT_ARGUMENT[name]) in flags:
        return True
    if dict(_COMMANDS)[name].search(" ".join(words)) is not None:
        return True
    own = _OWN_COMMAND.get(name)
    return own is not None and not container.command and own.search(container.image.lower()) is not None


def _flag(word: str) -> str:
    return word.partition("=")[0].replace("_", "-")


def _name(container: Container) -> str | None:
    line = " ".join((*container.command, *container.args))
    for name, pattern in _COMMANDS:
        if pattern.search(line):
            return name
    words = {_flag(name) for name in (*container.command, *container.args)}
    for name, flag in LIMIT_ARGUMENT.items():
        # Its own flag says as much as its image, which may be a private one.
        if _flag(flag) in words:
            return name
    image = container.image.lower()
    for name, pattern in _IMAGES:
        if pattern.search(image):
            return name
    for name, pattern in _ENVIRONMENT:
        if any(pattern.match(variable.name) for variable in container.env):
            return name
    open_ports = {port.container_port for port in container.ports}
    return next((name for name, ports in _PORTS if ports <= open_ports), None)


def _told_to_grow(name: str, environment: Mapping[str, str]) -> bool:
    """Whether it was told to take memory as it needs it: then what it holds at its peak is what it needs."""
    if name == "tensorflow":
        return environment.get("TF_FORCE_GPU_ALLOW_GROWTH", "").lower() in _TRUE
    if name == "jax":
        return (
            environment.get("XLA_PYTHON_CLIENT_PREALLOCATE", "").lower() in {"0", "false"}
            or environment.get("XLA_PYTHON_CLIENT_ALLOCATOR") == "platform"
        )
    return False


def _behind_a_shell(container: Container) -> bool:
    """Whether arguments are words of a script, where adding one to the list would not reach the framework."""
    words: Sequence[str] = (*container.command, *container.args)
    # The first words: a shell may itself be started by an init such as tini.
    shells = any(word.rpartition("/")[2] in _SHELLS for word in words[:_FIRST_WORDS])
    return shells or any(word.endswith(".sh") or word == "-c" for word in words[:1])
