"""A plan for the made clusters, short: what it has of each pool."""

from gpuslice.plan.artefact import API_VERSION, CatalogReference, Layout, Node, Overhead, Plan, Pool, Summary


def plan(*pools, prices="2026-11-01"):
    return Plan(
        api_version=API_VERSION,
        kind="Plan",
        catalog=CatalogReference(region="us-east-1", prices=prices),
        stack="al2023",
        overhead=Overhead(cpu="0", memory="0", pods=0),
        summary=Summary(
            status="optimal",
            termination="gap",
            usd_per_hour=0,
            optimal_usd_per_hour=0,
            bound_usd_per_hour=0,
            gap=0,
        ),
        pools=pools,
        assignments=(),
    )


def pool(name="l4-ts4", *, count=1, usd=0.8048, instance_type="g6.xlarge"):
    return Pool(
        name=name,
        layout=Layout(gpu="L4", mechanism="time-slicing", replicas=4),
        instance_types=(instance_type,),
        purchases=("on-demand",),
        nodes=(
            Node(
                instance_type=instance_type,
                purchase="on-demand",
                count=count,
                usd_per_hour=usd,
                pods={"search/search": 1},
            ),
        ),
        carrier="device-plugin",
    )
