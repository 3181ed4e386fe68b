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
    print_text,
    progress,
    say,
)
from gpuslice.cli.shown.status import harmless, print_status, summary
from gpuslice.errors import EnvironmentFailedError, InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpuslice.cloud.catalog import Catalog
    from gpuslice.cluster.seen.snapshot import Snapshot
    from gpuslice.cluster.status import ClusterStatus
    from gpuslice.plan.artefact import Plan

_CLEAR: Final = "\x1b[H\x1b[2J"
_INTERVAL: Final = 10
"""Seconds: one look reads all pods and nodes, which a large cluster's API server feels."""


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
    standing = _show(snapshot, catalog, plan, namespace, output)
    if standing.differing:
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


def _show(
    snapshot: Snapshot, catalog: Catalog, plan: Plan | None, namespace: str, output: Output
) -> ClusterStatus:
    from gpuslice.cluster.client.roles import TO_VIEW
    from gpuslice.cluster.status import status_of

    standing = status_of(snapshot, catalog, plan, namespace)
    match output:
        case Output.TABLE:
            print_status(standing)
        case Output.NAME:
            print_names(harmless(pool.name) for pool in standing.pools if pool.name)
        case _:
            print_data(standing, output)
    for note in standing.notes:
        say(f"note: {harmless(note)}")
    if snapshot.unread:
        say(f"note: ask for the role of who looks: {TO_VIEW}")
    say(summary(standing))
    return standing
