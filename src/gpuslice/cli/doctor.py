"""`gpuslice doctor`: what is wrong with a cluster's GPUs, with evidence, consequence and fix."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer

from gpuslice.cli.connection import (
    ContextOption,
    KubeconfigOption,
    PlanOption,
    say_unread,
    secret_in,
    snapshot_of,
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
from gpuslice.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuslice.cluster.checks.finding import Check, Finding, Reading, Use
    from gpuslice.cluster.seen.snapshot import Snapshot

_WIDEST = 110


def doctor(
    *,
    source: Annotated[
        str,
        typer.Option(
            "--from", metavar="DIRECTORY", help="Instead of a cluster: a dump made by `gpuslice scan --dump`."
        ),
    ] = "",
    plan_file: PlanOption = "",
    prometheus: Annotated[
        str,
        typer.Option(
            "--prometheus",
            metavar="URL",
            help="Compare what pods on shared GPUs asked for with what is used, by the DCGM exporter's metrics.",
        ),
    ] = "",
    token_file: Annotated[
        str, typer.Option("--token-file", metavar="FILE", help="Holds a bearer token for that Prometheus.")
    ] = "",
    sigv4: Annotated[
        str,
        typer.Option(
            "--sigv4", metavar="REGION", help="Sign for Amazon Managed Prometheus (needs gpuslice[aws])."
        ),
    ] = "",
    dcgm: Annotated[
        list[str] | None,
        typer.Option(
            "--dcgm",
            metavar="URL|FILE",
            help="The same for memory, by what a node's DCGM exporter serves, or served when it was saved; "
            "once for each node.",
        ),
    ] = None,
    nvml: Annotated[
        list[str] | None,
        typer.Option(
            "--nvml",
            metavar="FILE",
            help="The same for each pod, by what `gpuslice measure gpu --all -o json` wrote on a node; once for each.",
        ),
    ] = None,
    context: ContextOption = "",
    kubeconfig: KubeconfigOption = "",
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only", metavar="CODE", help="Only this check, such as GS203; may be given several times."
        ),
    ] = None,
    catalog_file: CatalogOption = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Look for what is broken or about to be. Exit code 1 if something is broken; nothing is changed.

    With -f, a cluster that isn't as the plan has it is broken, too.
    """
    from gpuslice.cloud.selection import choose
    from gpuslice.cluster.checks.doctor import diagnose, untold
    from gpuslice.cluster.seen import dump
    from gpuslice.plan.reading import read_plan

    if source and (context or kubeconfig):
        raise InputError(
            "a dump and a cluster were named", fix="leave out --from, or --context and --kubeconfig"
        )
    checks = _checks(only or [])
    if (token_file or sigv4) and not prometheus:
        raise InputError(
            "a way into a Prometheus was given, and none was named", fix="name it: --prometheus URL"
        )
    if [*(dcgm or ()), *(nvml or ()), source, plan_file].count("-") > 1:
        raise InputError("standard input was named twice", fix="name a file for one of them")
    plan = read_plan(plan_file) if plan_file else None
    readings = _readings(dcgm or [])
    held = _held(nvml or [])
    snapshot = dump.load(source) if source else snapshot_of(kubeconfig, context)
    use = _use(prometheus, token_file, sigv4) if prometheus else {}
    use = _with(readings, use, snapshot)
    if nvml:
        _say_strangers(held, snapshot)
    findings = diagnose(snapshot, choose(catalog_file), checks, plan=plan, use=use, held=held)
    say_unread(untold(snapshot, checks))
    _print(findings, snapshot, output)
    _end(findings, len(checks), snapshot.where)


def _checks(only: list[str]) -> list[Check]:
    """The checks that are asked for, or all."""
    from gpuslice.cluster.checks.doctor import CHECKS

    unknown = sorted(set(only) - {check.code for check in CHECKS})
    if unknown:
        raise InputError(
            f"there is no check {unknown[0][:20]!r}",
            where="--only",
            fix=f"{CHECKS[0].code} … {CHECKS[-1].code}",
        )
    return [check for check in CHECKS if not only or check.code in only]


def _print(findings: Sequence[Finding], snapshot: Snapshot, output: Output) -> None:
    match output:
        case Output.TABLE:
            for finding in findings:
                print_text(_block(finding))
        case Output.NAME:
            print_names(f"{finding.code} {finding.subject}" for finding in findings)
        case _:
            print_data({"cluster": snapshot.where, "taken": snapshot.taken, "findings": findings}, output)


def _end(findings: Sequence[Finding], checks: int, where: str) -> None:
    """Sum it up; exit code 1 where something is broken."""
    from gpuslice.cluster.checks.finding import Severity

    count = Counter(finding.severity for finding in findings)
    say(
        f"{checks} checks of {where}: {count[Severity.BROKEN]} broken, {count[Severity.RISK]} at risk"
        + (f", {count[Severity.UNKNOWN]} unknown" if count[Severity.UNKNOWN] else "")
    )
    if count[Severity.BROKEN]:
        raise typer.Exit(1)


def _use(url: str, token_file: str, sigv4: str) -> dict[str, Use]:
    """What GPUs are used for right now, by node."""
    import time

    from gpuslice.cluster.checks.finding import Use
    from gpuslice.errors import EnvironmentFailedError
    from gpuslice.measure.prometheus import Access, Server, TooMuchError
    from gpuslice.measure.use import MINUTES, lately

    server = Server(Access(url, bearer=secret_in(token_file), sigv4_region=sigv4))
    try:
        with progress(f"asking {server.url} …"):
            lately_used = lately(server, int(time.time()))
    except TooMuchError as error:
        raise EnvironmentFailedError(f"can't say how GPUs are used: {error}", where=server.url) from None
    finally:
        server.close()
    if not lately_used:
        say(f"note: {server.url} has no reading of a GPU of the last {MINUTES} minutes")
    return {node: Use(now.memory_mib, now.busy) for node, now in lately_used.items()}


def _readings(sources: list[str]) -> list[Reading]:
    """What exporters serve, or served."""
    from gpuslice.cluster.checks.finding import Reading
    from gpuslice.measure.exposition import load

    readings = []
    for source in sources:
        with progress(f"reading {source.partition('?')[0].rpartition('@')[2][:80]} …"):
            readings += [Reading(one.node, one.pods, one.memory_mib) for one in load(source)]
    return readings


def _with(readings: list[Reading], use: dict[str, Use], snapshot: Snapshot) -> dict[str, Use]:
    """The use of nodes by exporters too, and a word on what that leaves out."""
    from gpuslice.cluster.checks.measurements import most, on_nodes

    if not readings:
        return use
    by_node, strangers = on_nodes(readings, snapshot)
    if strangers:
        say(f"note: not a node of {snapshot.where}: {', '.join(strangers[:5])}{', …' * (len(strangers) > 5)}")
    say(
        "note: an exporter tells one moment: memory is compared, and how busy a GPU is only with --prometheus; it "
        "tells sums of those who share a GPU, and --nvml each pod's own memory"
    )
    return most(use, by_node)


def _held(files: list[str]) -> dict[str, int]:
    """GPU memory by pod, of all nodes; of a pod that is told of twice the most."""
    from gpuslice.measure.pod_memory import load

    held: dict[str, int] = {}
    for name in files:
        for uid, memory in load(name).items():
            held[uid] = max(memory, held.get(uid, 0))
    return held


def _say_strangers(held: dict[str, int], snapshot: Snapshot) -> None:
    if not held:
        say("note: no process of a pod was on those GPUs while NVML was asked")
    there = {pod.metadata.uid for pod in snapshot.pods}
    if gone := len(held.keys() - there):
        say(f"note: {gone} of {len(held)} pods that were measured by NVML aren't in {snapshot.where}")


def _block(finding: Finding) -> str:
    width = min(shutil.get_terminal_size((_WIDEST, 24)).columns, _WIDEST)
    lines = [f"{finding.code} {finding.severity.upper()}  {finding.subject}"]
    for name, text in (("found", finding.evidence), ("means", finding.consequence), ("do", finding.fix)):
        lines += textwrap.wrap(
            text,
            max(width, 50),
            initial_indent=f"  {name}:{' ' * (7 - len(name))}",
            subsequent_indent=" " * 10,
            break_on_hyphens=False,
            break_long_words=False,
        )
    if sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb":
        colour = {"broken": "31", "risk": "33"}.get(finding.severity.value, "36")
        lines[0] = f"\x1b[1;{colour}m{lines[0]}\x1b[0m"
    return "\n".join(lines) + "\n"
