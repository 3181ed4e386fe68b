"""Pods released from what they require of their nodes."""

import pytest
from msgspec import UNSET

from gpuslice.errors import InputError
from gpuslice.workloads.manifests import from_manifests
from gpuslice.workloads.release import released

TYPE = "node.kubernetes.io/instance-type"


@pytest.fixture
def read(tmp_path):
    def of(selector, terms):
        lines = [f"        {key}: {value}" for key, value in selector.items()]
        conditions = [
            f"              - matchExpressions: [{{key: {key}, operator: In, values: [{value}]}}]"
            for key, value in terms
        ]
        (tmp_path / "in.yaml").write_text(
            "\n".join(
                [
                    "apiVersion: apps/v1",
                    "kind: Deployment",
                    "metadata: {name: app, namespace: web}",
                    "spec:",
                    "  replicas: 2",
                    "  template:",
                    "    spec:",
                    *(["      nodeSelector:", *lines] if lines else []),
                    *(
                        [
                            "      affinity:",
                            "        nodeAffinity:",
                            "          requiredDuringSchedulingIgnoredDuringExecution:",
                            "            nodeSelectorTerms:",
                            *conditions,
                        ]
                        if conditions
                        else []
                    ),
                    "      containers:",
                    "      - {name: main, resources: {limits: {nvidia.com/gpu: 1}}}",
                ]
            )
        )
        return from_manifests([str(tmp_path / "in.yaml")], region="us-east-1").workloads

    return of


def test_a_key_leaves_selector_and_affinity_with_all_that_it_bound(read):
    (workload,) = read({"team": "vision"}, [(TYPE, "g5.2xlarge")])
    assert workload.need.allow == {"A10G"}
    (free,) = released([workload], [TYPE, "team"])
    assert free.requires == ()
    assert free.target.drop_node_selector == ("team",)
    assert free.target.patched_affinity == ()
    assert free.need.allow == frozenset()
    assert not any("stays" in note for note in free.notes)
    assert sum("--drop-selector" in note for note in free.notes) == 2


def test_other_keys_stay_as_they_are(read):
    (workload,) = read({"team": "vision", "rack": "r1"}, [(TYPE, "g5.2xlarge")])
    (free,) = released([workload], ["rack"])
    assert free.target.node_selector == {"team": "vision"}
    assert free.target.patched_affinity is UNSET
    assert free.need.allow == {"A10G"}
    assert [note for note in workload.notes if "team" in note] == [
        note for note in free.notes if "team" in note
    ]


def test_a_key_that_nobody_requires_is_refused_with_those_that_somebody_does(read):
    with pytest.raises(InputError, match="'teem'") as error:
        released(read({"team": "vision"}, []), ["teem"])
    assert "team" in error.value.fix
