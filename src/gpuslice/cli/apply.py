"""`gpuslice apply`: a plan put into effect in a cluster, after its difference was shown and consented to."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from gpuslice.cli.connection import ContextOption, KubeconfigOption, connected
from gpuslice.cli.console import CatalogOption, print_text, progress, say
from gpuslice.errors import AnswerIsNoError, EnvironmentFailedError, InputError

if TYPE_CHECKING:
    from gpuslice.cluster.apply.apply import Prepared, Wishes
    from gpuslice.cluster.apply.waiting import Patience
    from gpuslice.cluster.client.api import Api
    from gpuslice.render.bundle import Bundle

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
    from gpuslice.cluster.apply.apply import Wishes
    from gpuslice.cluster.apply.waiting import Patience

    if bool(source) == rollback:
        raise InputError(
            "--rollback takes back the last apply, whatever it was"
            if rollback
            else "nothing to apply was named",
            fix="leave out -f" if rollback else "name a plan or a rendered directory: -f PATH",
        )
    asked = _Asked(Patience(_seconds(timeout), say), wait=wait, dry_run=dry_run, yes=yes)
    wishes = Wishes(workloads, tuple(exclude or ()), force)
    with connected(kubeconfig, context) as api:
        if rollback:
            _roll_back(api, wishes, asked)
            return
        desired = _desired(source, cluster, role, instance_profile, operator_namespace, catalog_file)
        prepared = _prepared(api, desired, catalog_file, wishes, asked, install=install_operator)
        _apply(prepared, desired, asked)


@dataclass(frozen=True, slots=True)
class _Asked:
    """How it is to be gone about, by the options."""

    patience: Patience
    wait: bool
    dry_run: bool
    yes: bool


def _prepared(
    api: Api, desired: Bundle, catalog_file: str, wishes: Wishes, asked: _Asked, *, install: bool
) -> Prepared:
    """What is about to happen, with a GPU Operator where one is needed and may be installed."""
    from gpuslice.cloud.selection import choose
    from gpuslice.cluster.apply.apply import prepare
    from gpuslice.cluster.apply.preflight import OperatorMissingError

    catalog = choose(catalog_file)
    try:
        return prepare(api, desired, catalog, wishes, stage=progress)
    except OperatorMissingError:
        if not install or asked.dry_run:
            raise
    _install(desired, yes=asked.yes)
    return prepare(api, desired, catalog, wishes, stage=progress)


def _apply(prepared: Prepared, desired: Bundle, asked: _Asked) -> None:
    moving = prepared.wishes.workloads
    _show(prepared)
    for note in prepared.notes:
        say(f"note: {note}")
    if moving:
        for left in prepared.left:
            say(f"left as it is: {left}")
    if asked.dry_run:
        return
    if prepared.differences or prepared.previous is None:
        _ask("Apply this?", yes=asked.yes)
    stayed = prepared.carry_out(asked.patience, wait=asked.wait)
    say(
        "done"
        if moving or not desired.patches
        else "done; the workloads are as they were: --workloads moves them"
    )
    _say_stayed(stayed, "run this again once they have moved")
    if prepared.moves:
        say(
            "nodes that are left empty go as Karpenter's budgets let them: gpuslice status shows what there is"
        )


def _roll_back(api: Api, wishes: Wishes, asked: _Asked) -> None:
    from gpuslice.cluster.apply.apply import prepare_rollback
    from gpuslice.cluster.apply.journal import Edit, Put, Remove

    prepared = prepare_rollback(api, wishes)
    last = prepared.journal
    say(f"the last apply began {last.started} ({last.tool}) and is {last.state}")
    for work in prepared.works:
        match work:
            case Remove():
                print_text(f"make anew   {work.ref.title}")
            case Edit():
                fields = ", ".join(change.where for change in work.changes[:4])
                print_text(f"put back    {work.ref.title}: {fields}")
            case Put(created=True):
                print_text(f"delete      {work.ref.title}")
            case Put():
                print_text(f"put back    {work.ref.title}")
    if asked.dry_run:
        return
    _ask("Take it back?", yes=asked.yes)
    stayed = prepared.carry_out(asked.patience)
    if not stayed:
        say("all is as it was before")
    _say_stayed(stayed, "gpuslice apply --rollback, once they have moved")


def _desired(
    source: str, cluster: str, role: str, instance_profile: str, operator_namespace: str, catalog_file: str
) -> Bundle:
    if os.path.isdir(source):  # noqa: PTH112  Path.is_dir raises on a name that is too long
        from gpuslice.cluster.apply.directory import read_directory

        if cluster or role or instance_profile:
            raise InputError(
                "--cluster and --role are for a plan", fix="leave them out: the directory is rendered"
            )
        return read_directory(source)
    from gpuslice.cloud.selection import choose
    from gpuslice.plan.reading import read_plan
    from gpuslice.render import manifests
    from gpuslice.render.settings import RenderSettings

    settings = RenderSettings(
        cluster=cluster, role=role, instance_profile=instance_profile, operator_namespace=operator_namespace
    )
    plan = read_plan(source)
    return manifests.bundle(plan, choose(catalog_file, plan.catalog.region), settings)


def _install(desired: Bundle, *, yes: bool) -> None:
    import shutil
    import subprocess
    import tempfile

    from gpuslice.artefacts.documents import dump_yaml
    from gpuslice.cluster.apply.preflight import helm_command, namespace_of

    if shutil.which("helm") is None:
        raise EnvironmentFailedError(
            "there is no helm on the PATH", fix="install it, or leave out --install-operator"
        )
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as values:
        values.write(dump_yaml(desired.helm_values or {}))
        values.flush()
        command = helm_command(namespace_of(desired), values.name)
        say(" ".join(command))
        _ask("Run that, and show the difference afterwards?", yes=yes)
        if subprocess.run(command, check=False).returncode:  # noqa: S603  the command is ours
            raise EnvironmentFailedError("helm failed", fix="see what it says above")


def _show(prepared: Prepared) -> None:
    from gpuslice.cluster.apply import difference

    plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb" or not sys.stdout.isatty()
    text = []
    for line in difference.lines(prepared.differences):
        shown = f"\n== {line.text}" if line.sign == "=" else f"{line.sign} {line.text}"
        text.append(
            shown if plain or line.sign not in _COLOURS else f"\x1b[{_COLOURS[line.sign]}m{shown}\x1b[0m"
        )
    if text:
        print_text("\n".join(text).lstrip("\n"))
    say(difference.meaning(prepared.differences))


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
    hours, minutes, seconds = (int(group or 0) for group in match.groups())
    return float(hours * 3600 + minutes * 60 + seconds)
