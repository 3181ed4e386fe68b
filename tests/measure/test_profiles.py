import pytest

from gpuslice.artefacts.documents import parse_documents
from gpuslice.errors import InputError
from gpuslice.measure.profiles import Load, profiles_of, write_profiles
from gpuslice.measure.shares import Share
from gpuslice.workloads.artefact import parse_workloads
from gpuslice.workloads.model import ServiceProfile

FILE = """\
apiVersion: gpuslice.io/v1alpha1
kind: Workloads
region: us-east-1
workloads:
- name: shop/search
  target: {kind: Deployment}
  replicas: 3  # for now
- name: shop/rank  # ours
  service:
    demand: {rate: 829, unit: requests/s}
    slo: {latencyMs: 204}
    profiles:
    - {slice: H100/whole, batch: 8, rate: 1, latencyMs: 9}  # of last year
    - {slice: L4/whole, rate: 20, latencyMs: 50}
"""


def read(text):
    found = parse_workloads(parse_documents(text.encode(), "w"), accept_assumed=True).workloads
    return {each.name: each for each in found}


def share(copies, rate, **more):
    return Share(copies, 1.0, 1.0, rate, 800, None, **more)


def written(workload, profiles, load=None):
    return write_profiles(FILE, "w.yaml", workload, read(FILE), profiles, load)


MEASURED = profiles_of("H100", [share(1, 12.34567), share(4, 5.0)], mps=True, batch=8)


def test_a_row_tells_requests_a_second_of_one_copy_and_the_time_of_a_batch():
    assert [
        ServiceProfile("H100/whole", 8, 1, 98.77, 81),
        ServiceProfile("H100/mps/4", 8, 1, 40, 200),
    ] == MEASURED
    assert profiles_of("H100", [share(2, 5.0)], mps=False, batch=1)[0].slice == "H100/time-slicing/2"


def test_what_tells_nothing_of_the_program_gives_no_row():
    assert profiles_of("H100", [share(2, None), share(4, 50.0, by_probe=True)], mps=False, batch=1) == []
    assert profiles_of(None, [share(1, 5.0)], mps=False, batch=1) == []


def test_a_newer_row_takes_the_place_of_the_same_slices_and_all_else_stays():
    text = written("shop/rank", MEASURED)
    found = read(text)["shop/rank"].service.profiles
    assert [(each.slice, each.rate) for each in found] == [
        ("L4/whole", 20),
        ("H100/whole", 98.77),
        ("H100/mps/4", 40),
    ]
    assert "replicas: 3  # for now" in text
    assert "shop/rank  # ours" in text
    assert "    - {slice: H100/mps/4, batch: 8, processes: 1, rate: 40, latencyMs: 200}" in text


def test_a_workload_becomes_a_service_by_its_demand():
    found = read(written("shop/search", MEASURED, Load(500, "requests/s", 250)))["shop/search"]
    assert (found.service.rate, found.service.latency_ms, len(found.service.profiles)) == (500, 250, 2)


@pytest.mark.parametrize(
    ("workload", "load"), [("shop/search", None), ("shop/rank", Load(5, "requests/s", 9))]
)
def test_a_demand_is_needed_once_and_only_once(workload, load):
    with pytest.raises(InputError, match=r"is (no|a) service"):
        written(workload, MEASURED, load)
