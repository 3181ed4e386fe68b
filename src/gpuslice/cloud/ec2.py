"""What EC2 says: which instance types with NVIDIA GPUs a region offers, their sizes, and their spot prices."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from fractions import Fraction
from statistics import median_high
from typing import Final, Literal

import msgspec

from gpuslice.cloud.allocatable import max_pods
from gpuslice.cloud.aws import Answer, Client, dollars, pages, parsed
from gpuslice.cloud.snapshot import InstanceTypeEntry
from gpuslice.units import format_memory

# EC2's name for a GPU and the MiB of a whole card, both as EC2 DescribeInstanceTypes gives them -> our name.
_GPU_OF: Final[dict[str, dict[int, str]]] = {
    "A10G": {22888: "A10G"},
    "A100": {40960: "A100-40GB", 81920: "A100-80GB"},
    "B200": {183359: "B200"},
    "B300": {275040: "B300"},
    "H100": {81920: "H100"},
    "H200": {144384: "H200"},
    "L4": {22888: "L4"},
    "L40S": {45776: "L40S"},
    "RTX PRO 4500": {32768: "RTX-PRO-4500"},
    "RTX PRO Server 6000": {98304: "RTX-PRO-6000"},
    "T4": {16384: "T4"},
    "T4g": {16384: "T4G"},
    "V100": {32768: "V100-32GB"},
}
_SMALLEST_PART: Final = 16  # of a card; an eighth is the smallest that EC2 sells
_ARCH_OF: Final[dict[str, Literal["amd64", "arm64"]]] = {"x86_64": "amd64", "arm64": "arm64"}
_LINUX: Final = ("Linux/UNIX", "Linux/UNIX (Amazon VPC)")


class _MiB(Answer, frozen=True):
    size_in_mib: int = msgspec.field(name="SizeInMiB")


class _Gpu(Answer, frozen=True):
    manufacturer: str
    name: str
    memory_info: _MiB
    """Of one GPU; of the fraction, for fractional types."""
    count: int = 0
    """Whole GPUs; 0 for fractional types."""
    logical_gpu_count: int | None = None
    """How many parts of cards a fractional type has; older versions of boto3 don't pass it on."""


class _Gpus(Answer, frozen=True):
    gpus: tuple[_Gpu, ...] = ()


class _Processor(Answer, frozen=True):
    supported_architectures: tuple[str, ...]


class _VCpus(Answer, frozen=True):
    default_v_cpus: int


class _Card(Answer, frozen=True):
    network_card_index: int
    maximum_network_interfaces: int


class _Efa(Answer, frozen=True):
    maximum_efa_interfaces: int = 0


class _Network(Answer, frozen=True):
    ipv4_addresses_per_interface: int
    network_cards: tuple[_Card, ...]
    default_network_card_index: int = 0
    efa_info: _Efa = _Efa()


class _Storage(Answer, frozen=True):
    total_size_in_gb: int = msgspec.field(name="TotalSizeInGB", default=0)


class _InstanceType(Answer, frozen=True):
    instance_type: str
    processor_info: _Processor
    v_cpu_info: _VCpus
    memory_info: _MiB
    network_info: _Network
    gpu_info: _Gpus
    instance_storage_info: _Storage = _Storage()


class _InstanceTypesPage(Answer, frozen=True):
    # Only types with GPUs are read further: EC2 leaves fields out of some of its old types.
    instance_types: tuple[Mapping[str, object], ...] = ()


class _Offering(Answer, frozen=True):
    instance_type: str


class _OfferingsPage(Answer, frozen=True):
    instance_type_offerings: tuple[_Offering, ...] = ()


class _Spot(Answer, frozen=True):
    instance_type: str
    availability_zone: str
    product_description: str
    spot_price: str
    timestamp: dt.datetime


class _SpotPage(Answer, frozen=True):
    spot_price_history: tuple[_Spot, ...] = ()


class _SkippedError(Exception):
    """An instance type that gpuslice can't judge; the text says why."""


def gpu_instance_types(ec2: Client) -> tuple[list[InstanceTypeEntry], list[str]]:
    """The types with NVIDIA GPUs that the client's region offers, without prices; and which are left out, and why."""
    offered = {
        instance_type_offering.instance_type
        for page in pages(ec2, "describe_instance_type_offerings", _OfferingsPage, LocationType="region")
        for instance_type_offering in page.instance_type_offerings
    }
    entries: list[InstanceTypeEntry] = []
    skipped: list[str] = []
    for described in _described(ec2):
        nvidia = any(gpu.manufacturer == "NVIDIA" for gpu in described.gpu_info.gpus)
        if nvidia and described.instance_type in offered:
            try:
                entries.append(_entry(described))
            except _SkippedError as error:
                skipped.append(f"{described.instance_type} is left out: {error}")
    return entries, skipped


def spot_prices(ec2: Client, names: list[str], now: dt.datetime) -> dict[str, float]:
    """Dollars per hour by instance type: the middle of the zones' newest prices; types without any are absent.

    Where the number of zones is even it is the higher of the two in the middle, so that it is a price that
    somebody asks.
    """
    newest: dict[tuple[str, str], _Spot] = {}
    for page in pages(
        ec2,
        "describe_spot_price_history",
        _SpotPage,
        InstanceTypes=names,
        ProductDescriptions=list(_LINUX),
        # EC2 adds the last change before the start, because that price still holds then. So what it knows "from
        # now on" is one price per type and zone.
        StartTime=now,
    ):
        for spot_price in page.spot_price_history:
            key = (spot_price.instance_type, spot_price.availability_zone)
            known = newest.get(key)
            if spot_price.product_description in _LINUX and (
                known is None or known.timestamp < spot_price.timestamp
            ):
                newest[key] = spot_price
    zones: dict[str, list[float]] = {}
    for (name, _), spot in newest.items():
        price = dollars(spot.spot_price)
        if price is not None:
            zones.setdefault(name, []).append(price)
    return {name: median_high(prices) for name, prices in zones.items()}


def _described(ec2: Client) -> Iterator[_InstanceType]:
    # EC2 has no filter for GPUs, so all types are asked for.
    operation = "describe_instance_types"
    for page in pages(ec2, operation, _InstanceTypesPage):
        for kind in page.instance_types:
            if "GpuInfo" in kind:
                yield parsed(kind, _InstanceType, operation)


def _entry(described: _InstanceType) -> InstanceTypeEntry:
    architectures = [
        _ARCH_OF[supported_architecture]
        for supported_architecture in described.processor_info.supported_architectures
        if supported_architecture in _ARCH_OF
    ]
    if not architectures:
        raise _SkippedError("its CPU is neither x86_64 nor arm64")
    if len(described.gpu_info.gpus) != 1:
        raise _SkippedError("it has GPUs of several models")
    gpu = described.gpu_info.gpus[0]
    name, fraction = _model(gpu)
    return InstanceTypeEntry(
        name=described.instance_type,
        arch=architectures[0],
        gpu=name,
        gpu_count=gpu.count,
        gpu_fraction="" if gpu.count else str(fraction),
        gpu_memory=format_memory(gpu.memory_info.size_in_mib),
        vcpu=described.v_cpu_info.default_v_cpus,
        memory=format_memory(described.memory_info.size_in_mib),
        max_pods=_pods(described.network_info),
        local_storage_gb=described.instance_storage_info.total_size_in_gb,
        efa=described.network_info.efa_info.maximum_efa_interfaces,
    )


def _pods(network: _Network) -> int:
    """Pods that there are addresses for: the VPC CNI uses the default network card only."""
    for card in network.network_cards:
        if card.network_card_index == network.default_network_card_index:
            return max_pods(card.maximum_network_interfaces, network.ipv4_addresses_per_interface)
    raise _SkippedError("it has no default network card")


def _model(gpu: _Gpu) -> tuple[str, Fraction]:
    """Our name of a GPU that EC2 describes, and the part of a card that it is. Never a guess."""
    cards = _GPU_OF.get(gpu.name, {})
    memory = gpu.memory_info.size_in_mib
    if gpu.count and memory in cards:
        return cards[memory], Fraction(1)
    if not gpu.count and gpu.logical_gpu_count in {None, 1}:
        for card, name in cards.items():
            part = Fraction(memory, card).limit_denominator(_SMALLEST_PART)
            if 0 < part < 1 and abs(part * card - memory) <= 1:  # EC2 rounds a part's memory to MiB
                return name, part
    raise _SkippedError(
        f"gpuslice doesn't know its GPU: {gpu.count or 'a part of'} {gpu.name} with {memory} MiB"
    )
