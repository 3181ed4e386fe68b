"""How a cluster's GPUs stand: pools, nodes, slices promised, registered and used, dollars, pods that wait.

All of it is what the objects say at one moment; with a plan beside it, where the cluster differs from the plan.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from gpuslice.carriers.pools import POOL_LABEL
from gpuslice.cluster.client.objects import condition
from gpuslice.cluster.client.resources import NODE, NODE_POOL
from gpuslice.cluster.client.roles import TO_VIEW
from gpuslice.cluster.seen.claims import NO_NODES, waiting_for_claims
from gpuslice.cluster.seen.inventory import INSTANCE_TYPE, GpuNode, gpu_node, purchase_of, requests_of
from gpuslice.cluster.seen.machines import POOL, promised, types_of, with_seats
from gpuslice.cluster.seen.offers import amount, is_slice, seats_asked
from gpuslice.errors import EnvironmentFailedError
from gpuslice.hardware.resource_names import METERED, SEATS, is_seat
from gpuslice.units import micro_usd, usd

if TYPE_CHECKING:
    from gpuslice.cloud.catalog import Catalog
    from gpuslice.cluster.client.objects import Node, NodePool, Pod
    from gpuslice.cluster.seen.snapshot import Snapshot
    from gpuslice.plan import artefact as planned
    from gpuslice.workloads.objects import Container

_LONGEST_REASON: Final = 200
"""Characters: the scheduler names every cause with its count, and the first few say it."""
_CENT: Final = 10_000
"""Micro-dollars: prices of the plan are rounded, and a difference below this is none."""
_NAMES_MACHINES: Final = ("node.kubernetes.io/instance-type", "karpenter.k8s.aws/instance-family")
_NAMES_GPUS: Final = "karpenter.k8s.aws/instance-gpu-"
"""All seats of a pool together: a fleet has one for each workload, and a line for each would say less."""


class _Part(Struct, frozen=True, rename="camel"):
    """A part of the status: immutable, camelCase where it is printed for programs."""


class Machines(_Part, frozen=True):
    """Nodes of one instance type, bought in one way."""

    instance_type: str
    """Empty: the nodes don't say."""
    purchase: str
    nodes: int
    ready: int
    usd_per_hour: float | None
    """Of one node; None: no price is known."""
    assumed_price: bool
    """Whether the on-demand price stands for another that isn't known."""


class Slices(_Part, frozen=True):
    """One resource of a pool's nodes: pieces; of GPU memory bytes; of GPU time thousandths. Seats are one together."""

    resource: str
    promised: int | None
    """By NodeOverlays, of the nodes that are there; None: no overlay speaks of it, or that can't be told."""
    registered: int
    """How many the nodes offer."""
    used: int
    """How many the pods on the nodes ask for."""


class PoolInPlan(_Part, frozen=True):
    """What the plan has of a pool, and how the cluster differs from that."""

    nodes: int
    usd_per_hour: float
    differs: tuple[str, ...]


class PoolStatus(_Part, frozen=True):
    """A NodePool that is about GPUs, or, without a name, the GPU nodes that belong to none."""

    name: str
    exists: bool | None
    """Whether there is such a NodePool: nodes may be left of one that is gone. None: NodePools couldn't be read."""
    machines: tuple[Machines, ...]
    launching: int
    """NodeClaims that have no node yet."""
    slices: tuple[Slices, ...]
    usd_per_hour: float
    """Of the nodes whose prices are known."""
    unpriced: int
    """Nodes whose price isn't."""
    plan: PoolInPlan | None

    @property
    def nodes(self) -> int:
        """How many nodes there are."""
        return sum(machine.nodes for machine in self.machines)

    @property
    def ready(self) -> int:
        """How many nodes say that they are ready."""
        return sum(machine.ready for machine in self.machines)


class Waiting(_Part, frozen=True):
    """A pod that asks for a GPU and has no node."""

    pod: str
    asks: dict[str, int]
    pool: str
    """The NodePool that it selects; empty: none by name."""
    reason: str


class ClusterStatus(_Part, frozen=True):
    """How a cluster's GPUs stand.

    `planned_usd_per_hour` is None where there is no plan.
    """

    cluster: str
    taken: str
    pools: tuple[PoolStatus, ...]
    usd_per_hour: float
    unpriced: int
    planned_usd_per_hour: float | None
    pending: tuple[Waiting, ...]
    notes: tuple[str, ...]

    @property
    def differing(self) -> tuple[PoolStatus, ...]:
        """Pools in which the cluster isn't as planned."""
        return tuple(pool for pool in self.pools if pool.plan is not None and pool.plan.differs)


@dataclass(frozen=True, slots=True)
class _Held:
    """A node of a pool, and what is known of it as a machine with GPUs; None: nothing."""

    node: Node
    gpu: GpuNode | None


def status_of(
    snapshot: Snapshot, catalog: Catalog, plan: planned.Plan | None = None, namespace: str = ""
) -> ClusterStatus:
    """How the GPUs of a cluster stand.

    Args:
        snapshot: the cluster.
        catalog: instance types and prices.
        plan: to be compared with.
        namespace: whose pending pods are told; empty: all. Nodes and their slices belong to no namespace.

    Raises:
        EnvironmentFailedError: there is a plan, and nodes or NodePools couldn't be read.
    """
    if plan is not None:
        for resource in (NODE, NODE_POOL):
            if not snapshot.could_read(resource):
                raise EnvironmentFailedError(
                    f"{resource.title} can't be read, so that nothing can be compared with the plan",
                    where=snapshot.where,
                    fix=f"ask for the role of who looks: {TO_VIEW}; or look without -f",
                )
    by_pool = {node_pool.name: node_pool for node_pool in snapshot.node_pools}
    of_plan = {pool.name: pool for pool in plan.pools} if plan is not None else {}
    held = _nodes(
        snapshot, catalog, set(of_plan) | {name for name, node_pool in by_pool.items() if _ours(node_pool)}
    )
    launching = Counter(
        node_claim.metadata.labels.get(POOL, "")
        for node_claim in snapshot.node_claims
        if not node_claim.status.node_name
    )
    named = set(held) | set(of_plan)
    named |= {name for name, node_pool in by_pool.items() if _about_gpus(node_pool, snapshot, catalog)}
    pools = []
    for name in sorted(named, key=lambda pool: (not pool, pool)):
        nodes = held.get(name, [])
        machines = _machines(nodes)
        micro = sum(node.gpu.usd_micro or 0 for node in nodes if node.gpu is not None)
        unpriced = sum(node.gpu is None or node.gpu.usd_micro is None for node in nodes)
        pools.append(
            PoolStatus(
                name=name,
                exists=name in by_pool if snapshot.could_read(NODE_POOL) else None,
                machines=machines,
                launching=launching[name] if name else 0,
                slices=_slices(nodes, by_pool.get(name), snapshot, catalog),
                usd_per_hour=usd(micro),
                unpriced=unpriced,
                plan=None
                if plan is None
                else _planned(of_plan.get(name), by_pool.get(name), len(nodes), micro, unpriced),
            )
        )
    return ClusterStatus(
        cluster=snapshot.where,
        taken=snapshot.taken,
        pools=tuple(pools),
        usd_per_hour=usd(sum(micro_usd(pool.usd_per_hour) for pool in pools)),
        unpriced=sum(pool.unpriced for pool in pools),
        planned_usd_per_hour=None
        if plan is None
        else usd(sum(micro_usd(pool.plan.usd_per_hour) for pool in pools if pool.plan is not None)),
        pending=tuple(
            waiting
            for waiting in _waiting(snapshot, catalog, launching)
            if not namespace or waiting.pod.startswith(f"{namespace}/")
        ),
        notes=tuple(_notes(snapshot, catalog, plan)),
    )


def _ours(pool: NodePool) -> bool:
    return POOL_LABEL in pool.labels


def _about_gpus(pool: NodePool, snapshot: Snapshot, catalog: Catalog) -> bool:
    """Whether somebody meant it for GPUs. That a pool of any machine could buy one is no such sign."""
    if _ours(pool):
        return True
    kinds = types_of(pool, catalog)
    meant = any(
        requirement.key.startswith(_NAMES_GPUS)
        or (requirement.key in _NAMES_MACHINES and requirement.operator == "In")
        for requirement in pool.requirements
    )
    return bool(kinds) and (
        meant
        or any(
            is_slice(name) and amount(figure)
            for kind in kinds
            for name, figure in promised(snapshot.node_overlays, pool, kind).items()
        )
    )


def _nodes(snapshot: Snapshot, catalog: Catalog, whole: set[str]) -> dict[str, list[_Held]]:
    """Nodes by pool: those with GPUs, and of the pools in `whole` every one."""
    nodes: dict[str, list[_Held]] = {}
    for node in sorted(snapshot.nodes, key=lambda node: node.name):
        pool = node.labels.get(POOL, "")
        gpu = gpu_node(node, snapshot, catalog)
        if gpu is not None or pool in whole:
            nodes.setdefault(pool, []).append(_Held(node, gpu))
    return nodes


def _machines(nodes: list[_Held]) -> tuple[Machines, ...]:
    groups: dict[tuple[str, str], list[_Held]] = {}
    for node in nodes:
        key = (node.node.labels.get(INSTANCE_TYPE, ""), purchase_of(node.node).value)
        groups.setdefault(key, []).append(node)
    return tuple(
        Machines(
            instance_type=kind,
            purchase=purchase,
            nodes=len(group),
            ready=sum(_is_ready(held.node) for held in group),
            usd_per_hour=_price(group),
            assumed_price=any(held.gpu is not None and held.gpu.assumed_price for held in group),
        )
        for (kind, purchase), group in sorted(groups.items())
    )


def _price(group: list[_Held]) -> float | None:
    """Of each; None where one of them has none, such as one in another region."""
    prices = {None if held.gpu is None else held.gpu.usd_micro for held in group}
    price = prices.pop()
    return None if prices or price is None else usd(price)


def _is_ready(node: Node) -> bool:
    said = condition(node.status.conditions, "Ready")
    return said is not None and said.status == "True"


def _slices(
    nodes: list[_Held], pool: NodePool | None, snapshot: Snapshot, catalog: Catalog
) -> tuple[Slices, ...]:
    registered: Counter[str] = Counter()
    used: Counter[str] = Counter()
    for node in nodes:
        for name, quantity in node.node.status.allocatable.items():
            if is_slice(name):
                registered[_line(name)] += int(amount(quantity))
        for pod in snapshot.pods_by_node.get(node.node.name, ()):
            for name, count in _asked(pod).items():
                used[_line(name)] += count
    said = _promised(nodes, pool, snapshot, catalog)
    spoken = said or {}
    return tuple(
        Slices(name, None if said is None else said.get(name), registered[name], used[name])
        for name in sorted(registered.keys() | used.keys() | spoken.keys())
        if registered[name] or used[name] or spoken.get(name)
    )


def _promised(
    nodes: list[_Held], pool: NodePool | None, snapshot: Snapshot, catalog: Catalog
) -> Mapping[str, int] | None:
    """By resource, of all nodes; None where a node's type or its NodePool isn't known."""
    if pool is None:
        return None
    types = catalog.by_name()
    amounts: Counter[str] = Counter()
    for node in nodes:
        kind = types.get(node.node.labels.get(INSTANCE_TYPE, ""))
        if kind is None:
            return None
        for name, figure in promised(snapshot.node_overlays, pool, kind).items():
            if is_slice(name):
                amounts[_line(name)] += int(amount(figure))
    return amounts


def _line(resource: str) -> str:
    """Under which name a resource is told."""
    return SEATS if is_seat(resource) else resource


def _asked(pod: Pod) -> dict[str, int]:
    """What a pod asks for of GPUs, what is metered and seats included.

    Kubernetes takes limits where nothing is requested.
    """
    spec = pod.spec
    requests = dict(requests_of(pod))
    for name in (*METERED, *sorted(seats_asked(pod))):
        sidecars = [
            init_container
            for init_container in spec.init_containers
            if init_container.restart_policy == "Always"
        ]
        starting = [
            init_container
            for init_container in spec.init_containers
            if init_container.restart_policy != "Always"
        ]
        running = sum(_of(container, name) for container in (*spec.containers, *sidecars))
        if total := max((running, *(_of(container, name) for container in starting))):
            requests[name] = total
    return requests


def _of(container: Container, resource: str) -> int:
    asked = {**container.resources.limits, **container.resources.requests}
    return int(amount(asked.get(resource, "0")))


def _planned(
    of_plan: planned.Pool | None, pool: NodePool | None, nodes: int, micro: int, unpriced: int
) -> PoolInPlan | None:
    if of_plan is None:
        if pool is not None and _ours(pool):
            return PoolInPlan(0, 0.0, ("isn't in the plan",))
        return None
    count = sum(node.count for node in of_plan.nodes)
    cost = sum(micro_usd(node.usd_per_hour) * node.count for node in of_plan.nodes)
    differs = []
    if pool is None:
        differs.append("there is no such NodePool")
    if nodes != count:
        differs.append(
            f"{nodes} of {count} nodes" if nodes < count else f"{nodes} nodes, planned were {count}"
        )
    elif not unpriced and abs(micro - cost) >= _CENT:
        differs.append("other machines or other prices than planned")
    return PoolInPlan(count, usd(cost), tuple(differs))


def _waiting(snapshot: Snapshot, catalog: Catalog, launching: Mapping[str, int]) -> Iterator[Waiting]:
    by_label = {
        node_pool.labels[POOL_LABEL]: node_pool.name for node_pool in snapshot.node_pools if _ours(node_pool)
    }
    seated = with_seats(snapshot.node_pools, snapshot.node_overlays, catalog)
    for pod in sorted(snapshot.gpu_pods, key=lambda gpu_pod: gpu_pod.name):
        if pod.spec.node_name:
            continue
        wanted = pod.spec.node_selector
        label = wanted.get(POOL_LABEL, "")
        pool = wanted.get(POOL, "") or by_label.get(label, label)
        reason = _reason(pod)
        if pool and launching.get(pool):
            reason += f"; {launching[pool]} of NodePool {pool} being launched"
        for seat in () if pool else sorted(seats_asked(pod)):
            coming = sum(launching.get(name, 0) for name in seated.get(seat, ()))
            reason += f"; {coming} with seats for it being launched" if coming else ""
        yield Waiting(pod.name, _asked(pod), pool, reason)
    for pod, claimed in waiting_for_claims(snapshot):
        yield Waiting(pod.name, dict.fromkeys(claimed, 1), "", f"{_reason(pod)}; {NO_NODES}")


def _reason(pod: Pod) -> str:
    """Why a pod has no node, as far as it says itself."""
    if pod.metadata.deletion_timestamp:
        return "it is being deleted"
    said = condition(pod.status.conditions, "PodScheduled")
    if said is None or not (said.message or said.reason):
        return "no scheduler has said anything of it yet"
    text = " ".join((said.message or said.reason).split())
    return text if len(text) <= _LONGEST_REASON else text[: _LONGEST_REASON - 3] + "..."


def _notes(snapshot: Snapshot, catalog: Catalog, plan: planned.Plan | None) -> Iterator[str]:
    for kind in snapshot.unread:
        yield f"{kind.what} can't be read: {kind.why}"
    if snapshot.namespaces:
        yield f"pods were read only of {', '.join(snapshot.namespaces)}: others may use slices too"
    if plan is not None and (plan.catalog.region, plan.catalog.prices) != (
        catalog.region,
        catalog.prices_date,
    ):
        yield (
            f"prices are those of {catalog.region}, {catalog.prices_date}; the plan was made with those of "
            f"{plan.catalog.region}, {plan.catalog.prices}"
        )
