"""`gpuslice catalog`: the instance types with GPUs, what Kubernetes gets of them, and what they cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from gpuslice.cli.console import CatalogOption, Output, OutputOption, print_data, print_table, print_text, say

if TYPE_CHECKING:
    from gpuslice.cloud.catalog import Catalog, InstanceType

app = typer.Typer(help="List instance types with GPUs, or make a catalog of another region or date.")

RegionOption = Annotated[
    str, typer.Option("--region", metavar="REGION", help="Insist on the catalog being of this region.")
]


@app.callback(invoke_without_command=True)
def catalog(context: typer.Context) -> None:
    """Show EC2's instance types with GPUs, their allocatable resources and prices; without a verb: list them."""
    if context.invoked_subcommand is None:
        list_types()


@app.command("list")
def list_types(
    gpu: Annotated[str, typer.Option("--gpu", metavar="MODEL", help="Only types with this GPU.")] = "",
    region: RegionOption = "",
    catalog_file: CatalogOption = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """List the instance types: cheapest first within a GPU model. JSON and YAML are what --catalog takes."""
    from gpuslice.cloud.description import card_price
    from gpuslice.cloud.selection import choose, of_gpu
    from gpuslice.cloud.snapshot import to_file
    from gpuslice.units import format_memory

    chosen = of_gpu(choose(catalog_file, region), gpu)
    if output is Output.NAME:
        print_text("\n".join(kind.name for kind in chosen.instance_types))
        return
    if output is not Output.TABLE:
        print_data(to_file(chosen), output)
        return
    columns = ["name", "gpu", "gpus", "gpu memory", "vcpu", "memory", "pods", "$/hour", "$/hour per card"]
    spot = any("spot" in kind.prices for kind in chosen.instance_types)
    rows = [
        [
            kind.name,
            kind.gpu,
            kind.gpu_count or str(kind.gpu_fraction),
            format_memory(kind.gpu_memory_mib),
            kind.vcpu,
            format_memory(kind.memory_mib),
            kind.max_pods,
            _hourly(kind, "on-demand"),
            _four_digits(card_price(kind)),
            *([_hourly(kind, "spot")] if spot else []),
        ]
        for kind in sorted(chosen.instance_types, key=_by_gpu_and_price)
    ]
    if spot:
        columns.append("$/hour spot")
    print_table(columns, rows, right=columns[2:])
    _say_date(chosen)


@app.command("show")
def show_type(
    name: Annotated[str, typer.Argument(metavar="TYPE", help="Such as g6.xlarge.")],
    overhead: Annotated[
        str,
        typer.Option(
            "--overhead",
            metavar="cpu=,memory=,pods=",
            help="What daemonsets take; default: EKS and GPU Operator.",
        ),
    ] = "",
    region: RegionOption = "",
    catalog_file: CatalogOption = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Show one instance type: its size, what workloads get of it, its GPU, its prices, how it can be sliced."""
    from gpuslice.cloud.allocatable import daemonset_overhead, parse_overhead
    from gpuslice.cloud.description import describe, rows
    from gpuslice.cloud.selection import choose, find

    chosen = choose(catalog_file, region)
    instance_type = find(chosen, name)
    if output is Output.NAME:
        print_text(instance_type.name)
        return
    daemonsets = parse_overhead(overhead) if overhead else daemonset_overhead()
    description = describe(chosen, instance_type, daemonsets, assumed=not overhead)
    if output is not Output.TABLE:
        print_data(description, output)
        return
    print_table(["what", "value"], rows(description))
    _say_date(chosen)


@app.command("refresh")
def refresh_region(
    region: Annotated[str, typer.Option("--region", metavar="REGION", help="Such as eu-west-1.")],
    out: Annotated[str, typer.Option("--out", metavar="PATH", help="File to write; default: stdout.")] = "",
) -> None:
    """Make a catalog from what EC2 offers and asks for today, spot included (needs boto3 and AWS credentials)."""
    import datetime as dt

    from gpuslice.cli.console import progress
    from gpuslice.cloud.aws import connect
    from gpuslice.cloud.refresh import refresh
    from gpuslice.cloud.snapshot import render, write

    with progress(f"asking AWS about {region}"):
        made = refresh(connect(region), region, dt.datetime.now(dt.UTC))
    for note in made.notes:
        say(f"note: {note}")
    if not out:
        print_text(render(made.catalog))
        return
    write(made.catalog, out)
    say(f"{len(made.catalog.instance_types)} instance types of {region} written to {out}")
    say(f"next: gpuslice plan -f workloads.yaml --catalog {out}")


def _hourly(instance_type: InstanceType, purchase: str) -> str | None:
    from gpuslice.cloud.catalog import Purchase

    return _four_digits(instance_type.prices.get(Purchase(purchase)))


def _four_digits(micro_usd: int | None) -> str | None:
    from gpuslice.units import format_usd

    return None if micro_usd is None else format_usd(micro_usd, digits=4)


def _by_gpu_and_price(instance_type: InstanceType) -> tuple[str, float, str]:
    from gpuslice.cloud.catalog import Purchase

    return instance_type.gpu, instance_type.prices.get(Purchase.ON_DEMAND, float("inf")), instance_type.name


def _say_date(chosen: Catalog) -> None:
    say(f"{chosen.region}, prices of {chosen.prices_date}, Linux")
