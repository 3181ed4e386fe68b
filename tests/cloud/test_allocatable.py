"""What Kubernetes can allocate, held to Karpenter's published estimate of every type; and what daemonsets take."""

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuslice.cloud.allocatable import (
    ASSUMED_DAEMONSETS,
    Allocatable,
    allocatable,
    daemonset_overhead,
    kube_reserved_cpu_milli,
    left_for_workloads,
    max_pods,
    parse_overhead,
)
from gpuslice.cloud.catalog import DaemonsetOverhead
from gpuslice.cloud.snapshot import bundled
from gpuslice.errors import InputError

# Karpenter's documentation of instance types, "Resources" (AMI with the pod density that interfaces allow).
with (Path(__file__).parent / "allocatable.csv").open() as _file:
    KARPENTER = {row["instance_type"]: row for row in csv.DictReader(_file)}


def test_every_type_has_exactly_what_karpenter_publishes():
    computed = {
        each.name: (each.allocatable_cpu_milli, each.allocatable_memory_mib, each.max_pods)
        for each in bundled().instance_types
    }
    published = {
        name: (int(row["cpu_milli"]), int(row["memory_mib"]), int(row["pods"]))
        for name, row in KARPENTER.items()
    }
    assert len(published) == 65
    assert computed == published


@pytest.mark.parametrize(("vcpu", "reserved"), [(1, 60), (2, 70), (4, 80), (8, 90), (48, 190), (192, 550)])
def test_cpu_is_reserved_in_steps(vcpu, reserved):
    assert kube_reserved_cpu_milli(vcpu) == reserved


def test_pods_are_what_the_interfaces_have_addresses_for():
    assert max_pods(4, 15) == 58  # g6.xlarge
    assert max_pods(2, 50) == 100  # p5.48xlarge, default network card


def test_arm64_machines_keep_some_memory_for_the_kernel():
    size = {"vcpu": 4, "memory_mib": 8192, "pods": 58}
    assert allocatable(**size, arch="amd64").memory_mib - allocatable(**size, arch="arm64").memory_mib == 59


def test_a_machine_too_small_for_its_pods_has_nothing_not_less():
    assert allocatable(vcpu=1, memory_mib=512, pods=1000, arch="amd64").memory_mib == 0


@given(
    st.integers(1, 448), st.integers(1024, 2**25), st.integers(4, 2000), st.sampled_from(["amd64", "arm64"])
)
def test_a_bigger_machine_never_allocates_less(vcpu, memory, pods, arch):
    small = allocatable(vcpu=vcpu, memory_mib=memory, pods=pods, arch=arch)
    assert 0 < small.cpu_milli < vcpu * 1000
    assert 0 <= small.memory_mib < memory
    assert allocatable(vcpu=vcpu + 1, memory_mib=memory, pods=pods, arch=arch).cpu_milli > small.cpu_milli
    assert allocatable(vcpu=vcpu, memory_mib=memory + 16, pods=pods, arch=arch).memory_mib >= small.memory_mib
    assert allocatable(vcpu=vcpu, memory_mib=memory, pods=pods + 1, arch=arch).memory_mib <= small.memory_mib


def test_the_assumed_overhead_is_the_sum_of_its_table():
    assert daemonset_overhead() == DaemonsetOverhead(cpu_milli=185, memory_mib=184, pods=10)
    assert len({each.name for each in ASSUMED_DAEMONSETS}) == 10
    assert all(each.source for each in ASSUMED_DAEMONSETS)


def test_workloads_get_what_daemonsets_leave():
    g6 = bundled().by_name()["g6.xlarge"]
    left = left_for_workloads(g6, DaemonsetOverhead(cpu_milli=100, memory_mib=200, pods=8))
    assert (left.cpu_milli, left.memory_mib, left.pods) == (3820, 13962, 50)
    crowded = left_for_workloads(g6, DaemonsetOverhead(cpu_milli=10**6, memory_mib=10**9, pods=1000))
    assert (crowded.cpu_milli, crowded.memory_mib, crowded.pods) == (0, 0, 0)


@pytest.mark.parametrize(
    ("text", "overhead"),
    [
        ("cpu=500m,memory=1Gi,pods=9", (500, 1024, 9)),
        (" pods = 0 , cpu = 2 ", (2000, 184, 0)),
        ("memory=0", (185, 0, 10)),
        ("memory=1", None),
        ("memory=1500Ki", (185, 2, 10)),
    ],
)
def test_overhead_is_written_as_quantities_and_keeps_what_is_left_out(text, overhead):
    if overhead is None:
        with pytest.raises(InputError, match="has no unit"):
            parse_overhead(text)
    else:
        assert parse_overhead(text) == DaemonsetOverhead(*overhead)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is not understood"),
        ("cpu", "'cpu' is not understood"),
        ("mem=1Gi", "did you mean 'memory'"),
        ("cpu=1,cpu=2", "cpu is given twice"),
        ("cpu=-1", "is negative"),
        ("memory=-1Gi", "is negative"),
        ("pods=-1", "is negative"),
        ("pods=1.5", "is not a whole number"),
        ("pods=1000000000", "is not a whole number up to 1000"),
        ("cpu=many", "is not a quantity"),
    ],
)
def test_an_overhead_that_means_nothing_is_refused_with_words(text, said):
    with pytest.raises(InputError) as caught:
        parse_overhead(text)
    assert said in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 2


def test_a_node_holds_as_many_pods_as_its_scarcest_part_allows():
    left = Allocatable(cpu_milli=4000, memory_mib=10_000, pods=9)
    assert [left.holds(1000, 1000), left.holds(500, 3000), left.holds(100, 100)] == [4, 3, 9]
    assert [left.holds(0, 0), left.holds(0, 5000), left.holds(4001, 0)] == [9, 2, 0]
