"""Counts of replicas that a real Prometheus answers, replayed."""

import json
from pathlib import Path

import httpx2 as httpx
import pytest

from tests.measure.prometheus_server import line, served

pytestmark = pytest.mark.services

START = 1_793_491_200  # 2026-11-01T00:00:00Z
WORKLOADS = """\
apiVersion: gpuslice.io/v1alpha1
kind: Workloads
region: us-east-1
workloads:
- name: shop/search
  replicas: 1
  pod: {cpu: 500m, memory: 1Gi}
  need: {memory: 3Gi, duty: 0.1, 'on': T4, source: measured}
  gpu: {allow: [T4]}
"""


@pytest.fixture
def url(tmp_path):
    def metrics():
        yield "# TYPE kube_deployment_spec_replicas gauge\n"
        for name in ("search", "other"):
            for minute in range(120):
                labels = {"namespace": "shop", "deployment": name}
                replicas = 5 if 30 <= minute < 60 else 2
                yield line("kube_deployment_spec_replicas", labels, replicas, START + 60 * minute)

    with served(tmp_path, metrics()) as found:
        yield found


def test_what_prometheus_answers_is_a_trace(gpuslice, url, tmp_path):
    range_ = {"start": START, "end": START + 119 * 60, "step": 300}
    answer = httpx.get(
        f"{url}/api/v1/query_range", params={"query": "kube_deployment_spec_replicas", **range_}
    )
    trace, workloads = tmp_path / "replicas.json", tmp_path / "workloads.yaml"
    trace.write_bytes(answer.content)
    workloads.write_text(WORKLOADS)
    out: Path = tmp_path / "sim.json"
    ended = gpuslice("simulate", "-f", workloads, "--trace", trace, "--policies", "whole", "--out", out)
    assert ended.code == 0
    found = json.loads(out.read_text())
    assert found["demand"] == {
        "source": "replicas of 1 workloads",
        "seconds": 115 * 60,
        "pods": 5,
        "workloads": 1,
        "notes": ["24 samples of 1 names that are no workload skipped: 'shop/other'"],
    }
