"""A small plan with seats, by hand: a mixed pool of one node, and a pool of its own for each of two workloads."""

from gpuslice.hardware.resource_names import seat_of
from gpuslice.plan.artefact import (
    API_VERSION,
    Assignment,
    CatalogReference,
    Extended,
    Layout,
    Metered,
    Node,
    Overhead,
    Plan,
    Pool,
    Summary,
)
from tests.planner.workload import workload
from tests.strategies import L4, catalog_of

CATALOG = catalog_of(L4)
WORKLOADS = (workload("red/a", 2, "L4", 5000, 0.2), workload("red/b", 2, "L4", 8000, 0.3))
_PRICE = 0.9776


def _pool(name, layout, seats, nodes, **more):
    pods = {workload: count for workload, count in seats.items() if nodes}
    made = (Node(instance_type=L4.name, purchase="on-demand", count=nodes, usd_per_hour=_PRICE, pods=pods),)
    return Pool(
        name=name,
        layout=layout,
        instance_types=(L4.name,),
        purchases=("on-demand",),
        nodes=made if nodes else (),
        carrier="device-plugin",
        as_shared=layout.mechanism == "whole",
        tenant="red",
        seats=seats,
        **more,
    )


def _assignment(workload, pool, replicas, slice_, busy):
    return Assignment(
        workload=workload,
        pool=pool,
        replicas=replicas,
        slice=slice_,
        asks=Extended(resource="nvidia.com/gpu.shared", count=1, seat=seat_of(workload)),
        because=f"cheapest for {workload}",
        expected_slowdown=1.5 if pool == "mixed" else 1.0,
        utilisation=busy,
    )


def seated() -> Plan:
    """Two of red/a and one of red/b share a metered GPU; the other of red/b has a whole one."""
    metered = Layout(
        gpu="L4", mechanism="time-slicing", replicas=16, metered=Metered(memory="22Gi", time=800)
    )
    slots = Layout(gpu="L4", mechanism="time-slicing", replicas=4)
    return Plan(
        api_version=API_VERSION,
        kind="Plan",
        catalog=CatalogReference(region=CATALOG.region, prices=CATALOG.prices_date),
        stack="al2023",
        overhead=Overhead(cpu="150m", memory="512Mi", pods=5),
        summary=Summary(
            status="feasible",
            termination="gap",
            usd_per_hour=2 * _PRICE,
            optimal_usd_per_hour=2 * _PRICE,
            bound_usd_per_hour=_PRICE,
            gap=0.5,
        ),
        pools=(
            _pool("mixed", metered, {"red/a": 2, "red/b": 1}, 1, max_nodes=1),
            _pool("own-a", slots, {"red/a": 4}, 0),
            _pool("own-b", Layout(gpu="L4", mechanism="whole"), {"red/b": 1}, 1),
        ),
        assignments=(
            _assignment("red/a", "mixed", 2, "L4/time-slicing/metered", 0.2),
            _assignment("red/b", "mixed", 1, "L4/time-slicing/metered", 0.3),
            _assignment("red/b", "own-b", 1, "L4/whole", 0.3),
        ),
    )
