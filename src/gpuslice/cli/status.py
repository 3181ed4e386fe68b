"""`gpuslice status`: how a cluster's GPUs stand, once or again and again, and where it differs from a plan."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Final

import typer

from gpuslice.cli.connection import (
    AllNamespacesOption,
    ContextOption,
    KubeconfigOption,
    PlanOption,
    connected,
)
from gpuslice.cli.console import (
    CatalogOption,
    Output,
    OutputOption,
    print_data,
    print_names,
    print_table,
    print_text,
    progress,
    say,
)
from gpuslice.errors import EnvironmentFailedError, InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpuslice.cloud.catalog import Catalog
    from gpuslice.cluster.seen.snapshot import Snapshot
    from gpuslice.cluster.status import Pool, Status, Waiting
    from gpuslice.plan.artefact import Plan

_NO_POOL: Final = "(no NodePool)"
_CLEAR: Final = "\x1b[H\x1b[2J"
_INTERVAL: Final = 10
"""Seconds: one look reads all pods and nodes, which a large cluster's API server feels."""
_IDLE_SHOWN: Final = 5  # pools in which nothing is


def status(
    *,
    source: Annotated[
        str,
        typer.Option(
            "--from", metavar="DIRECTORY", help="Instead of a cluster: a dump made by `gpuslice scan --dump`."
        ),
    ] = "",
    plan_file: PlanOption = "",
    watch: Annotated[bool, typer.Option("-w", "--watch", help="Look again and again, until Ctrl-C.")] = False,
    interval: Annotated[
        int,
        typer.Option("--interval", metavar="SECONDS", min=1, max=86_400, help="Between looks, with --watch."),
    ] = _INTERVAL,
    namespace: Annotated[
        str,
        typer.Option(
            "-n", "--namespace", metavar="NAME", help="Only pending pods of this one; nodes belong to all."
        ),
    ] = "",
    everywhere: AllNamespacesOption = False,
    context: ContextOption = "",
    kubeconfig: KubeconfigOption = "",
    catalog_file: CatalogOption = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Show pools, nodes, slices promised, registered and used, dollars, and pending pods with the reason.

    Promised is what NodeOverlays say of the nodes that are there, registered what the nodes offer, used what their
    pods ask for. With -f, exit code 1 if the cluster differs from the plan: a pool is missing, is none of the
    plan's, or has other nodes or dollars. A watch ends with 0. Nothing is changed.
    """
    from gpuslice.cloud.selection import choose
    from gpuslice.plan.reading import read_plan

    if source and (context or kubeconfig):
        raise InputError(
            "a dump and a cluster were named", fix="leave out --from, or --context and --kubeconfig"
        )
    if source and watch:
        raise InputError("a dump doesn't change", where="--watch", fix="leave out --watch or --from")
    if namespace and everywhere:
        raise InputError("-n and -A were both given", fix="leave one out")
    plan = read_plan(plan_file) if plan_file else None
    catalog = choose(catalog_file)
    with _looking(source, kubeconfig, context) as look:
        if watch:
            _watch(look, catalog, plan, namespace, output, interval)
            return
        with progress("reading the cluster …"):
            snapshot = look()
    found = _show(snapshot, catalog, plan, namespace, output)
    if found.differing:
        raise typer.Exit(1)


@contextmanager
def _looking(source: str, kubeconfig: str, context: str) -> Iterator[Callable[[], Snapshot]]:
    """What takes a snapshot each time that it is called."""
    if source:
        from gpuslice.cluster.seen import dump

        yield lambda: dump.load(source)
        return
    from gpuslice.cluster.seen.read import read

    with connected(kubeconfig, context) as api:
        yield lambda: read(api)


def _watch(
    look: Callable[[], Snapshot],
    catalog: Catalog,
    plan: Plan | None,
    namespace: str,
    output: Output,
    interval: int,
) -> None:
    redraw = _redraws(output)
    first = True
    try:
        while True:
            try:
                snapshot = look()
            except EnvironmentFailedError as error:
                if first:
                    raise
                say(f"{error.message}; looking again in {interval} s")  # an API server comes back
                time.sleep(interval)
                continue
            if redraw:
                sys.stdout.write(_CLEAR)
            elif output is Output.YAML and not first:
                print_text("---")
            elif output is Output.TABLE and not first:
                print_text("")
            _show(snapshot, catalog, plan, namespace, output)
            first = False
            time.sleep(interval)
    except KeyboardInterrupt:
        return  # that is how a watch ends


def _redraws(output: Output) -> bool:
    return output is Output.TABLE and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def _show(snapshot: Snapshot, catalog: Catalog, plan: Plan | None, namespace: str, output: Output) -> Status:
    from gpuslice.cluster.client.roles import TO_VIEW
    from gpuslice.cluster.status import status_of

    found = status_of(snapshot, catalog, plan, namespace)
    match output:
        case Output.TABLE:
            _print(found)
        case Output.NAME:
            print_names(_harmless(each.name) for each in found.pools if each.name)
        case _:
            print_data(found, output)
    for note in found.notes:
        say(f"note: {_harmless(note)}")
    if snapshot.unread:
        say(f"note: ask for the role of who looks: {TO_VIEW}")
    say(_summary(found))
    return found


def _print(found: Status) -> None:
    blocks: list[Callable[[], None]] = []
    slices = [(pool, each) for pool in found.pools for each in pool.slices]
    shown = _worth_a_line(found.pools)
    if shown:
        blocks.append(lambda: _print_pools(shown, compared=found.planned_usd_per_hour is not None))
    if slices:
        blocks.append(
            lambda: print_table(
                ("pool", "resource", "promised", "registered", "used"),
                (
                    (
                        _name(pool),
                        _harmless(each.resource),
                        *(_figure(each.resource, one) for one in (each.promised, each.registered, each.used)),
                    )
                    for pool, each in slices
                ),
                right=("promised", "registered", "used"),
            )
        )
    if found.pending:
        blocks.append(
            lambda: print_table(
                ("pending", "pods", "asks for", "why"), _pending(found.pending), right=("pods",)
            )
        )
    for number, block in enumerate(blocks):
        if number:
            print_text("")
        block()


def _worth_a_line(pools: tuple[Pool, ...]) -> tuple[Pool, ...]:
    """All but pools where nothing is and nothing should be, where there are many: with seats each workload has one."""
    empty = [each for each in pools if _is_idle(each)]
    return pools if len(empty) <= _IDLE_SHOWN else tuple(each for each in pools if not _is_idle(each))


def _is_idle(pool: Pool) -> bool:
    return not (pool.nodes or pool.launching or (pool.plan is not None and pool.plan.differs))


def _print_pools(pools: tuple[Pool, ...], *, compared: bool) -> None:
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


def _plan_cells(pool: Pool, *, compared: bool) -> tuple[object, ...]:
    if not compared:
        return ()
    return (None, None) if pool.plan is None else (pool.plan.nodes, f"{pool.plan.usd_per_hour:,.2f}")


def _differs(pool: Pool) -> str | None:
    return "; ".join(pool.plan.differs) or None if pool.plan is not None else None


def _name(pool: Pool) -> str:
    if not pool.name:
        return _NO_POOL
    return _harmless(pool.name) + (" (NodePool is gone)" if pool.exists is False and pool.nodes else "")


def _machines(pool: Pool) -> str | None:
    listed = (
        f"{each.nodes} {_harmless(each.instance_type) or 'of unknown type'} {each.purchase}"
        + (" (price of on-demand)" if each.assumed_price else "")
        for each in pool.machines
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
    for each in pods:
        asks = ", ".join(f"{_figure(name, count)} {name}" for name, count in each.asks.items())
        groups.setdefault((asks, each.reason), []).append(each)
    for (asks, reason), group in groups.items():
        name = _harmless(group[0].pod) + (", …" if len(group) > 1 else "")
        yield name, len(group), _harmless(asks) or None, _harmless(reason)


def _summary(found: Status) -> str:
    nodes = sum(each.nodes for each in found.pools)
    words = (
        f"{found.cluster}, {found.taken}: {nodes:,} GPU nodes in {len(found.pools):,} pools, "
        f"${found.usd_per_hour:,.2f} an hour"
    )
    if found.unpriced:
        words += f" and {found.unpriced:,} nodes of unknown price"
    if found.planned_usd_per_hour is not None:
        ours = sum(each.usd_per_hour for each in found.pools if each.plan is not None)
        words += (
            f", ${ours:,.2f} of it in the plan's pools, where ${found.planned_usd_per_hour:,.2f} is planned"
        )
    words += f"; {len(found.pending):,} GPU pods pending"
    idle = sum(map(_is_idle, found.pools))
    if idle > _IDLE_SHOWN:
        words += f"; {idle:,} pools have no nodes and need none"
    if found.differing:
        words += f"; {len(found.differing):,} pools differ from the plan"
    return _harmless(words)


def _harmless(text: str) -> str:
    """What stands in a cluster or a dump may be anybody's: nothing in it may move a terminal's cursor."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
