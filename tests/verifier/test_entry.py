"""The verifier holds what pods require of their nodes against what their pools will be."""

from typing import Any

import msgspec
import pytest

from gpuslice.cloud.snapshot import bundled
from gpuslice.plan.artefact import Plan
from gpuslice.verifier.verify import verify
from gpuslice.workloads.requirements import Requirement
from gpuslice.workloads.target import Target
from tests.planner.planned import solved
from tests.planner.workload import workload
from tests.strategies import catalog_of

ZONE = "topology.kubernetes.io/zone"
CATALOG = catalog_of(*(bundled().by_name()[name] for name in ("g6.xlarge", "g6.2xlarge", "g6.4xlarge")))
SIZE = Requirement("karpenter.k8s.aws/instance-size", "NotIn", ("xlarge",))
WORKLOADS = (
    workload("a/sized", target=Target(node_affinity=((SIZE,),))),
    workload("a/vision", target=Target(node_selector={"team": "vision", ZONE: "us-east-1a"})),
    workload("a/speech", target=Target(node_selector={"team": "speech"})),
)


@pytest.fixture(scope="module")
def plan() -> Plan:
    return solved(WORKLOADS, CATALOG).plan


def broken(plan: Plan, change) -> set[str]:
    document: Any = msgspec.json.decode(msgspec.json.encode(plan))
    change({each["workload"]: pool_of(document, each["pool"]) for each in document["assignments"]}, document)
    changed = msgspec.convert(document, Plan)
    return {violation.rule for violation in verify(changed, WORKLOADS, CATALOG)}


def pool_of(document: Any, name: str) -> Any:
    return next(pool for pool in document["pools"] if pool["name"] == name)


def test_the_plan_itself_is_good(plan):
    assert verify(plan, WORKLOADS, CATALOG) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda pools, _: pools["a/sized"]["instanceTypes"].append("g6.xlarge"),
        lambda pools, _: pools["a/vision"].pop("requires"),
        lambda pools, _: pools["a/vision"]["requires"].pop(),
        lambda pools, _: pools["a/vision"]["requires"].append(
            {"key": ZONE, "operator": "NotIn", "values": ["us-east-1a"]}
        ),
        lambda pools, _: pools["a/vision"].update(requires=pools["a/speech"]["requires"]),
        lambda pools, _: pools["a/speech"]["requires"][0]["values"].insert(0, "vision"),
        lambda pools, _: pools["a/speech"]["requires"].append(
            {"key": "node.kubernetes.io/instance-type", "operator": "In", "values": ["g6.xlarge"]}
        ),
    ],
)
def test_a_pool_that_its_pods_cannot_enter_is_found(plan, change):
    assert "affinity" in broken(plan, change)


def test_a_node_of_the_packing_on_which_labels_disagree_is_found(plan):
    def together(_pools: Any, document: Any) -> None:
        for node in document["optimalNodes"]:
            if "a/vision" in node["pods"]:
                node["pods"] = {"a/vision": 1, "a/speech": 1}

    assert "affinity" in broken(plan, together)
