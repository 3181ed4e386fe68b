"""What the tests of apply share: a plan, rendered; a cluster that it can be applied to; and what stands there."""

import subprocess
import sys
import time

import msgspec
from lightkube import ApiError
from lightkube.models.apps_v1 import DeploymentSpec
from lightkube.models.core_v1 import Container, PodSpec, PodTemplateSpec, ResourceRequirements, Toleration
from lightkube.models.meta_v1 import LabelSelector, ObjectMeta
from lightkube.resources.apps_v1 import Deployment, ReplicaSet, StatefulSet
from lightkube.resources.core_v1 import ConfigMap, Namespace, Node, Pod

from gpuslice.cloud import snapshot as catalogs
from gpuslice.cluster.apply.changes import stated
from gpuslice.rehearsal.kinds import ClusterPolicy, EC2NodeClass, NodeFeatureRule, NodeOverlay, NodePool
from gpuslice.render import manifests
from tests.e2e.kubelets import make_node
from tests.render.plans import METERED_704, SETTINGS, SHARED, TS4, assignment, plan, pool

REQUIRED = (
    "dcgm",
    "dcgmExporter",
    "devicePlugin",
    "driver",
    "gfd",
    "nodeStatusExporter",
    "operator",
    "toolkit",
)
NVIDIA = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
OURS = {"key": "gpuslice.io/pool", "operator": "Exists", "effect": "NoSchedule"}
QUICK = ("--no-wait", "--yes")
TARGET = {"container": "main", "gpuLimits": ["nvidia.com/gpu"], "tolerations": [NVIDIA]}


def two_pools():
    """Two workloads of one tenant on slots, one metered."""
    return plan(
        (
            pool("search-l4-ts4", TS4, ("g6.xlarge",), tenant="search"),
            pool("chat-l4-704", METERED_704, ("g6.xlarge",), tenant="chat"),
        ),
        (
            assignment("search/embedder", "search-l4-ts4", SHARED, target=TARGET),
            assignment("search/ranker", "search-l4-ts4", SHARED, target=TARGET),
            assignment("chat/worker", "chat-l4-704", SHARED, gpuMemory="3Gi", gpuTime=90, target=TARGET),
        ),
    )


def one_pool():
    """A later plan, in which the metered pool is gone."""
    return plan((pool("search-l4-ts4", TS4, ("g6.xlarge",), tenant="search"),))


def rendered(made, directory):
    """A plan's files."""
    for path, text in manifests.render(made, catalogs.bundled(), SETTINGS).items():
        file = directory / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return directory


def run(kubeconfig, *arguments):
    """The program in a process of its own; without a kubeconfig for what needs no cluster."""
    connection = ("--kubeconfig", str(kubeconfig)) if kubeconfig else ()
    return subprocess.Popen(
        [sys.executable, "-m", "gpuslice", *map(str, arguments), *connection],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process, seconds=180):
    """Its exit code, stdout and stderr."""
    out, err = process.communicate(timeout=seconds)
    return process.returncode, out, err


def gpuslice(kubeconfig, *arguments, seconds=180):
    """Run to the end."""
    return ended(run(kubeconfig, *arguments), seconds)


def create_if_absent(client, made):
    try:
        client.create(made)
    except ApiError as error:
        if error.status.code != 409:
            raise


def policy(**spec):
    """A ClusterPolicy as somebody installed it."""
    tolerations = {"daemonsets": {"tolerations": [NVIDIA, OURS]}}
    return ClusterPolicy(
        metadata=ObjectMeta(name="cluster-policy"), spec={each: {} for each in REQUIRED} | tolerations | spec
    )


def deployment(name, namespace, *, image="shop/app:1", replicas=2):
    container = Container(
        name="main",
        image=image,
        resources=ResourceRequirements(limits={"nvidia.com/gpu": "1"}, requests={"cpu": "1"}),
    )
    labels = {"app": name}
    return Deployment(
        metadata=ObjectMeta(name=name, namespace=namespace),
        spec=DeploymentSpec(
            replicas=replicas,
            progressDeadlineSeconds=600,
            selector=LabelSelector(matchLabels=labels),
            template=PodTemplateSpec(
                metadata=ObjectMeta(labels=labels),
                spec=PodSpec(
                    containers=[container],
                    tolerations=[Toleration(key="nvidia.com/gpu", operator="Exists", effect="NoSchedule")],
                ),
            ),
        ),
    )


def wait_for_storage(client):
    """A CRD is established a moment before its objects can be listed (429: storage is (re)initializing)."""
    for kind in (NodePool, NodeOverlay, EC2NodeClass, NodeFeatureRule, ClusterPolicy):
        for _ in range(100):
            try:
                list(client.list(kind))
                break
            except ApiError as error:
                if error.status.code != 429:
                    raise
                time.sleep(0.2)


def prepared(client, *, workloads=False):
    """A cluster with the GPU Operator's ClusterPolicy, and where asked for, workloads on whole GPUs."""
    wait_for_storage(client)
    for name in ("gpu-operator", "search", "chat"):
        create_if_absent(client, Namespace(metadata=ObjectMeta(name=name)))
    client.create(policy(), field_manager="helm")
    if workloads:
        make_node(client, "whole", resources={"nvidia.com/gpu": "16"})
        for pool_name in ("search-l4-ts4", "chat-l4-704"):
            offered = {"nvidia.com/gpu.shared": "16"}
            if pool_name.startswith("chat"):
                offered |= {"gpuslice.io/gpu-memory": "21Gi", "gpuslice.io/gpu-time": "704"}
            labels = {"gpuslice.io/pool": pool_name, "karpenter.sh/nodepool": pool_name}
            make_node(client, f"of-{pool_name}", resources=offered, labels=labels)
        for name, namespace in (("embedder", "search"), ("ranker", "search"), ("worker", "chat")):
            client.create(deployment(name, namespace), field_manager="kubectl")


def cleared(client, seconds=60):
    """Away with everything that a test made, waiting until it is gone.

    Controllers delete and make pods meanwhile: what is gone by itself is as good, and what they made anew goes too.
    """
    for kind in (NodePool, NodeOverlay, EC2NodeClass, NodeFeatureRule, ClusterPolicy, Node):
        for each in client.list(kind):
            delete_if_present(client, kind, each)
    for namespace in ("gpu-operator", "gpuslice"):
        for each in client.list(ConfigMap, namespace=namespace):
            if each.metadata.name != "kube-root-ca.crt":
                delete_if_present(client, ConfigMap, each)
    end = time.monotonic() + seconds
    while left := [
        each
        for namespace in ("search", "chat")
        for kind in (Deployment, ReplicaSet, Pod)
        for each in client.list(kind, namespace=namespace)
    ]:
        assert time.monotonic() < end, [each.metadata.name for each in left]
        for each in left:
            delete_if_present(client, type(each), each)
        time.sleep(0.2)


def delete_if_present(client, kind, each):
    grace = {"grace_period": 0} if kind is Pod else {}
    try:
        client.delete(kind, each.metadata.name, namespace=each.metadata.namespace, **grace)
    except ApiError as error:
        if error.status.code != 404:
            raise


def standing(client):
    """Everything that an apply of the plans above may touch, as it was stated."""
    return standing_in(client, ("gpu-operator", "search", "chat"))


def standing_in(client, namespaces):
    """Everything that an apply may touch, without what the API server adds; the journal isn't in."""
    found: dict[tuple[str, ...], dict[str, object]] = {}
    for kind in (NodePool, NodeOverlay, EC2NodeClass, NodeFeatureRule, ClusterPolicy):
        for each in client.list(kind):
            found[kind.__name__, each.metadata.name] = stated(each.to_dict())
    for namespace in namespaces:
        for local in (ConfigMap, Deployment, StatefulSet):
            for each in client.list(local, namespace=namespace):
                if each.metadata.name != "kube-root-ca.crt":
                    data = msgspec.to_builtins(stated(each.to_dict()))
                    # The controller counts revisions up, even on the way back.
                    data["metadata"].get("annotations", {}).pop("deployment.kubernetes.io/revision", None)
                    if not data["metadata"].get("annotations"):
                        data["metadata"].pop("annotations", None)
                    found[local.__name__, namespace, each.metadata.name] = data
    return found


def wait_for_pods(client, count, seconds=60):
    end = time.monotonic() + seconds
    while True:
        running = [
            each
            for namespace in ("search", "chat")
            for each in client.list(Pod, namespace=namespace)
            if each.status.phase == "Running" and not each.metadata.deletionTimestamp
        ]
        if len(running) == count:
            return running
        assert time.monotonic() < end, [each.metadata.name for each in running]
        time.sleep(0.2)
