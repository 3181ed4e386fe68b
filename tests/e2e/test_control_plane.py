import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from lightkube import ApiError, Client, KubeConfig
from lightkube.models.core_v1 import Container, PodSpec, ResourceRequirements, Toleration
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import ConfigMap, Namespace, Node, Pod, ServiceAccount

from gpuslice.rehearsal.kinds import ClusterPolicy, NodePool

POLICY: dict[str, object] = {
    each: {}
    for each in (
        *("daemonsets", "dcgm", "dcgmExporter", "devicePlugin", "driver", "gfd", "nodeStatusExporter"),
        *("operator", "toolkit"),
    )
}


def eventually(look, seconds=30):
    end = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.1)
    return found


def test_objects_are_kept_and_namespaces_get_their_service_account(client):
    client.create(Namespace(metadata=ObjectMeta(name="search")))
    client.create(ConfigMap(metadata=ObjectMeta(name="a", namespace="search"), data={"k": "v"}))

    assert client.get(ConfigMap, "a", namespace="search").data == {"k": "v"}
    eventually(
        lambda: (
            [each.metadata.name for each in client.list(ServiceAccount, namespace="search")] == ["default"]
        )
    )


def test_a_pod_is_bound_to_the_node_that_has_what_it_asks_for(client):
    for name, slices in (("full", "0"), ("free", "4")):
        client.create(Node(metadata=ObjectMeta(name=name)))
        offered = {"cpu": "4", "memory": "8Gi", "pods": "10", "nvidia.com/gpu.shared": slices}
        client.patch(Node.Status, name, {"status": {"capacity": offered, "allocatable": offered}})
    asked = ResourceRequirements(limits={"nvidia.com/gpu.shared": "1"})
    spec = PodSpec(containers=[Container(name="main", image="x", resources=asked)])
    spec.tolerations = [Toleration(operator="Exists")]
    client.create(Pod(metadata=ObjectMeta(name="p", namespace="default"), spec=spec))

    bound = eventually(lambda: client.get(Pod, "p", namespace="default").spec.nodeName)

    assert bound == "free"


def test_karpenters_own_rules_refuse_a_label_of_its_domain_that_it_does_not_know(client):
    requirement = {"key": "karpenter.k8s.aws/instance-gpu-nome", "operator": "In", "values": ["l4"]}
    reference = {"group": "karpenter.k8s.aws", "kind": "EC2NodeClass", "name": "x"}
    template = {"spec": {"nodeClassRef": reference, "requirements": [requirement]}}

    with pytest.raises(ApiError, match="restricted"):
        client.create(NodePool.from_dict({"metadata": {"name": "x"}, "spec": {"template": template}}))


@pytest.mark.parametrize("spec", [{**POLICY, "mig": {"strategy": "mixd"}}, {"mig": {}}])
def test_a_wrong_cluster_policy_is_refused(client, spec):
    with pytest.raises(ApiError, match=r"mixd|Required"):
        client.create(ClusterPolicy.from_dict({"metadata": {"name": "wrong"}, "spec": spec}))


def test_a_stranger_may_do_nothing(control_plane):
    config = KubeConfig.from_file(control_plane.stranger_kubeconfig)

    with Client(config=config) as stranger, pytest.raises(ApiError, match="cannot list"):
        list(stranger.list(Node))


# Where a shell runs the tests in the background, SIGINT is ignored, and that is inherited.
PARENT = """
import signal, time
signal.signal(signal.SIGINT, signal.default_int_handler)
from gpuslice.rehearsal.build import build
from gpuslice.rehearsal.control_plane import ControlPlane
running = ControlPlane.start(build(lambda text: None, ("control-plane",)))
print(running.directory, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGINT])
def test_nothing_outlives_its_parent(kill):
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        directory = Path(parent.stdout.readline().strip())
        assert _running(directory) == 4

        os.kill(parent.pid, kill)

    eventually(lambda: not _running(directory))
    eventually(lambda: not directory.exists())


def _running(directory):
    """How many processes write into a directory's logs."""
    count = 0
    for each in Path("/proc").iterdir():
        with suppress(OSError):
            count += each.name.isdecimal() and directory / "logs" in (each / "fd" / "1").readlink().parents
    return count
