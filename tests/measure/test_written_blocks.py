"""The benchmark's storage against the server that it is for: what was written is what is answered."""

import numpy as np
import pytest

from bench.tsdb import chunks, write_block
from gpuslice.artefacts.documents import parse_documents
from gpuslice.measure.dcgm import read_needs
from gpuslice.measure.dcgm_metrics import BUSY, MEMORY
from gpuslice.measure.prometheus import Access, Server
from gpuslice.measure.statistics import Window, pool
from gpuslice.workloads.artefact import parse_workloads
from gpuslice.workloads.measurement import Means
from tests.measure.prometheus_server import programs
from tools.prometheus import serving

pytestmark = pytest.mark.services

START = 1_793_491_200
STEP = 30
COUNT = 1440  # twelve hours
WORKLOADS = """\
apiVersion: gpuslice.io/v1alpha1
kind: Workloads
region: us-east-1
workloads: [{name: shop/rank, target: {kind: StatefulSet}, replicas: 2}]
"""


def values(seed):
    """Every case of the compression: repeats, small and large changes, both signs, whole numbers and fractions."""
    random = np.random.default_rng(seed)
    return np.where(random.random(COUNT) < 0.3, 0.25, random.random(COUNT).round(6))


def block(at, count):
    """Two pods on a GPU each, from one sample on."""
    for number in range(2):
        pod = {
            "namespace": "shop",
            "pod": f"rank-{number}",
            "UUID": f"GPU-{number}",
            "modelName": "NVIDIA L4",
        }
        for name, scale in ((BUSY, 1), (MEMORY, 20_000)):
            found = list(values(number)[at : at + count] * scale)
            yield {"__name__": name, **pod}, chunks(found, (START + STEP * (at + 1)) * 1000, STEP * 1000)


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    where, data = programs(), tmp_path_factory.mktemp("blocks")
    half = COUNT // 2
    for at in (0, half):
        write_block(data, list(block(at, half)))
    with serving(where, data) as server:
        yield server.url


@pytest.fixture
def server(url):
    found = Server(Access(url), sleep=lambda _: None)
    yield found
    found.close()


def test_the_server_answers_what_was_written(server):
    for name, scale in ((BUSY, 1), (MEMORY, 20_000)):
        answer = server.range(name, START + STEP, START + STEP * COUNT, STEP)
        assert len(answer) == 2
        for series in answer:
            written = values(int(series.metric["pod"][-1])) * scale
            assert [float(value) for _, value in series.values] == pytest.approx(list(written), rel=1e-15)


def test_a_reading_at_the_edge_of_a_window_counts_once(server):
    """Readings lie on whole multiples of the windows' length here, as a scrape may have them."""
    workloads = parse_workloads(parse_documents(WORKLOADS.encode(), "w")).workloads
    found = read_needs(server, workloads, start=START, end=START + STEP * COUNT)
    need = pool(found["shop/rank"], Window(STEP * COUNT, "", Means.PROMETHEUS))
    assert need.measurement.samples == 2 * COUNT
    worst = max(values(number).mean() for number in range(2))
    assert (need.duty_ppm or 0) / 1e6 == pytest.approx(worst, abs=1.1e-6)
