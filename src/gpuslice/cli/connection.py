"""What the verbs that look at a cluster have in common: their options, and the way to a snapshot."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gpuslice.cli.console import progress, say
from gpuslice.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gpuslice.cluster.client.api import Api
    from gpuslice.cluster.seen.snapshot import Snapshot, Unread

ContextOption = Annotated[
    str,
    typer.Option("--context", metavar="NAME", help="A context of the kubeconfig; default: the current one."),
]
KubeconfigOption = Annotated[
    str, typer.Option("--kubeconfig", metavar="FILE", help="A kubeconfig; default: as kubectl finds it.")
]
AllNamespacesOption = Annotated[
    bool, typer.Option("-A", "--all-namespaces", help="All namespaces: the default for a cluster.")
]


PlanOption = Annotated[
    str,
    typer.Option("-f", "--filename", metavar="FILE", help="A plan to compare with. - is stdin."),
]


@contextmanager
def connected(kubeconfig: str, context: str) -> Iterator[Api]:
    """A connection to the cluster that the options name.

    Raises:
        GpusliceError: none is configured, or it doesn't answer.
    """
    from gpuslice.cluster.client.api import connect
    from gpuslice.cluster.client.kubeconfig import load

    with connect(load(kubeconfig, context)) as api:
        yield api


def snapshot_of(kubeconfig: str, context: str, namespace: str = "", *, everywhere: bool = False) -> Snapshot:
    """The cluster that the options name, read once.

    Raises:
        GpusliceError: as `connected`; or pods can't be read.
    """
    from gpuslice.cluster.seen.read import read

    if namespace and everywhere:
        raise InputError("-n and -A were both given", fix="leave one out")
    with connected(kubeconfig, context) as api, progress("reading the cluster …"):
        return read(api, (namespace,) if namespace else ())


def say_unread(unread: Iterable[Unread]) -> None:
    """Name what couldn't be read, and who may read it."""
    from gpuslice.cluster.client.roles import TO_VIEW

    missing = [*unread]
    for kind in missing:
        say(f"note: {kind.what} can't be read: {kind.why}")
    if missing:
        say(f"note: what can't be read is taken for absent; ask for the role of who looks: {TO_VIEW}")


def secret_in(path: str) -> str:
    """What a file holds; empty where none is named.

    Raises:
        InputError: it can't be read, or holds nothing.
    """
    if not path:
        return ""
    try:
        secret = Path(path).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise InputError(
            f"can't be read: {error.strerror}", where=path, fix="name a file that holds a token"
        ) from None
    except UnicodeDecodeError:
        raise InputError("is no text", where=path, fix="name a file that holds a token") from None
    if not secret:
        raise InputError("is empty", where=path, fix="name a file that holds a token")
    return secret
