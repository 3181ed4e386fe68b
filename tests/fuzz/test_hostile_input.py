"""Whatever a file holds, reading it ends soon, in a value or in an error that a user can act on."""

import random
import tempfile
import time
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuslice.artefacts.documents import dump_yaml, parse_documents
from gpuslice.artefacts.strict import decode
from gpuslice.errors import GpusliceError
from gpuslice.plan.reading import plan_in
from gpuslice.workloads.artefact import parse_workloads
from gpuslice.workloads.dump import dump
from gpuslice.workloads.entries import Workloads
from gpuslice.workloads.manifests import from_manifests
from tests.fuzz.mutation import ARTEFACTS, FRAGMENTS, MANIFESTS, OBJECTS, WORKLOADS, Seed, mutant

pytestmark = pytest.mark.fuzz

MUTANTS_OF_ONE_EXAMPLE = 30
SOON_SECONDS = 10  # generous: a machine under load is no failing test, an exponential reader is


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
