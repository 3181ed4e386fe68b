"""Frameworks that take most of the GPU memory they see, recognised by how their container is started.

What such a process holds is what it was given, not what it needs: its reading is never believed as a need. And on a
time-sliced GPU it sees the whole card, so its own limit has to be set. This module says which framework it is and
where that limit goes. The facts are those of each project's documentation:

vllm                --gpu-memory-utilization, a share of the GPU (default 0.9)
sglang              --mem-fraction-static, a share for weights and cache (activations come on top)
tgi                 --cuda-memory-fraction, a share (default 1.0)
tensorflow-serving  --per_process_gpu_memory_fraction, a share
jax                 XLA_PYTHON_CLIENT_MEM_FRACTION, a share (default 0.75)
tensorflow          only from inside the program: no variable limits it (TF_FORCE_GPU_ALLOW_GROWTH=true ends the
                    preallocation, but sets no limit)
triton              only in its models' files: each backend has its own pool
nim                 depends on the model's engine: no limit for all of them
"""

from __future__ import annotations

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
    ("nim", re.compile(r"(?:^|/)nim/")),
    (
        "tensorflow-serving",
        re.compile(r"(?:^|/)tensorflow/serving|(?:^|[/_-])tensorflow-serving(?:$|[:@_-])"),
    ),
    ("tgi", _in_image("text-generation-inference", "huggingface-pytorch-tgi-inference")),
    ("sglang", _in_image("sglang")),
    ("vllm", _in_image("vllm", "vllm-openai")),
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
)
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
_SERVERS: Final = frozenset({"vllm", "sglang", "tgi", "nim", "triton"})


def server_in_image(image: str) -> str | None:
    """The server that an image holds, if it is one that is run on a GPU; None where nothing says so."""
    name = image.lower()
    if _NO_GPU_IMAGE.search(name):
        return None
    return next((known for known, pattern in _IMAGES if known in _SERVERS and pattern.search(name)), None)


def recognise(container: Container) -> Framework | None:
    """The preallocating framework that a container runs, with where its limit goes; None where none is seen."""
    name = _name(container)
    if name is None or _told_to_grow(name, {each.name: each.value for each in container.env}):
        return None
    if name in LIMIT_ENVIRONMENT:
        return Framework(name=name, limit="environment")
    if name not in LIMIT_ARGUMENT or _behind_a_shell(container):
        return Framework(name=name)
    # The image's own command takes args; a command that stands alone carries its arguments itself.
    field: Literal["args", "command"] = "command" if container.command and not container.args else "args"
    return Framework(name=name, limit="argument", field=field, arguments=getattr(container, field))


def _name(container: Container) -> str | None:
    line = " ".join((*container.command, *container.args))
    for name, pattern in _COMMANDS:
        if pattern.search(line):
            return name
    words = {each.partition("=")[0].replace("_", "-") for each in (*container.command, *container.args)}
    for name, flag in LIMIT_ARGUMENT.items():
        # Its own flag says as much as its image, which may be a private one.
        if flag.replace("_", "-") in words:
            return name
    image = container.image.lower()
    for name, pattern in _IMAGES:
        if pattern.search(image):
            return name
    for name, pattern in _ENVIRONMENT:
        if any(pattern.match(each.name) for each in container.env):
            return name
    open_ports = {each.container_port for each in container.ports}
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
