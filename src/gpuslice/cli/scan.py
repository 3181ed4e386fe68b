"""`gpuslice scan`: what workloads need of GPUs, from manifests or a trace, into workloads.yaml."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from gpuslice.cli.console import Output, OutputOption, print_data, print_table, print_text, say
from gpuslice.errors import InputError

if TYPE_CHECKING:
    from gpuslice.workloads.artefact import WorkloadSet
    from gpuslice.workloads.model import Workload


def scan(
    *,
    source: Annotated[
        list[str] | None,
        typer.Option(
            "--from",
            metavar="PATH",
            help="Manifests: a file, a directory, or - for stdin. May be given several times.",
        ),
    ] = None,
    trace: Annotated[
        str,
        typer.Option(
            "--from-trace", metavar="FILE", help="A public trace: openb or GenTD26, .csv or .csv.gz."
        ),
    ] = "",
    today: Annotated[
        str,
        typer.Option("--today", metavar="GPU", help="The GPU that workloads run on where nothing else says."),
    ] = "",
    pod: Annotated[
        str,
        typer.Option("--pod", metavar="cpu=2,memory=8Gi", help="Requests of a pod where a trace has none."),
    ] = "",
    namespace: Annotated[
        str, typer.Option("-n", "--namespace", metavar="NAME", help="Namespace of objects that name none.")
    ] = "default",
    exclude: Annotated[
        list[str] | None,
        typer.Option("--exclude", metavar="PATTERN", help="Workloads to leave out, such as 'kube-system/*'."),
    ] = None,
    region: Annotated[
        str, typer.Option("--region", metavar="REGION", help="Region of the workloads.")
    ] = "us-east-1",
    out: Annotated[str, typer.Option("--out", metavar="FILE", help="Write workloads.yaml.")] = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Say what workloads need of GPUs, what of it is known, and what is missing."""
    workloads = _read(source or [], trace, today, pod, namespace, exclude or [], region)
    if out:
        from gpuslice.artefacts.output import write_atomically
        from gpuslice.workloads.artefact import dump

        write_atomically(out, dump(workloads))
    _print(workloads, output)
    for note in workloads.notes:
        say(f"note: {note}")
    say(_summary(workloads))
    if out:
        say(f"written to {out}")


def _read(
    source: list[str],
    trace: str,
    today: str,
    pod: str,
    namespace: str,
    exclude: list[str],
    region: str,
) -> WorkloadSet:
    if bool(source) == bool(trace):
        raise InputError(
            "--from and --from-trace were both given" if trace else "nothing to scan was named",
            fix="name manifests (--from DIR, or kubectl get deploy,sts,job,pod -A -o json | gpuslice scan --from -) "
            "or a trace (--from-trace FILE)",
        )
    if trace:
        from gpuslice.workloads.traces import from_trace

        if exclude:
            raise InputError("--exclude is for manifests", fix="leave it out: a trace is read whole")
        cpu, memory = _pod_requests(pod)
        return from_trace(trace, today=today or None, pod_cpu_milli=cpu, pod_memory_mib=memory, region=region)
    if pod:
        raise InputError("--pod is for traces: manifests have requests", fix="leave it out")
    from gpuslice.workloads.manifests import from_manifests

    return from_manifests(source, today=today or None, region=region, namespace=namespace, exclude=exclude)


def _pod_requests(text: str) -> tuple[int | None, int | None]:
    """`cpu=2,memory=8Gi` as milli-CPU and MiB; None for what isn't there."""
    from gpuslice.units import parse_cpu_milli, parse_memory_mib

    fields: dict[str, str] = {}
    for part in filter(None, text.split(",")):
        key, equals, value = part.partition("=")
        if not equals or key.strip() not in {"cpu", "memory"} or key.strip() in fields:
            raise InputError(f"--pod {text[:60]!r} can't be read", fix="write it as --pod cpu=2,memory=8Gi")
        fields[key.strip()] = value
    cpu = parse_cpu_milli(fields["cpu"], field="--pod cpu") if "cpu" in fields else None
    memory = (
        parse_memory_mib(fields["memory"], field="--pod memory", require_unit=True)
        if "memory" in fields
        else None
    )
    return cpu, memory


def _print(workloads: WorkloadSet, output: Output) -> None:
    match output:
        case Output.TABLE:
            print_table(
                (
                    "workload",
                    "kind",
                    "pods",
                    "gpus",
                    "memory",
                    "duty",
                    "on",
                    "framework",
                    "missing or of note",
                ),
                (_row(each) for each in workloads.workloads),
                right=("pods", "gpus", "memory", "duty"),
            )
        case Output.NAME:
            print_text("\n".join(each.name for each in workloads.workloads))
        case Output.YAML | Output.JSON:
            from gpuslice.workloads.artefact import to_artefact

            print_data(to_artefact(workloads), output)


def _row(workload: Workload) -> tuple[object, ...]:
    from gpuslice.units import PPM, format_memory

    need, framework = workload.need, workload.target.framework
    remarks = [f"unknown: {', '.join(missing)}"] if (missing := _missing(workload)) else []
    return (
        workload.name,
        workload.target.kind,
        workload.replicas,
        need.gpus,
        None if need.memory_mib is None else format_memory(need.memory_mib),
        None if need.duty_ppm is None else f"{need.duty_ppm / PPM:.3g}",
        need.on,
        framework.name if framework else None,
        "; ".join((*remarks, *workload.notes)),
    )


def _missing(workload: Workload) -> list[str]:
    """What has to be stated before a workload can be sliced; nothing where it takes several whole GPUs."""
    need = workload.need
    if need.gpus > 1:
        return []
    values = {"memory": need.memory_mib, "duty": need.duty_ppm, "GPU it was read on": need.on}
    return [word for word, value in values.items() if value is None]


def _summary(workloads: WorkloadSet) -> str:
    found = workloads.workloads
    several = sum(each.need.gpus > 1 for each in found)
    unknown = [each for each in found if _missing(each)]
    nowhere = sum(each.need.on is None for each in unknown)
    pods = sum(each.replicas for each in found)
    words = (
        f"{len(found):,} workloads, {pods:,} GPU pods: {len(found) - several - len(unknown):,} with a known need, "
        f"{len(unknown):,} without (a whole GPU each), {several:,} of several GPUs"
    )
    if nowhere:
        words += (
            f"\n{nowhere:,} don't say which GPU they run on: state gpuslice.io/gpu-model, or give --today"
        )
    return words
