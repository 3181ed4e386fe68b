"""What runs and is paid for now, in words: nodes, GPUs held and asked for, dollars, and who shares GPUs."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from gpuslice.cli.console import say
from gpuslice.units import first_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gpuslice.cloud.catalog import Catalog
    from gpuslice.cluster.seen.inventory import Inventory
    from gpuslice.workloads.today import NodesToday, Today

_NAMED: Final = 4  # of kinds of nodes, or of workloads; the rest is counted


def say_inventory(inventory: Inventory) -> None:
    """The nodes with GPUs, and how far they are used."""
    types = Counter(node.instance_type or "of unknown type" for node in inventory.nodes)
    listed = ", ".join(f"{count} {name}" for name, count in types.most_common())
    say(f"{len(inventory.nodes):,} GPU nodes{f' ({listed})' if listed else ''}")
    asked = ", ".join(f"{count:,} {name}" for name, count in inventory.asked.items()) or "none"
    idle = sum(1 for node in inventory.nodes if not node.pods)
    words = f"{inventory.cards:,} GPUs held; asked for: {asked}"
    if idle:
        words += f"; {idle:,} nodes without a GPU pod"
    if inventory.pending:
        words += f"; {inventory.pending:,} pods wait for a node"
    say(words)


def say_today(today: Today, catalog: Catalog, region: str) -> None:
    """What the nodes cost, what of that isn't known, and which workloads share GPUs.

    Args:
        today: as read.
        catalog: its prices.
        region: of the nodes; empty: none or several.
    """
    from gpuslice.units import HOURS_A_MONTH

    month = today.usd_per_hour * HOURS_A_MONTH
    unpriced = [node for node in today.nodes if node.usd_per_hour is None]
    least = "at least " if unpriced else ""
    paid = f"{least}${today.usd_per_hour:,.2f} an hour (${month:,.0f} a month)"
    if len(unpriced) == len(today.nodes):
        paid = "not known"
    say(f"now: {paid}, prices of {catalog.prices_date} in {catalog.region}")
    dearer = [node for node in unpriced if node.on_demand_usd_per_hour is not None]
    if dearer:
        usd = sum((node.on_demand_usd_per_hour or 0.0) * node.count for node in dearer)
        say(
            f"note: not in that sum, as their own price isn't known: {in_words(dearer)}; on demand they would be "
            f"${usd:,.2f} an hour. `gpuslice catalog refresh` adds spot prices"
        )
    other = [node for node in unpriced if node.on_demand_usd_per_hour is None]
    if other:
        where = f", in {region}" if region and region != catalog.region else ""
        say(
            f"note: without a price, and not in that sum: {in_words(other)}{where}; `gpuslice catalog refresh` makes "
            "a catalog of your region"
        )
    shared: dict[str, Counter[str]] = {}
    for share in today.shares:
        if share.mechanism != "whole":
            gpu = f" of {share.gpu}" if share.gpu else ""
            shared.setdefault(f"{share}{gpu}", Counter())[share.workload] += share.pods
    for words, pods in shared.items():
        say(f"{sum(pods.values()):,} pods have {words} each: {first_of(list(pods), _NAMED)}")


def in_words(nodes: Iterable[NodesToday]) -> str:
    """Nodes by type and how they were bought: "2 g5.xlarge (spot), 1 g6.xlarge"."""
    types: Counter[str] = Counter()
    for node in nodes:
        bought = "" if node.purchase == "on-demand" else f" ({node.purchase})"
        types[f"{node.instance_type or 'of unknown type'}{bought}"] += node.count
    return first_of([f"{count:,} {name}" for name, count in types.most_common()], _NAMED)
