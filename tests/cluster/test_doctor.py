"""Every check finds its fault, and nothing in a healthy cluster."""

import dataclasses

import pytest

from gpuslice.artefacts.documents import dump_yaml
from gpuslice.cloud import snapshot as catalogs
from gpuslice.cluster.checks.doctor import CHECKS, diagnose
from gpuslice.cluster.checks.finding import Severity
from gpuslice.cluster.client.resources import KNOWN, NODE, POD
from gpuslice.cluster.seen import dump
from gpuslice.cluster.seen.snapshot import Unread
from tests.cluster.made import deployment, node, pod
from tests.cluster.sliced import (
    KEY,
    MIG_KEY,
    MIG_NAME,
    MPS_KEY,
    ONE,
    SEAT,
    SEATS,
    TOLERATION,
    TS4,
    claim_template,
    claiming,
    cluster,
    cluster_policy,
    config_map,
    daemon_set,
    karpenter,
    node_class,
    node_pool,
    overlay,
    plugin_pod,
    seated,
    seated_pod,
    sliced_node,
    sliced_pod,
)

CATALOG = catalogs.bundled()
WHOLE = {"nvidia.com/gpu": "1"}
METER = {"gpuslice.io/gpu-memory": "6Gi", "gpuslice.io/gpu-time": "180"}
METERED = {
    "nvidia.com/gpu": "0",
    "nvidia.com/gpu.shared": "16",
    "gpuslice.io/gpu-memory": "22Gi",
    "gpuslice.io/gpu-time": "704",
}
OFF = {"type": "ValidationSucceeded", "status": "False"}


def claim(status="Unknown", reason="ResourceNotRegistered", created="2026-11-22T00:00:00Z"):
    return {
        "apiVersion": "karpenter.sh/v1",
        "kind": "NodeClaim",
        "metadata": {"name": "l4-ts4-abc", "creationTimestamp": created},
        "status": {
            "nodeName": "n1",
            "conditions": [
                {"type": "Initialized", "status": status, "reason": reason, "message": "not registered"}
            ],
        },
    }


def named_image(**term):
    return node_class(amiSelectorTerms=[term], amiFamily="AL2023")


def auto_mode(pool):
    """A NodePool of EKS Auto Mode's."""
    pool["spec"]["template"]["spec"]["nodeClassRef"] = {
        "group": "eks.amazonaws.com",
        "kind": "NodeClass",
        "name": "default",
    }
    return pool


def open_pool(name):
    """One that says nothing of machines."""
    pool = node_pool(name, labels={"gpuslice.io/pool": name})
    pool["spec"]["template"]["spec"]["requirements"] = []
    return pool


def of_tenant(each, tenant):
    each["metadata"]["annotations"] = {"gpuslice.io/tenant": tenant}
    return each


def with_init(each, **container):
    each["spec"]["initContainers"] = [{"name": "init", "resources": {"limits": ONE}, **container}]
    return each


# Node groups whose GPUs are shared without a name for that: type, labels, what is offered, and by what one sees it.
STRATEGY, REPLICAS = "nvidia.com/gpu.sharing-strategy", "nvidia.com/gpu.replicas"
PRODUCT = "nvidia.com/gpu.product"
PLAIN_SHARED: list[tuple[str, dict[str, str], str, str]] = [
    ("g5.xlarge", {STRATEGY: "time-slicing", REPLICAS: "4"}, "4", f"{STRATEGY}=time-slicing"),
    ("g5.xlarge", {STRATEGY: "mps"}, "4", f"{STRATEGY}=mps"),
    ("g5.xlarge", {REPLICAS: "4"}, "4", f"{REPLICAS}=4"),
    ("m5.large", {"nvidia.com/mig-1g.5gb.replicas": "2"}, "2", "nvidia.com/mig-1g.5gb.replicas=2"),
    ("g5.xlarge", {PRODUCT: "NVIDIA-A10G-SHARED"}, "1", f"{PRODUCT}=NVIDIA-A10G-SHARED"),
    ("g5.12xlarge", {}, "8", "8 nvidia.com/gpu on g5.12xlarge, which has 4"),
    (
        "p4d.24xlarge",
        {"nvidia.com/mig.strategy": "none"},
        "16",
        "16 nvidia.com/gpu on p4d.24xlarge, which has 8",
    ),
]

# Code, the part of the healthy cluster that is changed, and words that the finding must have.
FAULTS = [
    (
        "GS101",
        {
            "pod": pod("a", asks=ONE, selector={"eks.amazonaws.com/compute-type": "auto"}, phase="Pending"),
            "auto": node("auto", labels={"eks.amazonaws.com/compute-type": "auto"}, capacity={}),
        },
        "Auto Mode has neither",
    ),
    (
        "GS101",
        {
            "node": None,
            "auto": node("auto", labels={"eks.amazonaws.com/compute-type": "auto"}, capacity={}),
            "pool": auto_mode(node_pool()),
            "pod": sliced_pod(on="", phase="Pending"),
        },
        "Pod search/search-1",
    ),
    (
        "GS101",
        {
            "auto": node("auto", labels={"eks.amazonaws.com/compute-type": "auto"}, capacity={}),
            "theirs": auto_mode(node_pool("general", labels={"gpuslice.io/pool": "general"})),
            "a": pod("a", asks=ONE, selector={"karpenter.sh/nodepool": "general"}, phase="Pending"),
        },
        "Pod shop/a",
    ),
    ("GS102", {"karpenter": karpenter(image="karpenter/controller:v1.9.0")}, "v1.9.0"),
    (
        "GS102",
        {
            "pool": node_pool(labels={"nvidia.com/mig.config": "all-disabled"}),
            "mig": daemon_set("mig", image="k8s-mig-manager:v0.15.0-ubuntu"),
        },
        "2833",
    ),
    (
        "GS103",
        {
            "other": daemon_set("nvdp", "kube-system", image="nvcr.io/nvidia/k8s-device-plugin:v0.17"),
            "other pod": pod("nvdp-1", "kube-system", owner=("DaemonSet", "nvdp"), node="n1"),
        },
        "kube-system/nvdp",
    ),
    (
        "GS201",
        {"karpenter": karpenter("SpotToSpotConsolidation=true,NodeOverlay=false")},
        "NodeOverlay=false",
    ),
    ("GS201", {"karpenter": karpenter(None)}, "isn't set"),
    ("GS201", {"karpenter": karpenter(args=["--feature-gates", "NodeOverlay=false"])}, "NodeOverlay=false"),
    ("GS201", {"karpenter": None, "overlay": overlay(status={})}, "none of 1"),
    ("GS202", {"overlay": None, "node": None, "pod": None}, "isn't there"),
    ("GS203", {"overlay": overlay(pools=())}, "requirements is empty"),
    (
        "GS203",
        {
            "overlay": overlay(
                pools=(),
                more=[{"key": "karpenter.k8s.aws/instance-gpu-count", "operator": "In", "values": ["1"]}],
            ),
            "other": node_pool("others"),
        },
        "others",
    ),
    (
        "GS203",
        {"overlay": overlay(pools=(), capacity={"gpuslice.io/gpu-time": "704"})},
        "gpuslice.io/gpu-time",
    ),
    (
        "GS203",
        {
            "overlay": overlay(
                pools=(), more=[{"key": "karpenter.sh/nodepool", "operator": "NotIn", "values": ["cpu"]}]
            )
        },
        "reaches NodePools l4-ts4",
    ),
    ("GS204", {"pool": node_pool(types=("g6.xlarge", "g6.12xlarge"))}, "g6.12xlarge (4)"),
    (
        "GS205",
        {
            "overlay": overlay(
                status={**OFF, "reason": "Conflict", "message": "conflict with another overlay"}
            )
        },
        "weight of its own",
    ),
    (
        "GS205",
        {
            "overlay": overlay(
                status={**OFF, "reason": "RuntimeValidation", "message": "invalid capacity: efa"}
            )
        },
        "efa",
    ),
    ("GS206", {"other": overlay("other", capacity={"nvidia.com/gpu.shared": "8"})}, "l4-ts4-1gpu for all"),
    ("GS206", {"other": overlay("other")}, "l4-ts4-1gpu for all"),
    (
        "GS207",
        {"other": overlay("other", weight=2000, capacity={"nvidia.com/gpu.shared": "8"})},
        "no effect there",
    ),
    ("GS208", {"overlay": overlay(capacity={"nvidia.com/gpu.shared": "-4"})}, "negative"),
    ("GS208", {"overlay": overlay(capacity={"nvidia.com/gpu.shared": "1.5"})}, "whole numbers"),
    ("GS208", {"overlay": overlay(capacity={"not a resource": "1"})}, "no name of a resource"),
    ("GS208", {"overlay": overlay(capacity={"gpu-shared": "4"})}, "without a domain"),
    ("GS209", {"overlay": overlay(pools=("l4-ts5",))}, "l4-ts5"),
    (
        "GS301",
        {"node": sliced_node(allocatable={"nvidia.com/gpu.shared": "2"})},
        "offers 2 of nvidia.com/gpu.shared, promised were 4",
    ),
    (
        "GS301",
        {"node": sliced_node(allocatable={"nvidia.com/gpu.shared": "4", "nvidia.com/gpu": "1"})},
        "meant for slices",
    ),
    ("GS302", {"claim": claim()}, "no timeout"),
    (
        "GS303",
        {
            "pod": sliced_pod(
                asks={"nvidia.com/gpu-shared": "1", "nvidia.com/mig-1g.10gb": "1"}, on="", phase="Pending"
            )
        },
        "nvidia.com/mig-1g.10gb",
    ),
    (
        "GS303",
        {"pod": sliced_pod(asks={"nvidia.com/gpu-shared": "1"}, on="", phase="Pending")},
        "did you mean 'nvidia.com/gpu.shared'?",
    ),
    (
        "GS304",
        {"pod": sliced_pod(more=[{"name": "side", "resources": {"limits": ONE}}])},
        "side (nvidia.com/gpu.shared)",
    ),
    ("GS304", {"pod": with_init(sliced_pod(), restartPolicy="Always")}, "init (nvidia.com/gpu.shared)"),
    (
        "GS305",
        {"overlay": overlay(capacity=METERED)},
        "no gpuslice.io/gpu-memory and no gpuslice.io/gpu-time",
    ),
    (
        "GS306",
        {"overlay": overlay(capacity=METERED), "node": sliced_node(allocatable=METERED)},
        "without saying how much",
    ),
    (
        "GS301",
        seated() | {"node": sliced_node(allocatable=SEATS | {SEAT: "2"})},
        f"offers 2 of {SEAT}, promised were 3",
    ),
    (
        "GS303",
        seated() | {"more": seated_pod("more", seat=f"{SEAT}s", on="", phase="Pending")},
        f"did you mean '{SEAT}'?",
    ),
    (
        "GS303",
        seated() | {"more": sliced_pod("more", asks={"nvidia.com/gpu.x": "1"}, on="", phase="Pending")},
        "offered are nvidia.com/gpu, nvidia.com/gpu.shared, the seats of 2 workloads",
    ),
    (
        "GS305",
        seated() | {"node": sliced_node(allocatable={"nvidia.com/gpu": "0", "nvidia.com/gpu.shared": "4"})},
        f"has no {SEAT} and no gpuslice.io/seat-vision.tagger",
    ),
    ("GS309", seated() | {"more": sliced_pod("more")}, "asks for no seat there"),
    ("GS309", seated() | {"more": seated_pod("more", seat="gpuslice.io/seat-a.b")}, "asks for no seat there"),
    (
        "GS310",
        {"claims": claiming("gen-1"), "template": claim_template()},
        "claims a GPU (gpu.nvidia.com) by DRA, and has no node neither Karpenter on AWS nor gpuslice makes nodes",
    ),
    (
        "GS310",
        {name: claiming(name, owner=("ReplicaSet", "gen")) for name in ("gen-1", "gen-2")},
        "as 1 more of its owner's do",
    ),
    (
        "GS602",
        seated() | {"node": None, "more": seated_pod("more", on="", phase="Pending", tolerations=[])},
        "add the toleration {key: gpuslice.io/pool, operator: Exists, effect: NoSchedule}",
    ),
    ("GS401", {"node": sliced_node(labels={"nvidia.com/device-plugin.config": "l4-ts5"})}, "'l4-ts5'"),
    ("GS401", {"policy": cluster_policy(devicePlugin={"config": {"name": "gone"}})}, "'gone'"),
    ("GS401", {"policy": cluster_policy(devicePlugin={})}, "names no ConfigMap"),
    (
        "GS401",
        {
            "policy": cluster_policy(
                devicePlugin={"config": {"name": "gpuslice-device-plugin", "default": "any"}}
            )
        },
        "'any'",
    ),
    (
        "GS402",
        {"plugin config": config_map(data={"default": "", KEY: dump_yaml(TS4).replace("4", "8")})},
        "was edited",
    ),
    (
        "GS501",
        {"node": sliced_node(labels={"nvidia.com/mig.config.state": "failed"})},
        "mig.config.state=failed",
    ),
    (
        "GS501",
        {
            "node": sliced_node(
                labels={
                    "nvidia.com/mig.config.state": "success",
                    "nvidia.com/gpu.deploy.device-plugin": "paused-for-mig-change",
                }
            )
        },
        "2833",
    ),
    (
        "GS502",
        {"node": sliced_node(labels={"nvidia.com/mig.config.state": "pending"})},
        "search/search-1 holds",
    ),
    (
        "GS506",
        {"node": sliced_node(labels={"nvidia.com/mig.config.state": "rebooting"}), "pod": None},
        "since 2026-11-22",
    ),
    ("GS503", {"node": sliced_node(labels={"nvidia.com/mig.config": MIG_NAME})}, "L4 has no MIG"),
    ("GS503", {"pool": node_pool(labels={"nvidia.com/mig.config": MIG_NAME})}, "NodePool l4-ts4"),
    ("GS504", {"node": sliced_node(labels={"nvidia.com/mig.config": "h100-7x1g.10gb-abc124"})}, MIG_NAME),
    (
        "GS505",
        {
            "policy": cluster_policy(mig={"strategy": "mixed"}),
            "pool": node_pool(labels={"nvidia.com/device-plugin.config": MPS_KEY}),
        },
        "doesn't start with MPS",
    ),
    (
        "GS505",
        {
            "policy": cluster_policy(mig={"strategy": "single"}),
            "pool": node_pool(
                types=("p5.48xlarge",),
                labels={"nvidia.com/device-plugin.config": MIG_KEY, "nvidia.com/mig.config": MIG_NAME},
            ),
        },
        "mig.strategy is single",
    ),
    (
        "GS601",
        {
            "overlay": overlay(capacity={"nvidia.com/gpu.shared": "4"}),
            "whole": pod("w", asks=WHOLE, tolerations=[TOLERATION], node="n9"),
        },
        "shop/w",
    ),
    (
        "GS601",
        {
            "overlay": overlay(capacity={"nvidia.com/gpu.shared": "4"}),
            "pool": node_pool(taint=False),
            "whole": pod("w", asks=WHOLE, node="n9"),
        },
        "shop/w",
    ),
    ("GS602", {"pod": sliced_pod(pool="l4-ts5")}, "'l4-ts4'"),
    ("GS602", {"pod": sliced_pod(tolerations=[])}, "doesn't tolerate"),
    (
        "GS602",
        {"other": pod("w", asks=ONE, phase="Pending"), "second": node_pool("l4-b"), "node": None},
        "doesn't tolerate NodePool l4-ts4's taint gpuslice.io/pool=l4-ts4:NoSchedule",
    ),
    ("GS603", {"other": sliced_pod("vision-1", "vision")}, "search, vision"),
    (
        "GS603",
        {"pod": of_tenant(sliced_pod(), "a"), "other": of_tenant(sliced_pod("search-2"), "b")},
        "the tenants a, b",
    ),
    *(
        (
            "GS603",
            {
                "plain": node("n2", kind, labels=labels, capacity={"nvidia.com/gpu": count}),
                "a": pod("a", "search", asks=WHOLE, node="n2"),
                "b": pod("b", "vision", asks=WHOLE, node="n2"),
            },
            f"shared ({sign}), and used by the tenants search, vision",
        )
        for kind, labels, count, sign in PLAIN_SHARED
    ),
    (
        "GS603",
        {
            "plain": node("n2", "p4d.24xlarge", capacity={"nvidia.com/mig-1g.5gb.shared": "8"}),
            "a": pod("a", "search", asks={"nvidia.com/mig-1g.5gb.shared": "1"}, node="n2"),
            "b": pod("b", "vision", asks={"nvidia.com/mig-1g.5gb.shared": "1"}, node="n2"),
        },
        "shared (nvidia.com/mig-1g.5gb.shared)",
    ),
    ("GS604", {"policy": cluster_policy(daemonsets={})}, "no device plugin runs"),
    (
        "GS604",
        {"nfd": daemon_set("gpu-operator-node-feature-discovery-worker", image="nfd")},
        "DaemonSet gpu-operator/",
    ),
    ("GS701", {"pool": node_pool(types=("g6.xlarge", "g6.12xlarge"))}, "1 to 4 GPUs"),
    ("GS701", {"pool": node_pool(types=("g6.12xlarge", "g6.48xlarge"))}, "4 to 8 GPUs"),
    (
        "GS701",
        {"any": open_pool("any"), "n2": node("n2", "g6.xlarge", labels={"karpenter.sh/nodepool": "any"})},
        "NodePool any admits machines of 1 to",
    ),
    ("GS702", {"class": node_class(size="20Gi")}, "20 GiB"),
    ("GS702", {"class": node_class(size="")}, "Karpenter's default"),
    ("GS703", {"policy": cluster_policy(driver={"enabled": True})}, "has a driver"),
    ("GS703", {"class": node_class(alias="bottlerocket@v1.54.0")}, "two on a node"),
    ("GS703", {"class": node_class(alias="ubuntu@x")}, "has no driver"),
    ("GS703", {"policy": cluster_policy(toolkit={"enabled": True})}, "has a toolkit"),
    (
        "GS704",
        {"class": named_image(name="amazon-eks-node-al2023-x86_64-standard-1.35-*")},
        "standard-1.35",
    ),
    (
        "GS704",
        {"class": named_image(ssmParameter="/aws/service/eks/optimized-ami/1.35/amazon-linux-2023/standard")},
        "nothing in that says NVIDIA",
    ),
]


def diagnosed(snapshot):
    return diagnose(snapshot, CATALOG)


def test_a_healthy_cluster_has_nothing_wrong():
    assert diagnosed(cluster()) == []


def test_a_cluster_without_gpus_has_nothing_wrong():
    from tests.cluster.made import snapshot

    assert (
        diagnosed(snapshot(node("cpu", "m5.large", capacity={"cpu": "2"}), pod("web"), deployment("web")))
        == []
    )


@pytest.mark.parametrize(
    ("code", "changes", "words"), FAULTS, ids=[f"{each[0]}-{each[2][:20]}" for each in FAULTS]
)
def test_a_check_finds_its_fault(code, changes, words):
    found = [each for each in diagnosed(cluster(changes)) if each.code == code]
    assert found, f"{code} found nothing"
    text = " ".join(f"{each.subject} {each.evidence} {each.consequence} {each.fix}" for each in found)
    assert words in text
    assert all(each.subject and each.evidence and each.consequence and each.fix for each in found)


def test_every_check_has_a_fault():
    given = {
        "GS307",
        "GS308",
        "GS801",
        "GS802",
        "GS803",
    }  # need more than a cluster: test_use.py, test_drift.py
    assert {code for code, _, _ in FAULTS} | given == {each.code for each in CHECKS}


def test_codes_are_given_once():
    assert len({each.code for each in CHECKS}) == len(CHECKS)


@pytest.mark.parametrize(
    "changes",
    [
        {"node": sliced_node(allocatable={}, created="2026-11-22T23:55:00Z")},
        {"claim": claim(created="2026-11-22T23:55:00Z")},
        {"claim": claim(status="True", reason="Initialized")},
        {"other": overlay("other", capacity={"example.com/other": "8"})},
        {"other": sliced_pod("search-2")},
        *(
            {
                "plain": node("n2", kind, labels=labels, capacity={"nvidia.com/gpu": count}),
                "a": pod("a", "search", asks=WHOLE, node="n2"),
                "b": pod("b", "vision", asks=WHOLE, node="n2"),
            }
            for kind, labels, count in [
                ("g5.12xlarge", {REPLICAS: "1", STRATEGY: "none"}, "4"),
                ("g5.12xlarge", {REPLICAS: "0"}, "4"),
                # MIG instances that go by the name of GPUs
                ("p4d.24xlarge", {"nvidia.com/mig.strategy": "single"}, "56"),
                ("p4d.24xlarge", {"nvidia.com/mig.config": "all-disabled"}, "16"),
                ("p4d.24xlarge", {}, "56"),
                ("g5.12xlarge", {}, "6"),
            ]
        ),
        {"gone": sliced_pod("old", pool="gone", phase="Succeeded")},
        {"pod": with_init(sliced_pod())},
        {
            "karpenter": karpenter(
                None, args=["--feature-gates=SpotToSpotConsolidation=true,NodeOverlay=true"]
            )
        },
        {"any": open_pool("any")},
        {
            "owner": of_tenant(deployment("embedder", "vision", asks=ONE), "search"),
            "other": sliced_pod("embedder-1", "vision", owner=("Deployment", "embedder")),
        },
        {
            "overlay": overlay(capacity={"nvidia.com/gpu.shared": "4"}),
            "w": pod(
                "w",
                asks=WHOLE,
                tolerations=[TOLERATION],
                selector={"karpenter.sh/nodepool": "whole"},
                node="n9",
            ),
        },
        {
            "overlay": overlay(capacity={"nvidia.com/gpu.shared": "4"}),
            "w": pod(
                "w",
                asks=WHOLE,
                tolerations=[TOLERATION],
                selector={"node.kubernetes.io/instance-type": "g5.xlarge"},
                node="n9",
            ),
        },
        {"w": pod("w", asks=ONE, phase="Pending")},
        {"claims": claiming("gen-1", on="n1"), "template": claim_template()},
        {"claims": claiming("gen-1", phase="Failed"), "template": claim_template()},
        {
            "claims": claiming("nics-1", template="rdma"),
            "template": claim_template("rdma", "rdma.example.com"),
        },
        seated(),
        seated() | {"more": seated_pod("more", on="", phase="Pending")},
        # It tolerates every pool of gpuslice's, and its seat keeps it out of this one, which leaves whole GPUs there.
        {
            "overlay": overlay(capacity={"nvidia.com/gpu.shared": "4"}),
            "whole": overlay("whole", pools=("whole",), capacity={SEAT: "1"}, weight=1),
            "whole pool": node_pool("whole", labels={"nvidia.com/device-plugin.config": "default"}),
            "w": pod("w", asks=WHOLE | {SEAT: "1"}, tolerations=[TOLERATION], phase="Pending"),
        },
        {"other": sliced_node("n2", labels={"nvidia.com/mig.config.state": "success"})},
        {"class": node_class(size="", instanceStorePolicy="RAID0")},
        {"class": named_image(name="amazon-eks-node-al2023-x86_64-nvidia-1.35-*")},
        {"class": named_image(id="ami-0123456789abcdef0")},
        {
            "policy": cluster_policy(toolkit={"enabled": True}),
            "pool": node_pool(labels={"nvidia.com/gpu.deploy.container-toolkit": "false"}),
        },
        {
            "node": sliced_node(
                labels={"nvidia.com/mig.config.state": "pending"},
                allocatable={},
                created="2026-11-22T23:55:00Z",
            ),
            "pod": None,
        },
        {
            "other": node_pool("whole", labels={"nvidia.com/device-plugin.config": "default"}),
            "w": pod("w", asks=WHOLE, tolerations=[TOLERATION]),
        },
        {
            "plugin pod 2": plugin_pod("plugin-2", "nvidia-device-plugin-daemonset", "n2"),
            "n2": sliced_node("n2"),
        },
    ],
    ids=str,
)
def test_what_only_looks_like_a_fault_is_none(changes):
    assert diagnosed(cluster(changes)) == []


def test_what_could_not_be_read_is_not_called_healthy():
    found = diagnosed(cluster({"overlay": None}, unread=(Unread("nodeoverlays.karpenter.sh", "forbidden"),)))
    unknown = {each.code for each in found if each.severity is Severity.UNKNOWN}
    assert {"GS201", "GS203", "GS301"} <= unknown
    assert "GS604" not in unknown


@pytest.mark.parametrize("resource", KNOWN.values(), ids=lambda each: each.plural)
def test_whatever_can_not_be_read_no_check_passes_that_needs_it_nor_finds_what_is_not_there(resource):
    def without(changes):
        seen = cluster(changes, unread=(Unread(resource.title, "forbidden"),))
        return dataclasses.replace(
            seen,
            pods=() if resource is POD else seen.pods,
            nodes=() if resource is NODE else seen.nodes,
            objects=tuple(each for each in seen.objects if each.kind != resource.kind),
        )

    assert {each.severity for each in diagnosed(without({}))} <= {Severity.UNKNOWN}
    for code, changes, _ in FAULTS:
        check = [each for each in CHECKS if each.code == code]
        found = {each.subject for each in diagnose(cluster(changes), CATALOG, check)}
        now = diagnose(without(changes), CATALOG, check)
        told = any(each.severity is Severity.UNKNOWN for each in now)
        assert told or found <= {each.subject for each in now}, code


def test_the_worst_comes_first():
    found = diagnosed(cluster({"other": sliced_pod("vision-1", "vision"), "karpenter": karpenter(None)}))
    assert [each.severity for each in found] == [Severity.BROKEN, Severity.RISK]


@pytest.mark.slow
def test_a_dump_gets_the_same_diagnosis(tmp_path):
    for number, (_, changes, _) in enumerate(FAULTS):
        live = cluster(changes)
        dump.write(live, str(tmp_path / str(number)))
        assert diagnosed(dump.load(str(tmp_path / str(number)))) == diagnosed(live)
