"""One instance type in full: size, what is left of it for workloads, its GPU, its prices, its mechanisms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct

from gpuslice.cloud.allocatable import Allocatable, left_for_workloads
from gpuslice.cloud.catalog import Purchase
from gpuslice.hardware.facts import Confidence
from gpuslice.hardware.gpus import GPUS
from gpuslice.hardware.mechanisms import Mechanism
from gpuslice.units import HOURS_A_MONTH, format_cpu, format_memory, format_usd, usd

if TYPE_CHECKING:
    from gpuslice.cloud.catalog import Catalog, DaemonsetOverhead, InstanceType

# Families for which AWS names MIG. That is about cards handed over whole, many at a time; the sizes with one card
# (p5.4xlarge, the small g7e) have the same cards, but nobody we know of has tried them.
_MIG_FAMILIES: Final = frozenset({"g7e", "p4d", "p4de", "p5", "p5e", "p5en", "p6-b200", "p6-b300"})


def card_price(instance_type: InstanceType, purchase: Purchase = Purchase.ON_DEMAND) -> int | None:
    """Micro-dollars per hour for one whole card's worth of the type, rounded; None where the price isn't known."""
    price = instance_type.prices.get(purchase)
    cards = instance_type.gpu_count or instance_type.gpu_fraction
    return None if price is None else round(price / cards)


def mechanisms(instance_type: InstanceType) -> tuple[Mechanism, ...]:
    """The ways in which the type's GPUs can be given to pods."""
    if not instance_type.gpu_count:
        return (Mechanism.FRACTIONAL,)
    has = GPUS[instance_type.gpu].mechanisms - {Mechanism.FRACTIONAL}
    return tuple(mechanism for mechanism in Mechanism if mechanism in has)


def mig_offered(instance_type: InstanceType) -> bool:
    """Whether AWS names MIG for the type's family. A card that has MIG is not enough to plan with it."""
    return instance_type.family in _MIG_FAMILIES


def mig_confidence(instance_type: InstanceType) -> Confidence | None:
    """How sure it is that EC2 lets the type's GPUs be cut by MIG; None where they have no MIG."""
    if Mechanism.MIG not in mechanisms(instance_type):
        return None
    published = instance_type.family in _MIG_FAMILIES and instance_type.gpu_count > 1
    return Confidence.PUBLISHED if published else Confidence.INFERRED


class _Part(Struct, frozen=True, rename="camel"):
    """Every part of a description: immutable, camelCase where printed for programs."""


class Room(_Part, frozen=True):
    """What pods can ask for: quantities, and a number of pods."""

    cpu: str
    memory: str
    pods: int


class GpuFacts(_Part, frozen=True):
    """What is known of the GPUs of a type."""

    model: str
    count: int
    fraction: str
    """The part of a card that each is: "1" for whole GPUs."""
    memory: str
    """What EC2 reports, of one."""
    usable_memory: str
    """What processes can use, of one."""
    compute_capability: str
    bandwidth_gigabytes_per_second: int
    dense_teraflops: float
    """Of bf16, or fp16 where there is none; of a whole card."""
    mig_profiles: tuple[str, ...]


class Description(_Part, frozen=True):
    """Everything about one instance type."""

    name: str
    region: str
    prices: str
    """ISO date of the prices."""
    arch: str
    vcpu: int
    memory: str
    gpu: GpuFacts
    allocatable: Room
    daemonsets: Room
    daemonsets_assumed: bool
    workloads: Room
    """What is left of allocatable after daemonsets."""
    usd_per_hour: dict[str, float]
    usd_per_month: dict[str, float]
    usd_per_hour_per_card: dict[str, float]
    mechanisms: tuple[str, ...]
    notes: tuple[str, ...]


def describe(
    catalog: Catalog, instance_type: InstanceType, overhead: DaemonsetOverhead, *, assumed: bool
) -> Description:
    """Everything about one instance type.

    Args:
        catalog: that it is from.
        instance_type: to describe.
        overhead: of daemonsets, on each node.
        assumed: whether that is gpuslice's own assumption.
    """
    gpu = GPUS[instance_type.gpu]
    prices = instance_type.prices
    per_card = {price: card_price(instance_type, price) for price in prices}
    return Description(
        name=instance_type.name,
        region=catalog.region,
        prices=catalog.prices_date,
        arch=instance_type.arch,
        vcpu=instance_type.vcpu,
        memory=format_memory(instance_type.memory_mib),
        gpu=GpuFacts(
            model=gpu.name,
            count=instance_type.gpu_count,
            fraction=str(instance_type.gpu_fraction),
            memory=format_memory(instance_type.gpu_memory_mib),
            usable_memory=format_memory(int(gpu.memory_mib * instance_type.gpu_fraction)),
            compute_capability=".".join(map(str, gpu.compute_capability)),
            bandwidth_gigabytes_per_second=gpu.bandwidth_gbs,
            dense_teraflops=gpu.dense_gflops / 1000,
            mig_profiles=tuple(profile.name for profile in gpu.mig.plain)
            if gpu.mig and instance_type.gpu_count
            else (),
        ),
        allocatable=_room(
            Allocatable(
                instance_type.allocatable_cpu_milli,
                instance_type.allocatable_memory_mib,
                instance_type.max_pods,
            )
        ),
        daemonsets=_room(Allocatable(overhead.cpu_milli, overhead.memory_mib, overhead.pods)),
        daemonsets_assumed=assumed,
        workloads=_room(left_for_workloads(instance_type, overhead)),
        usd_per_hour={purchase.value: usd(price) for purchase, price in prices.items()},
        usd_per_month={purchase.value: usd(price * HOURS_A_MONTH) for purchase, price in prices.items()},
        usd_per_hour_per_card={
            purchase.value: usd(price) for purchase, price in per_card.items() if price is not None
        },
        mechanisms=tuple(mechanism.value for mechanism in mechanisms(instance_type)),
        notes=tuple(_notes(instance_type, assumed=assumed)),
    )


def rows(description: Description) -> list[tuple[str, str]]:
    """A description for people: what, and its value."""
    gpu = description.gpu
    kind = f"{gpu.count} × {gpu.model}" if gpu.count else f"{gpu.fraction} of one {gpu.model}"
    card = (
        f"compute capability {gpu.compute_capability}",
        f"{gpu.dense_teraflops:g} TFLOPS dense",
        f"{gpu.bandwidth_gigabytes_per_second} GB/s",
    )
    return [
        ("instance type", f"{description.name} ({description.arch})"),
        ("size", f"{description.vcpu} vCPU, {description.memory}"),
        ("allocatable", _words(description.allocatable)),
        (
            "daemonsets",
            _words(description.daemonsets) + (" (assumed)" if description.daemonsets_assumed else ""),
        ),
        ("for workloads", _words(description.workloads)),
        ("GPU", f"{kind}, {gpu.memory} as sold, {gpu.usable_memory} usable"),
        ("whole card", ", ".join(card)),
        *([("MIG profiles", ", ".join(gpu.mig_profiles))] if gpu.mig_profiles else []),
        ("mechanisms", ", ".join(description.mechanisms)),
        *((f"price, {purchase}", _price(description, purchase)) for purchase in description.usd_per_hour),
        *(("note", note) for note in description.notes),
    ]


def _price(description: Description, purchase: str) -> str:
    hour, month, card = (
        format_usd(round(prices[purchase] * 1_000_000), digits=digits)
        for prices, digits in (
            (description.usd_per_hour, 4),
            (description.usd_per_month, 0),
            (description.usd_per_hour_per_card, 4),
        )
    )
    return f"{hour} an hour, {month} a month, {card} an hour for each whole card"


def _room(room: Allocatable) -> Room:
    return Room(format_cpu(room.cpu_milli), format_memory(room.memory_mib), room.pods)


def _words(room: Room) -> str:
    return f"cpu {room.cpu}, memory {room.memory}, {room.pods} pods"


def _notes(instance_type: InstanceType, *, assumed: bool) -> list[str]:
    notes = []
    if Purchase.ON_DEMAND not in instance_type.prices:
        notes.append("no on-demand price is known: plans don't buy it on demand")
    if Purchase.SPOT not in instance_type.prices:
        notes.append("no spot price is known: `gpuslice catalog refresh` reads it")
    if mig_confidence(instance_type) is Confidence.INFERRED:
        notes.append("MIG is what the card can do; that EC2 offers it on this type is inferred")
    if not instance_type.gpu_count:
        notes.append("Karpenter counts 0 GPUs here, and the AMI must bring NVIDIA's GRID driver")
    if assumed:
        notes.append("daemonsets as EKS and the GPU Operator set them up: --overhead states others")
    return notes
