"""From a plan to a directory that `kubectl apply -k` and Argo CD take as it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

from msgspec import UNSET

from gpuslice.carriers.device_plugin import gpu_operator as operator
from gpuslice.carriers.device_plugin import metering, mig_parted, seats
from gpuslice.carriers.device_plugin import plugin_config as device_plugin
from gpuslice.carriers.device_plugin import refusals as layouts
from gpuslice.carriers.device_plugin.terms import POOL_LABEL, configured, mechanism, requested, seat_in
from gpuslice.carriers.objects.files import Object, RenderedFile
from gpuslice.carriers.objects.naming import unique_weights
from gpuslice.errors import InputError, nearest
from gpuslice.hardware.mechanisms import Mechanism
from gpuslice.hardware.stacks import Stack
from gpuslice.launches.limits import seated_replicas
from gpuslice.render import karpenter
from gpuslice.render.bundle import HELM_VALUES, POLICY_PATCH, Bundle, bundle_of
from gpuslice.render.readme import readme
from gpuslice.render.settings import RenderSettings
from gpuslice.render.workloads import component, workload_patches

if TYPE_CHECKING:
    from gpuslice.cloud.catalog import Catalog, InstanceType
    from gpuslice.plan.artefact import Assignment, Layout, Plan, Pool

NODE_CLASSES: Final = "karpenter/ec2nodeclasses.yaml"

_VALUES: Final = """\
Values for NVIDIA's GPU Operator, chart {version}:

  helm upgrade --install gpu-operator nvidia/gpu-operator --version {version} \\
    --namespace {namespace} --create-namespace --values values.yaml

driver and toolkit are off because the AL2023 NVIDIA image has both. Pools carry a taint, which has to be
tolerated in two places: by the operator's daemonsets, and by Node Feature Discovery's workers.
"""
_UNSAID: Final = """
MPS and MIG need different strategies, so mig.strategy is empty and each node's configuration says its own. Of an empty
one the chart makes `mig: null`, which Helm 3 gets past the API server and Helm 4 doesn't. With Helm 4, install with
--set mig.strategy=single, and take it away afterwards, as gpuslice apply does by itself:

  kubectl patch clusterpolicies.nvidia.com/cluster-policy --type json -p \\
    '[{"op": "remove", "path": "/spec/mig/strategy"}]'
"""
_POLICY: Final = """\
Only where the GPU Operator is installed already, and not by the values beside this file. A patch, no object:
it isn't applied with the rest. Lists are replaced whole: add tolerations of your own first. Node Feature
Discovery's workers need the toleration of {label} too. It points the operator at this plan's device plugin
configuration: copy entries of your own into that first, or nodes that use them lose their sharing. Where nodes use
MIG's single strategy today, its change renames their resources.

  kubectl patch clusterpolicies.nvidia.com/cluster-policy --type merge --patch-file cluster-policy-patch.yaml
"""
_PLUGIN: Final = """\
One entry for each layout, chosen by the node's label nvidia.com/device-plugin.config. Nodes that use an entry
don't notice when it changes, so entries are never edited: a new layout is a new entry, named by its content.
Keep old ones while nodes use them: the plugin ends on a key that isn't there.
"""
_MIG: Final = """\
One entry for each MIG layout, chosen by the node's label nvidia.com/mig.config. It stands in for the
configuration that the MIG manager makes itself: add the entries that nodes outside these pools use. Entries
are named by their content and never edited.
"""
_FEATURES: Final = """\
What metered nodes offer, in bytes and in thousandths of the GPU's time: the same figures as in the pools'
NodeOverlays. The feature that is matched comes from a file that the nodes' user data writes.
"""
_SEATS: Final = """\
What nodes offer of places for replicas, by workload: the same figures as in the pools' NodeOverlays. The feature that
is matched comes from a file that the nodes' user data writes.
"""
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
                "resources": sorted(each.path for each in rendered if each.applied),
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
    used = [configured(each) for each in plan.pools]
    files = _operator_files(used, settings) if Stack(plan.stack) is Stack.AL2023 else []
    files += _feature_files(plan.pools)
    classes = {
        karpenter.node_class_name(each, plan.stack): karpenter.node_class(
            each, plan.stack, settings, plan.policy
        )
        for each in plan.pools
    }
    if classes:
        ordered = tuple(classes[name] for name in sorted(classes))
        files.append(RenderedFile(NODE_CLASSES, ordered, _CLASSES))
    weights = unique_weights(
        name for each in plan.pools for name in karpenter.overlays(each, plan.stack, types[each.name])
    )
    replicas = seated_replicas(plan.assignments)
    for each in sorted(
        plan.pools, key=lambda pool: (bool(pool.seats) and pool.max_nodes is UNSET, pool.name)
    ):
        own = types[each.name]
        # The overlays first: a pool without them would be taken for one of whole GPUs.
        overlays = karpenter.node_overlays(each, plan.stack, own, weights)
        pool = karpenter.node_pool(each, plan.stack, own, settings, replicas)
        files.append(
            RenderedFile(f"karpenter/pools/{each.name}.yaml", (*overlays, pool), _pool_comment(each))
        )
    return tuple(files)


def _operator_files(used: list[Layout], settings: RenderSettings) -> list[RenderedFile]:
    namespace = settings.operator_namespace
    values = _VALUES.format(version=operator.CHART_VERSION, namespace=namespace)
    if operator.unsaid(operator.kinds_of(used)):
        values += _UNSAID
    policy = _POLICY.format(label=POOL_LABEL)
    plugin: Object = device_plugin.config_map(used, namespace)
    files = [
        RenderedFile(HELM_VALUES, (operator.helm_values(used),), values, applied=False),
        RenderedFile(POLICY_PATCH, (operator.cluster_policy_patch(used),), policy, applied=False),
        RenderedFile("gpu-operator/device-plugin-config.yaml", (plugin,), _PLUGIN),
    ]
    cut = [each for each in used if mechanism(each) is Mechanism.MIG]
    if cut:
        manager: Object = mig_parted.config_map(cut, namespace)
        files.append(RenderedFile("gpu-operator/mig-parted-config.yaml", (manager,), _MIG))
    return files


def _feature_files(pools: Iterable[Pool]) -> list[RenderedFile]:
    metered: dict[str, Object] = {}
    seated: dict[str, Object] = {}
    for each in pools:
        layout = each.layout
        if each.seats:
            seated[seats.seats_name(each)] = seats.rule(each)
        elif layout.metered is not UNSET:
            metered[metering.layout_name(layout, layout.metered)] = metering.rule(layout, layout.metered)
    named = (("nfd/nodefeaturerules.yaml", metered, _FEATURES), ("nfd/seats.yaml", seated, _SEATS))
    return [
        RenderedFile(path, tuple(rules[name] for name in sorted(rules)), comment)
        for path, rules, comment in named
        if rules
    ]


def _pool_comment(pool: Pool) -> str:
    nodes: Counter[tuple[str, str]] = Counter()
    for each in pool.nodes:
        nodes[each.instance_type, each.purchase] += each.count
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
    found: dict[str, tuple[InstanceType, ...]] = {}
    for index, pool in enumerate(plan.pools):
        where = f"pools[{index}]"
        if pool.name in found:
            raise InputError(f"two pools are named {pool.name!r}", where=f"{where}.name", fix="rename one")
        if not pool.instance_types or not pool.purchases:
            raise InputError("a pool needs instance types and purchases", where=where, fix="plan again")
        for each in pool.instance_types:
            if each not in known:
                raise InputError(
                    f"instance type {each[:60]!r} is not in the catalog of {catalog.region}",
                    where=f"{where}.instanceTypes",
                    fix=nearest(each, known)
                    or "name the catalog that the plan was made with: --catalog FILE",
                )
        types = tuple(known[each] for each in sorted(set(pool.instance_types)))
        try:
            layouts.check(pool.layout, plan.stack, types)
            seats.check_pool(pool, plan.stack, types)
        except InputError as error:
            raise error.inside(where) from None
        found[pool.name] = types
    return found


def _check_assignments(plan: Plan, types: Mapping[str, tuple[InstanceType, ...]]) -> None:
    """Accept a plan whose workloads ask their pools for what these offer."""
    pools = {each.name: each for each in plan.pools}
    parts: dict[str, list[Assignment]] = {}
    for index, each in enumerate(plan.assignments):
        where = f"assignments[{index}]"
        if each.pool not in pools:
            raise InputError(
                f"there is no pool {each.pool[:60]!r}",
                where=f"{where}.pool",
                fix=nearest(each.pool, pools) or "plan again",
            )
        _check_request(each, pools[each.pool], plan.stack, types[each.pool], where)
        parts.setdefault(each.workload, []).append(each)
    for own in parts.values():
        seats.check_template(own)


def _check_request(
    assignment: Assignment, pool: Pool, stack: str, types: tuple[InstanceType, ...], where: str
) -> None:
    workload = assignment.workload
    seat = seat_in(pool, workload) if workload in pool.seats else ""
    if assignment.seat != seat or bool(seat) != bool(pool.seats):
        raise InputError(
            f"{assignment.workload} and pool {pool.name} must both have a seat of its own, or neither",
            where=f"{where}.seat",
            fix="plan again",
        )
    if (pool.layout.metered is UNSET or bool(seat)) != (assignment.request is UNSET):
        raise InputError(
            f"{assignment.workload} and pool {pool.name} must both be metered, or neither",
            where=f"{where}.request",
            fix="plan again",
        )
    for name, offered in karpenter.promised(pool, stack, types).items():
        for resource in requested(assignment):
            if offered.get(resource, "0") == "0":
                raise InputError(
                    f"{assignment.workload} asks for {resource}, which {name} in pool {pool.name} doesn't offer",
                    where=f"{where}.resource",
                    fix="offered: " + ", ".join(each for each, amount in offered.items() if amount != "0"),
                )
