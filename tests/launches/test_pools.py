"""A plan's pools and pods in the model of Karpenter are those that are rendered."""

from collections import defaultdict
from typing import Any

import pytest

from gpuslice.cloud.allocatable import parse_overhead
from gpuslice.karpenter.model import PODS, Policy
from gpuslice.karpenter.overlays import overlaid
from gpuslice.karpenter.requirements import combined, requirement
from gpuslice.karpenter.templates import Pools
from gpuslice.launches.pools import daemons_of, karpenter_pools, offers_of, pods_of
from gpuslice.plan.artefact import Plan
from gpuslice.render.manifests import objects
from gpuslice.render.patches import tolerations
from gpuslice.units import parse_quantity
from tests.planner.workload import workload
from tests.render.plans import CATALOG, PLANS, SETTINGS

every_plan = pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
TYPES = CATALOG.by_name()


def rendered(plan: Plan, kind: str) -> dict[str, dict[str, Any]]:
    """Specs by name."""
    listed: list[Any] = [made for file in objects(plan, CATALOG, SETTINGS) for made in file.objects]
    return {made["metadata"]["name"]: made["spec"] for made in listed if made.get("kind") == kind}


def modelled(plan):
    """Pools by name, and overlays."""
    pools, overlays = karpenter_pools(
        offers_of(plan.pools, plan.assignments, plan.stack, CATALOG, ()).values()
    )
    return {pool.name: pool for pool in pools}, overlays


def requirements(listed):
    return combined(requirement(entry["key"], entry["operator"], entry["values"]) for entry in listed)


@every_plan
def test_node_pools_are_those_that_are_rendered(plan):
    pools, _ = modelled(plan)
    specs = rendered(plan, "NodePool")
    assert pools.keys() == specs.keys()
    for name, spec in specs.items():
        pool, template = pools[name], spec["template"]
        assert combined(pool.requirements) == requirements(template["spec"]["requirements"])
        assert [
            {"key": taint.key, "value": taint.value, "effect": taint.effect} for taint in pool.taints
        ] == template["spec"]["taints"]
        # What is left out tells operands of the GPU Operator what to do: no pod and no overlay chooses by it.
        labels = template["metadata"]["labels"]
        assert pool.labels == {key: labels[key] for key in labels if not key.startswith("nvidia.com/")}
        assert pool.weight == spec.get("weight", 0)
        assert pool.limits == {key: int(amount) for key, amount in spec.get("limits", {}).items()}
        assert pool.policy == Policy(spec["disruption"]["consolidationPolicy"])
        minutes = spec["disruption"]["consolidateAfter"].removesuffix("m")
        assert pool.consolidate_after == int(minutes) * 60


@every_plan
def test_nodes_of_every_type_promise_what_is_rendered(plan):
    pools, overlays = modelled(plan)
    promised: dict[tuple[str, str], dict[str, int]] = defaultdict(dict)
    for spec in rendered(plan, "NodeOverlay").values():
        wanted = requirements(spec["requirements"])
        (pool,) = wanted["karpenter.sh/nodepool"].values
        capacity = {name: int(parse_quantity(text)) for name, text in spec["capacity"].items()}
        for kind in wanted["node.kubernetes.io/instance-type"].values:
            promised[pool, kind] |= capacity
    applied = overlaid(tuple(pools.values()), overlays)
    assert applied.refused == ()
    for before, after in zip(pools.values(), applied.pools, strict=True):
        for bare, machine in zip(before.instance_types, after.instance_types, strict=True):
            assert machine.capacity == {**bare.capacity, **promised[after.name, machine.name]}


@every_plan
def test_pods_choose_pools_and_tolerate_them_as_their_patches_say(plan):
    known = [workload(name, 1, "L4", 1000, 0.1) for name in {each.workload for each in plan.assignments}]
    for assignment in plan.assignments:
        ((kind, count),) = pods_of([assignment], known)
        assert count == assignment.replicas
        assert kind.selector == ({} if assignment.asks.seat else {"gpuslice.io/pool": assignment.pool})
        (toleration,) = kind.tolerations
        said = {"key": toleration.key, "operator": toleration.operator, "effect": toleration.effect}
        assert said | ({"value": toleration.value} if toleration.value else {}) in tolerations(assignment)
        assert kind.requests[assignment.asks.resource] == assignment.asks.count
        assert kind.requests.get(assignment.asks.seat, 1) == 1


def test_pods_of_one_template_are_one_class_wherever_their_seats_are():
    plan = PLANS["seats"]
    known = [workload(name, 1, "L4", 1000, 0.1) for name in {each.workload for each in plan.assignments}]
    counts = {kind.name: count for kind, count in pods_of(plan.assignments, known)}
    assert counts == {"search/embedder": 7, "search/reranker": 2, "chat/asr": 8, "chat/ranker": 16}


def test_daemonsets_take_their_pods_of_every_node():
    plan = PLANS["slots"]
    pools, overlays = karpenter_pools(
        offers_of(plan.pools, plan.assignments, plan.stack, CATALOG, ()).values()
    )
    daemons = daemons_of(parse_overhead("cpu=250m,memory=512Mi,pods=5"))
    made = Pools(pools, overlays=overlays, daemons=daemons)
    assert {taken[PODS] for template in made.templates for taken in template.daemons} == {5}
    assert {taken["cpu"] for template in made.templates for taken in template.daemons} == {250}
