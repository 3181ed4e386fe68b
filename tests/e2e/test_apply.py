"""A plan put into a real API server, and taken out of it again."""

import json
import subprocess

import pytest
from lightkube import ApiError
from lightkube.models.core_v1 import Toleration
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import ConfigMap, Namespace, Node
from lightkube.types import PatchType

from gpuslice.cluster.apply import applyset
from gpuslice.rehearsal.kinds import ClusterPolicy, EC2NodeClass, NodeOverlay, NodePool
from gpuslice.render import cluster_wide
from tests.e2e.applying import (
    NVIDIA,
    OURS,
    QUICK,
    cleared,
    create_if_absent,
    ended,
    gpuslice,
    one_pool,
    policy,
    prepared,
    rendered,
    run,
    standing,
    two_pools,
    wait_for_pods,
)
from tests.e2e.between import Between
from tests.e2e.kubelets import NEVER_READY


def test_a_plan_is_shown_applied_and_taken_back(cluster, control_plane, tmp_path):
    directory = rendered(two_pools(), tmp_path)
    before = standing(cluster)

    code, out, err = gpuslice(control_plane.kubeconfig, "apply", "-f", directory, "--dry-run")
    assert code == 0, err
    assert standing(cluster) == before
    assert "== pool search-l4-ts4" in out
    assert "+   name: search-l4-ts4" in out
    assert "2 pools added" in err

    code, _, err = gpuslice(control_plane.kubeconfig, "apply", "-f", directory, *QUICK)
    assert code == 0, err
    assert {each.metadata.name for each in cluster.list(NodePool)} == {"search-l4-ts4", "chat-l4-704"}
    for each in cluster.list(NodePool, labels={applyset.PART_OF: applyset.identity()}):
        assert each.metadata.managedFields[0].manager == "gpuslice"
    (live,) = cluster.list(ClusterPolicy)
    assert live.spec["devicePlugin"]["config"]["name"] == "gpuslice-device-plugin"

    after = standing(cluster)
    code, _, err = gpuslice(control_plane.kubeconfig, "apply", "-f", directory, *QUICK)
    assert code == 0
    assert "nothing to change" in err
    assert standing(cluster) == after

    code, _, err = gpuslice(control_plane.kubeconfig, "apply", "--rollback", "--yes")
    assert code == 0, err
    assert standing(cluster) == before
    code, _, err = gpuslice(control_plane.kubeconfig, "apply", "--rollback", "--yes")
    assert code == 1
    assert "nothing to take back" in err


def test_nobody_is_changed_without_being_asked(cluster, control_plane, tmp_path):
    before = standing(cluster)
    code, _, err = gpuslice(control_plane.kubeconfig, "apply", "-f", rendered(two_pools(), tmp_path))
    assert code == 2
    assert "--yes" in err
    assert standing(cluster) == before


def test_fields_of_others_are_not_taken_unless_that_is_asked_for(cluster, control_plane, tmp_path):
    cluster.replace(replaced(policy(daemonsets={"tolerations": [NVIDIA]}), cluster), field_manager="helm")
    directory = rendered(two_pools(), tmp_path)
    before = standing(cluster)

    code, _, err = gpuslice(control_plane.kubeconfig, "apply", "-f", directory, *QUICK)
    assert code == 1
    assert ".spec.daemonsets.tolerations (helm)" in err
    assert standing(cluster) == before

    code, _, err = gpuslice(control_plane.kubeconfig, "apply", "-f", directory, *QUICK, "--force-conflicts")
    assert code == 0, err
    (live,) = cluster.list(ClusterPolicy)
    assert live.spec["daemonsets"]["tolerations"] == [NVIDIA, OURS]
    assert gpuslice(control_plane.kubeconfig, "apply", "--rollback", "--yes")[0] == 0
    assert standing(cluster) == before


def test_keys_are_added_to_the_users_own_config_map(cluster, control_plane, tmp_path):
    cluster.create(
        ConfigMap(metadata=ObjectMeta(name="theirs", namespace="gpu-operator"), data={"any": "version: v1"}),
        field_manager="helm",
    )
    cluster.replace(replaced(policy(devicePlugin={"config": {"name": "theirs", "default": "any"}}), cluster))
    before = standing(cluster)

    code, _, err = gpuslice(control_plane.kubeconfig, "apply", "-f", rendered(two_pools(), tmp_path), *QUICK)
    assert code == 0, err
    found = cluster.get(ConfigMap, "theirs", namespace="gpu-operator")
    assert found.data["any"] == "version: v1"
    assert len(found.data) == 3
    assert not found.metadata.labels
    (live,) = cluster.list(ClusterPolicy)
    assert live.spec["devicePlugin"]["config"] == {"name": "theirs", "default": "any"}

    assert gpuslice(control_plane.kubeconfig, "apply", "--rollback", "--yes")[0] == 0
    assert standing(cluster) == before


@pytest.mark.parametrize("setting", ["time-slicing=4", "mps=4", "mig=all-1g.10gb"])
def test_a_setting_for_the_whole_cluster_is_applied_and_taken_back(cluster, control_plane, tmp_path, setting):
    for path, text in cluster_wide.render(cluster_wide.parse(setting), "gpu-operator").items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    before = standing(cluster)

    code, _, err = gpuslice(control_plane.kubeconfig, "apply", "-f", tmp_path, *QUICK)
    assert code == 0, err
    [key] = cluster.get(ConfigMap, "gpuslice-device-plugin", namespace="gpu-operator").data
    assert f"every node without the label nvidia.com/device-plugin.config gets {key}" in err
    (live,) = cluster.list(ClusterPolicy)
    assert live.spec["devicePlugin"]["config"] == {"name": "gpuslice-device-plugin", "default": key}
    if setting.startswith("mig"):
        assert live.spec["mig"]["strategy"] == "single"

    code, _, err = gpuslice(control_plane.kubeconfig, "apply", "-f", tmp_path, *QUICK)
    assert code == 0
    assert "nothing to change" in err
    assert gpuslice(control_plane.kubeconfig, "apply", "--rollback", "--yes")[0] == 0
    assert standing(cluster) == before


def test_a_pool_of_somebody_else_is_not_touched(cluster, control_plane, tmp_path):
    directory = rendered(two_pools(), tmp_path)
    code, _, err = gpuslice(control_plane.kubeconfig, "apply", "-f", directory, *QUICK)
    assert code == 0, err
    theirs = cluster.get(NodePool, "search-l4-ts4").to_dict()
    cleared(cluster)
    prepared(cluster)
    theirs["metadata"] = {"name": "search-l4-ts4"}
    cluster.create(NodePool.from_dict(theirs), field_manager="terraform")
    before = standing(cluster)

    code, _, err = gpuslice(control_plane.kubeconfig, "apply", "-f", directory, *QUICK, "--force-conflicts")
    assert code == 1
    assert "NodePool search-l4-ts4 is there already, and isn't gpuslice's (made by terraform)" in err
    assert standing(cluster) == before


def test_what_a_later_plan_does_not_have_goes_and_comes_back(cluster, control_plane, tmp_path):
    assert (
        gpuslice(control_plane.kubeconfig, "apply", "-f", rendered(two_pools(), tmp_path / "a"), *QUICK)[0]
        == 0
    )
    before = standing(cluster)
    code, out, err = gpuslice(
        control_plane.kubeconfig, "apply", "-f", rendered(one_pool(), tmp_path / "b"), *QUICK
    )
    assert code == 0, err
    assert "NodePool chat-l4-704  (removed)" in out
    assert "1 pool removed" in err
    assert [each.metadata.name for each in cluster.list(NodePool)] == ["search-l4-ts4"]
    assert [each.metadata.name for each in cluster.list(NodeOverlay)] == ["search-l4-ts4-1gpu"]
    assert gpuslice(control_plane.kubeconfig, "apply", "--rollback", "--yes")[0] == 0
    assert standing(cluster) == before


def test_a_pool_with_pods_on_it_stays(busy, control_plane, tmp_path):
    directory = rendered(two_pools(), tmp_path / "a")
    code, _, err = gpuslice(control_plane.kubeconfig, "apply", "-f", directory, *QUICK, "--workloads")
    assert code == 0, err
    code, _, err = gpuslice(
        control_plane.kubeconfig, "apply", "-f", rendered(one_pool(), tmp_path / "b"), *QUICK
    )
    assert code == 1, err
    assert "NodePool chat-l4-704 stays: 2 pods still run on its nodes" in err
    assert "chat-l4-704" in {each.metadata.name for each in busy.list(NodePool)}


def test_workloads_move_one_by_one_and_come_back(busy, control_plane, tmp_path):
    before = standing(busy)
    directory = rendered(two_pools(), tmp_path)
    code, _, err = gpuslice(control_plane.kubeconfig, "apply", "-f", directory, *QUICK, "--workloads")
    assert code == 0, err
    assert "3 Deployments will restart" in err
    assert err.index("[1/3]") < err.index("[2/3]") < err.index("[3/3]")
    nodes = {each.metadata.namespace: each.spec.nodeName for each in wait_for_pods(busy, 6)}
    assert nodes == {"search": "of-search-l4-ts4", "chat": "of-chat-l4-704"}

    # What others do meanwhile is theirs, and stays.
    busy.patch(
        Deployment, "embedder", {"spec": {"replicas": 3}}, namespace="search", patch_type=PatchType.MERGE
    )
    code, _, err = gpuslice(control_plane.kubeconfig, "apply", "--rollback", "--yes")
    assert code == 0, err
    after = standing(busy)
    assert after["Deployment", "search", "embedder"]["spec"].pop("replicas") == 3
    assert before["Deployment", "search", "embedder"]["spec"].pop("replicas") == 2
    assert after == before
    assert {each.spec.nodeName for each in wait_for_pods(busy, 7)} == {"whole"}


def test_a_workload_that_does_not_start_is_put_back_and_the_rest_waits(busy, control_plane, tmp_path):
    busy.patch(
        Deployment,
        "ranker",
        {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": f"x/{NEVER_READY}"}]}}}},
        namespace="search",
    )
    busy.patch(
        Deployment, "ranker", {"spec": {"replicas": 1}}, namespace="search", patch_type=PatchType.MERGE
    )
    before = standing(busy)
    directory = rendered(two_pools(), tmp_path)
    arguments = ("apply", "-f", directory, *QUICK, "--workloads", "--timeout", "5s")
    code, _, err = gpuslice(control_plane.kubeconfig, *arguments)
    assert code == 1
    assert "Deployment search/ranker: its new pods didn't come, so it was put back" in err
    after = standing(busy)
    assert after["Deployment", "search", "ranker"] == before["Deployment", "search", "ranker"]
    assert after["Deployment", "search", "embedder"] != before["Deployment", "search", "embedder"]

    code, _, err = gpuslice(control_plane.kubeconfig, *arguments, "--exclude", "search/ranker")
    assert code == 0, err
    assert "left as it is: Deployment search/ranker: excluded" in err
    code, _, err = gpuslice(
        control_plane.kubeconfig, "apply", "--rollback", "--yes", "--exclude", "search/ranker"
    )
    assert code == 0, err
    assert standing(busy) == before


def test_how_a_cluster_stands_is_told_before_and_after(busy, control_plane, tmp_path):
    code, out, err = gpuslice(control_plane.kubeconfig, "status", "-o", "json")
    assert code == 0, err
    before = {each["name"]: each for each in json.loads(out)["pools"]}
    assert before[""]["slices"][0]["used"] == 6
    assert before["search-l4-ts4"]["exists"] is False

    code, _, err = gpuslice(
        control_plane.kubeconfig, "apply", "-f", rendered(two_pools(), tmp_path), *QUICK, "--workloads"
    )
    assert code == 0, err
    code, out, err = gpuslice(control_plane.kubeconfig, "status", "-o", "json")
    assert code == 0, err
    pools = {each["name"]: each for each in json.loads(out)["pools"]}
    assert pools["search-l4-ts4"]["exists"]
    slots = {each["resource"]: each for each in pools["search-l4-ts4"]["slices"]}["nvidia.com/gpu.shared"]
    assert (slots["registered"], slots["used"]) == (16, 4)
    metered = {each["resource"]: each["used"] for each in pools["chat-l4-704"]["slices"]}
    assert metered["gpuslice.io/gpu-time"] == 2 * 90
    assert json.loads(out)["pending"] == []


def test_what_somebody_changed_between_the_difference_and_the_write_is_not_overwritten(
    busy, control_plane, tmp_path
):
    directory = rendered(two_pools(), tmp_path)
    changed: list[str] = []

    def interfere(_number, method, path):
        if method == "PATCH" and path.partition("?")[0].endswith("/deployments/embedder") and not changed:
            changed.append(path)
            tolerations = [NVIDIA, {"key": "other", "operator": "Exists"}]
            busy.patch(
                Deployment,
                "embedder",
                {"spec": {"template": {"spec": {"tolerations": tolerations}}}},
                namespace="search",
                patch_type=PatchType.MERGE,
            )

    between = Between(control_plane.kubeconfig)
    between.before = interfere
    with between.running():
        code, _, err = gpuslice(between.config(tmp_path), "apply", "-f", directory, *QUICK, "--workloads")
    assert changed
    assert code == 1
    assert "somebody changed it meanwhile: .spec.template.spec.tolerations" in err
    found = busy.get(Deployment, "embedder", namespace="search").spec.template.spec.tolerations
    assert found == [Toleration.from_dict(NVIDIA), Toleration(key="other", operator="Exists")]


def test_a_second_gpuslice_stops_the_first(cluster, control_plane, tmp_path):
    directory = rendered(two_pools(), tmp_path)
    seen: list[str] = []

    def interfere(_number, method, path):
        if "/nodepools/" in path and not seen:
            seen.append(path)
            journal = cluster.get(ConfigMap, "gpuslice", namespace="gpuslice")
            journal.metadata.annotations["taken"] = "over"
            journal.metadata.managedFields = None
            cluster.replace(journal)

    between = Between(control_plane.kubeconfig)
    between.before = interfere
    with between.running():
        code, _, err = gpuslice(between.config(tmp_path), "apply", "-f", directory, *QUICK)
    assert seen
    assert code == 1
    assert "another gpuslice has taken over" in err
    assert len(list(cluster.list(NodePool))) == 1


def test_an_interrupted_apply_is_not_overrun_by_another_plan(cluster, control_plane, tmp_path):
    directory = rendered(two_pools(), tmp_path / "a")
    before = standing(cluster)
    killed_at(control_plane, tmp_path, 6, "apply", "-f", directory, *QUICK)

    code, _, err = gpuslice(
        control_plane.kubeconfig, "apply", "-f", rendered(one_pool(), tmp_path / "b"), *QUICK
    )
    assert code == 1
    assert "the apply of another plan" in err
    assert gpuslice(control_plane.kubeconfig, "apply", "--rollback", "--yes")[0] == 0
    assert standing(cluster) == before


def killed_at(control_plane, directory, number, *arguments, answered=False):
    """Run until the write of this number, and kill -9 right before it or right after it; whether there was one."""
    between = Between(control_plane.kubeconfig)
    processes: list[subprocess.Popen[str]] = []

    def kill(now, _method, _path):
        if now == number:
            processes[0].kill()
        return now == number

    setattr(between, "after" if answered else "before", kill)
    with between.running():
        processes.append(run(between.config(directory), *arguments))
        code, _, err = ended(processes[0])
    if code == 0:
        return False
    assert code == -9, err
    return True


@pytest.mark.parametrize("answered", [False, True], ids=["before the write", "after it"])
def test_killed_at_any_write_and_run_again_it_ends_the_same(cluster, control_plane, tmp_path, answered):
    directory = rendered(two_pools(), tmp_path)
    arguments = ("apply", "-f", directory, *QUICK)
    before = standing(cluster)
    assert gpuslice(control_plane.kubeconfig, *arguments)[0] == 0
    goal = standing(cluster)
    number = 0
    while True:
        cleared(cluster)
        prepared(cluster)
        if not killed_at(control_plane, tmp_path, number, *arguments, answered=answered):
            break
        code, _, err = gpuslice(control_plane.kubeconfig, *arguments)
        assert code == 0, err
        assert standing(cluster) == goal, f"killed at write {number}"
        code, _, err = gpuslice(control_plane.kubeconfig, "apply", "--rollback", "--yes")
        assert code == 0, err
        assert standing(cluster) == before, f"killed at write {number}, then taken back"
        number += 1
    assert number > 8


def test_killed_at_any_write_of_a_rollback_and_run_again_all_is_back(cluster, control_plane, tmp_path):
    directory = rendered(two_pools(), tmp_path)
    before = standing(cluster)
    number = 0
    while True:
        assert gpuslice(control_plane.kubeconfig, "apply", "-f", directory, *QUICK)[0] == 0
        killed = killed_at(control_plane, tmp_path, number, "apply", "--rollback", "--yes")
        if killed:
            assert gpuslice(control_plane.kubeconfig, "apply", "--rollback", "--yes")[0] == 0
        assert standing(cluster) == before, f"killed at write {number}"
        if not killed:
            break
        number += 1
    assert number > 8


@pytest.mark.parametrize("answered", [False, True], ids=["before the write", "after it"])
def test_killed_at_any_write_of_moving_workloads_and_run_again_all_have_moved(
    busy, control_plane, tmp_path, answered
):
    """The writes before those of the workloads are walked by themselves, above."""
    directory = rendered(two_pools(), tmp_path)
    before = standing(busy)
    arguments = ("apply", "-f", directory, *QUICK, "--workloads", "--exclude", "search/ranker")
    back = ("apply", "--rollback", "--yes")
    writes, goal = written(control_plane, tmp_path, *arguments), standing(busy)
    assert gpuslice(control_plane.kubeconfig, *back)[0] == 0
    first = next(number for number, path in enumerate(writes) if "/deployments/" in path)
    for number in range(first, len(writes)):
        assert killed_at(control_plane, tmp_path, number, *arguments, answered=answered)
        code, _, err = gpuslice(control_plane.kubeconfig, *arguments)
        assert code == 0, err
        assert standing(busy) == goal, f"killed at write {number}, {writes[number]}"
        code, _, err = gpuslice(control_plane.kubeconfig, *back)
        assert code == 0, err
        assert standing(busy) == before, f"killed at write {number}, {writes[number]}, then taken back"
    assert len(writes) - first == 3  # two Deployments and the journal


def test_killed_at_any_write_of_moving_workloads_back_and_run_again_all_are_back(
    busy, control_plane, tmp_path
):
    directory = rendered(two_pools(), tmp_path)
    before = standing(busy)
    arguments = ("apply", "-f", directory, *QUICK, "--workloads", "--exclude", "search/ranker")
    back = ("apply", "--rollback", "--yes")
    assert gpuslice(control_plane.kubeconfig, *arguments)[0] == 0
    writes = written(control_plane, tmp_path, *back)
    last = max(number for number, path in enumerate(writes) if "/deployments/" in path)
    for number in range(last + 2):
        assert gpuslice(control_plane.kubeconfig, *arguments)[0] == 0
        assert killed_at(control_plane, tmp_path, number, *back, answered=number % 2 == 1)
        code, _, err = gpuslice(control_plane.kubeconfig, *back)
        assert code == 0, err
        assert standing(busy) == before, f"killed at write {number}, {writes[number]}"
        assert {each.spec.nodeName for each in wait_for_pods(busy, 6)} == {"whole"}
    assert last == 2  # the journal, then two Deployments


def test_killed_while_a_workload_is_put_back_and_run_again_it_is_back(busy, control_plane, tmp_path):
    """Its pods find no place in the pool. Who runs it again finds a workload that was changed and not put back."""
    busy.delete(Node, "of-search-l4-ts4")
    create_if_absent(
        busy, Namespace(metadata=ObjectMeta(name="gpuslice"))
    )  # the first apply has a write more
    directory = rendered(two_pools(), tmp_path)
    before = standing(busy)
    others = ("--exclude", "search/embedder", "--exclude", "chat/worker")
    arguments = ("apply", "-f", directory, *QUICK, "--workloads", *others, "--timeout", "2s")
    back = ("apply", "--rollback", "--yes")
    writes, goal = written(control_plane, tmp_path, *arguments, code=1), standing(busy)
    assert goal["Deployment", "search", "ranker"] == before["Deployment", "search", "ranker"]
    assert gpuslice(control_plane.kubeconfig, *back)[0] == 0
    there, number = [number for number, path in enumerate(writes) if path.endswith("/ranker")]
    assert there + 1 == number == len(writes) - 1
    for answered in (False, True):
        assert killed_at(control_plane, tmp_path, number, *arguments, answered=answered)
        code, _, err = gpuslice(control_plane.kubeconfig, *arguments)
        assert code == 1, err
        assert "Deployment search/ranker: its new pods didn't come, so it was put back" in err
        assert standing(busy) == goal, f"killed at write {number}"
        code, _, err = gpuslice(control_plane.kubeconfig, *back)
        assert code == 0, err
        assert standing(busy) == before, f"killed at write {number}, then taken back"


def test_killed_while_a_later_plan_removes_pools_and_run_again_or_taken_back_it_ends_the_same(
    cluster, control_plane, tmp_path
):
    first = ("apply", "-f", rendered(two_pools(), tmp_path / "a"), *QUICK)
    later = ("apply", "-f", rendered(one_pool(), tmp_path / "b"), *QUICK)
    back = ("apply", "--rollback", "--yes")
    assert gpuslice(control_plane.kubeconfig, *first)[0] == 0
    before = standing(cluster)
    writes, goal = written(control_plane, tmp_path, *later), standing(cluster)
    assert gpuslice(control_plane.kubeconfig, *back)[0] == 0
    first_gone = next(number for number, path in enumerate(writes) if path.endswith("/chat-l4-704"))
    assert len(writes) - first_gone == 5
    # Every write is walked without a control plane, in tests/cluster.
    for number in (first_gone, first_gone + 1, len(writes) - 1):
        assert killed_at(control_plane, tmp_path, number, *later, answered=number % 2 == 1)
        if number > first_gone:  # else it is taken back as it lies
            code, _, err = gpuslice(control_plane.kubeconfig, *later)
            assert code == 0, err
            assert standing(cluster) == goal, f"killed at write {number}, {writes[number]}"
        code, _, err = gpuslice(control_plane.kubeconfig, *back)
        assert code == 0, err
        assert standing(cluster) == before, f"killed at write {number}, {writes[number]}, then taken back"


def written(control_plane, directory, *arguments, code=0):
    """The paths of all writes of a run that nothing disturbs; the first apply of all has one more, the namespace."""
    with control_plane.client() as client:
        create_if_absent(client, Namespace(metadata=ObjectMeta(name="gpuslice")))
    between = Between(control_plane.kubeconfig)
    with between.running():
        ends, _, err = gpuslice(between.config(directory), *arguments)
    assert ends == code, err
    return [path for _, path in between.writes]


def test_karpenters_verdict_is_awaited(cluster, control_plane, tmp_path):
    directory = rendered(two_pools(), tmp_path)
    code, _, err = gpuslice(control_plane.kubeconfig, "apply", "-f", directory, "--yes", "--timeout", "2s")
    assert code == 1
    assert "is not ready after 2 s: Karpenter hasn't looked at it yet; 3 more wait" in err
    assert len(list(cluster.list(NodeOverlay))) == len(list(cluster.list(EC2NodeClass))) == 2
    assert not list(cluster.list(NodePool))  # none before its overlay and its node class are accepted
    with pytest.raises(ApiError):
        cluster.get(ConfigMap, "absent", namespace="gpuslice")


def replaced(made, client):
    """A ClusterPolicy instead of the one that is there."""
    (live,) = client.list(ClusterPolicy)
    made.metadata.resourceVersion = live.metadata.resourceVersion
    return made
