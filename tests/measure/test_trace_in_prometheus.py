"""The same readings as a trace and as DCGM metrics in a real Prometheus: the needs are the same.

Memory, samples and replicas are equal. Duty is so to two parts in a million, since both round up, and its peak to
0.0002: the server adds in another order.

GenTD26 itself is not part of the project: GPUSLICE_BENCH_DATA names the folder that has gentd26/*.csv.gz.
"""

import csv
import gzip
import io
import math
import os
from pathlib import Path

import numpy as np
import pytest

from gpuslice.artefacts.documents import parse_documents
from gpuslice.measure.dcgm import read_needs
from gpuslice.measure.prometheus import Access, Server
from gpuslice.measure.statistics import Window, pool
from gpuslice.measure.trace import read_trace
from gpuslice.workloads.artefact import parse_workloads
from gpuslice.workloads.measurement import Means
from tests.measure.prometheus_server import line, served

pytestmark = pytest.mark.services

START = 1_793_491_200  # a multiple of five minutes, as minute 0 of a trace is
MODEL = "A100-80GB"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Twelve pods with pauses, gaps, blank readings and one that lives shortly, out of order."""
    random = np.random.default_rng(26)
    rows = []
    for pod in range(12):
        for minute in range(random.integers(0, 50), 95 if pod == 3 else 1200):
            if pod == 5 and 300 <= minute < 700:
                continue
            duty = "" if random.random() < 0.01 else round(100 * random.beta(0.5, 4), 2)
            rows.append((f"sd-{pod:03}", minute, duty, 8000 + 500 * (minute // 100)))
    random.shuffle(rows)
    path = tmp_path_factory.mktemp("made") / "made.csv"
    with path.open("w") as file:
        writer = csv.writer(file)
        writer.writerow(("pod", "minute", "duty", "mem_mib"))
        writer.writerows(rows)
    return path


def gentd26():
    folder = os.environ.get("GPUSLICE_BENCH_DATA")
    found = sorted(Path(folder, "gentd26").glob("*.csv.gz")) if folder else []
    if not found:
        pytest.skip("no GenTD26: set GPUSLICE_BENCH_DATA to the folder that has gentd26/*.csv.gz")
    return found[0]


def metrics(path):
    """The trace as an exporter would show it, each reading in the middle of its minute."""
    text = gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text()
    rows = sorted(csv.DictReader(io.StringIO(text)), key=lambda row: (row["pod"], int(row["minute"])))
    for name, column, scale in (
        ("DCGM_FI_PROF_GR_ENGINE_ACTIVE", "duty", 0.01),
        ("DCGM_FI_DEV_FB_USED", "mem_mib", 1),
    ):
        yield f"# TYPE {name} gauge\n"
        for row in rows:
            if row[column]:
                pod = {"namespace": "trace", "pod": row["pod"], "UUID": f"GPU-{row['pod']}"}
                labels = {**pod, "modelName": "NVIDIA A100-SXM4-80GB"}
                yield line(name, labels, float(row[column]) * scale, START + 60 * int(row["minute"]) + 30)


def by_prometheus(url, pods, end):
    text = "apiVersion: gpuslice.io/v1alpha1\nkind: Workloads\nregion: us-east-1\nworkloads:\n" + "".join(
        f"- {{name: trace/{pod}, target: {{kind: Pod}}, replicas: 1}}\n" for pod in pods
    )
    server = Server(Access(url))
    try:
        found = read_needs(
            server, parse_workloads(parse_documents(text.encode(), "w")).workloads, start=START, end=end
        )
    finally:
        server.close()
    window = Window(end - START, "", Means.PROMETHEUS)
    return {name.partition("/")[2]: pool(each, window) for name, each in found.items()}


def same(path, folder):
    trace = read_trace(str(path), today=MODEL)
    by_trace = {name: pool(each, Window(0, "", Means.TRACE)) for name, each in trace.by_workload.items()}
    last = max(int(each.bins[-1]) for found in trace.by_workload.values() for each in found if each.bins.size)
    with served(folder, metrics(path)) as url:
        measured = by_prometheus(url, by_trace, START + last + 300)
    assert measured.keys() == by_trace.keys()
    for name, expected in by_trace.items():
        found = measured[name]
        assert (found.memory_mib, found.on) == (expected.memory_mib, expected.on), name
        assert found.measurement.replicas == expected.measurement.replicas
        of_duty = sum(int(each.weights.sum()) for each in trace.by_workload[name])
        assert found.measurement.samples == of_duty or expected.duty_ppm is None
        assert (found.suspicion is None) == (expected.suspicion is None), name
        assert (found.duty_ppm is None) == (expected.duty_ppm is None), name
        assert math.isclose(found.duty_ppm or 0, expected.duty_ppm or 0, abs_tol=2), name
        assert found.measurement.duty_peak == pytest.approx(expected.measurement.duty_peak, abs=2e-4), name
    return len(measured)


def test_a_made_trace_needs_the_same_by_prometheus(made, tmp_path):
    assert same(made, tmp_path) == 12


def test_gentd26_needs_the_same_by_prometheus(tmp_path):
    assert same(gentd26(), tmp_path) == 144
