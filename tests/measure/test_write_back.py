import numpy as np
import pytest

from gpuslice.artefacts.documents import parse_documents
from gpuslice.errors import InputError
from gpuslice.measure.statistics import pool
from gpuslice.measure.write_back import write_needs
from gpuslice.workloads.artefact import parse_workloads
from gpuslice.workloads.dump import dump
from tests.measure.made import FORTNIGHT, readings

FILE = """\
# the fleet of the shop
apiVersion: gpuslice.io/v1alpha1
kind: Workloads
region: us-east-1
workloads:
  # answers in 50 ms
  - name: shop/search
    target: {kind: Deployment}
    replicas: 3 # until Christmas
    need:
      memory: 9Gi  # a guess
      duty: 0.5
      'on': T4
    maxSlowdown: 1.5
  - name: shop/rank
    target: {kind: Deployment}
    replicas: 1
    pod: {cpu: "2"}
  - name: shop/chat
    target: {kind: Deployment, framework: {name: vllm, limit: argument}}
    preallocates: true
    replicas: 1
    need: {memory: 14Gi}
"""


def workloads(text):
    return {
        each.name: each
        for each in parse_workloads(parse_documents(text.encode(), "w"), accept_assumed=True).workloads
    }


def write(needs, text=FILE):
    written = write_needs(text, "w", needs, workloads(text))
    return written, workloads(written.text)


def test_only_the_need_changes():
    written, found = write({"shop/search": pool([readings()], FORTNIGHT)})
    need = found["shop/search"].need
    assert (need.memory_mib, need.duty_ppm, need.on, need.source) == (3000, 200_000, "A10G", "measured")
    kept = [
        line
        for line in FILE.splitlines()
        if not any(word in line for word in ("memory: 9Gi", "duty: 0.5", "T4"))
    ]
    assert [line for line in written.text.splitlines() if line in kept] == kept
    assert "memory: 3000Mi # a guess" in " ".join(written.text.split())


def test_how_it_was_measured_stands_beside_the_figures():
    _, found = write({"shop/search": pool([readings(sm=0.1)], FORTNIGHT)})
    how = found["shop/search"].measurement
    assert (how.by, how.window, how.confidence, how.quantile, how.sm) == (
        "prometheus",
        "14d",
        "high",
        0.95,
        0.1,
    )
    assert how.samples == 40_320


def test_a_workload_without_a_need_gets_one():
    _, found = write({"shop/rank": pool([readings()], FORTNIGHT)})
    assert found["shop/rank"].need.known


def test_what_a_preallocator_holds_is_never_its_need():
    written, found = write({"shop/chat": pool([readings(peak=20_000)], FORTNIGHT)})
    assert found["shop/chat"].need.memory_mib == 14 * 1024
    assert found["shop/chat"].need.duty_ppm == 200_000
    assert found["shop/chat"].need.source == "declared"
    assert "left to you" in written.remarks["shop/chat"][0]


def test_a_suspected_preallocator_is_marked_and_loses_no_declared_memory():
    _, found = write({"shop/search": pool([readings(peak=20_300, floor=20_290)], FORTNIGHT)})
    assert found["shop/search"].preallocates
    assert found["shop/search"].need.memory_mib == 9 * 1024


def test_a_person_may_say_that_it_is_no_preallocator():
    text = FILE.replace("    maxSlowdown: 1.5", "    preallocates: false")
    _, found = write({"shop/search": pool([readings(peak=20_300, floor=20_290)], FORTNIGHT)}, text)
    assert not found["shop/search"].preallocates
    assert found["shop/search"].need.memory_mib == 20_300


def test_a_measured_figure_that_is_no_longer_known_is_taken_out():
    written, _ = write({"shop/search": pool([readings()], FORTNIGHT)})
    again, found = write({"shop/search": pool([readings(days=0, duty=[])], FORTNIGHT)}, written.text)
    assert found["shop/search"].need.duty_ppm is None
    assert any("taken out" in each for each in again.remarks["shop/search"])


def test_writing_twice_is_writing_once():
    needs = {"shop/search": pool([readings()], FORTNIGHT), "shop/rank": pool([readings(duty=0.3)], FORTNIGHT)}
    once, _ = write(needs)
    twice, _ = write(needs, once.text)
    assert once.text == twice.text


def test_what_scan_writes_can_be_written_into():
    text = dump(parse_workloads(parse_documents(FILE.encode(), "w")))
    _, found = write({"shop/rank": pool([readings(duty=np.full(300, 0.3), days=0)], FORTNIGHT)}, text)
    assert found["shop/rank"].need.duty_ppm == 300_000
    assert workloads(text)["shop/search"] == found["shop/search"]


def test_an_entry_that_is_an_alias_is_not_changed_behind_the_others():
    text = FILE.replace("    need:\n      memory: 9Gi", "    need: &n\n      memory: 9Gi").replace(
        '    pod: {cpu: "2"}', "    need: *n"
    )
    with pytest.raises(InputError, match="anchor"):
        write({"shop/search": pool([readings()], FORTNIGHT)}, text)
