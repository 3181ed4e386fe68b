"""A dump says what the cluster said, and nothing that is secret."""

import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuslice.cloud import snapshot as catalogs
from gpuslice.cluster.seen import dump
from gpuslice.cluster.seen.inventory import inventory_of, workloads_of
from gpuslice.cluster.seen.redact import redacted
from gpuslice.cluster.seen.snapshot import Unread
from gpuslice.errors import InputError
from tests.cluster.made import deployment, node, pod, snapshot

GPU = {"nvidia.com/gpu": "1"}
SECRET = "S3CRET"


def cluster():
    secretive = {
        "env": [
            {"name": "DB_PASSWORD", "value": SECRET},
            {"name": "TF_FORCE_GPU_ALLOW_GROWTH", "value": "true"},
        ],
        "args": ["--model=x", f"--api-key={SECRET}", "--hf-token", SECRET, f"postgres://me:{SECRET}@db/x"],
    }
    node_class = {
        "apiVersion": "karpenter.k8s.aws/v1",
        "kind": "EC2NodeClass",
        "metadata": {"name": "gpu"},
        "spec": {"userData": SECRET},
    }
    annotations = {"vault.io/token": SECRET, "gpuslice.io/gpu-model": "L4"}
    return snapshot(
        deployment("search", asks=GPU, annotations=annotations, **secretive),
        pod("search-1", asks=GPU, owner=("Deployment", "search"), node="n1", **secretive),
        node("n1", "g6.xlarge"),
        node_class,
        unread=(Unread("secrets", "never asked for"),),
    )


def test_what_is_read_back_leads_to_the_same_answers(tmp_path):
    before = cluster()
    count = dump.write(before, str(tmp_path / "dump"))
    after = dump.load(str(tmp_path / "dump"))
    catalog = catalogs.bundled()
    assert count == 4
    assert (after.taken, after.version, after.served, after.unread) == (
        before.taken,
        before.version,
        before.served,
        before.unread,
    )
    assert inventory_of(after, catalog) == inventory_of(before, catalog)
    found, expected = (
        workloads_of(each, catalog=catalog, region="us-east-1").workloads for each in (after, before)
    )
    assert [each.need for each in found] == [each.need for each in expected]
    assert [each.replicas for each in found] == [1]


def test_no_secret_is_in_it(tmp_path):
    dump.write(cluster(), str(tmp_path / "dump"))
    text = "".join(each.read_text() for each in Path(tmp_path / "dump").iterdir())
    assert SECRET not in text
    assert "TF_FORCE_GPU_ALLOW_GROWTH" in text
    assert "--model=x" in text
    assert "DB_PASSWORD" in text
    assert "gpuslice.io/gpu-model" in text


@given(
    st.text(min_size=1).map(lambda text: f"{SECRET}{text}"),
    st.lists(st.sampled_from(["spec", "template", "items", "0", "initContainers"]), max_size=5),
)
def test_values_of_variables_go_wherever_they_stand(secret, path):
    data: object = {"env": [{"name": "ANY_NAME", "value": secret}]}
    for key in path:
        data = [data] if key == "0" else {key: data}
    assert SECRET not in json.dumps(redacted(data))


def test_a_directory_of_somebody_else_is_refused(tmp_path):
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(InputError):
        dump.write(cluster(), str(tmp_path))
    with pytest.raises(InputError, match="is no dump"):
        dump.load(str(tmp_path))


def test_a_dump_is_manifests_too(tmp_path):
    from gpuslice.workloads.manifests import from_manifests

    dump.write(cluster(), str(tmp_path / "dump"))
    found = from_manifests([str(tmp_path / "dump")])
    assert [each.name for each in found.workloads] == ["shop/search"]
    assert msgspec.json.decode((tmp_path / "dump" / "dump.json").read_bytes())["kind"] == "Dump"
