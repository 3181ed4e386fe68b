"""What nodes really offer, against what Karpenter was promised and what pods ask for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

from gpuslice.cluster.checks.finding import PATIENCE, Check, Finding, Seen, Severity
from gpuslice.cluster.client.objects import condition
from gpuslice.cluster.client.resources import NODE, NODE_CLAIM, NODE_OVERLAY, NODE_POOL, POD
from gpuslice.cluster.seen.inventory import INSTANCE_TYPE, requests_of
from gpuslice.cluster.seen.machines import POOL, promised
from gpuslice.cluster.seen.offers import amount, is_slice, seats_asked
from gpuslice.errors import nearest
from gpuslice.hardware.resource_names import METERED, is_gpu, is_seat

if TYPE_CHECKING:
    from gpuslice.cluster.client.objects import Pod
    from gpuslice.workloads.objects import Container

_OURS: Final = ("nvidia.com/", "gpuslice.io/")
"""What begins like this is meant for a GPU, however its end is spelt."""
_NAMED: Final = 3  # resources in one line


def _not_registered(seen: Seen) -> Iterator[Finding]:
    types = seen.catalog.by_name()
    pools = {node_pool.name: node_pool for node_pool in seen.cluster.node_pools}
    for node in seen.cluster.nodes:
        pool = pools.get(node.labels.get(POOL, ""))
        kind = types.get(node.labels.get(INSTANCE_TYPE, ""))
        if pool is None or kind is None or seen.age(node.metadata.creation_timestamp) < PATIENCE:
            continue
        for name, figure in promised(seen.cluster.node_overlays, pool, kind).items():
            there = node.status.allocatable.get(name, "0")
            if not is_slice(name) or amount(there) == amount(figure):
                continue
            if is_seat(name) and name not in node.status.allocatable:
                continue  # nothing set it: that is a finding of its own
            less = amount(there) < amount(figure)
            yield Finding(
                f"Node {node.name}",
                f"offers {there} of {name}, promised were {figure} (NodePool {pool.name}, {kind.name})",
                "Karpenter plans with what was promised: pods are sent to slices that don't exist, and stay pending"
                if less
                else "Karpenter launches more nodes than are needed"
                if amount(figure)
                else "a pod that asks for it can land on a node that is meant for slices",
                "compare the overlay with the device plugin's configuration "
                f"({node.labels.get('nvidia.com/device-plugin.config') or 'the default one'}); its log on that node "
                "says why",
            )


def _waiting_node(seen: Seen) -> Iterator[Finding]:
    for claim in seen.cluster.node_claims:
        said = condition(claim.status.conditions, "Initialized")
        if said is None or said.status == "True" or said.reason != "ResourceNotRegistered":
            continue
        if seen.age(claim.metadata.creation_timestamp) < PATIENCE:
            continue
        yield Finding(
            f"NodeClaim {claim.name}",
            f"Initialized={said.status}: {said.message}; created {claim.metadata.creation_timestamp}",
            "the node is paid for, takes no pod, and Karpenter neither replaces nor removes it: there is no timeout",
            f"see why the device plugin registers nothing on node {claim.status.node_name or '?'}; then "
            f"kubectl delete nodeclaim {claim.name}",
        )


def _nowhere(seen: Seen) -> Iterator[Finding]:
    offered = {
        name for node in seen.cluster.nodes for name, n in node.status.allocatable.items() if amount(n)
    }
    offered |= {
        name
        for node_overlay in seen.cluster.node_overlays
        for name, n in node_overlay.spec.capacity.items()
        if amount(n)
    }
    if seen.cluster.node_pools:
        offered.add("nvidia.com/gpu")  # Karpenter knows of whole GPUs by itself
    by_resource: dict[str, list[Pod]] = {}
    for pod in seen.cluster.pods:
        if pod.ended or pod.spec.node_name:
            continue
        asked = {name for container in _containers(pod) for name in container.resources.limits}
        for name in asked - offered:
            if name.startswith(_OURS):
                by_resource.setdefault(name, []).append(pod)
    slices = sorted(resource for resource in offered if is_slice(resource))
    for name, pods in sorted(by_resource.items()):
        hint = nearest(name, slices)
        known = _listed(slices)
        yield Finding(
            f"Pod {pods[0].name}",
            f"asks for {name}{f', as {len(pods) - 1} more do' if len(pods) > 1 else ''}; offered are "
            f"{known or 'no GPU resources at all'}",
            "no node has it and no NodePool could make one: the pod stays pending for ever",
            hint or "ask for what is offered, or make a pool that offers it",
        )


def _listed(slices: Iterable[str]) -> str:
    """Slices by name; a fleet has a seat for each workload, which would drown the others."""
    seats = sum(is_seat(slice_) for slice_ in slices)
    named = [slice_ for slice_ in slices if not is_seat(slice_)]
    return ", ".join([*named, *([f"the seats of {seats} workload{'s' * (seats != 1)}"] if seats else [])])


def _containers(pod: Pod) -> tuple[Container, ...]:
    return (*pod.spec.containers, *pod.spec.init_containers)


def _several_containers(seen: Seen) -> Iterator[Finding]:
    owners: set[tuple[str, str]] = set()
    for pod in seen.cluster.gpu_pods:
        users = [
            (container.name, name)
            for container in _containers(pod)
            # Those that start and end before the others leave them what they had.
            if container in pod.spec.containers or container.restart_policy == "Always"
            for name in container.resources.limits
            if is_gpu(name) and name != "nvidia.com/gpu"
        ]
        owner = next(
            (owner_reference.name for owner_reference in pod.metadata.owner_references), pod.metadata.name
        )
        if len({container for container, _ in users}) > 1 and (pod.metadata.namespace, owner) not in owners:
            owners.add((pod.metadata.namespace, owner))
            listed = ", ".join(f"{container} ({name})" for container, name in users)
            yield Finding(
                f"Pod {pod.name}",
                f"several containers ask for slices: {listed}",
                "Kubernetes adds them up, and they may lie on different GPUs: the pod holds more than it uses, and its "
                "containers share nothing",
                "let one container ask, and give the others NVIDIA_VISIBLE_DEVICES only if they must see that GPU",
            )


def _metered_without(seen: Seen) -> Iterator[Finding]:
    types = seen.catalog.by_name()
    pools = {node_pool.name: node_pool for node_pool in seen.cluster.node_pools}
    for node in seen.cluster.nodes:
        pool = pools.get(node.labels.get(POOL, ""))
        kind = types.get(node.labels.get(INSTANCE_TYPE, ""))
        if pool is None or kind is None or seen.age(node.metadata.creation_timestamp) < PATIENCE:
            continue
        names = promised(seen.cluster.node_overlays, pool, kind)
        counted = [*METERED, *sorted(filter(is_seat, names))]
        gone = [
            resource for resource in counted if resource in names and resource not in node.status.allocatable
        ]
        if gone:
            more = f" and {len(gone) - _NAMED} more" if len(gone) > _NAMED else ""
            yield Finding(
                f"Node {node.name}",
                f"has no {' and no '.join(gone[:_NAMED])}{more} (NodePool {pool.name})",
                "no pod of the pool can run there, and the node is paid for",
                "is Node Feature Discovery's worker on it (does it tolerate gpuslice.io/pool?), and is the pool's "
                "NodeFeatureRule there? kubectl get nodefeaturerules,ds -A",
            )


def _seatless(seen: Seen) -> Iterator[Finding]:
    for node in seen.cluster.nodes:
        seats = {name for name, figure in node.status.allocatable.items() if is_seat(name) and amount(figure)}
        for pod in seen.cluster.pods_by_node.get(node.name, ()) if seats else ():
            if requests_of(pod) and not seats & seats_asked(pod):
                yield Finding(
                    f"Pod {pod.name}",
                    f"uses a GPU of node {node.name}, where every place is somebody's, and asks for no seat there",
                    "whoever has that seat finds no GPU there, or shares one with more than it was planned for",
                    "gpuslice apply -f plan.yaml --workloads, or give it a pool of its own",
                )


def _metered_mixed(seen: Seen) -> Iterator[Finding]:
    nodes = {
        node.name
        for node in seen.cluster.nodes
        if any(literal in node.status.allocatable for literal in METERED)
    }
    for name in sorted(nodes):
        for pod in seen.cluster.pods_by_node.get(name, ()):
            asked = {limit for container in pod.spec.containers for limit in container.resources.limits}
            if any(is_gpu(name) for name in asked) and not set(METERED) <= asked:
                yield Finding(
                    f"Pod {pod.name}",
                    f"shares the metered GPU of node {name} without saying how much of it: it asks for "
                    f"{', '.join(sorted(resource for resource in asked if is_slice(resource)))}",
                    "what the scheduler counts is no longer what is used: its neighbours can run out of GPU memory",
                    f"let it ask for {' and '.join(METERED)} too, or move it to a pool of equal slots",
                )


CHECKS: Final = (
    Check(
        "GS301",
        "Nodes offer what was promised of them",
        Severity.BROKEN,
        (NODE, NODE_POOL, NODE_OVERLAY),
        _not_registered,
    ),
    Check("GS302", "No node waits for slices that never come", Severity.BROKEN, (NODE_CLAIM,), _waiting_node),
    Check(
        "GS303",
        "Pods ask for what something offers",
        Severity.BROKEN,
        (POD, NODE, NODE_OVERLAY),
        _nowhere,
    ),
    Check("GS304", "One container of a pod asks for slices", Severity.RISK, (POD,), _several_containers),
    Check(
        "GS305",
        "Metered nodes and nodes with seats have their resources",
        Severity.BROKEN,
        (NODE, NODE_POOL, NODE_OVERLAY),
        _metered_without,
    ),
    Check("GS306", "All pods on a metered GPU are metered", Severity.BROKEN, (POD, NODE), _metered_mixed),
    Check("GS309", "All pods on nodes with seats have one", Severity.BROKEN, (POD, NODE), _seatless),
)
