"""Small clusters for the tests of the Karpenter model: few types, few pools, round numbers."""

from gpuslice.karpenter.model import (
    CPU,
    MEMORY,
    PODS,
    InstanceType,
    NodePool,
    Offering,
    Overlay,
    Pod,
    PodClass,
)
from gpuslice.karpenter.requirements import INSTANCE_TYPE, NODE_POOL, requirement

SHARED = "nvidia.com/gpu.shared"
GPU = "nvidia.com/gpu"
GPU_MEMORY = "gpuslice.io/gpu-memory"

PRICES = {"g6.xlarge": 804_800, "g6.2xlarge": 977_600, "g6.12xlarge": 4_601_600, "g5.xlarge": 1_006_000}
SIZES = {
    "g6.xlarge": (4, 16, 1),
    "g6.2xlarge": (8, 32, 1),
    "g6.12xlarge": (48, 192, 4),
    "g5.xlarge": (4, 16, 1),
}


def machine(name, *, price=None, zones=("a",), spot=None, available=True, **capacity):
    """An instance type: one of PRICES, or any other with its capacity said."""
    cpu, memory, gpus = SIZES.get(name, (4, 16, 0))
    offers = [Offering("on-demand", zone, price or PRICES.get(name, 1_000_000), available) for zone in zones]
    offers += [Offering("spot", zone, spot) for zone in zones if spot is not None]
    whole = {GPU: gpus} if gpus else {}
    return InstanceType(
        name,
        {CPU: cpu * 1000, MEMORY: memory * 1024, PODS: 58, **whole, **capacity},
        {CPU: 80, MEMORY: 1024},
        tuple(offers),
    )


def pool(name, *types, **settings):
    """A NodePool of these instance types."""
    return NodePool(
        name, tuple(each if isinstance(each, InstanceType) else machine(each) for each in types), **settings
    )


def sliced(pool_name, slots):
    """Overlays that give types of a pool so many slots, and no whole GPU."""
    return [
        Overlay(
            f"{pool_name}-{name}",
            (requirement(NODE_POOL, "In", [pool_name]), requirement(INSTANCE_TYPE, "In", [name])),
            {GPU: 0, SHARED: count},
            weight=weight,
        )
        for weight, (name, count) in enumerate(slots.items(), 1)
    ]


def kind(name="w", *, cpu=500, memory=1024, slots=1, **settings):
    """Pods that ask for slots."""
    asked = {SHARED: slots} if slots else {}
    requests = settings.pop("requests", {})
    return PodClass(name, {CPU: cpu, MEMORY: memory, **asked, **requests}, **settings)


def pods(of, count, *, created=0, start=0):
    """So many pods of a class, in the order of their UIDs."""
    return [Pod(of, created, f"{of.name}-{number:06}") for number in range(start, start + count)]


def launched(decision):
    """The instance types launched, sorted."""
    return sorted(each.launch.instance_type.name for each in decision.new if each.launch)


def bought(node):
    """What a new node is launched as."""
    assert node.launch is not None
    return node.launch


def loads(decision):
    """For each new node its instance type and number of pods, in the order of making."""
    return [(each.launch.instance_type.name, len(each.pods)) for each in decision.new]
