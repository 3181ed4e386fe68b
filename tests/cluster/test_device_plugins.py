"""Doctor where no GPU Operator runs the device plugin: NVIDIA's chart, and DaemonSets that people wrote."""

import dataclasses

import pytest

from gpuslice.artefacts.documents import dump_yaml
from gpuslice.cloud import snapshot as catalogs
from gpuslice.cluster.checks.doctor import CHECKS, diagnose
from gpuslice.cluster.checks.finding import Severity
from gpuslice.cluster.client.resources import CLUSTER_POLICY, CONFIG_MAP, DAEMON_SET
from gpuslice.cluster.seen import dump
from gpuslice.cluster.seen.read import read
from gpuslice.cluster.seen.snapshot import Unread
from tests.cluster.made import node, pod
from tests.cluster.plugin_chart import LABEL, chart, variables
from tests.cluster.served import Served
from tests.cluster.sliced import (
    KEY,
    MIG,
    MIG_KEY,
    MIG_NAME,
    MPS4,
    MPS_KEY,
    TS4,
    cluster,
    daemon_set,
    node_pool,
)

CATALOG = catalogs.bundled()
ENTRIES = {"default": dump_yaml(MIG), KEY: dump_yaml(TS4), MIG_KEY: dump_yaml(MIG), MPS_KEY: dump_yaml(MPS4)}


def by_hand(path="/etc/plugin/shared.yaml", *, items=(), args=()):
    """A DaemonSet that somebody wrote: one file, and nobody who looks at labels."""
    made = chart(manager=False)
    made["metadata"] = {"name": "nvidia-device-plugin-daemonset", "namespace": "kube-system"}
    pod_spec = made["spec"]["template"]["spec"]
    pod_spec["containers"][0]["args"] = list(args)
    pod_spec["containers"][0]["env"] = variables(**({"CONFIG_FILE": path} if path else {}))
    pod_spec["volumes"] = [{"name": "config", "configMap": {"name": "plugin", "items": list(items)}}]
    return made


def config_map(name="nvdp-configs", namespace="nvidia", **entries):
    data = entries or ENTRIES
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace},
        "data": data,
    }


def wanting(key, name="n2", **labels):
    return node(name, labels={LABEL: key, **labels})


def plugin_pod(on, name="nvdp-nvidia-device-plugin", namespace="nvidia"):
    return pod(f"{name}-{on}", namespace, owner=("DaemonSet", name), node=on)


def seen(changes=None, *, policy=False, **fields):
    """The healthy cluster, run by the chart instead of the GPU Operator."""
    parts = {"standalone": chart(), "entries": config_map()}
    if not policy:
        parts |= {
            "policy": None,
            "plugin": None,
            "plugin pod": None,
            "plugin config": None,
            "mig config": None,
        }
    return cluster(parts | (changes or {}), **fields)


def found(snapshot, *codes):
    return [each for each in diagnose(snapshot, CATALOG) if each.code in (codes or {"GS401", "GS505"})]


def test_a_chart_that_has_what_is_named_is_well():
    assert diagnose(seen(), CATALOG) == []


@pytest.mark.parametrize(
    ("changes", "subject", "words"),
    [
        (
            {"n2": wanting("l4-ts5")},
            "Node n2",
            "wants the device plugin's configuration 'l4-ts5'; ConfigMap nvdp-configs has",
        ),
        (
            {"standalone": chart(default="gone")},
            "DaemonSet nvidia/nvdp-nvidia-device-plugin",
            "'gone'",
        ),
        (
            {"entries": None},
            "DaemonSet nvidia/nvdp-nvidia-device-plugin",
            "there is none in namespace nvidia",
        ),
        (
            {"entries": config_map(namespace="elsewhere")},
            "DaemonSet nvidia/nvdp-nvidia-device-plugin",
            "there is none in",
        ),
        ({"standalone": chart(manager=False, config="")}, "Node n1", "mounts no ConfigMap"),
        ({"standalone": chart(manager=False)}, "Node n1", "has no config-manager beside the plugin"),
        (
            {
                "standalone": chart(default="", fallbacks="named,single"),
                "entries": config_map(**{KEY: "x", "other": "y"}),
                "n2": node("n2"),
                "its": plugin_pod("n2"),
            },
            "DaemonSet nvidia/nvdp-nvidia-device-plugin",
            "runs on node n2, which has no label nvidia.com/device-plugin.config; it names no default",
        ),
        (
            {
                "standalone": by_hand(),
                "entries": config_map("plugin", "kube-system", config="x"),
                "node": None,
                "pool": None,
            },
            "DaemonSet kube-system/nvidia-device-plugin-daemonset",
            "'shared.yaml'; ConfigMap plugin has config",
        ),
        (
            {
                "standalone": by_hand("", args=["--config-file=/etc/plugin/shared.yaml"]),
                "entries": config_map("plugin", "kube-system", config="x"),
                "node": None,
                "pool": None,
            },
            "DaemonSet kube-system/nvidia-device-plugin-daemonset",
            "'shared.yaml'",
        ),
    ],
)
def test_gs401_looks_at_a_plugin_of_its_own(changes, subject, words):
    one, *_ = found(seen(changes), "GS401")
    assert one.subject == subject
    assert words in one.evidence
    assert "ClusterPolicy" not in f"{one.evidence} {one.fix}"


@pytest.mark.parametrize(
    "changes",
    [
        {"standalone": chart(default="", fallbacks="named"), "n2": node("n2"), "its": plugin_pod("n2")},
        {"standalone": chart(default="", fallbacks="empty"), "n2": node("n2"), "its": plugin_pod("n2")},
        {"standalone": chart(default="", fallbacks=""), "n2": node("n2")},
        {"n2": wanting("theirs"), "standalone": chart(selector={"group": "ours"})},
        {"n2": wanting("theirs"), "its": plugin_pod("n1")},
        {
            "standalone": by_hand(items=[{"key": "config", "path": "shared.yaml"}]),
            "entries": config_map("plugin", "kube-system", config="x"),
            "node": None,
            "pool": None,
        },
    ],
)
def test_what_another_plugin_reads_or_nobody_misses_is_no_fault(changes):
    assert found(seen(changes)) == []


def test_beside_a_gpu_operator_it_is_asked_about_the_nodes_that_it_runs_on():
    changes = {"n2": wanting("l4-ts5"), "its": plugin_pod("n2")}
    (mine, operators) = sorted(
        found(seen(changes, policy=True), "GS401"), key=lambda each: "nvdp" not in each.evidence
    )
    assert "nvdp-configs" in mine.evidence
    assert "gpuslice-device-plugin" in operators.evidence
    assert found(seen({"n2": node("n2"), "its": plugin_pod("n2")}, policy=True)) == []


@pytest.mark.parametrize(
    ("strategy", "labels", "types", "words"),
    [
        ("mixed", {LABEL: MPS_KEY}, ("g6.xlarge",), "MIG_STRATEGY is mixed, and NodePool l4-ts4"),
        (
            "single",
            {LABEL: MIG_KEY, "nvidia.com/mig.config": MIG_NAME},
            ("p5.48xlarge",),
            f"MIG_STRATEGY is single, and NodePool l4-ts4 with '{MIG_KEY}' wants mixed",
        ),
    ],
)
def test_gs505_looks_at_a_plugin_of_its_own(strategy, labels, types, words):
    changes = {"standalone": chart(MIG_STRATEGY=strategy), "pool": node_pool(labels=labels, types=types)}
    (one,) = found(seen(changes), "GS505")
    assert one.subject == "DaemonSet nvidia/nvdp-nvidia-device-plugin"
    assert words in one.evidence
    assert "kubectl set env daemonset nvdp-nvidia-device-plugin -n nvidia MIG_STRATEGY-" in one.fix


def test_gs505_looks_at_the_one_file_of_a_plugin_without_config_manager():
    args = ["--mig-strategy", "mixed"]
    changes = {
        "standalone": by_hand(args=args),
        "entries": config_map("plugin", "kube-system", **{"shared.yaml": dump_yaml(MPS4)}),
    }
    (one,) = found(seen(changes), "GS505")
    assert "shares by MPS" in one.evidence


@pytest.mark.parametrize("resource", [CLUSTER_POLICY, DAEMON_SET, CONFIG_MAP], ids=lambda each: each.plural)
def test_what_it_could_not_look_at_it_says(resource):
    whole = seen({"n2": wanting("l4-ts5")})
    blind = dataclasses.replace(
        whole,
        objects=tuple(each for each in whole.objects if each.kind != resource.kind),
        unread=(Unread(resource.title, f"{resource.plural} is forbidden"),),
    )
    told = {each.code: each for each in found(blind)}
    for code in ("GS401", "GS505"):
        assert told[code].severity is Severity.UNKNOWN
        assert f"{resource.title} can't be read: {resource.plural} is forbidden" in told[code].evidence


def test_its_config_map_is_read_in_its_own_namespace():
    objects = [chart(), config_map(), wanting("l4-ts5"), config_map("private", "nvidia")]
    snapshot = read(Served(*objects).api())
    assert set(snapshot.config_maps) == {("nvidia", "nvdp-configs")}
    assert [each.subject for each in found(snapshot)] == ["Node n2"]


def test_a_dump_keeps_what_its_settings_are(tmp_path):
    live = seen({"standalone": chart(default="gone", MIG_STRATEGY="mixed"), "n2": wanting(MPS_KEY)})
    dump.write(live, str(tmp_path))
    assert {each.code for each in found(live)} == {"GS401", "GS505"}
    assert diagnose(dump.load(str(tmp_path)), CATALOG) == diagnose(live, CATALOG)


def test_both_checks_read_daemon_sets():
    for each in CHECKS:
        if each.code in {"GS401", "GS505"}:
            assert {DAEMON_SET, CLUSTER_POLICY, CONFIG_MAP} <= set(each.reads)


def test_a_plugin_that_does_not_tolerate_a_pools_taint_never_runs_there():
    (one,) = found(seen({"standalone": chart(tolerations=())}), "GS604")
    assert one.subject == "DaemonSet nvidia/nvdp-nvidia-device-plugin"
    assert "doesn't tolerate gpuslice.io/pool, which taints NodePool l4-ts4" in one.evidence
    elsewhere = chart(tolerations=(), selector={"group": "ours"})
    assert found(seen({"standalone": elsewhere, "node": None}), "GS604") == []
    assert found(seen({"standalone": chart(tolerations=())}, policy=True), "GS604") == []


@pytest.mark.parametrize("name", ["gpu-feature-discovery", "nvdp-nvidia-device-plugin-mps-control-daemon"])
def test_other_programs_of_the_plugins_image_are_no_second_plugin(name):
    """NVIDIA ships them in one image since v0.15; on a node they run side by side."""
    beside = {"other": daemon_set(name, "nvidia"), "its": plugin_pod("n1", name), "plugins": plugin_pod("n1")}
    assert found(seen(beside), "GS103", "GS401") == []
    second = {
        "other": daemon_set("nvdp-2", "nvidia"),
        "its": plugin_pod("n1", "nvdp-2"),
        "plugins": plugin_pod("n1"),
    }
    assert [each.code for each in found(seen(second), "GS103")] == ["GS103"]
