"""Good plans that together have every mechanism, and the means to make them worse, as somebody with an editor would."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any, NamedTuple

import msgspec
import pytest

from gpuslice.cloud.catalog import Catalog, Purchase
from gpuslice.hardware.mechanisms import Isolation
from gpuslice.hardware.stacks import Stack
from gpuslice.plan.artefact import API_VERSION, Plan
from gpuslice.verifier.verify import verify
from gpuslice.workloads.model import Workload
from tests.planner.planned import solved
from tests.planner.workload import workload
from tests.strategies import A10G, H100, L4, L4_EIGHTH, L4_X4, T4, T4G, catalog_of

Document = dict[str, Any]


class Case(NamedTuple):
    """A plan beside what it was made of."""

    plan: Plan
    workloads: tuple[Workload, ...]
    catalog: Catalog


SPOT_L4 = replace(L4, prices={**L4.prices, Purchase.SPOT: 400_000})
DUAL_L4 = replace(L4_X4, name="g6.dual", gpu_count=2, prices={Purchase.ON_DEMAND: 1_900_000})
DUAL_H100 = replace(H100, name="p5.dual", gpu_count=2, prices={Purchase.ON_DEMAND: 13_000_000})
CATALOG = catalog_of(SPOT_L4, L4_X4, DUAL_L4, L4_EIGHTH, T4, T4G, A10G, H100, DUAL_H100)

HARD = Isolation.HARDWARE
# Metered, slots by time-slicing and MPS, whole, fractional, spot, arm64, a preallocator with a limit.
SHARED = (
    workload("red/embed", 3, "L4", 6000, 0.1),
    workload("red/rank", 1, "L4", 2000, 0.04, preallocates=True),
    workload("blue/llm", 2, "L4", None, None, gpus=4, cpu=4000),
    workload("blue/dark", 1, "A10G", None, None),
    workload("green/guard", 1, "L4", 2000, 0.02, isolation=HARD, max_slowdown_milli=9000),
    workload("gray/batch", 1, "L4", 12_000, 0.2, interruptible=True),
    workload("gray/night", 2, "L4", 4000, 0.1, interruptible=True),
    workload("teal/arm", 2, "T4G", 6000, 0.05, arch="arm64", isolation=Isolation.MEMORY),
)
# Cards cut by MIG, each in its own way.
CUT = (
    workload("red/small", 7, "H100", 9000, 0.02, isolation=HARD),
    workload("blue/large", 2, "H100", 38_000, 0.2, isolation=HARD),
)
SLOTS = tuple(
    workload(f"red/app{i}", 2, "L4", 5000, 0.1, max_slowdown_milli=2000, preallocates=i == 0)
    for i in range(4)
)

# Three nodes of one red/a and one red/b each, one of two red/b; a whole GPU; and one that takes four.
SEATED = (
    workload("red/a", 3, "L4", 12_000, 0.2),
    workload("red/b", 5, "L4", 8000, 0.2),
    workload("blue/c", 1, "L4", 20_000, 0.9),
    workload("blue/llm", 1, "L4", None, None, gpus=4, cpu=4000),
)


def _cut_plan() -> Plan:
    """One machine: the first card's two large instances, and the second's seven small ones."""
    geometries = [[{"profile": "3g.40gb", "count": 2}], [{"profile": "1g.10gb", "count": 7}]]
    node = {
        "instanceType": "p5.dual",
        "purchase": "on-demand",
        "count": 1,
        "usdPerHour": 13.0,
        "pods": {"red/small": 7, "blue/large": 2},
    }
    layout = {"gpu": "H100", "mechanism": "mig", "geometries": geometries}
    shares = {"1g.10gb": (8.25, 0.165), "3g.40gb": (2.2, 0.44)}  # 132 multiprocessors of 16 and of 60
    document = {
        "apiVersion": API_VERSION,
        "kind": "Plan",
        "catalog": {"region": "us-east-1", "prices": "2026-07-20"},
        "stack": "al2023",
        "overhead": {"cpu": "180m", "memory": "200Mi", "pods": 8},
        "summary": {
            "status": "optimal",
            "termination": "gap",
            "usdPerHour": 13.0,
            "optimalUsdPerHour": 13.0,
            "boundUsdPerHour": 13.0,
            "gap": 0.0,
        },
        "pools": [
            {
                "name": "h100-mig",
                "layout": layout,
                "instanceTypes": ["p5.dual"],
                "purchases": ["on-demand"],
                "nodes": [node],
                "carrier": "device-plugin",
            }
        ],
        "assignments": [
            {
                "workload": name,
                "pool": "h100-mig",
                "replicas": replicas,
                "slice": f"H100/mig/{profile}",
                "asks": {"resource": f"nvidia.com/mig-{profile}", "count": 1},
                "because": "so",
                "expectedSlowdown": shares[profile][0],
                "utilisation": shares[profile][1],
            }
            for name, replicas, profile in (("red/small", 7, "1g.10gb"), ("blue/large", 2, "3g.40gb"))
        ],
        "optimalNodes": [{**node, "layout": layout}],
    }
    return msgspec.convert(document, Plan)


@cache
def case(name: str) -> Case:
    """A good plan: "shared", "cut", "slots", "alike" or "seated"."""
    workloads: tuple[Workload, ...]
    match name:
        case "seated":
            catalog = catalog_of(SPOT_L4, L4_X4)
            return Case(solved(SEATED, catalog, seats=True).plan, SEATED, catalog)
        case "shared":
            workloads, catalog, stack = SHARED, CATALOG, Stack.AL2023
        case "cut":
            return Case(_cut_plan(), CUT, catalog_of(DUAL_H100))
        case "alike":
            workloads, catalog, stack = CUT[:1], catalog_of(H100), Stack.BOTTLEROCKET
        case _:
            workloads, catalog, stack = SLOTS, catalog_of(DUAL_L4), Stack.AL2023
    plan = solved(workloads, catalog, stack=stack).plan
    return Case(plan, workloads, catalog)


def rules_broken(good: Case, document: Document) -> set[str]:
    """The rules that a changed plan breaks."""
    plan = msgspec.convert(document, Plan)
    return {each.rule for each in verify(plan, good.workloads, good.catalog)}


def document_of(good: Case) -> Document:
    """The plan as plain data, to be changed."""
    document: Document = msgspec.json.decode(msgspec.json.encode(good.plan))  # lists, not tuples
    return document


def pool(document: Document, mechanism: str, **wanted: Any) -> Document:
    """The first pool of a mechanism; `metered=True` for a metered one."""
    for each in document["pools"]:
        metered = "metered" in each["layout"]
        if each["layout"]["mechanism"] == mechanism and metered == wanted.get("metered", False):
            found: Document = each
            return found
    raise AssertionError(f"no pool {mechanism} {wanted}")


def assignment(document: Document, workload: str) -> Document:
    """A workload's first assignment."""
    found: Document = next(each for each in document["assignments"] if each["workload"] == workload)
    return found


def pool_of(document: Document, workload: str) -> Document:
    """The pool of a workload's first assignment."""
    name = assignment(document, workload)["pool"]
    found: Document = next(each for each in document["pools"] if each["name"] == name)
    return found


def optimal(document: Document, workload: str) -> Document:
    """The first optimal node that carries a workload."""
    found: Document = next(each for each in document["optimalNodes"] if workload in each["pods"])
    return found


Change = Callable[[Document], None]


class Changes:
    """Changes to good plans, each with the rule that it breaks and the plan that it is made to."""

    def __init__(self) -> None:
        self.all: list[Any] = []

    def breaks(self, rule: str, *, of: str = "shared") -> Callable[[Change], Change]:
        """Register a change under the rule that it breaks."""

        def register(change: Change) -> Change:
            self.all.append(pytest.param(rule, of, change, id=change.__name__.removeprefix("_")))
            return change

        return register
