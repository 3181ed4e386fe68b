"""What Karpenter will launch for a plan's pools: the bill that is paid, and how far chance moves it.

Each workload's pods name one pool, so that pools share no pods, and the bill is the sum of what each pool comes to by
itself. What a pool came to for a load is remembered: a search that moves one workload asks about two pools.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gpuslice.cloud.catalog import Purchase
from gpuslice.karpenter.model import CPU, MEMORY, NODES, PODS, PodClass, Settings
from gpuslice.karpenter.rollout import Arrivals, arrivals, rollout
from gpuslice.karpenter.settling import settled
from gpuslice.karpenter.templates import Pools
from gpuslice.launches.pools import (
    PodAsk,
    PoolLoad,
    PoolOffer,
    daemons_of,
    karpenter_pools,
    loads_of,
    offers_of,
    pod_class,
)

if TYPE_CHECKING:
    from gpuslice.cloud.catalog import Catalog, DaemonsetOverhead, InstanceType
    from gpuslice.karpenter.model import Node
    from gpuslice.plan.artefact import Plan
    from gpuslice.workloads.model import Workload

Order = tuple[Arrivals, int]
"""How pods arrive, and the seed of what is left to chance."""

DEFAULT_ORDERS: Final[tuple[Order, ...]] = tuple((pattern, seed) for pattern in Arrivals for seed in range(4))
"""Arrivals over which a bill is spread, unless asked otherwise."""
PRICED_ORDERS: Final[tuple[Order, ...]] = tuple((pattern, seed) for seed in range(2) for pattern in Arrivals)
"""Arrivals over which a plan is priced: every pattern twice, as more tell little more and take longer."""
_MOST_ARRIVING: Final = 20_000
"""Pods over all orders together: fleets of thousands are priced by fewer orders, and chance moves their bills less."""


@dataclass(frozen=True, slots=True)
class Bill:
    """What a load comes to.

    Attributes:
        price: micro-dollars an hour.
        nodes: how many, by (pool, instance type, purchase).
        unbound: replicas that fit nowhere.
    """

    price: int
    nodes: tuple[tuple[tuple[str, str, str], int], ...]
    unbound: int

    def __add__(self, other: Bill) -> Bill:
        nodes = Counter(dict(self.nodes))
        nodes.update(dict(other.nodes))
        return Bill(self.price + other.price, tuple(sorted(nodes.items())), self.unbound + other.unbound)


NOTHING: Final = Bill(0, (), 0)


@dataclass(frozen=True, slots=True)
class Launched:
    """One node, and how many replicas of each ask it carries."""

    instance_type: str
    purchase: Purchase
    pods: tuple[tuple[PodAsk, int], ...]


@dataclass(frozen=True, slots=True)
class Spread:
    """The bills of one plan over orders of arrival.

    Attributes:
        bills: with the order that each belongs to, cheapest first.
    """

    bills: tuple[tuple[Bill, Order], ...]

    @property
    def least(self) -> int:
        """Micro-dollars an hour in the luckiest order."""
        return self.bills[0][0].price

    @property
    def most(self) -> int:
        """Micro-dollars an hour in the unluckiest order."""
        return self.bills[-1][0].price

    @property
    def mean(self) -> int:
        """Micro-dollars an hour over all orders, rounded."""
        return round(sum(bill.price for bill, _ in self.bills) / len(self.bills))

    @property
    def typical(self) -> Order:
        """The order whose bill is nearest to the mean; of two, the dearer one."""
        mean = self.mean
        return min(self.bills, key=lambda bill: (abs(bill[0].price - mean), -bill[0].price))[1]

    @property
    def unbound(self) -> int:
        """Replicas that fit nowhere, in the worst order."""
        return max(bill.unbound for bill, _ in self.bills)


def priced_orders(pods: int) -> tuple[Order, ...]:
    """The orders by which a fleet of so many pods is priced, one at least."""
    return PRICED_ORDERS[: max(1, _MOST_ARRIVING // max(pods, 1))]


class Realiser:
    """Asks the model of Karpenter about pools, and remembers its answers."""

    def __init__(self, overhead: DaemonsetOverhead, *, consolidate: bool = False) -> None:
        """Begin with nothing known.

        Args:
            overhead: of daemonsets, on each node.
            consolidate: count the nodes that are left once Karpenter has consolidated, not those launched first.
        """
        self._overhead = overhead
        self._daemons = daemons_of(overhead)
        self._consolidate = consolidate
        self._pools: dict[PoolOffer, Pools] = {}
        self._classes: dict[tuple[PoolOffer, PodAsk], PodClass] = {}
        self._bills: dict[tuple[PoolOffer, PoolLoad, Order], Bill] = {}

    def bill(self, offer: PoolOffer, load: PoolLoad, order: Order) -> Bill:
        """What a pool comes to under a load, if pods arrive in this order.

        Args:
            offer: the pool.
            load: what it carries.
            order: of arrival.
        """
        key = (offer, load, order)
        known = self._bills.get(key)
        if known is None:
            known = self._bills[key] = self._bill(offer, load, order)
        return known

    def spread(
        self, loads: Iterable[tuple[PoolOffer, PoolLoad]], orders: Sequence[Order] = DEFAULT_ORDERS
    ) -> Spread:
        """The bills of pools and their loads, over orders of arrival."""
        listed = [(offer, load) for offer, load in loads if load]
        bills = [
            (sum((self.bill(offer, load, order) for offer, load in listed), NOTHING), order)
            for order in orders
        ]
        return Spread(tuple(sorted(bills, key=lambda bill: (bill[0].price, bill[0].nodes))))

    def nodes(self, offer: PoolOffer, load: PoolLoad, order: Order) -> tuple[Launched, ...]:
        """The nodes of `bill`, one by one, each with its pods."""
        nodes, _ = self._rolled_out(offer, load, order)
        asks = {id(self._class(offer, ask)): ask for ask, _ in load}
        return tuple(
            Launched(
                node.instance_type,
                Purchase(node.capacity_type),
                tuple(Counter(asks[id(pod.kind)] for pod in node.pods).items()),
            )
            for node in nodes
        )

    def _bill(self, offer: PoolOffer, load: PoolLoad, order: Order) -> Bill:
        counted = None if self._consolidate else self.counted(offer, load)
        if counted is not None:
            return counted
        nodes, unbound = self._rolled_out(offer, load, order)
        kinds = Counter((node.pool, node.instance_type, node.capacity_type) for node in nodes)
        return Bill(sum(node.price for node in nodes), tuple(sorted(kinds.items())), unbound)

    def counted(self, offer: PoolOffer, load: PoolLoad) -> Bill | None:
        """The bill where no order can change it: every node of every type holds equally many pods of whatever mix.

        Then no type drops out as a node fills up, and the cheapest one is launched each time.
        """
        purchases = [
            purchase
            for purchase in offer.purchases
            if all(purchase in kind.prices for kind, _ in offer.machines)
        ]
        if len(offer.purchases) != 1 or len(purchases) != 1:
            return None
        (purchase,) = purchases
        held = {self._held(kind, promised, load) for kind, promised in offer.machines}
        most = held.pop()
        if held or not most:
            return None
        nodes = -(-sum(count for _, count in load) // most)
        price, name = min((kind.prices[purchase], kind.name) for kind, _ in offer.machines)
        if nodes > offer.limits.get(NODES, nodes):
            return None
        return Bill(price * nodes, (((offer.name, name, purchase.value), nodes),), 0)

    def _held(self, kind: InstanceType, promised: Mapping[str, int], load: PoolLoad) -> int:
        """How many pods any full node of a type holds; 0 where that depends on which pods, or where some don't fit."""
        room = {
            CPU: kind.allocatable_cpu_milli - self._overhead.cpu_milli,
            MEMORY: kind.allocatable_memory_mib - self._overhead.memory_mib,
            PODS: kind.max_pods - len(self._daemons),
            **promised,
        }
        sizes = [{CPU: ask.cpu_milli, MEMORY: ask.memory_mib, PODS: 1, **dict(ask.slices)} for ask, _ in load]
        fewest = most = max(room[PODS], 0)
        for resource in {name for size in sizes for name in size}:
            amounts = [size.get(resource, 0) for size in sizes]
            have = max(room.get(resource, 0), 0)
            fewest = min(fewest, have // max(amounts) if max(amounts) else fewest)
            most = min(most, have // min(amounts) if min(amounts) else most)
        return most if fewest == most else 0

    def _rolled_out(self, offer: PoolOffer, load: PoolLoad, order: Order) -> tuple[list[Node], int]:
        """Nodes that carry anything, and how many replicas none carries. Empty ones soon go, and are not counted."""
        pattern, seed = order
        pools = self._pools.get(offer)
        if pools is None:
            listed, overlays = karpenter_pools([offer])
            settings = Settings(exact_ties=False)  # other pools' nodes stand between these, or don't
            pools = self._pools[offer] = Pools(
                listed, overlays=overlays, daemons=self._daemons, settings=settings
            )
        counts = [(self._class(offer, ask), count) for ask, count in load]
        fleet = rollout(pools, arrivals(counts, pattern, seed), seed)
        nodes, unbound = fleet.nodes, fleet.unbound
        if self._consolidate:
            rest = settled(pools, nodes, unbound, seed)
            nodes, unbound = rest.nodes, rest.unbound
        return [node for node in nodes if node.pods], len(unbound)

    def _class(self, offer: PoolOffer, ask: PodAsk) -> PodClass:
        key = (offer, ask)
        pods = self._classes.get(key)
        if pods is None:
            pods = self._classes[key] = pod_class(offer.name, ask)
        return pods


def realised_spread(
    plan: Plan,
    workloads: Iterable[Workload],
    catalog: Catalog,
    overhead: DaemonsetOverhead,
    *,
    orders: Sequence[Order] = DEFAULT_ORDERS,
    consolidate: bool = False,
) -> Spread:
    """The bills of a plan as Karpenter carries it out, over orders of arrival.

    Args:
        plan: to carry out.
        workloads: that it was made for.
        catalog: that it was made with.
        overhead: of daemonsets, on each node.
        orders: of arrival.
        consolidate: after everything has been consolidated, rather than as first launched.
    """
    workloads = tuple(workloads)
    offers = offers_of(plan.pools, plan.assignments, plan.stack, catalog, workloads)
    loads = loads_of(plan, workloads)
    realiser = Realiser(overhead, consolidate=consolidate)
    return realiser.spread(((offers[name], load) for name, load in loads.items()), orders)
