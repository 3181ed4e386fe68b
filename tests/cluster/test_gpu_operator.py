"""What a setting for the whole cluster changes in a GPU Operator that is there already."""

from typing import Any

import pytest
import yaml

from gpuslice.artefacts.documents import dump_yaml
from gpuslice.cluster.apply.directory import read_directory
from gpuslice.cluster.apply.gpu_operator import adapt
from gpuslice.cluster.seen.snapshot import Snapshot
from gpuslice.errors import AnswerIsNoError
from gpuslice.render import manifests
from gpuslice.render.cluster_wide import bundle, parse, render
from tests.cluster import made
from tests.render.plans import CATALOG, MIG, SETTINGS, SLOTS

EMPTY = Snapshot("here", "2026-01-01T00:00:00Z")
OURS = "gpuslice-device-plugin"


def wide(text):
    return bundle(parse(text), "gpu-operator")


def policy(plugin=None, strategy: str | None = "single") -> dict[str, Any]:
    spec: dict[str, Any] = {"mig": {"strategy": strategy} if strategy else {}, "devicePlugin": {}}
    if plugin:
        spec["devicePlugin"]["config"] = plugin
    return {"apiVersion": "nvidia.com/v1", "kind": "ClusterPolicy", "spec": spec}


def entry(desired):
    [key] = desired.objects[0]["data"]
    return key


def spec_after(desired, live, snapshot=EMPTY):
    found = adapt(desired, live, snapshot).policy
    assert found is not None
    return found["spec"]


def test_a_written_directory_is_read_as_what_was_rendered(tmp_path):
    for path, text in render(parse("mps=4"), "gpu-operator").items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    assert read_directory(str(tmp_path)) == wide("mps=4")


@pytest.mark.parametrize(
    "before",
    [None, {"name": OURS, "default": "default"}, {"name": OURS, "default": "all-ts2-000000"}],
    ids=["none", "a plan's", "another setting's"],
)
def test_the_whole_cluster_gets_the_entry_whatever_its_default_was(before):
    desired = wide("time-slicing=4")
    adapted = adapt(desired, policy(before), EMPTY)
    assert adapted.policy is not None
    assert adapted.policy["spec"]["devicePlugin"]["config"] == {"name": OURS, "default": entry(desired)}
    assert adapted.policy["spec"]["mig"] == {"strategy": "single"}
    assert adapted.why == (
        f"every node without the label nvidia.com/device-plugin.config gets {entry(desired)}",
    )


def test_a_config_map_of_the_owners_stays_and_gets_the_entry():
    desired = wide("time-slicing=4")
    adapted = adapt(desired, policy({"name": "his", "default": "any"}), EMPTY)
    assert [each["metadata"]["name"] for each in adapted.config_maps] == ["his"]
    assert list(adapted.config_maps[0]["data"]) == [entry(desired)]
    assert adapted.policy is not None
    assert adapted.policy["spec"]["devicePlugin"]["config"] == {"name": "his", "default": entry(desired)}


def test_once_applied_nothing_is_left_to_change():
    for text in ("time-slicing=4", "mps=4", "mig=all-1g.10gb"):
        desired = wide(text)
        after = adapt(desired, policy(), EMPTY).policy
        assert after is not None
        assert adapt(desired, after, EMPTY).policy is None


def test_a_plan_leaves_the_default_of_nodes_outside_it_alone():
    desired = manifests.bundle(SLOTS, CATALOG, SETTINGS)
    before = {"name": "his", "default": "any"}
    assert spec_after(desired, policy(before))["devicePlugin"]["config"] == before


@pytest.mark.parametrize("before", [None, "none", "mixed"])
def test_mig_makes_the_strategy_single(before):
    spec = spec_after(wide("mig=all-1g.10gb"), policy(strategy=before))
    assert spec["mig"] == {"strategy": "single"}
    assert spec["migManager"] == {"env": [{"name": "WITH_REBOOT", "value": "true"}]}


def test_mps_takes_the_mixed_strategy_away_and_leaves_any_other():
    assert spec_after(wide("mps=4"), policy(strategy="mixed"))["mig"] == {}
    assert spec_after(wide("mps=4"), policy(strategy="single"))["mig"] == {"strategy": "single"}


def test_instances_that_would_be_renamed_are_in_the_way():
    cut = made.snapshot(made.node("n1", labels={"nvidia.com/mig-1g.10gb.count": "7"}))
    with pytest.raises(AnswerIsNoError, match="node n1 uses MIG's mixed strategy"):
        adapt(wide("mig=all-1g.10gb"), policy(strategy="mixed"), cut)
    assert adapt(wide("mig=all-1g.10gb"), policy(strategy="single"), cut).policy


def mig_files(namespace="gpu-operator", name="his-layouts", **entries):
    """A ConfigMap with MIG layouts."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace},
        "data": {"config.yaml": dump_yaml({"version": "v1", "mig-configs": entries})},
    }


def layouts(adapted):
    (text,) = (
        each["data"]["config.yaml"]
        for each in adapted.config_maps
        if each["metadata"]["name"] == "gpuslice-mig-parted"
    )
    return yaml.safe_load(text)["mig-configs"]


def with_mig_of(name):
    live = policy(strategy="mixed")
    live["spec"]["migManager"] = {"config": {"name": name}}
    return live


def test_the_owners_mig_layouts_are_carried_along():
    his = [{"devices": "all", "mig-enabled": True, "mig-devices": {"3g.40gb": 2}}]
    desired = manifests.bundle(MIG, CATALOG, SETTINGS)
    known = made.snapshot(
        mig_files(**{"all-disabled": [], "his-3g": his}),
        made.node("n1", labels={"nvidia.com/mig.config": "his-3g", "nvidia.com/mig.config.state": "success"}),
    )
    found = adapt(desired, with_mig_of("his-layouts"), known)
    assert found.policy is not None
    assert found.policy["spec"]["migManager"]["config"]["name"] == "gpuslice-mig-parted"
    carried = layouts(found)
    assert carried["his-3g"] == his
    assert next(iter(carried)) == "all-disabled"
    assert len(carried) > 2  # the plan's too


def test_a_layout_in_use_that_can_not_be_carried_along_is_in_the_way():
    desired = manifests.bundle(MIG, CATALOG, SETTINGS)
    labels = {"nvidia.com/mig.config": "his-3g", "nvidia.com/mig.config.state": "success"}
    with pytest.raises(AnswerIsNoError, match="node n1 uses the MIG layout 'his-3g'"):
        adapt(desired, with_mig_of("his-layouts"), made.snapshot(made.node("n1", labels=labels)))
    broken = mig_files()
    broken["data"]["config.yaml"] = "mig-configs: ["
    with pytest.raises(AnswerIsNoError, match="can't be carried along"):
        adapt(desired, with_mig_of("his-layouts"), made.snapshot(broken))
