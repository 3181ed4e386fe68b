"""Random clusters: real instance types, slices by overlays, pods of several classes, whatever pools can differ in.

Everything follows from the seed.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from gpuslice.cloud.snapshot import bundled
from gpuslice.hardware.resource_names import SHARED_GPU, WHOLE_GPU
from gpuslice.karpenter.lifecycle import come_up, started
from gpuslice.karpenter.machines import machine
from gpuslice.karpenter.model import (
    Budget,
    InstanceType,
    MinValues,
    Node,
    NodePool,
    Overlay,
    Pod,
    PodClass,
    PodTerm,
    Policy,
    Preferences,
    Preferred,
    Reason,
    Settings,
    Spread,
    Taint,
    Toleration,
    Unsatisfiable,
)
from gpuslice.karpenter.provision import provision
from gpuslice.karpenter.requirements import (
    CAPACITY_TYPE,
    HOSTNAME,
    INSTANCE_TYPE,
    NODE_POOL,
    ZONE,
    Requirement,
    requirement,
)
from gpuslice.karpenter.templates import Pools
from tools.parity.scenario import Scenario

if TYPE_CHECKING:
    from collections.abc import Sequence

FAMILIES: Final = ("g4dn", "g5", "g6", "g6e", "g5g", "p3dn", "p4d", "p5", "g7e", "gr6")
ZONES: Final = ("us-east-1a", "us-east-1b", "us-east-1c")
GPU_MEMORY: Final = "gpuslice.io/gpu-memory"
GPU_TIME: Final = "gpuslice.io/gpu-time"
MIG: Final = "nvidia.com/mig-1g.10gb"
_NOW: Final = 10_000


def provisioning(seed: int) -> Scenario:
    """A cluster with pods pending."""
    rng = random.Random(seed)
    types = _types(rng)
    pools, overlays, layouts = _pools(rng, types)
    classes = [_class(rng, number, pools, layouts) for number in range(rng.randint(1, 12))]
    most = rng.choice([5, 20, 60, 150, 400])
    pods = tuple(
        Pod(rng.choice(classes), rng.randint(0, rng.choice([0, 3, 60])), f"{rng.getrandbits(64):016x}")
        for _ in range(rng.randint(1, most))
    )
    daemons = tuple(_daemon(rng, number) for number in range(rng.choice([0, 0, 1, 3])))
    settings = Settings(
        min_values=rng.choice([MinValues.STRICT, MinValues.STRICT, MinValues.BEST_EFFORT]),
        preferences=rng.choice([Preferences.RESPECT, Preferences.RESPECT, Preferences.IGNORE]),
    )
    return Scenario(f"provisioning {seed}", pools, pods, overlays, daemons, settings=settings)


def growing(seed: int) -> Scenario:
    """A cluster with nodes, some of them on their way, and more pods pending."""
    rng = random.Random(seed)
    base = provisioning(seed)
    pods = list(base.pods)
    rng.shuffle(pods)
    cut = rng.randint(0, len(pods))
    nodes = _nodes(rng, base, pods[:cut])
    waiting = [pod for node in nodes if not node.initialized for pod in node.pods]
    for node in nodes:
        if not node.initialized:
            node.pods = []
    return replace(base, name=f"growing {seed}", pods=(*pods[cut:], *waiting), nodes=tuple(nodes), now=_NOW)


def shrinking(seed: int) -> Scenario:
    """A cluster from which pods have gone, for consolidation to look at."""
    rng = random.Random(seed)
    base = provisioning(seed)
    pools = tuple(
        replace(
            each,
            policy=rng.choice([Policy.WHEN_EMPTY, *[Policy.WHEN_EMPTY_OR_UNDERUTILIZED] * 4]),
            consolidate_after=rng.choice([0, 0, 30, 300, None]),
            budgets=rng.choice(
                [
                    (Budget("100%"),),
                    (Budget("10%"),),
                    (Budget("2"),),
                    (Budget("0", (Reason.EMPTY,)), Budget("50%")),
                ]
            ),
        )
        for each in base.pools
    )
    settings = replace(base.settings, spot_to_spot=rng.random() < 0.3)
    base = replace(base, pools=pools, settings=settings)
    nodes = _nodes(rng, base, base.pods)
    stays = rng.choice([0.1, 0.4, 0.7, 1.0])
    for node in nodes:
        node.initialized, node.initialized_at = True, node.initialized_at or _NOW - 200
        node.pods = [pod for pod in node.pods if rng.random() < stays]
        node.last_pod_event = rng.choice([None, _NOW - 1000, _NOW - 100, _NOW - 5])
        node.do_not_disrupt = rng.random() < 0.03
        node.deleting = rng.random() < 0.03
    # Nodes that EC2 gave in another size, as it may when the cheapest was out.
    return replace(base, name=f"shrinking {seed}", pods=(), nodes=tuple(nodes), consolidate=True, now=_NOW)


def _nodes(rng: random.Random, base: Scenario, pods: Sequence[Pod]) -> list[Node]:
    """Nodes as the model makes them for pods, in two batches, the pods bound as it plans."""
    pools = Pools(base.pools, overlays=base.overlays, daemons=base.daemons, settings=base.settings)
    nodes: list[Node] = []
    half = rng.randint(0, len(pods))
    for batch in (pods[:half], pods[half:]):
        decision = provision(pools, nodes, batch)
        for node in nodes:
            node.pods += decision.to_nodes.get(node.name, ())
        for each in decision.new:
            if each.launch is None:
                continue
            made = started(pools, each, f"{each.pool}-{rng.getrandbits(40):010x}", _NOW - 3000)
            made.pods = list(each.pods)
            if rng.random() < 0.7:
                come_up(made, _NOW - 2000)
            nodes.append(made)
    return nodes


def _types(rng: random.Random) -> list[InstanceType]:
    families = rng.sample(FAMILIES, rng.randint(1, 4))
    found = []
    for kind in bundled().instance_types:
        if kind.family not in families:
            continue
        zones = tuple(sorted(rng.sample(ZONES, rng.randint(1, 3))))
        out_of = [(kind.name, "on-demand", zone) for zone in zones if rng.random() < 0.05]
        made = machine(kind, zones, missing=out_of)
        found.append(made if rng.random() < 0.5 else _with_spot(rng, made))
    return found


def _with_spot(rng: random.Random, made: InstanceType) -> InstanceType:
    spot = tuple(
        type(each)("spot", each.zone, round(each.price * rng.uniform(0.2, 1.1)), rng.random() > 0.1)
        for each in made.offerings
        if each.capacity_type == "on-demand"
    )
    return InstanceType(made.name, made.capacity, made.overhead, (*made.offerings, *spot), made.labels)


def _pools(
    rng: random.Random, types: Sequence[InstanceType]
) -> tuple[tuple[NodePool, ...], tuple[Overlay, ...], list[str]]:
    pools: list[NodePool] = []
    overlays: list[Overlay] = []
    layouts: list[str] = []
    for number in range(rng.randint(1, 5)):
        name = f"pool-{rng.choice('abcdefgh')}{number}"
        tenant = rng.choice(["", "", "red", "blue"])
        kinds = rng.sample(list(types), rng.randint(1, min(len(types), rng.choice([1, 3, 40]))))
        pools.append(
            NodePool(
                name,
                tuple(types),
                weight=rng.choice([0, 0, 0, 10, 50]),
                requirements=_requirements(rng, kinds),
                labels={"tenant": tenant} if tenant else {},
                taints=(Taint("tenant", tenant),) if tenant and rng.random() < 0.8 else _odd_taints(rng),
                limits=_limits(rng),
            )
        )
        layouts.append(rng.choice(["whole", "slots", "slots", "metered", "mig"]))
        overlays += _overlays(rng, name, layouts[-1], kinds, len(overlays))
    return tuple(pools), tuple(overlays), layouts


def _odd_taints(rng: random.Random) -> tuple[Taint, ...]:
    return (Taint("avoid", effect="PreferNoSchedule"),) if rng.random() < 0.05 else ()


def _requirements(rng: random.Random, kinds: Sequence[InstanceType]) -> tuple[Requirement, ...]:
    least = rng.randint(2, 3) if rng.random() < 0.1 and len(kinds) > 3 else None
    found = [requirement(INSTANCE_TYPE, "In", [each.name for each in kinds], min_values=least)]
    bought = rng.choice([None, ["on-demand"], ["spot"], ["spot", "on-demand"]])
    if bought is not None:
        found.append(requirement(CAPACITY_TYPE, "In", bought))
    if rng.random() < 0.2:
        found.append(requirement(ZONE, "In", rng.sample(ZONES, rng.randint(1, 2))))
    if rng.random() < 0.2:
        found.append(requirement("karpenter.k8s.aws/instance-gpu-count", "Lt", [str(rng.choice([2, 5]))]))
    if rng.random() < 0.1:
        found.append(requirement("kubernetes.io/arch", "NotIn", ["arm64"]))
    return tuple(found)


def _limits(rng: random.Random) -> dict[str, int]:
    if rng.random() < 0.75:
        return {}
    return rng.choice(
        [
            {"cpu": rng.randint(8, 300) * 1000},
            {"memory": rng.randint(64, 2000) * 1024},
            {"nodes": rng.randint(1, 5)},
            {WHOLE_GPU: rng.randint(1, 20)},
            {SHARED_GPU: rng.randint(4, 80)},
        ]
    )


def _overlays(
    rng: random.Random, pool: str, layout: str, kinds: Sequence[InstanceType], start: int
) -> list[Overlay]:
    if layout == "whole":
        return []
    slots = rng.choice([2, 3, 4, 8])
    found = []
    for at, kind in enumerate(kinds):
        gpus = kind.capacity.get(WHOLE_GPU, 1)
        capacity = {WHOLE_GPU: 0}
        if layout == "slots":
            capacity[SHARED_GPU] = slots * gpus
        elif layout == "metered":
            capacity |= {SHARED_GPU: 16 * gpus, GPU_MEMORY: 20_000 * gpus, GPU_TIME: 800 * gpus}
        else:
            capacity[MIG] = 7 * gpus
        if rng.random() < 0.05:
            del capacity[WHOLE_GPU]
        scope = (requirement(NODE_POOL, "In", [pool]), requirement(INSTANCE_TYPE, "In", [kind.name]))
        weight = start + at + 1 if rng.random() < 0.9 else rng.randint(0, 3)
        dearer = rng.choice(["", "", "", "", "+10%", "-0.1"])
        found.append(Overlay(f"{pool}-{kind.name}", scope, capacity, adjustment=dearer, weight=weight))
    return found


def _class(rng: random.Random, number: int, pools: Sequence[NodePool], layouts: Sequence[str]) -> PodClass:
    """Pods that one of the pools was most likely made for."""
    home = rng.randrange(len(pools))
    ask = layouts[home] if rng.random() < 0.9 else rng.choice(["slots", "metered", "whole", "mig", "none"])
    requests = {
        "cpu": rng.choice([100, 250, 500, 500, 1000, 2000, 3500]),
        "memory": rng.choice([256, 512, 1024, 1024, 2048, 4096, 12_000]),
    }
    if ask == "slots":
        requests[SHARED_GPU] = rng.choice([1, 1, 1, 2])
    elif ask == "metered":
        requests |= {
            SHARED_GPU: 1,
            GPU_MEMORY: rng.randint(500, 15_000),
            GPU_TIME: rng.randint(20, 400),
        }
    elif ask == "whole":
        requests[WHOLE_GPU] = rng.choice([1, 1, 2, 4])
    elif ask == "mig":
        requests[MIG] = rng.choice([1, 2])
    tolerations: tuple[Toleration, ...] = ()
    tenant = pools[home].labels.get("tenant", "") if rng.random() < 0.9 else rng.choice(["", "red", "blue"])
    if tenant:
        tolerations = (
            Toleration(
                "tenant", rng.choice(["Equal", "Equal", "Exists"]), tenant, rng.choice(["", "NoSchedule"])
            ),
        )
    labels = {"app": f"app-{rng.randint(0, 3)}"}
    own = tuple(labels.items())
    return PodClass(
        f"class-{number}",
        requests,
        selector=_selector(rng, tenant, pools),
        affinity=_affinity(rng),
        preferred=_preferred(rng, pools),
        tolerations=tolerations,
        labels=labels,
        spreads=_spreads(rng, own),
        near=(PodTerm(ZONE, own),) if rng.random() < 0.01 else (),
        apart=(PodTerm(HOSTNAME, own),) if rng.random() < 0.02 else (),
    )


def _selector(rng: random.Random, tenant: str, pools: Sequence[NodePool]) -> dict[str, str]:
    found = {"tenant": tenant} if tenant and rng.random() < 0.5 else {}
    if rng.random() < 0.1:
        found[ZONE] = rng.choice(ZONES)
    if rng.random() < 0.05:
        found[NODE_POOL] = rng.choice(pools).name
    if rng.random() < 0.03:
        found["karpenter.k8s.aws/instance-family"] = rng.choice(FAMILIES)
    return found


def _affinity(rng: random.Random) -> tuple[tuple[Requirement, ...], ...]:
    if rng.random() < 0.9:
        return ()
    terms = [
        (requirement(ZONE, rng.choice(["In", "NotIn"]), rng.sample(ZONES, 1)),),
        (requirement("karpenter.k8s.aws/instance-gpu-count", rng.choice(["Gt", "Lt"]), ["3"]),),
        (requirement(CAPACITY_TYPE, "In", ["spot"]),),
    ]
    return tuple(rng.sample(terms, rng.randint(1, 2)))


def _preferred(rng: random.Random, pools: Sequence[NodePool]) -> tuple[Preferred, ...]:
    if rng.random() < 0.9:
        return ()
    return (
        Preferred(rng.choice([1, 10]), (requirement(NODE_POOL, "In", [rng.choice(pools).name]),)),
        Preferred(5, (requirement(CAPACITY_TYPE, "In", ["spot"]),)),
    )


def _spreads(rng: random.Random, own: tuple[tuple[str, str], ...]) -> tuple[Spread, ...]:
    if rng.random() < 0.95:
        return ()
    key = rng.choice([ZONE, HOSTNAME])
    what = rng.choice(list(Unsatisfiable))
    return (
        Spread(
            key,
            rng.choice([1, 1, 3]),
            own,
            what,
            rng.choice([None, None, 2]) if what is Unsatisfiable.REFUSE else None,
        ),
    )


def _daemon(rng: random.Random, number: int) -> PodClass:
    return PodClass(
        f"daemon-{number}",
        {"cpu": rng.choice([10, 100, 300]), "memory": rng.choice([16, 120, 500])},
        tolerations=(Toleration(operator="Exists"),) if rng.random() < 0.7 else (),
        affinity=((requirement("kubernetes.io/arch", "In", ["amd64"]),),) if rng.random() < 0.3 else (),
    )
