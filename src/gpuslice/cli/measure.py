"""`gpuslice measure`: what workloads need, read off what they do, into workloads.yaml."""

from __future__ import annotations

import os
import re
from typing import Annotated

import typer

from gpuslice.cli.connection import secret_in
from gpuslice.cli.console import Output, OutputOption, say
from gpuslice.cli.needs import DryRunOption, QuantileOption, refuse_stdin, write_into
from gpuslice.cli.shown.needs import print_needs

# Labels of what is scraped, or of whom it is about: by these, kube-state-metrics would be left out.
_OF_ONE_SCRAPE = frozenset(
    {
        *("__name__", "job", "instance", "endpoint", "service", "namespace", "pod", "container", "node"),
        *("exported_namespace", "exported_pod", "exported_container", "exported_node"),
        *("Hostname", "UUID", "gpu", "device", "modelName", "GPU_I_ID", "GPU_I_PROFILE"),
    }
)

app = typer.Typer(help="Measure what workloads need of a GPU: by Prometheus, from a trace, or on a GPU.")


@app.callback()
def measure() -> None:
    """Measure what workloads need of a GPU."""


@app.command("prometheus")
def measure_prometheus(
    *,
    url: Annotated[
        str,
        typer.Option("--url", metavar="URL", help="Of Prometheus, or what speaks its API; without /api/v1."),
    ],
    file: Annotated[
        str, typer.Option("-f", "--file", metavar="FILE", help="The workloads.yaml whose needs are wanted.")
    ],
    window: Annotated[
        str, typer.Option("--window", metavar="TIME", help="How far back: 14d, 36h, 90m.")
    ] = "14d",
    until: Annotated[
        str,
        typer.Option(
            "--until", metavar="DATE", help="End of the window, as 2026-11-01T00:00:00Z; default: now."
        ),
    ] = "",
    out: Annotated[
        str, typer.Option("--out", metavar="FILE", help="Write workloads.yaml here; default: into -f.")
    ] = "",
    match: Annotated[
        str,
        typer.Option(
            "--match",
            metavar="LABELS",
            help="Only series with these labels, as PromQL has: 'cluster=\"prod\"'.",
        ),
    ] = "",
    token_file: Annotated[
        str, typer.Option("--token-file", metavar="FILE", help="Holds a bearer token.")
    ] = "",
    user: Annotated[
        str,
        typer.Option(
            "--user", metavar="NAME", help="For basic auth; password: GPUSLICE_PROMETHEUS_PASSWORD."
        ),
    ] = "",
    client_cert: Annotated[
        str, typer.Option("--client-cert", metavar="FILE", help="PEM, for mutual TLS; with --client-key.")
    ] = "",
    client_key: Annotated[str, typer.Option("--client-key", metavar="FILE", help="Its key, PEM.")] = "",
    ca_cert: Annotated[
        str, typer.Option("--ca-cert", metavar="FILE", help="PEM of the CA that the server is checked by.")
    ] = "",
    sigv4: Annotated[
        str,
        typer.Option(
            "--sigv4", metavar="REGION", help="Sign for Amazon Managed Prometheus (needs gpuslice[aws])."
        ),
    ] = "",
    timeout: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", min=1, help="That one answer may take.")
    ] = 60,
    quantile: QuantileOption = 0.95,
    dry_run: DryRunOption = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Measure needs from the DCGM exporter's metrics in a Prometheus, and write them into workloads.yaml."""
    from gpuslice.cli.console import progress_of
    from gpuslice.measure.dcgm import read_needs
    from gpuslice.measure.prometheus import Access, Server
    from gpuslice.measure.statistics import Window, pool
    from gpuslice.measure.times import parse_date, parse_length, utc
    from gpuslice.workloads.artefact import read_workloads
    from gpuslice.workloads.measurement import Means

    refuse_stdin(file)
    seconds, end = parse_length(window, field="--window"), parse_date(until, field="--until")
    workloads = read_workloads(file, accept_assumed=True).workloads
    access = Access(
        url,
        bearer=secret_in(token_file),
        basic=_basic(user, token_file),
        certificate=_pair(client_cert, client_key),
        authority=ca_cert,
        sigv4_region=sigv4,
        timeout=timeout,
    )
    server = Server(access)
    try:
        with progress_of(f"asking {server.url}") as advance:
            readings = read_needs(
                server,
                workloads,
                start=end - seconds,
                end=end,
                within=_labels(match),
                progress=advance,
            )
    finally:
        server.close()
    asked = Window(seconds, utc(end), Means.PROMETHEUS)
    needs = {name: pool(group, asked, quantile=quantile) for name, group in readings.items()}
    print_needs(needs, output)
    write_into(file, needs, out=out, dry_run=dry_run, output=output)


def _labels(match: str) -> str:
    """Matchers as they stand between braces. They hold for kube-state-metrics' series too, which tell who shares."""
    selector = match.strip().removeprefix("{").removesuffix("}").strip(" ,")
    own = sorted(
        set(re.findall(r"([a-zA-Z_]\w*)\s*[=!]", re.sub(r'"(\\.|[^"\\])*"', "", selector))) & _OF_ONE_SCRAPE
    )
    if own or (selector and '"' not in selector):
        from gpuslice.errors import InputError

        raise InputError(
            f"{own[0]} is not a label that all series of a cluster have"
            if own
            else f"{match[:40]!r} matches no label",
            where="--match",
            fix="match one that kube-state-metrics' series have too, such as 'cluster=\"prod\"'",
        )
    return selector


def _basic(user: str, token_file: str) -> tuple[str, str] | None:
    if not user:
        return None
    from gpuslice.errors import InputError

    if token_file:
        raise InputError("--user and --token-file exclude each other", fix="give one of them")
    password = os.environ.get("GPUSLICE_PROMETHEUS_PASSWORD")
    if password is None:
        raise InputError(
            f"--user {user[:40]} has no password",
            fix="set GPUSLICE_PROMETHEUS_PASSWORD, to an empty one if it has none",
        )
    return user, password


def _pair(certificate: str, key: str) -> tuple[str, str] | None:
    if not certificate and not key:
        return None
    if not certificate or not key:
        from gpuslice.errors import InputError

        raise InputError("--client-cert and --client-key go together", fix="give both")
    return certificate, key


@app.command("trace")
def measure_trace(
    *,
    path: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="A CSV, plain or gzip: pod; minute, seconds or time; duty or duty_share; mem_mib or mem_bytes.",
        ),
    ],
    today: Annotated[
        str,
        typer.Option("--today", metavar="GPU", help="The GPU that the pods ran on, where no column says."),
    ] = "",
    pooled: Annotated[
        str,
        typer.Option("--workload", metavar="NAMESPACE/NAME", help="Take all pods for replicas of this one."),
    ] = "",
    file: Annotated[
        str, typer.Option("-f", "--file", metavar="FILE", help="A workloads.yaml to write the needs into.")
    ] = "",
    out: Annotated[
        str, typer.Option("--out", metavar="FILE", help="Write workloads.yaml here; default: into -f.")
    ] = "",
    region: Annotated[
        str, typer.Option("--region", metavar="REGION", help="Region of a new workloads.yaml.")
    ] = "us-east-1",
    quantile: QuantileOption = 0.95,
    dry_run: DryRunOption = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Measure needs from a trace: a CSV with a row for each pod and time."""
    from gpuslice.measure.statistics import Window, pool
    from gpuslice.measure.trace import read_trace
    from gpuslice.workloads.measurement import Means

    refuse_stdin(file)
    if file:
        from gpuslice.workloads.artefact import read_workloads

        read_workloads(file, accept_assumed=True)  # a fault of the file's is said before anything is printed
    trace = read_trace(path, today=today, pooled=pooled)
    window = Window(0, trace.until, Means.TRACE)
    needs = {name: pool(group, window, quantile=quantile) for name, group in trace.by_workload.items()}
    if file:
        print_needs(needs, output)
        write_into(file, needs, out=out, dry_run=dry_run, output=output)
    else:
        from gpuslice.measure.new_file import new_workloads

        made = new_workloads(needs, region=region, notes=trace.notes)
        print_needs(needs, output)
        if out and not dry_run:
            from gpuslice.artefacts.output import write_atomically
            from gpuslice.workloads.dump import dump

            write_atomically(out, dump(made))
            say(f"written to {out}")
    for note in trace.notes:
        say(f"note: {note}")
