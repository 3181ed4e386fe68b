"""Places for the replicas of one workload: promised, offered, asked for, and by one template wherever they are."""

import copy
from typing import Any

import pytest
import yaml

from gpuslice.errors import InputError
from gpuslice.hardware.resource_names import seat_of
from gpuslice.render.manifests import objects, render
from tests.render.apply_patch import apply_patch
from tests.render.plans import (
    CATALOG,
    METERED,
    METERED_704,
    MIG_ALIKE,
    SEATS,
    SETTINGS,
    SHARED,
    SLOTS,
    TS4,
    VLLM,
    WHOLE,
    assignment,
    plan,
    pool,
    seated,
)

WHOLE_L4 = {"gpu": "L4", "mechanism": "whole"}
SEAT = "gpuslice.io/seat-a.w"
EXISTS = {"key": "gpuslice.io/pool", "operator": "Exists", "effect": "NoSchedule"}
EQUAL = {"key": "gpuslice.io/pool", "operator": "Equal", "value": "old", "effect": "NoSchedule"}


def applied(one, kind) -> Any:
    found: list[Any] = [
        each for file in objects(one, CATALOG, SETTINGS) if file.applied for each in file.objects
    ]
    return {each["metadata"]["name"]: each["spec"] for each in found if each["kind"] == kind}


# What nodes offer


def test_seats_stand_for_the_memory_and_time_of_a_metered_gpu():
    overlay = applied(SEATS, "NodeOverlay")["search-l4-mixed-1gpu"]
    assert overlay["capacity"] == {
        "nvidia.com/gpu": "0",
        "nvidia.com/gpu.shared": "16",
        "gpuslice.io/seat-search.embedder": "2",
        "gpuslice.io/seat-search.reranker": "1",
    }
    rules = [each["rules"][0]["extendedResources"] for each in applied(SEATS, "NodeFeatureRule").values()]
    assert not [each for each in rules if "gpuslice.io/gpu-memory" in each]


def test_a_whole_gpu_under_the_shared_name_lets_one_of_its_two_replicas_be_used():
    overlay = applied(SEATS, "NodeOverlay")["search-l4-alone-1gpu"]
    assert overlay["capacity"] == {
        "nvidia.com/gpu": "0",
        "nvidia.com/gpu.shared": "2",
        "gpuslice.io/seat-search.embedder": "1",
    }
    labels = applied(SEATS, "NodePool")["search-l4-alone"]["template"]["metadata"]["labels"]
    entries = yaml.safe_load(render(SEATS, CATALOG, SETTINGS)["gpu-operator/device-plugin-config.yaml"])[
        "data"
    ]
    entry = yaml.safe_load(entries[labels["nvidia.com/device-plugin.config"]])
    assert entry["sharing"]["timeSlicing"]["resources"] == [{"name": WHOLE, "replicas": 2}]


def test_whole_gpus_with_seats_have_an_overlay_for_karpenter_knows_nothing_of_seats():
    one = plan(
        (pool("p", WHOLE_L4, ("g6.12xlarge",), seats={"a/w": 4}),),
        (seated("a/w", "p", WHOLE, 2),),
    )
    assert applied(one, "NodeOverlay")["p-4gpu"]["capacity"] == {WHOLE: "4", SEAT: "4"}


def test_nodes_of_equal_seats_boot_alike_whatever_their_layout_and_others_do_not():
    pools = (
        pool("a", METERED_704, ("g6.xlarge",), seats={"a/w": 2}, maxNodes=1),
        pool("b", TS4, ("g6.xlarge",), seats={"a/w": 2}),
        pool("c", TS4, ("g6.xlarge",), seats={"a/w": 3}, maxNodes=1),
    )
    one = plan(pools, tuple(seated("a/w", each.name, SHARED, 2) for each in pools))
    classes = {
        name: spec["template"]["spec"]["nodeClassRef"]["name"]
        for name, spec in applied(one, "NodePool").items()
    }
    assert classes["a"] == classes["b"] != classes["c"]
    assert set(applied(one, "EC2NodeClass")) == set(applied(one, "NodeFeatureRule")) == set(classes.values())


# What Karpenter may launch


def test_pools_that_never_grow_are_filled_first_and_a_workloads_own_pool_last():
    assert {name: spec["weight"] for name, spec in applied(SEATS, "NodePool").items()} == {
        "search-l4-mixed": 100,
        "search-l4-alone": 100,
        "h100-mixed": 100,
        "search-embedder": 1,
        "search-reranker": 1,
        "chat-asr": 1,
        "chat-ranker": 1,
    }
    assert not [each for each in applied(SLOTS, "NodePool").values() if "weight" in each]


def test_karpenter_hears_of_a_workloads_own_pool_after_all_that_are_to_be_filled_first():
    pools = [
        each.path for each in objects(SEATS, CATALOG, SETTINGS) if each.path.startswith("karpenter/pools/")
    ]
    own = [
        f"karpenter/pools/{name}.yaml"
        for name in ("chat-asr", "chat-ranker", "search-embedder", "search-reranker")
    ]
    assert pools[-len(own) :] == own


def test_a_pool_that_never_grows_is_limited_by_its_seats_alone():
    assert applied(SEATS, "NodePool")["search-l4-mixed"]["limits"] == {
        "gpuslice.io/seat-search.embedder": "4",
        "gpuslice.io/seat-search.reranker": "2",
    }


def test_a_workloads_own_pool_has_room_for_all_its_replicas_twice():
    pools = applied(SEATS, "NodePool")
    assert pools["search-embedder"]["limits"] == {  # seven replicas by three
        "nodes": "6",
        "nvidia.com/gpu.shared": "96",
        "gpuslice.io/seat-search.embedder": "18",
    }
    assert pools["search-reranker"]["limits"] == {  # no node planned
        "nodes": "2",
        "nvidia.com/gpu.shared": "4",
        "gpuslice.io/seat-search.reranker": "4",
    }


def test_a_pools_file_says_whose_its_seats_are():
    files = render(SEATS, CATALOG, SETTINGS)
    mixed, own = (
        " ".join(files[f"karpenter/pools/{name}.yaml"].partition("apiVersion")[0].replace("#", "").split())
        for name in ("search-l4-mixed", "search-reranker")
    )
    assert "2 for search/embedder, 1 for search/reranker" in mixed
    assert "never grows" in mixed
    assert "never grows" not in own
    assert "Planned: no nodes. Seats on each node: 2 for search/reranker" in own


def test_the_readme_says_what_seats_are_only_where_there_are_any():
    assert "gpuslice.io/seat-" in render(SEATS, CATALOG, SETTINGS)["README.md"]
    assert "seat" not in render(METERED, CATALOG, SETTINGS)["README.md"]


# What pods ask for


def made(*assignments, pools=None) -> Any:
    """The patch of the workload a/w."""
    pools = pools or (
        pool("p", TS4, ("g6.xlarge",), seats={"a/w": 4}, maxNodes=1),
        pool("q", METERED_704, ("g6.xlarge",), seats={"a/w": 6}),
    )
    files = render(plan(pools, assignments), CATALOG, SETTINGS)
    assert not [each for each in files if each.endswith("unpatched.txt")]
    return yaml.safe_load(files["workloads/a.w.yaml"])


def both(target, **more):
    return (
        seated("a/w", "p", SHARED, 4, target=target, **more),
        seated("a/w", "q", SHARED, 3, target=target, **more),
    )


def today(limits, selector=None, tolerations=None) -> Any:
    pod = {"containers": [{"name": "main", "resources": {"limits": limits}}]}
    pod |= {"nodeSelector": selector} if selector else {}
    pod |= {"tolerations": tolerations} if tolerations else {}
    return {"spec": {"replicas": 9, "template": {"spec": pod}}}


def pod_of(patched) -> Any:
    return patched["spec"]["template"]["spec"]


ROLLOUT = {"kind": "Rollout", "apiVersion": "argoproj.io/v1alpha1", "podSpec": "/spec/template/spec"}
KINDS = pytest.mark.parametrize("kind", [{"container": "main"}, ROLLOUT], ids=["merge", "operations"])


@KINDS
def test_pods_ask_for_their_slice_and_a_seat_and_name_no_pool(kind):
    after = pod_of(apply_patch(today({WHOLE: 1}), made(*both(kind))))
    assert after["containers"][0]["resources"]["limits"] == {SHARED: "1", SEAT: "1"}
    assert not after.get("nodeSelector")
    assert after["tolerations"] == [EXISTS]


@KINDS
@pytest.mark.parametrize("stale", [EQUAL, EXISTS])
def test_what_an_earlier_plan_left_goes(kind, stale):
    target = kind | {
        "gpuLimits": [SHARED, "gpuslice.io/gpu-memory", "gpuslice.io/gpu-time"],
        "hasNodeSelector": True,
        "dropNodeSelector": ["gpuslice.io/pool"],
        "tolerations": [stale],
    }
    limits = {SHARED: 1, "gpuslice.io/gpu-memory": "3Gi", "gpuslice.io/gpu-time": 90, "memory": "4Gi"}
    before = today(limits, {"gpuslice.io/pool": "old", "team": "a"}, [stale])
    after = pod_of(apply_patch(before, made(*both(target))))
    assert after["containers"][0]["resources"]["limits"] == {SHARED: "1", SEAT: "1", "memory": "4Gi"}
    assert after["nodeSelector"] == {"team": "a"}
    assert after["tolerations"] == [EXISTS]


@KINDS
def test_a_plan_without_seats_takes_an_earlier_plans_seat_away(kind):
    target = kind | {"gpuLimits": [SHARED, SEAT], "tolerations": [EXISTS]}
    made_without = made(
        assignment("a/w", "p", SHARED, target=target), pools=(pool("p", TS4, ("g6.xlarge",)),)
    )
    after = pod_of(apply_patch(today({SHARED: 1, SEAT: 1}, tolerations=[EXISTS]), made_without))
    assert after["containers"][0]["resources"]["limits"] == {SHARED: "1"}
    assert after["nodeSelector"] == {"gpuslice.io/pool": "p"}
    assert after["tolerations"] == [EQUAL | {"value": "p"}]


@KINDS
def test_another_plans_pool_is_named_once(kind):
    target = kind | {"hasNodeSelector": True, "dropNodeSelector": ["gpuslice.io/pool"]}
    made_without = made(
        assignment("a/w", "p", SHARED, target=target), pools=(pool("p", TS4, ("g6.xlarge",)),)
    )
    after = pod_of(apply_patch(today({WHOLE: 1}, {"gpuslice.io/pool": "old"}), made_without))
    assert after["nodeSelector"] == {"gpuslice.io/pool": "p"}


@KINDS
@pytest.mark.parametrize("seat_today", [False, True])
def test_whole_gpus_stay_in_their_containers_and_one_of_these_takes_the_seat(kind, seat_today):
    pools = (pool("p", WHOLE_L4, ("g6.12xlarge",), seats={"a/w": 2}),)
    target = kind | {"gpuLimits": [WHOLE, SEAT] if seat_today else [WHOLE]}
    before = today({WHOLE: 1} | ({SEAT: 1} if seat_today else {}))
    pod_of(before)["containers"].append({"name": "other", "resources": {"limits": {WHOLE: 1}}})
    expected = copy.deepcopy(pod_of(before)["containers"])
    expected[0]["resources"]["limits"][SEAT] = "1"
    patch = made(seated("a/w", "p", WHOLE, 2, count=2, target=target), pools=pools)
    assert pod_of(apply_patch(before, patch))["containers"] == expected


@KINDS
def test_replicas_of_a_service_are_those_of_all_its_pools(kind):
    served = {
        "demand": 25,
        "unit": "requests/s",
        "throughput": 10,
        "latencyMs": 20,
        "limitMs": 45,
        "batch": 4,
        "processes": 1,
    }
    assert apply_patch(today({WHOLE: 1}), made(*both(kind, service=served)))["spec"]["replicas"] == 7
    assert apply_patch(today({WHOLE: 1}), made(*both(kind)))["spec"]["replicas"] == 9


def test_the_patch_lists_every_pool_and_how_many_go_there():
    text = render(SEATS, CATALOG, SETTINGS)["workloads/search.embedder.yaml"]
    said = " ".join(text.partition("apiVersion")[0].replace("#", "").split())
    assert (
        "2 of L4/time-slicing/metered, pool search-embedder; 1 of L4/whole, pool search-l4-alone; "
        "4 of L4/time-slicing/metered, pool search-l4-mixed" in said
    )


def test_several_bare_pods_have_no_template_wherever_their_seats_are():
    pools = (
        pool("p", TS4, ("g6.xlarge",), seats={"a/w": 1}),
        pool("q", TS4, ("g6.xlarge",), seats={"a/w": 4}),
    )
    pods = tuple(seated("a/w", each, SHARED, 1, target={"kind": "Pod"}) for each in ("p", "q"))
    files = render(plan(pools, pods), CATALOG, SETTINGS)
    assert files["workloads/unpatched.txt"].count("several bare pods") == 2


def test_a_framework_that_would_be_told_two_shares_is_refused():
    pools = (
        pool("p", TS4, ("g6.xlarge",), seats={"a/w": 4}, maxNodes=1),
        pool("q", {**TS4, "gpu": "T4G"}, ("g5g.xlarge",), seats={"a/w": 4}),
    )
    target = {"container": "main", "framework": VLLM}
    with pytest.raises(InputError, match=r"^a/w: its framework needs another limit in pool p than in q"):
        made(*both(target, memoryLimit="3Gi"), pools=pools)


# Plans that can't be right

OWN = pool("p", TS4, ("g6.xlarge",), seats={"a/w": 4})


@pytest.mark.parametrize(
    ("pools", "assignments", "message"),
    [
        ([pool("p", TS4, ("g6.xlarge",), maxNodes=1)], [], "pools[0].maxNodes: maxNodes without seats"),
        (
            [pool("p", TS4, ("g6.xlarge",), seats={"a/w": 1, "a/v": 1})],
            [],
            "pools[0].seats: seats of several workloads without maxNodes",
        ),
        (
            [pool("p", TS4, ("g6.xlarge",), seats={"a/w": 1, "a.w": 1}, maxNodes=1)],
            [],
            "pools[0].seats: two workloads have one resource",
        ),
        (
            [pool("p", WHOLE_L4, ("g6.xlarge",), asShared=True, seats={"a/w": 2})],
            [],
            "pools[0].seats: a whole GPU under the name of a shared one",
        ),
        (
            [pool("p", WHOLE_L4, ("g6.12xlarge",), asShared=True, seats={"a/w": 1})],
            [],
            "pools[0].seats: a whole GPU under the name of a shared one",
        ),
        ([pool("p", WHOLE_L4, ("g6.xlarge",), asShared=True)], [], "a whole GPU under the name"),
        (
            [OWN],
            [assignment("a/w", "p", SHARED)],
            "assignments[0].asks.seat: a/w and pool p must both have a seat",
        ),
        (
            [OWN],
            [seated("a/v", "p", SHARED, 1)],
            "assignments[0].asks.seat: a/v and pool p must both have a seat",
        ),
        (
            [OWN],
            [assignment("a/w", "p", SHARED, seat=seat_of("a/v"))],
            "assignments[0].asks.seat: a/w and pool p must both have a seat",
        ),
        (
            [pool("p", TS4, ("g6.xlarge",))],
            [seated("a/w", "p", SHARED, 1)],
            "assignments[0].asks.seat: a/w and pool p must both have a seat",
        ),
        (
            [pool("p", METERED_704, ("g6.xlarge",), seats={"a/w": 4})],
            [seated("a/w", "p", SHARED, 1, gpuMemory="3Gi", gpuTime=90)],
            "assignments[0].asks: a/w and pool p must both be metered, or neither",
        ),
        (
            [OWN, pool("q", TS4, ("g6.xlarge",))],
            [seated("a/w", "p", SHARED, 1), assignment("a/w", "q", SHARED)],
            "a/w: its pods in p and q differ in their seat",
        ),
        (
            [OWN, pool("q", MIG_ALIKE, ("p5.48xlarge",), seats={"a/w": 32})],
            [seated("a/w", "p", SHARED, 1), seated("a/w", "q", "nvidia.com/mig-1g.10gb", 1)],
            "a/w: its pods in p and q differ in their request",
        ),
    ],
)
def test_a_plan_whose_seats_contradict_it_is_refused_with_the_field(pools, assignments, message):
    with pytest.raises(InputError) as refused:
        render(plan(tuple(pools), tuple(assignments)), CATALOG, SETTINGS)
    assert message in str(refused.value)
    assert refused.value.fix


def test_bottlerocket_has_no_seats():
    with pytest.raises(InputError, match="bottlerocket has no seats"):
        render(plan((OWN,), (seated("a/w", "p", SHARED, 1),), "bottlerocket"), CATALOG, SETTINGS)
