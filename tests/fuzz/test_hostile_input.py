"""Whatever a file holds, reading it ends soon, in a value or in an error that a user can act on."""

import json
import random
import tempfile
import time
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuslice.artefacts.documents import dump_json, dump_yaml, parse_documents
from gpuslice.artefacts.strict import decode
from gpuslice.errors import GpusliceError
from gpuslice.plan.reading import plan_in
from gpuslice.workloads.artefact import dump, parse_workloads
from gpuslice.workloads.entries import Workloads
from gpuslice.workloads.manifests import from_manifests

pytestmark = pytest.mark.fuzz

MUTANTS_OF_ONE_EXAMPLE = 30
SOON_SECONDS = 10  # generous: a machine under load is no failing test, an exponential reader is

WORKLOADS = {
    "apiVersion": "gpuslice.io/v1alpha1",
    "kind": "Workloads",
    "region": "us-east-1",
    "workloads": [
        {
            "name": "search/embedder",
            "target": {
                "kind": "Deployment",
                "container": "main",
                "framework": {"name": "vllm", "arguments": ["-x"]},
            },
            "replicas": {"now": 12, "peak": 20},
            "isolation": "memory",
            "pod": {"cpu": "1500m", "memory": "4Gi"},
            "need": {"gpus": 1, "memory": "5200Mi", "duty": 0.18, "on": "A10G", "source": "measured"},
            "gpu": {"allow": ["A10G", "L4"], "minComputeCapability": "8.0", "features": ["bf16"]},
            "maxSlowdown": 2,
            "interruptible": False,
        },
        {
            "name": "search/ranker",
            "service": {
                "demand": {"rate": 829, "unit": "requests/s"},
                "slo": {"latencyMs": 204},
                "profiles": [{"slice": "A100-80GB/mig/1g.10gb", "batch": 8, "rate": 310, "latencyMs": 71}],
            },
        },
        {"name": "batch/train", "target": {"kind": "Job"}, "replicas": 1, "need": {"gpus": 8}},
    ],
}
PLAN = {
    "apiVersion": "gpuslice.io/v1alpha1",
    "kind": "Plan",
    "catalog": {"region": "us-east-1", "prices": "2026-07-20"},
    "stack": "al2023",
    "summary": {"status": "optimal", "termination": "gap", "usdPerHour": 0.8, "gap": 0.0},
    "pools": [
        {
            "name": "search-l4",
            "layout": {"gpu": "L4", "mechanism": "time-slicing", "replicas": 4},
            "instanceTypes": ["g6.xlarge"],
            "purchases": ["on-demand"],
            "nodes": [
                {"instanceType": "g6.xlarge", "purchase": "on-demand", "count": 3, "pods": {"search/a": 4}}
            ],
        }
    ],
    "assignments": [],
}
GPU = {"limits": {"nvidia.com/gpu": 1}, "requests": {"cpu": "500m", "memory": "4Gi"}}
MANIFESTS = {
    "apiVersion": "v1",
    "kind": "List",
    "items": [
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {
                "name": "llm",
                "namespace": "ml",
                "annotations": {"gpuslice.io/gpu-memory": "5Gi", "gpuslice.io/gpu-duty": "0.2"},
            },
            "spec": {
                "replicas": 3,
                "template": {
                    "spec": {
                        "nodeSelector": {"node.kubernetes.io/instance-type": "g5.xlarge"},
                        "tolerations": [
                            {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
                        ],
                        "initContainers": [{"name": "i", "restartPolicy": "Always"}],
                        "containers": [
                            {
                                "name": "c",
                                "image": "vllm/vllm-openai:v0.6",
                                "args": ["--model", "x"],
                                "resources": GPU,
                            }
                        ],
                    }
                },
            },
        },
        {
            "apiVersion": "batch/v1",
            "kind": "CronJob",
            "metadata": {"name": "train"},
            "spec": {
                "jobTemplate": {
                    "spec": {
                        "parallelism": 2,
                        "template": {"spec": {"containers": [{"name": "c", "resources": GPU}]}},
                    }
                }
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": "p",
                "ownerReferences": [
                    {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "rs", "controller": True}
                ],
            },
            "spec": {"containers": [{"name": "c", "resources": GPU}]},
            "status": {"phase": "Running"},
        },
    ],
}


@dataclass(frozen=True)
class Seed:
    """Right to begin with, to be mutated as data or as text."""

    data: object

    @cached_property
    def texts(self) -> list[bytes]:
        return [write(self.data).encode() for write in (dump_yaml, json.dumps, dump_json)]


OBJECTS = [Seed(MANIFESTS)]
ARTEFACTS = [Seed(WORKLOADS), Seed(WORKLOADS), Seed(PLAN)]

# What readers have stumbled over.
FRAGMENTS = [
    each.encode()
    for each in (
        *(
            "&a ",
            "*a",
            "&a [*a]",
            "<<: *a",
            "<<: ",
            "!!python/object:os.system ",
            "!!int ",
            "!x ",
            "? ",
            ": ",
            "- ",
        ),
        *(
            "[",
            "]",
            "{",
            "}",
            "[" * 200,
            "{a: " * 200,
            "- " * 200,
            "'",
            '"',
            "|\n",
            ">\n",
            "#",
            "%YAML 9.9\n",
            "---\n",
        ),
        *(
            "...\n",
            "\t",
            "\r",
            "\0",
            "\ufeff",
            "\u2028",
            "\x85",
            "\x1b[2J",
            "\\ud800",
            "\\x00",
            "😀",
            "é",
            "{{ x }}",
        ),
        *(
            "1e999",
            "-1",
            "9" * 30,
            "9" * 5000,
            "0x" + "f" * 100,
            "1e-999",
            ".nan",
            "-.inf",
            "0644",
            "12:30",
            "NaN",
        ),
        *("null", "~", "on", "true", "5200", "-5Gi", "1" * 30 + "Gi", "any", "a" * 70_000),
    )
] + [b"\xff", b"\xfe\xff", b"\xc3", b"\xed\xa0\x80", b"\x80" * 10]

ODD_VALUES: list[object] = [
    *(
        None,
        True,
        False,
        0,
        -1,
        10**9,
        10**30,
        0.5,
        -0.0,
        1e308,
        "",
        "x",
        "😀/😀",
        "a/b",
        "any",
        "-5Gi",
        "5200",
        "1e9Gi",
    ),
    *(
        "x" * 70_000,
        "\x1b[31m",
        "a\nb",
        [],
        {},
        [[]],
        {"": ""},
        [None],
        ["any", "L4"],
        {"now": 3, "peak": 1},
        [1] * 1000,
    ),
]


def mangled_bytes(text: bytes, chance: random.Random) -> bytes:
    for _ in range(chance.choice([1, 1, 2, 5])):
        at = chance.randrange(len(text) + 1)
        to = min(len(text), at + chance.choice([0, 1, 3, 40]))
        match chance.randrange(6):
            case 0:
                text = text[:at] + bytes([chance.randrange(256)]) + text[at + 1 :]
            case 1:
                text = text[:at]
            case 2:
                text = text[:at] + text[to:]
            case 3:
                text = text[:to] + text[at:to] * chance.choice([1, 2, 50]) + text[to:]
            case _:
                text = text[:at] + chance.choice(FRAGMENTS) + text[to:]
    return text


def mangled_data(data: object, chance: random.Random) -> object:
    """The same with one value swapped, dropped, doubled, renamed or wrapped, somewhere inside."""
    if not isinstance(data, dict | list) or not data or chance.random() < 0.2:
        wrapped: object = data
        for _ in range(chance.choice([1, 3, 150])):
            wrapped = [wrapped] if chance.random() < 0.5 else {"a": wrapped}
        return chance.choice([*ODD_VALUES, wrapped])
    if isinstance(data, list):
        at = chance.randrange(len(data))
        return chance.choice(
            [
                [*data[:at], mangled_data(data[at], chance), *data[at + 1 :]],
                [*data[:at], mangled_data(data[at], chance), *data[at + 1 :]],
                [*data, data[at]],
                data[:at],
            ]
        )
    key = chance.choice(list(data))
    swapped = {**data, key: mangled_data(data[key], chance)}
    others = {name: value for name, value in data.items() if name != key}
    odd_key = chance.choice([key[:-1], key.upper(), "😀", "", "\x1b[2J", "x" * 70_000, "<<", "on"])
    return chance.choice([swapped, swapped, swapped, others, {**others, odd_key: data[key]}])


def mutant(seeds: list[Seed], chance: random.Random) -> bytes:
    seed = chance.choice(seeds)
    if chance.random() < 0.6:
        return mangled_bytes(chance.choice(seed.texts), chance)
    data = mangled_data(seed.data, chance)
    return json.dumps(data).encode() if chance.random() < 0.5 else dump_yaml(data).encode()


def read_artefact(text: bytes, name: str) -> None:
    """All that is done with an artefact before anything is decided."""
    documents = parse_documents(text, name)
    for each in documents:
        try:
            plan_in([each])
        except GpusliceError as error:
            check(error)
    dump(parse_workloads(documents))


def read_manifests(text: bytes, name: str) -> None:
    """All that `scan` does with a file."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / name
        path.write_bytes(text)
        dump(from_manifests([str(path)]))


def check(error: GpusliceError) -> None:
    message = str(error)
    assert error.exit_code == 2
    assert error.message
    assert error.where
    assert len(message) < 1500
    assert len(message.split("\n")) <= 2
    assert not any(unicodedata.category(each) == "Cc" for each in message.replace("\n", ""))


def survive(text: bytes, name: str, read: Callable[[bytes, str], None] = read_artefact) -> None:
    start = time.perf_counter()
    try:
        read(text, name)
    except GpusliceError as error:
        check(error)
    except Exception as error:
        error.add_note(f"reading {text[:3000]!r} as {name}")
        raise
    assert time.perf_counter() - start < SOON_SECONDS, text[:3000]


@given(st.integers(0, 2**63))
def test_mutated_artefacts_are_read_or_refused(seed):
    chance = random.Random(seed)
    for _ in range(MUTANTS_OF_ONE_EXAMPLE):
        survive(mutant(ARTEFACTS, chance), chance.choice(["fleet.yaml", "fleet.json", "stdin"]))


@given(st.integers(0, 2**63))
def test_mutated_manifests_are_read_or_refused(seed):
    chance = random.Random(seed)
    for _ in range(MUTANTS_OF_ONE_EXAMPLE):
        survive(mutant(OBJECTS, chance), chance.choice(["m.yaml", "m.json"]), read_manifests)


@given(st.binary(max_size=300), st.sampled_from(["a.yaml", "a.json"]))
def test_any_bytes_are_read_or_refused(text, name):
    survive(text, name)


@given(st.text("&*!|>%@`[]{}:,-?#'\"\\ \n\tab01.<~", max_size=60))
def test_any_punctuation_is_read_or_refused(text):
    survive(text.encode(), "a.yaml")


@pytest.mark.parametrize("fragment", FRAGMENTS)
@pytest.mark.parametrize("times", [1, 3000])
def test_a_fragment_alone_is_read_or_refused(fragment, times):
    for text in (fragment * times, b"a: " + fragment * times, b"workloads:\n- name: " + fragment * times):
        survive(text[:2_000_000], "a.yaml")
        survive(text[:2_000_000], "a.json")


def test_the_artefacts_that_are_mutated_are_right_to_begin_with():
    (document,) = parse_documents(dump_yaml(WORKLOADS).encode(), "a.yaml")
    assert len(parse_workloads([document]).workloads) == 3
    assert decode(document.data, Workloads, where="a.yaml").kind == "Workloads"


def test_the_manifests_that_are_mutated_are_right_to_begin_with(tmp_path):
    path = tmp_path / "m.yaml"
    path.write_bytes(Seed(MANIFESTS).texts[0])
    assert len(from_manifests([str(path)]).workloads) == 3


def test_mutants_reach_every_depth():
    """Some are still right, and the wrong ones fail in more than the parser."""
    chance = random.Random(1)
    outcomes = set()
    for _ in range(400):
        try:
            parse_workloads(parse_documents(mutant(ARTEFACTS, chance), "a.yaml"))
            outcomes.add("read")
        except GpusliceError as error:
            outcomes.add("entry" if "workloads[" in error.where else "document")
    assert outcomes == {"read", "entry", "document"}
