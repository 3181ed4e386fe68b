"""`gpuslice scan`: what workloads need of GPUs, from a cluster, manifests or a trace, into workloads.yaml."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Final

import typer

from gpuslice.cli.connection import (
    AllNamespacesOption,
    ContextOption,
    KubeconfigOption,
    say_unread,
    snapshot_of,
)
from gpuslice.cli.console import (
    CatalogOption,
    Output,
    OutputOption,
    print_data,
    print_table,
    print_text,
    progress_of,
    say,
)
from gpuslice.cli.models_today import ModelsOption
from gpuslice.errors import InputError

if TYPE_CHECKING:
    from gpuslice.cloud.catalog import Catalog
    from gpuslice.cluster.seen.inventory import Inventory
    from gpuslice.cluster.seen.snapshot import Snapshot
    from gpuslice.workloads.artefact import WorkloadSet
    from gpuslice.workloads.model import Workload
    from gpuslice.workloads.models_today import StatedModels

    Held = tuple[Inventory, Catalog]

_DEFAULT_REGION: Final = "us-east-1"  # that of the bundled catalog


def scan(
    *,
    source: Annotated[
        list[str] | None,
        typer.Option(
            "--from",
            metavar="PATH",
            help="Instead of a cluster: manifests (a file, a directory, or - for stdin; several may be given), or a "
            "dump made by --dump.",
        ),
    ] = None,
    trace: Annotated[
        str,
        typer.Option(
            "--from-trace",
            metavar="FILE",
            help="Instead of a cluster: a public trace, openb or GenTD26, .csv or .csv.gz.",
        ),
    ] = "",
    context: ContextOption = "",
    kubeconfig: KubeconfigOption = "",
    everywhere: AllNamespacesOption = False,
    namespace: Annotated[
        str,
        typer.Option(
            "-n",
            "--namespace",
            metavar="NAME",
            help="Only this namespace of a cluster; for manifests, that of objects that name none.",
        ),
    ] = "",
    selector: Annotated[
        str,
        typer.Option(
            "-l",
            "--selector",
            metavar="LABELS",
            help="Only workloads of a cluster with these labels: app=search.",
        ),
    ] = "",
    exclude: Annotated[
        list[str] | None,
        typer.Option("--exclude", metavar="PATTERN", help="Workloads to leave out, such as 'kube-system/*'."),
    ] = None,
    today: ModelsOption = None,
    pod: Annotated[
        str,
        typer.Option("--pod", metavar="cpu=2,memory=8Gi", help="Requests of a pod where a trace has none."),
    ] = "",
    region: Annotated[
        str,
        typer.Option(
            "--region",
            metavar="REGION",
            help="Region of the workloads; default: that of the nodes, or us-east-1.",
        ),
    ] = "",
    catalog_file: CatalogOption = "",
    dump: Annotated[
        str,
        typer.Option(
            "--dump",
            metavar="DIRECTORY",
            help="Write what was read of the cluster there, without secrets and values of variables.",
        ),
    ] = "",
    build: Annotated[
        bool,
        typer.Option(
            "--build",
            help="Build Helm charts and Kustomize overlays in a directory: by helm, kubectl or kustomize.",
        ),
    ] = False,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict", help="Refuse manifests of which anything can't be read, instead of listing it."
        ),
    ] = False,
    out: Annotated[str, typer.Option("--out", metavar="FILE", help="Write workloads.yaml.")] = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Say what workloads need of GPUs, what of it is known, and what is missing.

    Without --from or --from-trace it reads the cluster of the current context.
    """
    from gpuslice.cluster.seen.dump import is_dump
    from gpuslice.workloads.models_today import stated

    models = stated(today or ())
    read: tuple[WorkloadSet, Held | None]
    live = not source and not trace
    if (build or strict) and (live or (source is not None and any(map(is_dump, source)))):
        raise InputError("--build and --strict are for manifests", fix="leave them out")
    dumped = source[0] if source and len(source) == 1 and is_dump(source[0]) else ""
    if not live:
        options = {"--context": context, "--kubeconfig": kubeconfig, "--dump": dump}
        options |= {"-A": "yes" if everywhere else ""}
        _refuse_for_files(options | ({} if dumped else {"-l": selector, "--catalog": catalog_file}))
    if live or dumped:
        if pod:
            raise InputError("--pod is for traces: pods have requests", fix="leave it out")
        snapshot = (
            _load(dumped, namespace)
            if dumped
            else snapshot_of(kubeconfig, context, namespace, everywhere=everywhere)
        )
        if dump:
            _dump(snapshot, dump)
        read = _from_snapshot(snapshot, models, exclude or [], region, catalog_file, selector)
    else:
        wanted = _Wanted(
            models, namespace or "default", exclude or [], region, catalog_file, strict=strict, build=build
        )
        read = _read(source or [], trace, pod, wanted)
    workloads, held = read
    models.refuse_unused([workload.name for workload in workloads.workloads])
    _tell(workloads, held, out, output)


def _tell(workloads: WorkloadSet, held: Held | None, out: str, output: Output) -> None:
    """Write and print what was read, and what of it a person should know."""
    if out:
        from gpuslice.artefacts.output import write_atomically
        from gpuslice.workloads.dump import dump

        write_atomically(out, dump(workloads))
    _print(workloads, output)
    for note in workloads.notes:
        say(f"note: {note}")
    say(_summary(workloads))
    if held is not None:
        from gpuslice.cli.shown.prices import say_old_prices
        from gpuslice.cli.shown.today import say_inventory, say_today

        inventory, catalog = held
        say_inventory(inventory)
        if workloads.today is not None:
            say_today(workloads.today, catalog, inventory.region)
            say_old_prices(catalog.prices_date)
    if out:
        say(f"written to {out}")


def _load(directory: str, namespace: str) -> Snapshot:
    from gpuslice.cluster.seen.dump import load

    if namespace:
        raise InputError("-n is for a cluster, or for manifests", fix="leave it out: a dump is read whole")
    return load(directory)


def _dump(snapshot: Snapshot, directory: str) -> None:
    from gpuslice.cluster.seen.dump import write

    count = write(snapshot, directory)
    say(f"{count:,} objects in {directory}: look through them before you give them away")


def _refuse_for_files(options: dict[str, str]) -> None:
    for name, value in options.items():
        if value:
            raise InputError(f"{name} is for a cluster, and files were named", fix="leave one of them out")


def _from_snapshot(
    snapshot: Snapshot, today: StatedModels, exclude: list[str], region: str, catalog_file: str, selector: str
) -> tuple[WorkloadSet, Held]:
    from gpuslice.cloud.selection import choose
    from gpuslice.cluster.seen.inventory import inventory_of, workloads_of
    from gpuslice.cluster.seen.selector import Selector
    from gpuslice.cluster.seen.today import today_of

    catalog = choose(catalog_file)
    inventory = inventory_of(snapshot, catalog)
    workloads = workloads_of(
        snapshot,
        catalog=catalog,
        today=today,
        region=region or inventory.region or _DEFAULT_REGION,
        exclude=exclude,
        selector=Selector.parse(selector) if selector else None,
    )
    say_unread(snapshot.unread)
    today_seen = today_of(snapshot, catalog, workloads)
    spot = today_seen.on_spot if today_seen is not None else frozenset()
    marked = tuple(
        replace(workload, on_spot=workload.on_spot or workload.name in spot)
        for workload in workloads.workloads
    )
    return replace(workloads, workloads=marked, today=today_seen), (inventory, catalog)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """How manifests are to be read."""

    today: StatedModels
    namespace: str
    exclude: list[str]
    region: str
    catalog_file: str
    strict: bool
    build: bool


def _read(source: list[str], trace: str, pod: str, wanted: _Wanted) -> tuple[WorkloadSet, Held | None]:
    if source and trace:
        raise InputError(
            "--from and --from-trace were both given",
            fix="name manifests or a dump (--from PATH), or a trace (--from-trace FILE)",
        )
    if trace:
        return _from_trace(trace, pod, wanted), None
    if pod:
        raise InputError("--pod is for traces: manifests have requests", fix="leave it out")
    return _from_manifests(source, wanted)


def _from_trace(trace: str, pod: str, wanted: _Wanted) -> WorkloadSet:
    from gpuslice.workloads.traces import from_trace

    if wanted.exclude:
        raise InputError("--exclude is for manifests", fix="leave it out: a trace is read whole")
    if wanted.build or wanted.strict:
        raise InputError(
            "--build and --strict are for manifests", fix="leave them out: a trace is read whole"
        )
    if wanted.today.patterns:
        raise InputError(
            "--today names workloads, and pods of a trace have no such names", fix="write --today GPU"
        )
    cpu, memory = _pod_requests(pod)
    return from_trace(
        trace,
        today=wanted.today.everywhere or None,
        pod_cpu_milli=cpu,
        pod_memory_mib=memory,
        region=wanted.region or _DEFAULT_REGION,
    )


def _from_manifests(source: list[str], wanted: _Wanted) -> tuple[WorkloadSet, Held | None]:
    """Workloads of manifests; those with nodes among them are a cluster, which says what it has today."""
    from gpuslice.workloads.manifests import input_notes, read_manifests, workloads_in

    with progress_of("reading manifests") as progress:
        read = read_manifests(source, namespace=wanted.namespace, build=wanted.build, progress=progress)
    from gpuslice.cluster.seen.dump import is_of_a_cluster, snapshot_of_objects

    if is_of_a_cluster(read.objects) and not wanted.strict:
        snapshot = snapshot_of_objects(read.objects, ", ".join(source))
        scanned, held = _from_snapshot(
            snapshot, wanted.today, wanted.exclude, wanted.region, wanted.catalog_file, ""
        )
        return replace(scanned, notes=(*scanned.notes, *input_notes(read))), held
    workloads = workloads_in(
        read,
        today=wanted.today,
        region=wanted.region or _DEFAULT_REGION,
        exclude=wanted.exclude,
        strict=wanted.strict,
    )
    return workloads, None


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
                (_row(workload) for workload in workloads.workloads),
                right=("pods", "gpus", "memory", "duty"),
            )
        case Output.NAME:
            print_text("\n".join(workload.name for workload in workloads.workloads))
        case Output.YAML | Output.JSON:
            from gpuslice.workloads.dump import to_artefact

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


def _without(workloads: WorkloadSet, unknown: list[Workload]) -> str:
    """What becomes of workloads of unknown need."""
    from gpuslice.workloads.today import left_on_shares

    left = left_on_shares(unknown, workloads.today)
    kept = sum(after is not before for before, after in zip(unknown, left, strict=True))
    if not kept:
        return "a whole GPU each"
    others = ", the others a whole GPU each" if kept < len(unknown) else ""
    return f"{kept:,} keep the share of a GPU that they have{others}"


def _summary(workloads: WorkloadSet) -> str:
    listed = workloads.workloads
    several = sum(workload.need.gpus > 1 for workload in listed)
    unknown = [workload for workload in listed if _missing(workload)]
    nowhere = sum(workload.need.on is None for workload in listed)
    pods = sum(workload.replicas for workload in listed)
    words = (
        f"{len(listed):,} workloads, {pods:,} GPU pods: {len(listed) - several - len(unknown):,} with a known need, "
        f"{len(unknown):,} without ({_without(workloads, unknown)}), {several:,} of several GPUs"
    )
    if nowhere:
        words += (
            f"\n{nowhere:,} don't say which GPU they run on: state gpuslice.io/gpu-model, or give --today"
        )
    return words
