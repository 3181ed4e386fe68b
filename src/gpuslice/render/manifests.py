"""From a plan to a directory that `kubectl apply -k` and Argo CD take as it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from msgspec import UNSET

from gpuslice.carriers.objects.files import RenderedFile
from gpuslice.carriers.objects.naming import unique_weights
from gpuslice.carriers.table import carrier_asked, carrier_of, carriers_of
from gpuslice.errors import InputError, nearest
from gpuslice.launches.limits import seated_replicas
from gpuslice.render import karpenter
from gpuslice.render.bundle import Bundle, bundle_of
from gpuslice.render.entry import check_entry
from gpuslice.render.readme import readme
from gpuslice.render.settings import RenderSettings
from gpuslice.render.workloads import component, workload_patches

if TYPE_CHECKING:
    from gpuslice.cloud.catalog import Catalog, InstanceType
    from gpuslice.plan.artefact import Assignment, Plan, Pool

NODE_CLASSES: Final = "karpenter/ec2nodeclasses.yaml"
_CLASSES: Final = """\
How nodes boot. Subnets and security groups are found by the tag karpenter.sh/discovery. A newer image is a
decision, since it replaces every node: that's why its version is written out.
"""


def render(plan: Plan, catalog: Catalog, settings: RenderSettings) -> Mapping[str, str]:
    """All files of a plan, by relative path; the same plan gives the same bytes.

    Raises:
        InputError: the plan contradicts itself, the catalog or what its stack can do; the message names the field.
    """
    rendered = objects(plan, catalog, settings)
    files = {file.path: file.text for file in (*rendered, kustomization(rendered))}
    patches, unpatched = workload_patches(plan.assignments, _by_name(plan))
    files |= component(patches, unpatched)
    files["README.md"] = readme(plan, settings, patched=bool(patches))
    return {path: files[path] for path in sorted(files)}


def bundle(plan: Plan, catalog: Catalog, settings: RenderSettings) -> Bundle:
    """What a plan wants of a cluster: what `render` writes into files, as values.

    Raises:
        InputError: the plan contradicts itself, the catalog or what its stack can do; the message names the field.
    """
    patches, unpatched = workload_patches(plan.assignments, _by_name(plan))
    return bundle_of(objects(plan, catalog, settings), [file.change for file in patches], unpatched)


def _by_name(plan: Plan) -> dict[str, Pool]:
    return {pool.name: pool for pool in plan.pools}


def kustomization(rendered: Iterable[RenderedFile]) -> RenderedFile:
    """The file by which `kubectl apply -k` and Argo CD find what is to be applied."""
    return RenderedFile(
        "kustomization.yaml",
        (
            {
                "apiVersion": "kustomize.config.k8s.io/v1beta1",
                "kind": "Kustomization",
                "resources": sorted(file.path for file in rendered if file.applied),
            },
        ),
    )


def objects(plan: Plan, catalog: Catalog, settings: RenderSettings) -> tuple[RenderedFile, ...]:
    """The files with objects for the API server, and those for Helm and ClusterPolicy, which aren't applied.

    Pools where whoever finds no other seat goes come last. Karpenter comes to know pools in the order in which they are
    made, and for some seconds may know the first ones only: pods then wait, instead of going where they shouldn't.

    Raises:
        InputError: as `render`.
    """
    types = _instance_types(plan, catalog)
    _check_assignments(plan, types)
    files = [
        file
        for carrier, pools in carriers_of(plan)
        for file in carrier.objects(pools, settings.operator_namespace)
    ]
    classes = {
        karpenter.node_class_name(pool, plan.stack): karpenter.node_class(
            pool, plan.stack, settings, plan.policy
        )
        for pool in plan.pools
    }
    if classes:
        ordered = tuple(classes[name] for name in sorted(classes))
        files.append(RenderedFile(NODE_CLASSES, ordered, _CLASSES))
    weights = unique_weights(
        name for pool in plan.pools for name in karpenter.overlays(pool, plan.stack, types[pool.name])
    )
    replicas = seated_replicas(plan.assignments)
    for planned in sorted(
        plan.pools, key=lambda pool: (bool(pool.seats) and pool.max_nodes is UNSET, pool.name)
    ):
        own = types[planned.name]
        # The overlays first: a pool without them would be taken for one of whole GPUs.
        overlays = karpenter.node_overlays(planned, plan.stack, own, weights)
        pool = karpenter.node_pool(planned, plan.stack, own, settings, replicas)
        for index, assignment in enumerate(plan.assignments):
            if assignment.pool == planned.name:
                check_entry(assignment, pool, own, catalog.region, f"assignments[{index}]")
        files.append(
            RenderedFile(f"karpenter/pools/{planned.name}.yaml", (*overlays, pool), _pool_comment(planned))
        )
    return tuple(files)


def _pool_comment(pool: Pool) -> str:
    nodes: Counter[tuple[str, str]] = Counter()
    for node in pool.nodes:
        nodes[node.instance_type, node.purchase] += node.count
    planned = ", ".join(f"{count} × {name} {purchase}" for (name, purchase), count in nodes.items())
    tenant = f", tenant {pool.tenant} alone" if pool.tenant else ""
    said = f"{pool.layout.gpu}, {pool.layout.mechanism}{tenant}. Planned: {planned or 'no nodes'}."
    if not pool.seats:
        return said
    places = ", ".join(f"{count} for {workload}" for workload, count in sorted(pool.seats.items()))
    if pool.max_nodes is UNSET:
        way = "Whoever finds no other seat of its workload goes here."
    else:
        way = f"It is filled first and never grows: its limits are the seats of the nodes planned, {pool.max_nodes}."
    return f"{said} Seats on each node: {places}. {way}"


def _instance_types(plan: Plan, catalog: Catalog) -> dict[str, tuple[InstanceType, ...]]:
    """The instance types of each pool, by its name, checked against its layout."""
    known = catalog.by_name()
    types_of_pools: dict[str, tuple[InstanceType, ...]] = {}
    for index, pool in enumerate(plan.pools):
        where = f"pools[{index}]"
        if pool.name in types_of_pools:
            raise InputError(f"two pools are named {pool.name!r}", where=f"{where}.name", fix="rename one")
        if not pool.instance_types or not pool.purchases:
            raise InputError("a pool needs instance types and purchases", where=where, fix="plan again")
        for name in pool.instance_types:
            if name not in known:
                raise InputError(
                    f"instance type {name[:60]!r} is not in the catalog of {catalog.region}",
                    where=f"{where}.instanceTypes",
                    fix=nearest(name, known)
                    or "name the catalog that the plan was made with: --catalog FILE",
                )
        types = tuple(known[kind] for kind in sorted(set(pool.instance_types)))
        try:
            refusal = carrier_of(pool, plan.stack).refuses(pool, types)
        except InputError as error:
            raise error.inside(where) from None
        if refusal is not None:
            raise refusal.error().inside(where)
        types_of_pools[pool.name] = types
    return types_of_pools


def _check_assignments(plan: Plan, types: Mapping[str, tuple[InstanceType, ...]]) -> None:
    """Accept a plan whose workloads ask their pools for what these offer."""
    pools = {pool.name: pool for pool in plan.pools}
    parts: dict[str, list[Assignment]] = {}
    for index, assignment in enumerate(plan.assignments):
        where = f"assignments[{index}]"
        if assignment.pool not in pools:
            raise InputError(
                f"there is no pool {assignment.pool[:60]!r}",
                where=f"{where}.pool",
                fix=nearest(assignment.pool, pools) or "plan again",
            )
        _check_request(assignment, pools[assignment.pool], plan.stack, types[assignment.pool], where)
        parts.setdefault(assignment.workload, []).append(assignment)
    for own in parts.values():
        _check_template(own)


def _check_request(
    assignment: Assignment, pool: Pool, stack: str, types: tuple[InstanceType, ...], where: str
) -> None:
    workload, asks = assignment.workload, assignment.asks
    asked = carrier_asked(asks)
    seat = pool.seat_of(workload) if workload in pool.seats else ""
    if asks.seat != seat or bool(seat) != bool(pool.seats):
        raise InputError(
            f"{assignment.workload} and pool {pool.name} must both have a seat of its own, or neither",
            where=f"{where}.asks.seat",
            fix="plan again",
        )
    if (pool.layout.metered is UNSET or bool(seat)) != (asked.share(asks) is None):
        raise InputError(
            f"{assignment.workload} and pool {pool.name} must both be metered, or neither",
            where=f"{where}.asks",
            fix="plan again",
        )
    for instance_type in types:
        offered = carrier_of(pool, stack).offers(pool, instance_type).amounts
        for resource in asked.requests(asks):
            if not offered.get(resource):
                raise InputError(
                    f"{assignment.workload} asks for {resource}, which {instance_type.name} in pool {pool.name} "
                    "doesn't offer",
                    where=f"{where}.asks",
                    fix="offered: " + ", ".join(name for name, amount in offered.items() if amount),
                )


def _check_template(parts: Sequence[Assignment]) -> None:
    """Accept a workload whose assignments can have one template.

    Args:
        parts: all assignments of one workload.

    Raises:
        InputError: some have a seat and others none, or pods of different pools would differ.
    """
    if not any(part.asks.seat for part in parts):
        return
    first = _template(parts[0])
    for part in parts:
        for what, value in _template(part).items():
            if value != first[what]:
                raise InputError(
                    f"its pods in {parts[0].pool} and {part.pool} differ in their {what}, and have one template",
                    where=part.workload,
                    fix="plan again",
                )


def _template(assignment: Assignment) -> dict[str, object]:
    """What a workload's patch is made of, by its name for people."""
    return {
        "seat": assignment.asks.seat,
        "request": assignment.asks,
        "memory limit": assignment.memory_limit,
        "target": assignment.target,
        "size by load": assignment.service is not UNSET,
    }
