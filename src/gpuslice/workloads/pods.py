"""What Kubernetes counts for a pod: CPU, memory and GPUs that it must find free on a node, and who uses the GPU.

The rules are those of the scheduler ("resource helpers" of Kubernetes 1.34): sidecars by KEP-753, pod-level resources
by KEP-2837, pod overhead by KEP-688, and limits standing for missing requests as the API server sets them.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Final

from gpuslice.artefacts.quoting import quoted, shorten
from gpuslice.errors import InputError
from gpuslice.hardware.resource_names import is_gpu
from gpuslice.units import MIB, parse_quantity
from gpuslice.workloads.annotations import PREFIX
from gpuslice.workloads.node_limits import EPHEMERAL_STORAGE
from gpuslice.workloads.objects import Container

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gpuslice.workloads.objects import PodSpec, Quantity, Resources

_POD_LEVEL: Final = frozenset({"cpu", "memory"})  # huge pages may be, too, but no planned node has any
_HUGE_PAGES: Final = "hugepages-"
_IN_MIB: Final = frozenset({"memory", EPHEMERAL_STORAGE})

Amounts = Counter[str]  # resource -> milli-CPU, MiB (rounded up per container), or a count


@dataclass(frozen=True, slots=True)
class GpuContainer:
    """A container that asks for GPUs.

    Attributes:
        container: as it stands in the pod.
        index: its place in its list.
        path: JSON pointer to it inside the pod's spec.
        resource, quantity: what it asks for.
    """

    container: Container
    index: int
    path: str
    resource: str
    quantity: int


@dataclass(frozen=True, slots=True)
class PodRequests:
    """What a pod takes of a node.

    Attributes:
        cpu_milli, memory_mib: effective requests of the whole pod.
        gpus: by extended resource; only GPUs, only those above zero.
        others: everything else that a node has so much of: MiB of ephemeral storage and of huge pages, extended
            resources by their names; only those above zero.
        users: containers that ask for a GPU, main containers first.
    """

    cpu_milli: int
    memory_mib: int
    gpus: dict[str, int]
    others: dict[str, int]
    users: tuple[GpuContainer, ...]


def goes_with_gpu(resource: str) -> bool:
    """Whether an extended resource is one that a plan made a pod ask for: its slice, and what is counted beside it."""
    return is_gpu(resource) or resource.startswith(PREFIX)


def pod_requests(pod: PodSpec, where: str) -> PodRequests:
    """What Kubernetes counts for a pod.

    Raises:
        InputError: a quantity that is none, or negative, or part of a GPU.
    """
    totals: Amounts = Counter()
    for container in pod.containers:
        totals += _amounts(container.resources, f"{where}: container {shorten(container.name) or '?'}")
    peak_at_start: Amounts = Counter()
    sidecars: Amounts = Counter()
    for container in pod.init_containers:
        asked = _amounts(container.resources, f"{where}: init container {shorten(container.name) or '?'}")
        if container.restart_policy == "Always":
            # A sidecar runs on beside the main containers, and beside every init container after it.
            totals += asked
            sidecars += asked
            peak_at_start |= sidecars
        else:
            peak_at_start |= asked + sidecars
    totals |= peak_at_start
    totals = _pod_level(pod.resources, totals, where)
    totals += _parse(pod.overhead, f"{where}: overhead")
    return PodRequests(
        cpu_milli=totals["cpu"],
        memory_mib=totals["memory"],
        gpus={name: count for name, count in sorted(totals.items()) if is_gpu(name)},
        others={
            name: count
            for name, count in sorted(totals.items())
            if count and name not in _POD_LEVEL and not goes_with_gpu(name)
        },
        users=_users(pod, where),
    )


def _users(pod: PodSpec, where: str) -> tuple[GpuContainer, ...]:
    users = []
    for listed, containers in (("containers", pod.containers), ("initContainers", pod.init_containers)):
        for index, container in enumerate(containers):
            amounts = _amounts(container.resources, where)
            users += [
                GpuContainer(container, index, f"/{listed}/{index}", resource, quantity)
                for resource, quantity in sorted(amounts.items())
                if is_gpu(resource) and quantity
            ]
    return tuple(users)


def _pod_level(resources: Resources, containers: Amounts, where: str) -> Amounts:
    """Requests of the pod as a whole stand above the containers' sum; its limits only where nobody asks."""
    requests = _parse(resources.requests, f"{where}: pod resources")
    limits = _parse(resources.limits, f"{where}: pod resources")
    totals = containers.copy()
    for name in _POD_LEVEL:
        if name in requests:
            totals[name] = requests[name]
        elif name in limits and not containers[name]:
            totals[name] = limits[name]
    return totals


def _amounts(resources: Resources, where: str) -> Amounts:
    """What a container asks for.

    Raises:
        InputError: its GPUs are such as the API server refuses (Kubernetes, "Schedule GPUs": in limits, and in requests
            only as many).
    """
    asked = _parse({**resources.limits, **resources.requests}, where)
    limits = _parse(resources.limits, where)
    for name, count in asked.items():
        if not is_gpu(name) or count == limits[name]:
            continue
        limited = f"{limits[name]} in limits" if name in resources.limits else "none in limits"
        raise InputError(
            f"{name} is {count} in requests and {limited}: the API server refuses such a pod",
            where=where,
            fix=f"write {name} in resources.limits, and the same number or nothing in requests",
        )
    return asked


def _parse(quantities: Mapping[str, Quantity], where: str) -> Amounts:
    return Counter(
        {name: _amount(name, quantity, where) for name, quantity in quantities.items() if _counts(name)}
    )


def _counts(resource: str) -> bool:
    """Whether a node has so much of it and no more: not so for the words that admission controllers read."""
    return (
        resource in _POD_LEVEL
        or resource == EPHEMERAL_STORAGE
        or resource.startswith(_HUGE_PAGES)
        or "/" in resource
    )


def _amount(resource: str, quantity: Quantity, where: str) -> int:
    try:
        value = parse_quantity(quantity, field=resource)
    except InputError as error:
        raise error.inside(where) from error
    if value < 0:
        raise InputError(
            f"{resource} {quoted(str(quantity))} is negative", where=where, fix="write what the pod needs"
        )
    in_mib = resource in _IN_MIB or resource.startswith(_HUGE_PAGES)
    unit = Fraction(1, 1000) if resource == "cpu" else Fraction(MIB if in_mib else 1)
    if is_gpu(resource) and value.denominator != 1:
        raise InputError(
            f"{resource} {quoted(str(quantity))} is no whole number",
            where=where,
            fix="Kubernetes counts GPUs: ask for 1 and state the need in gpuslice.io/gpu-memory and gpu-duty",
        )
    return -int(-value // unit)
