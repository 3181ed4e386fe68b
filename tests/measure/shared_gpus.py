"""Pods on GPUs of which they may have others beside them, and what a real Prometheus is asked about them."""

import contextlib

import numpy as np

from gpuslice.artefacts.documents import parse_documents
from gpuslice.measure.dcgm import read_needs
from gpuslice.measure.prometheus import Access, Server
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
    """What the exporter says of the pods, and kube-state-metrics of how many GPUs their nodes offer."""
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
