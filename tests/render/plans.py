"""Hand-made plans that together use every mechanism and both stacks; their golden files are under golden/."""

from collections.abc import Mapping
from fractions import Fraction

import msgspec

from gpuslice.cloud.catalog import Catalog, InstanceType, Purchase
from gpuslice.hardware.resource_names import seat_of
from gpuslice.plan.artefact import API_VERSION, Assignment, Plan, Pool
from gpuslice.render.settings import RenderSettings

SETTINGS = RenderSettings(cluster="lab", role="KarpenterNodeRole-lab")


def instance_type(
    name: str, gpu: str, count: int = 1, fraction: Fraction = Fraction(1), arch: str = "amd64"
) -> InstanceType:
    return InstanceType(
        name=name,
        family=name.partition(".")[0],
        arch=arch,
        gpu=gpu,
        gpu_count=count,
        gpu_fraction=fraction,
        gpu_memory_mib=24576,
        vcpu=8,
        memory_mib=32768,
        allocatable_cpu_milli=7910,
        allocatable_memory_mib=30000,
        max_pods=58,
        prices={Purchase.ON_DEMAND: 1_000_000},
    )


CATALOG = Catalog(
    region="us-east-1",
    prices_date="2026-07-20",
    source="made by hand",
    instance_types=tuple(
        sorted(
            (
                instance_type("g5g.xlarge", "T4G", arch="arm64"),
                instance_type("g6.xlarge", "L4"),
                instance_type("g6.2xlarge", "L4"),
                instance_type("g6.12xlarge", "L4", 4),
                instance_type("g6f.large", "L4", 0, Fraction(1, 8)),
                instance_type("p4d.24xlarge", "A100-40GB", 8),
                instance_type("p5.48xlarge", "H100", 8),
            ),
            key=lambda each: each.name,
        )
    ),
)


def pool(
    name: str,
    layout: Mapping[str, object],
    types: tuple[str, ...],
    *,
    purchases: tuple[str, ...] = ("on-demand",),
    tenant: str = "",
    count: int = 2,
    **more: object,
) -> Pool:
    node = {"purchase": purchases[0], "count": count, "usdPerHour": 1.0, "pods": {}}
    nodes = [{"instanceType": each, **node} for each in types[:1] if count]
    return msgspec.convert(
        {
            "name": name,
            "layout": layout,
            "instanceTypes": types,
            "purchases": purchases,
            "tenant": tenant,
            "nodes": nodes,
            "carrier": "device-plugin",
        }
        | more,
        Pool,
    )


def assignment(workload: str, pool_name: str, resource: str, **more: object) -> Assignment:
    fields = {"replicas": 2, "slice": "L4/whole", "because": "the cheapest that fits."}
    asks = {"resource": resource, "count": 1}
    asks |= {key: more.pop(key) for key in ("count", "gpuMemory", "gpuTime", "seat") if key in more}
    return msgspec.convert(
        {"workload": workload, "pool": pool_name, "asks": asks} | fields | more, Assignment
    )


def plan(pools: tuple[Pool, ...], assignments: tuple[Assignment, ...] = (), stack: str = "al2023") -> Plan:
    return msgspec.convert(
        {
            "apiVersion": API_VERSION,
            "kind": "Plan",
            "catalog": {"region": "us-east-1", "prices": "2026-07-20"},
            "overhead": {"cpu": "250m", "memory": "512Mi", "pods": 5},
            "stack": stack,
            "summary": {
                "status": "optimal",
                "termination": "gap",
                "usdPerHour": 12.34,
                "optimalUsdPerHour": 12.2,
                "boundUsdPerHour": 12.11,
                "gap": 0.0074,
            },
            "pools": msgspec.to_builtins(pools),
            "assignments": msgspec.to_builtins(assignments),
        },
        Plan,
    )


SHARED = "nvidia.com/gpu.shared"
WHOLE = "nvidia.com/gpu"
VLLM = {
    "name": "vllm",
    "limit": "argument",
    "arguments": ["--model", "m", "--gpu-memory-utilization", "0.9", "--port=8000"],
}
TS4 = {"gpu": "L4", "mechanism": "time-slicing", "replicas": 4, "slotTime": 176}
METERED_500 = {
    "gpu": "L4",
    "mechanism": "time-slicing",
    "replicas": 16,
    "metered": {"memory": "21Gi", "time": 500},
}
METERED_704 = {
    "gpu": "L4",
    "mechanism": "time-slicing",
    "replicas": 16,
    "metered": {"memory": "21Gi", "time": 704},
}
MPS8 = {"gpu": "T4G", "mechanism": "mps", "replicas": 8}
MIG_ALIKE = {
    "gpu": "H100",
    "mechanism": "mig",
    "geometry": [{"profile": "3g.40gb", "count": 1}, {"profile": "1g.10gb", "count": 4}],
}
MIG_MIXED = {
    "gpu": "A100-40GB",
    "mechanism": "mig",
    "geometries": [[{"profile": "1g.5gb", "count": 7}]] * 4
    + [[{"profile": "3g.20gb", "count": 2}]] * 3
    + [[]],
}
FRACTIONAL = {"gpu": "L4", "mechanism": "fractional"}

SLOTS = plan(
    (
        pool("search-l4-ts4", TS4, ("g6.xlarge", "g6.2xlarge", "g6.12xlarge"), tenant="search"),
        pool("vision-t4g-mps8", MPS8, ("g5g.xlarge",), purchases=("spot", "on-demand"), tenant="vision"),
        pool("l4-whole", {"gpu": "L4", "mechanism": "whole"}, ("g6.12xlarge",), count=1),
        pool("l4-fraction", FRACTIONAL, ("g6f.large",)),
    ),
    (
        assignment(
            "search/embedder",
            "search-l4-ts4",
            SHARED,
            slice="L4/time-slicing/4",
            memoryLimit="5600Mi",
            target={
                "container": "server",
                "framework": VLLM,
                "dropNodeSelector": ["node.kubernetes.io/instance-type"],
                "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
            },
        ),
        assignment(
            "vision/tagger", "vision-t4g-mps8", SHARED, target={"kind": "CronJob", "container": "main"}
        ),
        assignment(
            "train/finetune", "l4-whole", WHOLE, count=4, target={"kind": "Job", "container": "train"}
        ),
        assignment(
            "lab/notebook",
            "l4-fraction",
            WHOLE,
            target={
                "kind": "Notebook",
                "apiVersion": "kubeflow.org/v1",
                "podSpec": "/spec/template/spec",
                "container": "notebook",
                "gpuRequests": [WHOLE],
            },
        ),
    ),
)
METERED = plan(
    (
        pool("search-l4-500", METERED_500, ("g6.xlarge", "g6.2xlarge"), tenant="search"),
        pool("chat-l4-704", METERED_704, ("g6.xlarge",), tenant="chat"),
        pool("vision-l4-704", METERED_704, ("g6.xlarge",), tenant="vision"),
    ),
    (
        assignment(
            "search/reranker",
            "search-l4-500",
            SHARED,
            gpuMemory="6Gi",
            gpuTime=180,
            memoryLimit="6Gi",
            target={
                "kind": "StatefulSet",
                "container": "jax",
                "framework": {"name": "jax", "limit": "environment"},
            },
        ),
        assignment(
            "chat/worker",
            "chat-l4-704",
            SHARED,
            gpuMemory="3Gi",
            gpuTime=90,
            target={
                "kind": "InferenceService",
                "apiVersion": "serving.kserve.io/v1beta1",
                "podSpec": "/spec/predictor",
                "containerPath": "/model",
                "hasNodeSelector": True,
                "dropNodeSelector": ["karpenter.k8s.aws/instance-gpu-name"],
            },
        ),
    ),
)
MIG = plan(
    (
        pool("h100-mig", MIG_ALIKE, ("p5.48xlarge",)),
        pool("a100-mig", MIG_MIXED, ("p4d.24xlarge",), count=1),
    ),
    (
        assignment("chat/ranker", "h100-mig", "nvidia.com/mig-1g.10gb", target={"container": "main"}),
        assignment("chat/asr", "a100-mig", "nvidia.com/mig-3g.20gb", target={"container": "main"}),
    ),
)
BOTTLEROCKET = plan(
    (
        pool("search-l4-ts4", TS4, ("g6.xlarge", "g6.12xlarge"), tenant="search"),
        pool("vision-t4g-mps8", MPS8, ("g5g.xlarge",), tenant="vision"),
        pool(
            "h100-mig",
            {"gpu": "H100", "mechanism": "mig", "geometry": [{"profile": "1g.10gb", "count": 7}]},
            ("p5.48xlarge",),
        ),
        pool("l4-whole", {"gpu": "L4", "mechanism": "whole"}, ("g6.12xlarge",), count=1),
    ),
    (assignment("chat/ranker", "h100-mig", WHOLE, target={"container": "main"}),),
    stack="bottlerocket",
)


def seated(workload: str, pool_name: str, resource: str, replicas: int, **more: object) -> Assignment:
    return assignment(workload, pool_name, resource, replicas=replicas, seat=seat_of(workload), **more)


EMBEDDER: dict[str, object] = {
    "memoryLimit": "5600Mi",
    "because": "the cheapest that fits.",
    "target": {
        "container": "server",
        "framework": VLLM,
        "tolerations": [
            {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"},
            {"key": "gpuslice.io/pool", "value": "search-l4-500", "effect": "NoSchedule"},
        ],
    },
}
RERANKER: dict[str, object] = {
    "target": {
        "kind": "StatefulSet",
        "container": "main",
        "gpuLimits": ["gpuslice.io/gpu-memory", "gpuslice.io/gpu-time", SHARED],
    }
}
ASR: dict[str, object] = {
    "target": {
        "kind": "InferenceService",
        "apiVersion": "serving.kserve.io/v1beta1",
        "podSpec": "/spec/predictor",
        "containerPath": "/model",
        "hasNodeSelector": True,
        "dropNodeSelector": ["gpuslice.io/pool"],
    }
}
_METERED_SLICE = {"slice": "L4/time-slicing/metered"}
SEATS = plan(
    (
        pool(
            "search-l4-mixed",
            METERED_704,
            ("g6.xlarge", "g6.2xlarge"),
            tenant="search",
            seats={"search/embedder": 2, "search/reranker": 1},
            maxNodes=2,
        ),
        pool(
            "search-l4-alone",
            {"gpu": "L4", "mechanism": "whole"},
            ("g6.xlarge",),
            count=1,
            asShared=True,
            seats={"search/embedder": 1},
            maxNodes=1,
        ),
        pool(
            "search-embedder",
            METERED_704,
            ("g6.xlarge",),
            count=1,
            tenant="search",
            seats={"search/embedder": 3},
        ),
        pool(
            "search-reranker",
            {"gpu": "L4", "mechanism": "time-slicing", "replicas": 2, "slotTime": 352},
            ("g6.xlarge",),
            count=0,
            tenant="search",
            seats={"search/reranker": 2},
        ),
        pool(
            "h100-mixed",
            MIG_ALIKE,
            ("p5.48xlarge",),
            count=1,
            seats={"chat/asr": 8, "chat/ranker": 16},
            maxNodes=1,
        ),
        pool("chat-asr", MIG_ALIKE, ("p5.48xlarge",), count=0, seats={"chat/asr": 8}),
        pool("chat-ranker", MIG_ALIKE, ("p5.48xlarge",), count=0, seats={"chat/ranker": 32}),
    ),
    (
        seated("search/embedder", "search-l4-mixed", SHARED, 4, **_METERED_SLICE, **EMBEDDER),
        seated("search/embedder", "search-l4-alone", SHARED, 1, **EMBEDDER),
        seated("search/embedder", "search-embedder", SHARED, 2, **_METERED_SLICE, **EMBEDDER),
        seated("search/reranker", "search-l4-mixed", SHARED, 2, **_METERED_SLICE, **RERANKER),
        seated("chat/asr", "h100-mixed", "nvidia.com/mig-3g.40gb", 8, slice="H100/mig/3g.40gb", **ASR),
        seated(
            "chat/ranker",
            "h100-mixed",
            "nvidia.com/mig-1g.10gb",
            16,
            slice="H100/mig/1g.10gb",
            target={"container": "main"},
        ),
    ),
)
"""Two workloads share two GPUs, and one of them has one to itself and more in its own pool; two share a node of MIG."""
PLANS = {"slots": SLOTS, "metered": METERED, "mig": MIG, "bottlerocket": BOTTLEROCKET, "seats": SEATS}
