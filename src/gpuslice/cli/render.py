"""`gpuslice render`: a plan as Kubernetes objects, printed or written as a directory for kubectl and Argo CD."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from gpuslice.cli.console import CatalogOption, Output, OutputOption, print_data, print_text, say
from gpuslice.errors import InputError

if TYPE_CHECKING:
    from gpuslice.carriers.objects.files import RenderedFile
    from gpuslice.cloud.catalog import Catalog
    from gpuslice.plan.artefact import Plan
    from gpuslice.render.settings import RenderSettings


def render(
    *,
    plan_file: Annotated[
        str, typer.Option("-f", "--filename", metavar="FILE", help="A plan; - is stdin.")
    ] = "",
    cluster_wide: Annotated[
        str,
        typer.Option(
            "--cluster-wide",
            metavar="SETTING",
            help="Instead of a plan, the same for every GPU: time-slicing=4, mps=4 or mig=all-1g.10gb.",
        ),
    ] = "",
    rbac: Annotated[
        str,
        typer.Option(
            "--rbac",
            metavar="ROLE",
            help="Instead of a plan, what gpuslice needs to be allowed: view (scan, doctor, status), apply, or "
            "apply-workloads.",
        ),
    ] = "",
    bind_to: Annotated[
        list[str] | None,
        typer.Option(
            "--bind-to",
            metavar="SUBJECT",
            help="Who gets that role: user:NAME, group:NAME or serviceaccount:NAMESPACE/NAME; several times.",
        ),
    ] = None,
    cluster: Annotated[
        str,
        typer.Option(
            "--cluster",
            metavar="NAME",
            help="For a plan: the EKS cluster. Subnets and security groups carry the tag karpenter.sh/discovery=NAME.",
        ),
    ] = "",
    role: Annotated[str, typer.Option("--role", metavar="NAME", help="IAM role of the nodes.")] = "",
    instance_profile: Annotated[
        str,
        typer.Option(
            "--instance-profile", metavar="NAME", help="Instance profile of the nodes, instead of --role."
        ),
    ] = "",
    image_version: Annotated[
        str,
        typer.Option(
            "--image-version",
            metavar="VERSION",
            help="Machine image: v20260801 (AL2023), v1.54.0 (Bottlerocket), or latest, which replaces all nodes "
            "whenever AWS releases one; default: a pinned one.",
        ),
    ] = "",
    root_volume: Annotated[
        int, typer.Option("--root-volume", metavar="GIB", help="Volume for container images.")
    ] = 200,
    consolidate_after: Annotated[
        str,
        typer.Option(
            "--consolidate-after",
            metavar="DURATION",
            help="How long Karpenter leaves a node alone after a change.",
        ),
    ] = "5m",
    operator_namespace: Annotated[
        str, typer.Option("--operator-namespace", metavar="NAME", help="Where the GPU Operator runs.")
    ] = "gpu-operator",
    out: Annotated[
        str,
        typer.Option("--out", metavar="DIRECTORY", help="Write all files there instead of printing objects."),
    ] = "",
    catalog_file: CatalogOption = "",
    output: OutputOption = Output.YAML,
) -> None:
    """Render a plan: NodePools, NodeOverlays, EC2NodeClasses, the GPU Operator's settings, and workload patches.

    Printed are the objects that `kubectl apply -k` would apply; --out writes these and everything beside them: Helm
    values, patches of the workloads, and a README that says what to do in which order. --cluster-wide needs no plan: it
    renders one setting of the GPU Operator for all nodes. Nor does --rbac: it prints a role, for `kubectl apply -f -`.
    """
    if output is Output.TABLE:
        raise InputError("objects have no table", where="-o", fix="choose yaml, json or name")
    one = _only({"-f": plan_file, "--cluster-wide": cluster_wide, "--rbac": rbac})
    for_plans = {
        "--cluster": cluster,
        "--role": role,
        "--instance-profile": instance_profile,
        "--image-version": image_version,
        "--catalog": catalog_file,
    }
    for flag in (flag for flag, value in for_plans.items() if value and one != "-f"):
        raise InputError("is for a plan", where=flag, fix=f"leave it out with {one}")
    if bind_to and not rbac:
        raise InputError("is for a role", where="--bind-to", fix="name one: --rbac view")
    if rbac:
        _rbac(rbac, operator_namespace, bind_to or [], out, output)
        return
    if cluster_wide:
        _cluster_wide(cluster_wide, operator_namespace, out, output)
        return
    from gpuslice.render.settings import RenderSettings

    settings = RenderSettings(
        cluster=cluster,
        role=role,
        instance_profile=instance_profile,
        image_version=image_version,
        root_volume_gib=root_volume,
        consolidate_after=consolidate_after,
        operator_namespace=operator_namespace,
    )
    _plan(plan_file, catalog_file, settings, out, output)


def _plan(path: str, catalog_file: str, settings: RenderSettings, out: str, output: Output) -> None:
    from gpuslice.artefacts.output import write_directory
    from gpuslice.cloud.selection import choose
    from gpuslice.plan.reading import read_plan
    from gpuslice.render import manifests

    plan = read_plan(path)
    catalog = choose(catalog_file, plan.catalog.region)
    try:
        files = manifests.render(plan, catalog, settings) if out else {}
        objects = () if out else manifests.objects(plan, catalog, settings)
    except InputError as error:
        raise (
            error if error.where.startswith("--") else error.inside("stdin" if path == "-" else path)
        ) from None
    _say_of(plan, catalog)
    if out:
        write_directory(out, files)
        say(f"{len(files)} files for {len(plan.pools)} pools in {out}; next: {out.rstrip('/')}/README.md")
    else:
        _print(objects, output)


def _say_of(plan: Plan, catalog: Catalog) -> None:
    if catalog.prices_date != plan.catalog.prices:
        say(f"note: the plan is of prices of {plan.catalog.prices}, the catalog of {catalog.prices_date}")
    if plan.unplaced:
        some = [left.workload for left in plan.unplaced[:3]]
        names = ", ".join(some) + (f" and {more} more" if (more := len(plan.unplaced) - len(some)) else "")
        say(f"note: without a place in the plan, and left as they are: {names}")


def _only(given: dict[str, str]) -> str:
    """The one option of these that was given."""
    named = [flag for flag, value in given.items() if value]
    if not named:
        raise InputError(
            "nothing to render was named",
            fix="name a plan: -f plan.yaml; or one setting for all GPUs: --cluster-wide time-slicing=4",
        )
    if len(named) > 1:
        raise InputError(f"{' and '.join(named)} were given", fix="keep one of them")
    return named[0]


def _cluster_wide(text: str, namespace: str, out: str, output: Output) -> None:
    from gpuslice.artefacts.output import write_directory
    from gpuslice.render import cluster_wide

    setting = cluster_wide.parse(text)
    files = cluster_wide.render(setting, namespace)
    for note in cluster_wide.notes(setting):
        say(f"note: {note}")
    if out:
        write_directory(out, files)
        say(f"{len(files)} files in {out}: {cluster_wide.title(setting)}; next: {out.rstrip('/')}/README.md")
    else:
        say("note: the patch of the ClusterPolicy is no object, and isn't printed: --out writes it")
        _print(cluster_wide.objects(setting, namespace), output)


def _rbac(text: str, namespace: str, bind_to: list[str], out: str, output: Output) -> None:
    from gpuslice.carriers.objects.files import RenderedFile
    from gpuslice.cluster.apply.permissions import Subject, manifests
    from gpuslice.cluster.client.roles import COMMANDS, Role
    from gpuslice.errors import nearest
    from gpuslice.render.settings import check_namespace

    if text not in list(Role):
        raise InputError(
            f"there is no role {text[:30]!r}",
            where="--rbac",
            fix=nearest(text, [role.value for role in Role]) or f"choose {', '.join(Role)}",
        )
    if out:
        raise InputError("is for a plan", where="--out", fix="a role is printed: redirect it into a file")
    check_namespace(namespace)
    made = manifests(Role(text), namespace, [Subject.parse(name) for name in bind_to])
    comment = f"For {', '.join(COMMANDS[Role(text)])}."
    if not bind_to:
        say("note: nobody is bound to it: --bind-to user:NAME, group:NAME or serviceaccount:NAMESPACE/NAME")
    _print((RenderedFile("rbac.yaml", tuple(made), comment),), output)


def _print(objects: tuple[RenderedFile, ...], output: Output) -> None:
    if output is Output.NAME:
        print_text("\n".join(_names(objects)))
    elif output is Output.JSON:
        print_data([entry for file in objects if file.applied for entry in file.objects], output)
    else:
        print_text("---\n".join(file.text for file in objects if file.applied))


def _names(files: tuple[RenderedFile, ...]) -> list[str]:
    """Every object as `kind.group/name`, as kubectl prints them."""
    names = []
    for file in files:
        for entry in file.objects if file.applied else ():
            group = str(entry["apiVersion"]).rpartition("/")[0]
            metadata = entry["metadata"]
            name = metadata["name"] if isinstance(metadata, dict) else ""
            names.append(".".join(filter(None, (str(entry["kind"]).lower(), group))) + f"/{name}")
    return names
