"""Nodes that share their GPUs, and servers that hold several clusters, told by a real Prometheus."""

import contextlib

import numpy as np
import pytest

from gpuslice.artefacts.documents import parse_documents
from gpuslice.errors import InputError
from gpuslice.measure.dcgm import read_needs
from gpuslice.measure.prometheus import Access, Server, selected
from gpuslice.measure.statistics import Window, pool
from gpuslice.workloads.artefact import parse_workloads
from gpuslice.workloads.measurement import Means
from tests.measure.fleet import START, Pod, labels
from tests.measure.prometheus_server import line, served

MINUTES = 120
END = START + 60 * MINUTES
WORKLOADS = """\
apiVersion: gpuslice.io/v1alpha1
kind: Workloads
region: us-east-1
workloads:
- {name: shop/seen, target: {kind: Pod}, replicas: 1}
- {name: shop/own, target: {kind: Pod}, replicas: 1}
- {name: shop/cut, target: {kind: Pod}, replicas: 1}
"""
STEADY = np.full(MINUTES, 0.25)
HELD = np.linspace(1000, 2000, MINUTES).round()


def pods(**more):
    """One on each of three nodes; of the others on its GPU the exporter says nothing."""
    for name, node, instance in (("seen", "n1", ()), ("own", "n2", ()), ("cut", "n3", ("GPU_I_ID", "1"))):
        own = (("GPU_I_PROFILE", "1g.10gb"), instance) if instance else ()
        yield Pod("shop", name, STEADY, HELD, labels=(("Hostname", node), *own, *more.items()))


def lines(found, offered, memory_only=False):
    for name, values in (
        ("DCGM_FI_DEV_FB_USED", lambda pod: pod.memory),
        ("DCGM_FI_PROF_GR_ENGINE_ACTIVE", lambda pod: pod.duty),
    ):
        if memory_only and name.endswith("ACTIVE"):
            continue
        yield f"# TYPE {name} gauge\n"
        for pod in found:
            for minute, value in enumerate(values(pod)):
                yield line(name, labels(pod), value, START + 30 + 60 * minute)
    yield "# TYPE kube_node_status_capacity gauge\n"
    for node, count in offered.items():
        for minute in range(MINUTES):
            own = {"node": node, "resource": "nvidia_com_gpu"}
            yield line("kube_node_status_capacity", own, count, START + 30 + 60 * minute)


@contextlib.contextmanager
def asked(folder, made):
    with served(folder, made) as url:
        server = Server(Access(url), sleep=lambda _: None)
        try:
            yield server
        finally:
            server.close()


def measured(server, within=""):
    workloads = parse_workloads(parse_documents(WORKLOADS.encode(), "w")).workloads
    found = read_needs(server, workloads, start=START, end=END, within=within)
    return {
        name: pool(each, Window(END - START, "2026-11-01T02:00:00Z", Means.PROMETHEUS))
        for name, each in found.items()
    }


def test_a_node_that_offers_more_gpus_than_it_has_shares_them(tmp_path):
    with asked(tmp_path, lines([*pods()], {"n1": 4, "n2": 1, "n3": 7})) as server:
        found = measured(server)
    assert (found["shop/seen"].memory_mib, found["shop/seen"].duty_ppm) == (None, None)
    assert "its GPUs were shared, and their counters are sums" in "; ".join(
        found["shop/seen"].measurement.notes
    )
    assert (found["shop/own"].memory_mib, found["shop/own"].duty_ppm) == (2000, 250_000)
    assert found["shop/cut"].memory_mib == 2000  # MIG instances may be offered as GPUs


def test_memory_alone_of_two_pods_on_one_gpu_is_nobodys_own(tmp_path):
    both = [Pod("shop", name, STEADY, HELD, gpu="GPU-1") for name in ("seen", "own")]
    with asked(tmp_path, lines(both, {}, memory_only=True)) as server:
        found = measured(server)
    assert found["shop/seen"].memory_mib is None
    assert found["shop/own"].memory_mib is None


def test_whoever_shares_a_gpu_counts_though_nobody_asked_about_him(tmp_path):
    stranger = Pod("elsewhere", "stranger", STEADY, HELD, gpu="GPU-1")
    with asked(tmp_path, lines([Pod("shop", "seen", STEADY, HELD, gpu="GPU-1"), stranger], {})) as server:
        found = measured(server)
    assert list(found) == ["shop/seen"]
    assert found["shop/seen"].memory_mib is None


def test_pods_of_several_clusters_are_not_put_together(tmp_path):
    made = [
        *pods(cluster="prod"),
        *(Pod("shop", "own", STEADY * 2, HELD * 2, gpu="GPU-t", labels=(("cluster", "test"),)),),
    ]
    with asked(tmp_path, lines(made, {})) as server:
        with pytest.raises(InputError, match=r"in several clusters: prod, test") as refused:
            measured(server)
        assert refused.value.fix == "name one: --match 'cluster=\"prod\"'"
        one, other = (measured(server, f'cluster="{each}"') for each in ("prod", "test"))
    assert one["shop/own"].memory_mib == 2000
    assert other["shop/own"].memory_mib == 4000
    assert "shop/seen" not in other


def test_matchers_are_added_to_any_selector():
    assert selected("up", "") == "up"
    assert selected("up", 'a="b"') == 'up{a="b"}'
    assert selected('up{c="d"}', 'a="b"') == 'up{a="b",c="d"}'
