"""GPU memory by pod, from processes and their cgroups."""

import json
import os

import pytest

from gpuslice.errors import InputError
from gpuslice.measure import gpu as watching
from gpuslice.measure import nvml
from gpuslice.measure.pod_memory import by_pod, load, pod_of, sees_the_hosts_processes
from tests.measure.played_nvml import Nvml

UID = "0a1b2c3d-1111-2222-3333-444455556666"
SYSTEMD = UID.replace("-", "_")


def proc(directory, **cgroups):
    for pid, text in cgroups.items():
        (directory / pid[1:]).mkdir()
        (directory / pid[1:] / "cgroup").write_text(text)
    return directory


@pytest.mark.parametrize(
    "cgroup",
    [
        f"0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{SYSTEMD}.slice/cri-containerd-ab.scope\n",
        f"0::/kubepods.slice/kubepods-pod{SYSTEMD}.slice/cri-containerd-ab.scope\n",
        f"0::/../../kubepods-besteffort-pod{SYSTEMD}.slice/cri-containerd-ab.scope\n",
        f"12:memory:/kubepods/burstable/pod{UID}/0123abcd\n11:cpu:/kubepods/burstable/pod{UID}/0123abcd\n",
    ],
)
def test_a_process_belongs_to_the_pod_of_its_cgroup(tmp_path, cgroup):
    assert pod_of(7, proc(tmp_path, _7=cgroup)) == UID


def test_a_process_of_the_node_or_one_that_is_gone_belongs_to_none(tmp_path):
    directory = proc(tmp_path, _7="0::/system.slice/containerd.service\n")
    assert pod_of(7, directory) == pod_of(8, directory) == ""


@pytest.mark.parametrize(("namespace", "sees"), [("pid:[4026531836]", True), ("pid:[4026532641]", False)])
def test_only_in_the_hosts_namespace_are_pids_those_of_nvml(tmp_path, namespace, sees):
    (tmp_path / "self/ns").mkdir(parents=True)
    (tmp_path / "self/ns/pid").symlink_to(namespace)
    assert sees_the_hosts_processes(tmp_path) is sees
    assert not sees_the_hosts_processes(tmp_path / "none")


def test_processes_of_a_pod_count_together_and_what_is_not_told_is_not_guessed():
    held = {1: 100, 2: 50, 3: 70, 4: None, 5: 30}
    assert by_pod(held, {1: "a", 2: "a", 3: "b", 4: "b", 5: ""}) == {"a": 150}


def measured(gpuslice, monkeypatch, *, host):
    library = Nvml(count=2)
    monkeypatch.setattr(nvml, "_library", lambda: library)
    monkeypatch.setattr(watching, "sees_the_hosts_processes", lambda: host)
    monkeypatch.setattr(watching, "pod_of", lambda pid: UID if pid == os.getpid() else "")
    return gpuslice("measure", "gpu", "--all", "--seconds", "2", "-o", "json").out


def test_what_measuring_a_node_writes_is_what_is_read(gpuslice, monkeypatch, tmp_path):
    path = tmp_path / "node.json"
    path.write_text(measured(gpuslice, monkeypatch, host=True))
    assert [each["pods"] for each in json.loads(path.read_text())["gpus"]] == [
        [{"uid": UID, "memoryMiB": 3001}],
        [{"uid": UID, "memoryMiB": 3001}],
    ]
    assert load(str(path)) == {UID: 6002}


def test_where_whose_processes_they_are_can_not_be_told_doctor_is_not_told_a_guess(
    gpuslice, monkeypatch, tmp_path
):
    path = tmp_path / "node.json"
    path.write_text(measured(gpuslice, monkeypatch, host=False))
    with pytest.raises(InputError, match="tells processes and no pods") as error:
        load(str(path))
    assert "hostPID: true" in error.value.fix


@pytest.mark.parametrize("text", ["{}", "[]", '{"gpus": [{"pods": [{"uid": "x"}]}]}', '{"gpus": 3}'])
def test_what_is_something_else_is_refused(tmp_path, text):
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(InputError, match="is not what was measured on a node's GPUs"):
        load(str(path))
