"""The status of a cluster as tables, and in a line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gpuslice.cli.console import print_table, print_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gpuslice.cluster.status import ClusterStatus, PoolStatus, Waiting

_NO_POOL: Final = "(no NodePool)"
_IDLE_SHOWN: Final = 5  # pools in which nothing is


def print_status(status: ClusterStatus) -> None:
    """Pools, slices and pending pods, each as a table of its own where there are any."""
    blocks: list[Callable[[], None]] = []
    slices = [(pool, offer) for pool in status.pools for offer in pool.slices]
    shown = _worth_a_line(status.pools)
    if shown:
        blocks.append(lambda: _print_pools(shown, compared=status.planned_usd_per_hour is not None))
    if slices:
        blocks.append(
            lambda: print_table(
                ("pool", "resource", "promised", "registered", "used"),
                (
                    (
                        _name(pool),
                        harmless(offer.resource),
                        *(
                            _figure(offer.resource, one)
                            for one in (offer.promised, offer.registered, offer.used)
                        ),
                    )
                    for pool, offer in slices
                ),
                right=("promised", "registered", "used"),
            )
        )
    if status.pending:
        blocks.append(
            lambda: print_table(
                ("pending", "pods", "asks for", "why"), _pending(status.pending), right=("pods",)
            )
        )
    for number, block in enumerate(blocks):
        if number:
            print_text("")
        block()


def _worth_a_line(pools: tuple[PoolStatus, ...]) -> tuple[PoolStatus, ...]:
    """All but pools where nothing is and nothing should be, where there are many: with seats each workload has one."""
    empty = [pool for pool in pools if _is_idle(pool)]
    return pools if len(empty) <= _IDLE_SHOWN else tuple(pool for pool in pools if not _is_idle(pool))


def _is_idle(pool: PoolStatus) -> bool:
    return not (pool.nodes or pool.launching or (pool.plan is not None and pool.plan.differs))


def _print_pools(pools: tuple[PoolStatus, ...], *, compared: bool) -> None:
    columns = ("pool", "nodes", "ready", "$/hour")
    planned = ("planned", "planned $/hour") if compared else ()
    print_table(
        (*columns, *planned, "machines", *(("differs",) if compared else ())),
        (
            (
                _name(pool),
                f"{pool.nodes}+{pool.launching}" if pool.launching else pool.nodes,
                pool.ready,
                _dollars(pool.usd_per_hour, pool.unpriced, pool.nodes),
                *_plan_cells(pool, compared=compared),
                _machines(pool),
                *((_differs(pool),) if compared else ()),
            )
            for pool in pools
        ),
        right=("nodes", "ready", "$/hour", *planned),
    )


def _plan_cells(pool: PoolStatus, *, compared: bool) -> tuple[object, ...]:
    if not compared:
        return ()
    return (None, None) if pool.plan is None else (pool.plan.nodes, f"{pool.plan.usd_per_hour:,.2f}")


def _differs(pool: PoolStatus) -> str | None:
    return "; ".join(pool.plan.differs) or None if pool.plan is not None else None


def _name(pool: PoolStatus) -> str:
    if not pool.name:
        return _NO_POOL
    return harmless(pool.name) + (" (NodePool is gone)" if pool.exists is False and pool.nodes else "")


def _machines(pool: PoolStatus) -> str | None:
    listed = (
        f"{machine.nodes} {harmless(machine.instance_type) or 'of unknown type'} {machine.purchase}"
        + (" (price of on-demand)" if machine.assumed_price else "")
        for machine in pool.machines
    )
    return ", ".join(listed) or None


def _dollars(known: float, unpriced: int, nodes: int) -> str:
    if unpriced and unpriced == nodes:
        return "unknown"
    return f"{known:,.2f}" + (f" and {unpriced} unknown" if unpriced else "")


def _figure(resource: str, count: int | None) -> str | int | None:
    """A count; of GPU memory, which is in bytes, as Kubernetes writes it."""
    from gpuslice.hardware.resource_names import GPU_MEMORY
    from gpuslice.units import MIB, format_memory

    return format_memory(count // MIB) if resource == GPU_MEMORY and count is not None else count


def _pending(pods: tuple[Waiting, ...]) -> Iterator[tuple[object, ...]]:
    """One row for all that ask for the same and wait for the same reason, named by the first of them."""
    groups: dict[tuple[str, str], list[Waiting]] = {}
    for pod in pods:
        # A claim is told in words, which say how many by themselves; a resource's name has no space.
        asks = ", ".join(
            name if " " in name else f"{_figure(name, count)} {name}" for name, count in pod.asks.items()
        )
        groups.setdefault((asks, pod.reason), []).append(pod)
    for (asks, reason), group in groups.items():
        name = harmless(group[0].pod) + (", …" if len(group) > 1 else "")
        yield name, len(group), harmless(asks) or None, harmless(reason)


def summary(status: ClusterStatus) -> str:
    """The status in one line."""
    nodes = sum(pool.nodes for pool in status.pools)
    words = (
        f"{status.cluster}, {status.taken}: {nodes:,} GPU nodes in {len(status.pools):,} pools, "
        f"${status.usd_per_hour:,.2f} an hour"
    )
    if status.unpriced:
        words += f" and {status.unpriced:,} nodes of unknown price"
    if status.planned_usd_per_hour is not None:
        ours = sum(pool.usd_per_hour for pool in status.pools if pool.plan is not None)
        words += (
            f", ${ours:,.2f} of it in the plan's pools, where ${status.planned_usd_per_hour:,.2f} is planned"
        )
    words += f"; {len(status.pending):,} GPU pods pending"
    idle = sum(map(_is_idle, status.pools))
    if idle > _IDLE_SHOWN:
        words += f"; {idle:,} pools have no nodes and need none"
    if status.differing:
        words += f"; {len(status.differing):,} pools differ from the plan"
    return harmless(words)


def harmless(text: str) -> str:
    """What stands in a cluster or a dump may be anybody's: nothing in it may move a terminal's cursor."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
