"""What the rendered objects mean together: who is promised what, and by which name it is found."""

import email
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from gpuslice.carriers.device_plugin.node_features import FEATURE_FILE
from gpuslice.errors import InputError
from gpuslice.render.manifests import objects, render
from gpuslice.render.settings import RenderSettings
from tests.render.plans import (
    BOTTLEROCKET,
    CATALOG,
    FRACTIONAL,
    METERED,
    METERED_500,
    METERED_704,
    MIG,
    MIG_ALIKE,
    MIG_MIXED,
    MPS8,
    PLANS,
    SETTINGS,
    SHARED,
    SLOTS,
    TS4,
    WHOLE,
    assignment,
    plan,
    pool,
)

MPS_ALONE = plan((pool("p", MPS8, ("g5g.xlarge",)),))
WHOLE_ALONE = plan((pool("p", {"gpu": "L4", "mechanism": "whole"}, ("g6.xlarge",)),))


def applied(one, kind) -> Any:
    """Objects of a kind that are applied, by name."""
    found: list[Any] = [
        each for file in objects(one, CATALOG, SETTINGS) if file.applied for each in file.objects
    ]
    return {
        each["metadata"]["name"]: each["spec" if "spec" in each else "data"]
        for each in found
        if each["kind"] == kind
    }


def capacity(one) -> Any:
    return {name: spec["capacity"] for name, spec in applied(one, "NodeOverlay").items()}


def node_labels(one, name) -> Any:
    return applied(one, "NodePool")[name]["template"]["metadata"]["labels"]


@pytest.mark.parametrize("one", PLANS.values(), ids=PLANS)
def test_kustomize_applies_every_object_and_nothing_else(one):
    files = render(one, CATALOG, SETTINGS)
    listed = yaml.safe_load(files["kustomization.yaml"])["resources"]
    assert set(listed) == {each.path for each in objects(one, CATALOG, SETTINGS) if each.applied}
    assert set(listed) <= set(files)
    assert not [
        each for each in listed if each.startswith("workloads/") or "values" in each or "patch" in each
    ]


@pytest.mark.parametrize("one", PLANS.values(), ids=PLANS)
def test_every_overlay_is_scoped_by_its_pool_and_by_types_that_the_pool_has(one):
    pools = applied(one, "NodePool")
    for name, spec in applied(one, "NodeOverlay").items():
        among = {each["key"]: each["values"] for each in spec["requirements"]}
        [own] = among["karpenter.sh/nodepool"]
        types = {each["key"]: each["values"] for each in pools[own]["template"]["spec"]["requirements"]}
        assert name.startswith(own)
        assert set(among["node.kubernetes.io/instance-type"]) <= set(
            types["node.kubernetes.io/instance-type"]
        )


@pytest.mark.parametrize("one", PLANS.values(), ids=PLANS)
def test_no_two_overlays_have_one_weight(one):
    weights = [each["weight"] for each in applied(one, "NodeOverlay").values()]
    assert len(set(weights)) == len(weights)


@pytest.mark.parametrize("one", PLANS.values(), ids=PLANS)
def test_a_pools_nodes_carry_its_label_and_its_taint_and_have_a_class(one):
    classes = applied(one, "EC2NodeClass")
    for name, spec in applied(one, "NodePool").items():
        assert spec["template"]["metadata"]["labels"]["gpuslice.io/pool"] == name
        taint = {"key": "gpuslice.io/pool", "value": name, "effect": "NoSchedule"}
        assert spec["template"]["spec"]["taints"] == [taint]
        assert spec["template"]["spec"]["nodeClassRef"]["name"] in classes


@pytest.mark.parametrize("one", [SLOTS, METERED, MIG], ids=["slots", "metered", "mig"])
def test_the_configurations_that_nodes_name_exist(one):
    maps = applied(one, "ConfigMap")
    mig = yaml.safe_load(
        maps.get("gpuslice-mig-parted", {"config.yaml": "mig-configs: {all-disabled: []}"})["config.yaml"]
    )
    for name in applied(one, "NodePool"):
        labels = node_labels(one, name)
        assert labels.get("nvidia.com/device-plugin.config", "default") in maps["gpuslice-device-plugin"]
        assert labels.get("nvidia.com/mig.config", "all-disabled") in mig["mig-configs"]


def test_slots_are_counted_over_all_gpus_of_a_node_and_whole_gpus_are_gone():
    offered = capacity(SLOTS)
    assert offered["search-l4-ts4-1gpu"] == {"nvidia.com/gpu": "0", "nvidia.com/gpu.shared": "4"}
    assert offered["search-l4-ts4-4gpu"] == {"nvidia.com/gpu": "0", "nvidia.com/gpu.shared": "16"}


def test_a_fractional_type_is_promised_the_gpu_that_karpenter_does_not_see():
    assert capacity(SLOTS)["l4-fraction-fraction"] == {"nvidia.com/gpu": "1"}


def test_whole_gpus_need_no_overlay():
    assert not [name for name in capacity(SLOTS) if name.startswith("l4-whole")]


def test_no_pool_hangs_on_the_default_of_the_cluster():
    for one in PLANS.values():
        for each in one.pools if one.stack == "al2023" else ():
            assert "nvidia.com/device-plugin.config" in node_labels(one, each.name)


def test_mig_instances_are_summed_over_the_gpus_of_a_node():
    offered = capacity(MIG)
    assert offered["h100-mig-8gpu"] == {
        "nvidia.com/gpu": "0",
        "nvidia.com/mig-3g.40gb": "8",
        "nvidia.com/mig-1g.10gb": "32",
    }
    # Four GPUs of seven, three of two, and one that stays whole.
    assert offered["a100-mig-8gpu"] == {
        "nvidia.com/gpu": "1",
        "nvidia.com/mig-1g.5gb": "28",
        "nvidia.com/mig-3g.20gb": "6",
    }


def test_mig_parted_covers_every_gpu_once():
    entries = yaml.safe_load(applied(MIG, "ConfigMap")["gpuslice-mig-parted"]["config.yaml"])["mig-configs"]
    mixed = entries[node_labels(MIG, "a100-mig")["nvidia.com/mig.config"]]
    assert sorted(index for each in mixed for index in each["devices"]) == list(range(8))
    assert [each["mig-enabled"] for each in mixed] == [True, True, False]


def test_a_metered_node_has_what_its_overlay_promises_in_plain_numbers():
    rules = applied(METERED, "NodeFeatureRule")
    for name, offered in capacity(METERED).items():
        own = applied(METERED, "NodePool")[name.removesuffix("-1gpu")]
        [rule] = rules[own["template"]["spec"]["nodeClassRef"]["name"]]["rules"]
        assert offered["nvidia.com/gpu.shared"] == "16"
        assert offered["gpuslice.io/gpu-memory"] == "21Gi"
        assert rule["extendedResources"] == {
            "gpuslice.io/gpu-memory": str(21 * 1024**3),
            "gpuslice.io/gpu-time": offered["gpuslice.io/gpu-time"],
        }


def test_two_metered_pools_that_differ_in_time_alone_are_told_apart_on_the_node(tmp_path):
    features = {}
    for name, spec in applied(METERED, "NodePool").items():
        node_class = applied(METERED, "EC2NodeClass")[spec["template"]["spec"]["nodeClassRef"]["name"]]
        features[name] = feature_file(node_class["userData"], tmp_path / name)
    assert features["search-l4-500"] != features["chat-l4-704"] == features["vision-l4-704"]
    matched = [
        rule["rules"][0]["matchFeatures"][0]["matchExpressions"]["gpuslice.io/layout"]["value"][0]
        for rule in applied(METERED, "NodeFeatureRule").values()
    ]
    assert {f"# +no-label\ngpuslice.io/layout={each}\n" for each in matched} == set(features.values())


def feature_file(user_data, root: Path) -> Any:
    """The feature file that a node's user data writes, with `root` in the place of /."""
    message: Any = email.message_from_string(user_data)
    [script] = message.get_payload()
    assert script.get_content_type() == "text/x-shellscript"
    run = script.get_payload().replace("/etc/", f"{root}/etc/")
    subprocess.run(["bash", "-c", run], check=True)
    return Path(f"{root}{FEATURE_FILE}").read_text()


def test_pools_that_boot_alike_share_a_node_class():
    assert set(applied(SLOTS, "EC2NodeClass")) == {"gpuslice-al2023"}
    assert len(applied(METERED, "EC2NodeClass")) == 2


def test_the_pools_taint_is_tolerated_by_the_operator_and_by_node_feature_discovery():
    values = yaml.safe_load(render(SLOTS, CATALOG, SETTINGS)["gpu-operator/values.yaml"])
    own = {"key": "gpuslice.io/pool", "operator": "Exists", "effect": "NoSchedule"}
    assert own in values["daemonsets"]["tolerations"]
    assert own in values["node-feature-discovery"]["worker"]["tolerations"]
    assert not values["driver"]["enabled"]
    assert not values["toolkit"]["enabled"]


@pytest.mark.parametrize(
    ("one", "strategy", "patched"),
    [
        (MIG, "mixed", "mixed"),
        (METERED, "mixed", "mixed"),
        (SLOTS, "single", None),
        (MPS_ALONE, "single", None),
        (WHOLE_ALONE, "mixed", "mixed"),
        (plan((*MIG.pools, *MPS_ALONE.pools)), "", None),
    ],
    ids=["mig", "metered", "slots", "mps", "whole", "mps and mig"],
)
def test_the_mig_strategy_is_none_that_mps_would_refuse(one, strategy, patched):
    files = render(one, CATALOG, SETTINGS)
    text = files["gpu-operator/values.yaml"]
    assert yaml.safe_load(text)["mig"]["strategy"] == strategy
    assert ("Helm 4" in text) == (strategy == "")  # which can't install an empty one
    policy = yaml.safe_load(files["gpu-operator/cluster-policy-patch.yaml"])
    assert policy["spec"]["mig"]["strategy"] == patched


def test_the_mig_manager_is_touched_only_where_there_is_mig():
    assert "migManager" not in yaml.safe_load(render(SLOTS, CATALOG, SETTINGS)["gpu-operator/values.yaml"])
    values = yaml.safe_load(render(MIG, CATALOG, SETTINGS)["gpu-operator/values.yaml"])
    assert values["migManager"]["config"] == {"name": "gpuslice-mig-parted", "default": "all-disabled"}
    assert values["migManager"]["env"] == [{"name": "WITH_REBOOT", "value": "true"}]


def test_a_pool_may_double_and_no_more():
    assert applied(SLOTS, "NodePool")["search-l4-ts4"]["limits"] == {
        "nodes": "4",
        "nvidia.com/gpu.shared": "64",  # as if all were of the larger of its two types
    }
    empty = plan((pool("p", TS4, ("g6.xlarge",), count=0),))
    assert "limits" not in applied(empty, "NodePool")["p"]


# Bottlerocket


def settings_of(name) -> Any:
    spec = applied(BOTTLEROCKET, "NodePool")[name]["template"]["spec"]
    user_data = applied(BOTTLEROCKET, "EC2NodeClass")[spec["nodeClassRef"]["name"]].get("userData", "")
    return tomllib.loads(user_data).get("settings", {}).get("kubelet-device-plugins", {}).get("nvidia")


def test_bottlerocket_is_set_by_user_data():
    assert settings_of("search-l4-ts4") == {
        "device-sharing-strategy": "time-slicing",
        "time-slicing": {"replicas": 4, "rename-by-default": True, "fail-requests-greater-than-one": True},
    }
    assert settings_of("vision-t4g-mps8") == {
        "device-sharing-strategy": "mps",
        "mps": {"replicas": 8, "rename-by-default": True},
    }
    assert settings_of("h100-mig") == {
        "device-partitioning-strategy": "mig",
        "mig": {"profile": {"h100.80gb": "1g.10gb"}},
    }
    assert settings_of("l4-whole") is None


def test_bottlerockets_mig_instances_are_called_gpus():
    assert capacity(BOTTLEROCKET)["h100-mig-8gpu"] == {"nvidia.com/gpu": "56"}


def test_the_gpu_operator_is_kept_off_bottlerocket():
    assert not [
        each for each in render(BOTTLEROCKET, CATALOG, SETTINGS) if each.startswith(("gpu-operator", "nfd"))
    ]
    assert node_labels(BOTTLEROCKET, "h100-mig") == {
        "gpuslice.io/pool": "h100-mig",
        "nvidia.com/gpu.deploy.operands": "false",
    }


def test_bottlerockets_images_are_on_its_second_volume():
    spec = applied(BOTTLEROCKET, "EC2NodeClass")["gpuslice-bottlerocket"]
    sizes = {each["deviceName"]: each["ebs"]["volumeSize"] for each in spec["blockDeviceMappings"]}
    assert sizes == {"/dev/xvda": "4Gi", "/dev/xvdb": "200Gi"}
    assert spec["amiSelectorTerms"] == [{"alias": "bottlerocket@v1.54.0"}]


# Plans that can't be right


@pytest.mark.parametrize(
    ("pools", "assignments", "stack", "message"),
    [
        (
            [pool("p", TS4, ("g6.xlrge",))],
            [],
            "al2023",
            "pools[0].instanceTypes: instance type 'g6.xlrge' is not",
        ),
        ([pool("p", TS4, ())], [], "al2023", "pools[0]: a pool needs instance types"),
        ([pool("p", TS4, ("p5.48xlarge",))], [], "al2023", "p5.48xlarge has H100, not L4"),
        ([pool("p", FRACTIONAL, ("g6.xlarge",))], [], "al2023", "g6.xlarge can't be fractional"),
        ([pool("p", TS4, ("g6f.large",))], [], "al2023", "g6f.large can't be time-slicing"),
        ([pool("p", METERED_500, ("g6.12xlarge",))], [], "al2023", "only nodes with one GPU can be metered"),
        (
            [pool("p", {"gpu": "L4", "mechanism": "mps"}, ("g6.xlarge",))],
            [],
            "al2023",
            "mps without replicas",
        ),
        (
            [pool("p", {"gpu": "L99", "mechanism": "whole"}, ("g6.xlarge",))],
            [],
            "al2023",
            "unknown GPU 'L99'",
        ),
        (
            [pool("p", {"gpu": "H100", "mechanism": "mig"}, ("p5.48xlarge",))],
            [],
            "al2023",
            "MIG needs either",
        ),
        (
            [pool("p", {**MIG_MIXED, "geometries": MIG_MIXED["geometries"][:7]}, ("p4d.24xlarge",))],
            [],
            "al2023",
            "has 8 GPUs, and geometries lists 7",
        ),
        (
            [pool("p", {**MIG_ALIKE, "geometry": [{"profile": "1g.12gb", "count": 1}]}, ("p5.48xlarge",))],
            [],
            "al2023",
            "H100 has no MIG profile '1g.12gb'",
        ),
        (
            [pool("p", {**METERED_704, "metered": {"memory": "lots", "time": 704}}, ("g6.xlarge",))],
            [],
            "al2023",
            "'lots' is not a quantity",
        ),
        (
            [pool("p", {**METERED_704, "metered": {"memory": "24Gi", "time": 704}}, ("g6.xlarge",))],
            [],
            "al2023",
            "pools[0].layout.metered.memory: promises 24Gi of an L4, which has 22558Mi",
        ),
        (
            [pool("p", {**METERED_704, "metered": {"memory": "20Gi", "time": 900}}, ("g6.xlarge",))],
            [],
            "al2023",
            "pools[0].layout.metered.time: promises 900 thousandths of the GPU's time, sustained are 704 at most",
        ),
        (
            [pool("p", METERED_704, ("g6.xlarge",))],
            [],
            "bottlerocket",
            "pools[0].layout: Bottlerocket can't meter",
        ),
        ([pool("p", MIG_ALIKE, ("p5.48xlarge",))], [], "bottlerocket", "one profile only"),
        ([pool("p", TS4, ("g6.xlarge",))] * 2, [], "al2023", "two pools are named 'p'"),
        (
            [pool("p", TS4, ("g6.xlarge",))],
            [assignment("a/b", "q", SHARED)],
            "al2023",
            "assignments[0].pool: there is no pool 'q'",
        ),
        (
            [pool("p", TS4, ("g6.xlarge",))],
            [assignment("a/b", "p", WHOLE)],
            "al2023",
            "a/b asks for nvidia.com/gpu, which g6.xlarge in pool p doesn't offer\noffered: nvidia.com/gpu.shared",
        ),
        (
            [pool("p", METERED_704, ("g6.xlarge",))],
            [assignment("a/b", "p", SHARED)],
            "al2023",
            "must both be metered, or neither",
        ),
    ],
)
def test_a_plan_that_contradicts_itself_is_refused_with_the_field(pools, assignments, stack, message):
    with pytest.raises(InputError) as refused:
        render(plan(tuple(pools), tuple(assignments), stack), CATALOG, SETTINGS)
    assert message in str(refused.value)
    assert refused.value.fix


@pytest.mark.parametrize(
    ("settings", "where", "fix"),
    [
        ({"cluster": "a b"}, "--cluster", "list-clusters"),
        ({"role": ""}, "--role", "--instance-profile"),
        ({"instance_profile": "p"}, "--role", "instead"),
        ({"role": "arn:aws:iam::123456789012:role/nodes"}, "--role", "write its name: nodes"),
        ({"role": "", "instance_profile": "a/b"}, "--instance-profile", "letters"),
        ({"root_volume_gib": 0}, "--root-volume", "16384"),
        ({"consolidate_after": "soon"}, "--consolidate-after", "5m"),
        ({"operator_namespace": "Kube_System"}, "--operator-namespace", "lower-case"),
    ],
)
def test_settings_that_aws_or_kubernetes_would_refuse_are_refused_here(settings, where, fix):
    with pytest.raises(InputError) as refused:
        RenderSettings(**({"cluster": "lab", "role": "nodes"} | settings))
    assert refused.value.where == where
    assert fix in refused.value.fix


@pytest.mark.parametrize("version", ["1.54.0", "v20260801", "al2023@v20260801"])
def test_an_image_version_of_another_stack_is_refused(version):
    with pytest.raises(InputError, match="no version of bottlerocket"):
        render(BOTTLEROCKET, CATALOG, RenderSettings(cluster="lab", role="nodes", image_version=version))


def test_a_plan_without_pools_renders_nothing_to_boot():
    files = render(plan(()), CATALOG, SETTINGS)
    assert not [each for each in files if each.startswith(("karpenter", "workloads", "nfd"))]
    assert msgspec.convert(yaml.safe_load(files["kustomization.yaml"])["resources"], list[str])


def test_mps_and_time_slicing_of_equal_slots_get_different_entries():
    one = plan(
        (pool("a", MPS8, ("g5g.xlarge",)), pool("b", {**MPS8, "mechanism": "time-slicing"}, ("g5g.xlarge",)))
    )
    key = "nvidia.com/device-plugin.config"
    assert node_labels(one, "a")[key] != node_labels(one, "b")[key]
