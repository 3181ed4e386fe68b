"""`gpuslice apply`: a plan put into effect in a cluster, after its difference was shown and consented to."""

from __future__ import annotations

import os
import sys
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Annotated

import typer

from gpuslice.cli.connection import ContextOption, KubeconfigOption, connected
from gpuslice.cli.console import CatalogOption, print_text, progress, say
from gpuslice.errors import AnswerIsNoError, EnvironmentFailedError, InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpuslice.cluster.apply.carry_out import Manner
    from gpuslice.cluster.apply.desired import Desired
    from gpuslice.cluster.apply.steps import Steps
    from gpuslice.cluster.client.api import Api
    from gpuslice.cluster.seen.snapshot import Snapshot

_COLOURS = {"+": "32", "-": "31", "@": "36", "=": "1"}


def apply(
    *,
    source: Annotated[
        str,
        typer.Option(
            "-f", "--filename", metavar="PATH", help="A plan, or a directory made by `gpuslice render --out`."
        ),
    ] = "",
    rollback: Annotated[
        bool,
        typer.Option(
            "--rollback", help="Bring back what was there before the last apply, workloads included."
        ),
    ] = False,
    workloads: Annotated[
        bool,
        typer.Option(
            "--workloads",
            help="Move the workloads too: one by one, each rollout awaited, a failed one put back.",
        ),
    ] = False,
    exclude: Annotated[
        list[str] | None,
        typer.Option(
            "--exclude", metavar="PATTERN", help="Workloads to leave as they are, such as 'shop/*'."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the difference, tried at the API server; write nothing.")
    ] = False,
    yes: Annotated[bool, typer.Option("-y", "--yes", help="Don't ask.")] = False,
    force: Annotated[
        bool,
        typer.Option(
            "--force-conflicts", help="Take fields that others manage, or changed since. Look before."
        ),
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Wait until Karpenter has accepted its objects.")
    ] = True,
    timeout: Annotated[
        str,
        typer.Option("--timeout", metavar="DURATION", help="How long to wait for one object or one rollout."),
    ] = "10m",
    cluster: Annotated[
        str, typer.Option("--cluster", metavar="NAME", help="For a plan: see `gpuslice render`.")
    ] = "",
    role: Annotated[
        str, typer.Option("--role", metavar="NAME", help="For a plan: IAM role of the nodes.")
    ] = "",
    instance_profile: Annotated[
        str, typer.Option("--instance-profile", metavar="NAME", help="For a plan: instead of --role.")
    ] = "",
    operator_namespace: Annotated[
        str,
        typer.Option("--operator-namespace", metavar="NAME", help="For a plan: where the GPU Operator runs."),
    ] = "gpu-operator",
    install_operator: Annotated[
        bool, typer.Option("--install-operator", help="Where there is no GPU Operator, install it by helm.")
    ] = False,
    context: ContextOption = "",
    kubeconfig: KubeconfigOption = "",
    catalog_file: CatalogOption = "",
) -> None:
    """Put a plan into effect: show what changes, ask, then do it in order.

    Everything is tried at the API server first. A journal in the cluster makes it resumable: interrupted anywhere, run
    it again. Nothing is evicted by gpuslice itself.
    """
    from gpuslice.cluster.apply.carry_out import Manner
    from gpuslice.cluster.apply.waiting import Patience

    if bool(source) == rollback:
        raise InputError(
            "--rollback takes back the last apply, whatever it was"
            if rollback
            else "nothing to apply was named",
            fix="leave out -f" if rollback else "name a plan or a rendered directory: -f PATH",
        )
    manner = Manner(Patience(_seconds(timeout), say), wait=wait, force=force)
    with connected(kubeconfig, context) as api:
        if rollback:
            _roll_back(api, manner, dry_run=dry_run, yes=yes, exclude=exclude or [])
            return
        desired = _desired(source, cluster, role, instance_profile, operator_namespace, catalog_file)
        _apply(
            api,
            desired,
            manner,
            workloads=workloads,
            dry_run=dry_run,
            yes=yes,
            exclude=exclude or [],
            install_operator=install_operator,
            catalog_file=catalog_file,
        )


def _apply(
    api: Api,
    desired: Desired,
    manner: Manner,
    *,
    workloads: bool,
    dry_run: bool,
    yes: bool,
    exclude: list[str],
    install_operator: bool,
    catalog_file: str,
) -> None:
    from gpuslice.cloud.selection import choose
    from gpuslice.cluster.apply import carry_out, journal, preflight
    from gpuslice.cluster.apply.journal import Edit
    from gpuslice.cluster.apply.steps import prepare

    previous = journal.load(api)
    carry_out.resumable(previous, desired.digest)
    snapshot = _read(api, desired, install=install_operator and not dry_run, yes=yes)
    notes = preflight.check(desired, snapshot, choose(catalog_file))
    with progress("trying it at the API server …"):
        steps = prepare(
            api, desired, snapshot, workloads=workloads, force=manner.force, exclude=_excluding(exclude)
        )
    _show(steps)
    for note in (*notes, *steps.notes):
        say(f"note: {note}")
    if workloads:
        for each in steps.left:
            say(f"left as it is: {each}")
    preflight.permitted(api, [each.work for each in steps.shown])
    _consent(steps, previous, dry_run=dry_run, yes=yes)
    if dry_run:
        return
    stored = carry_out.begin(api, steps, desired.digest, previous)
    stayed = carry_out.carry_out(api, stored, steps, manner)
    say(
        "done"
        + (
            ""
            if workloads or not desired.workloads
            else "; the workloads are as they were: --workloads moves them"
        )
    )
    _say_stayed(stayed, "run this again once they have moved")
    if any(isinstance(each.work, Edit) and each.work.workload for each in steps.shown):
        say(
            "nodes that are left empty go as Karpenter's budgets let them: gpuslice status shows what there is"
        )


def _roll_back(api: Api, manner: Manner, *, dry_run: bool, yes: bool, exclude: list[str]) -> None:
    from gpuslice.cluster.apply import carry_out, journal, preflight
    from gpuslice.cluster.apply.journal import Edit, Put, Remove

    stored = journal.load(api)
    if stored is None or stored.journal.state == "rolled-back":
        raise AnswerIsNoError(
            "there is nothing to take back", fix="an apply that was taken back already stays so"
        )
    say(
        f"the last apply began {stored.journal.started} ({stored.journal.tool}) and is {stored.journal.state}"
    )
    skip = {
        each.ref.title
        for each in stored.journal.steps
        if _excluding(exclude)(each.ref.namespace, each.ref.name)
    }
    for each in reversed(stored.journal.steps):
        match each:
            case Remove():
                print_text(f"make anew   {each.ref.title}")
            case Edit() if each.ref.title not in skip:
                print_text(
                    f"put back    {each.ref.title}: {', '.join(one.where for one in each.changes[:4])}"
                )
            case Put(created=True):
                print_text(f"delete      {each.ref.title}")
            case Put():
                print_text(f"put back    {each.ref.title}")
    if dry_run:
        return
    preflight.permitted(api, [each for each in stored.journal.steps if each.ref.title not in skip])
    _ask("Take it back?", yes=yes)
    from dataclasses import replace

    stayed = carry_out.roll_back(api, stored, replace(manner, skip=frozenset(skip)))
    if not stayed:
        say("all is as it was before")
    _say_stayed(stayed, "gpuslice apply --rollback, once they have moved")


def _desired(
    source: str, cluster: str, role: str, instance_profile: str, operator_namespace: str, catalog_file: str
) -> Desired:
    from gpuslice.cluster.apply.desired import of_directory, of_files

    if os.path.isdir(source):  # noqa: PTH112  Path.is_dir raises on a name that is too long
        if cluster or role or instance_profile:
            raise InputError(
                "--cluster and --role are for a plan", fix="leave them out: the directory is rendered"
            )
        return of_directory(source)
    from gpuslice.cloud.selection import choose
    from gpuslice.plan.reading import read_plan
    from gpuslice.render import manifests
    from gpuslice.render.settings import RenderSettings

    settings = RenderSettings(
        cluster=cluster, role=role, instance_profile=instance_profile, operator_namespace=operator_namespace
    )
    plan = read_plan(source)
    return of_files(manifests.render(plan, choose(catalog_file, plan.catalog.region), settings))


def _read(api: Api, desired: Desired, *, install: bool, yes: bool) -> Snapshot:
    """The cluster, with a GPU Operator where the plan needs one."""
    from gpuslice.cluster.apply import preflight
    from gpuslice.cluster.apply.preflight import helm_command, namespace_of
    from gpuslice.cluster.seen.read import read

    with progress("reading the cluster …"):
        snapshot = read(api)
    preflight.readable(snapshot)
    if desired.policy is None or snapshot.cluster_policies:
        return snapshot
    namespace = namespace_of(desired)
    if not install:
        raise AnswerIsNoError(
            "the GPU Operator isn't installed, and the plan's pools need it",
            fix=f"gpuslice render --out manifests; cd manifests; {' '.join(helm_command(namespace))} "
            "(or let gpuslice do it: --install-operator)",
        )
    _install(desired, namespace, yes=yes)
    with progress("reading the cluster …"):
        return read(api)


def _install(desired: Desired, namespace: str, *, yes: bool) -> None:
    import shutil
    import subprocess
    import tempfile

    from gpuslice.cluster.apply.preflight import helm_command

    if shutil.which("helm") is None:
        raise EnvironmentFailedError(
            "there is no helm on the PATH", fix="install it, or leave out --install-operator"
        )
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as values:
        values.write(desired.values)
        values.flush()
        command = helm_command(namespace, values.name)
        say(" ".join(command))
        _ask("Run that, and show the difference afterwards?", yes=yes)
        if subprocess.run(command, check=False).returncode:  # noqa: S603  the command is ours
            raise EnvironmentFailedError("helm failed", fix="see what it says above")


def _excluding(patterns: list[str]) -> Callable[[str, str], bool]:
    return lambda namespace, name: any(fnmatchcase(f"{namespace}/{name}", each) for each in patterns)


def _show(steps: Steps) -> None:
    from gpuslice.cluster.apply import difference

    plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb" or not sys.stdout.isatty()
    text = []
    for line in difference.lines(steps):
        shown = f"\n== {line.text}" if line.sign == "=" else f"{line.sign} {line.text}"
        text.append(
            shown if plain or line.sign not in _COLOURS else f"\x1b[{_COLOURS[line.sign]}m{shown}\x1b[0m"
        )
    if text:
        print_text("\n".join(text).lstrip("\n"))
    say(difference.meaning(steps))


def _consent(steps: Steps, previous: object, *, dry_run: bool, yes: bool) -> None:
    if dry_run or (not steps.differing and previous is not None):
        return
    _ask("Apply this?", yes=yes)


def _ask(question: str, *, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise InputError(
            "nobody can be asked: standard input is no terminal", fix="look at --dry-run, then give --yes"
        )
    if not typer.confirm(question, err=True):
        raise AnswerIsNoError("not consented to: nothing was written")


def _say_stayed(stayed: list[str], later: str) -> None:
    if stayed:
        raise AnswerIsNoError("; ".join(stayed), fix=later)


def _seconds(text: str) -> float:
    import re

    match = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", text)
    if match is None or not text:
        raise InputError(
            f"{text[:20]!r} is no duration", where="--timeout", fix='write such as "10m" or "90s"'
        )
    hours, minutes, seconds = (int(each or 0) for each in match.groups())
    return float(hours * 3600 + minutes * 60 + seconds)
