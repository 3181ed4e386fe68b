"""The model of kube-scheduler beside the real one: which of several ready nodes a pod goes to."""

import random
import time
from contextlib import suppress

import pytest
from lightkube import ApiError
from lightkube.models.apps_v1 import ReplicaSetSpec
from lightkube.models.core_v1 import Container, PodSpec, PodTemplateSpec, ResourceRequirements, Toleration
from lightkube.models.meta_v1 import LabelSelector, ObjectMeta
from lightkube.resources.apps_v1 import ReplicaSet
from lightkube.resources.core_v1 import Node, Pod

from gpuslice.karpenter import model
from gpuslice.karpenter.binding import Binder
from gpuslice.karpenter.templates import Pools

SHARED = "nvidia.com/gpu.shared"
SIZES = {"a": (3920, 14_162, 8), "b": (7910, 29_000, 8), "c": (3920, 14_162, 16), "d": (15_890, 59_000, 16)}
CLASSES = {"small": (250, 512, 1), "wide": (1000, 512, 1), "tall": (250, 4096, 1), "none": (0, 0, 2)}


def eventually(look, seconds=20):
    end = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.05)
    return found


def make_node(client, name, cpu, memory, slots):
    labels = {"kubernetes.io/hostname": name, "topology.kubernetes.io/zone": "z"}
    client.create(Node(metadata=ObjectMeta(name=name, labels=labels)))
    offered = {"cpu": f"{cpu}m", "memory": f"{memory}Mi", "pods": "58", SHARED: str(slots)}
    client.patch(Node.Status, name, {"status": {"capacity": offered, "allocatable": offered}})
    allocatable = {"cpu": cpu, "memory": memory, "pods": 58, SHARED: slots}
    return model.Node(name, "", labels, allocatable, dict(allocatable), zone="z")


def make_owner(client, name, cpu, memory, slots):
    asked = {SHARED: str(slots)} | ({"cpu": f"{cpu}m", "memory": f"{memory}Mi"} if cpu else {})
    container = Container(
        name="main", image="x", resources=ResourceRequirements(requests=asked, limits={SHARED: str(slots)})
    )
    spec = PodSpec(containers=[container], tolerations=[Toleration(operator="Exists")])
    template = PodTemplateSpec(metadata=ObjectMeta(labels={"app": name}), spec=spec)
    selector = LabelSelector(matchLabels={"app": name})
    client.create(
        ReplicaSet(
            metadata=ObjectMeta(name=name, namespace="default"),
            spec=ReplicaSetSpec(selector=selector, replicas=0, template=template),
        )
    )
    return model.PodClass(name, {"cpu": cpu, "memory": memory, SHARED: slots}, labels={"app": name})


def one_more(client, name, replicas):
    """The node that the next pod of an owner is bound to; None where it is bound to none."""
    before = {each.metadata.name for each in client.list(Pod, namespace="default")}
    client.patch(ReplicaSet, name, {"spec": {"replicas": replicas}}, namespace="default")

    def decided():
        new = [each for each in client.list(Pod, namespace="default") if each.metadata.name not in before]
        for each in new:
            if each.spec.nodeName:
                return each.spec.nodeName
            if any(c.type == "PodScheduled" and c.status == "False" for c in each.status.conditions or ()):
                return "nowhere"
        return None

    return eventually(decided)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_pods_are_bound_where_the_model_says(client, seed):
    rng = random.Random(seed)
    nodes = {
        name: make_node(client, f"{name}{seed}", *size) for name, size in SIZES.items() if rng.random() < 0.8
    }
    owners = {name: make_owner(client, f"{name}{seed}", *size) for name, size in CLASSES.items()}
    pools = Pools([])
    binder = Binder(pools, random.Random(seed))
    for each in nodes.values():
        binder.add(each, ())
    counts = dict.fromkeys(CLASSES, 0)
    surprises = []
    for step in range(30):
        name = rng.choice(list(CLASSES))
        counts[name] += 1
        pod = model.Pod(owners[name], step, f"{step:03}")
        best = binder.best(pod)
        chosen = one_more(client, f"{name}{seed}", counts[name])
        expected = {each.node.name for each in best} or {"nowhere"}
        if chosen not in expected:
            surprises.append((step, name, chosen, expected))
        if chosen == "nowhere":
            break
        binder.put(pod, chosen)
    for each in CLASSES:
        client.delete(ReplicaSet, f"{each}{seed}", namespace="default")
    for each in nodes.values():
        client.delete(Node, each.name)
    for each in client.list(Pod, namespace="default"):
        with suppress(ApiError):  # its owner's controller may be quicker
            client.delete(Pod, each.metadata.name, namespace="default", grace_period=0)
    assert surprises == []
    assert step > 10
