"""The catalog as a file: the bundled snapshot, what `--catalog` takes, and what a refresh writes. One form for all.

A file holds what EC2 says of a type (size, GPUs, addresses for pods) and prices. What Kubernetes can allocate
is computed when it is read, so that a better formula needs no new file.
"""

from __future__ import annotations

import datetime as dt
import json
from fractions import Fraction
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Annotated, Final, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from gpuslice.artefacts.documents import read_documents
from gpuslice.artefacts.output import write_atomically
from gpuslice.artefacts.part import API_VERSION, ApiVersion, Part
from gpuslice.artefacts.strict import decode
from gpuslice.cloud.allocatable import allocatable
from gpuslice.cloud.catalog import Catalog, InstanceType, Purchase
from gpuslice.errors import InputError, nearest
from gpuslice.hardware.gpus import GPUS
from gpuslice.units import format_memory, micro_usd, parse_memory_mib, usd

BUNDLED: Final = "us-east-1.json"
REGION_PATTERN: Final = r"^[a-z]{2,3}(-[a-z]+)+-\d{1,2}$"

# A price outside is a price in the wrong unit (cents, a month, a lot of a thousand), or a missing one written as
# zero. The dearest GPU instance of 2026 costs $142 an hour.
LEAST_USD: Final = 0.001
MOST_USD: Final = 10_000.0

_MOST_MEMORY_MIB: Final = 1024**3  # 1 PiB


class Prices(Struct, frozen=True, forbid_unknown_fields=True, rename="kebab", omit_defaults=True):
    """Dollars per hour by purchase, Linux. A purchase without a known price is absent."""

    on_demand: float | UnsetType = UNSET
    spot: float | UnsetType = UNSET
    """The middle of what the region's zones ask, the higher of the two middle ones where their number is even."""
    reserved: float | UnsetType = UNSET

    def known(self) -> dict[Purchase, float]:
        """The prices that there are."""
        prices = {
            Purchase.ON_DEMAND: self.on_demand,
            Purchase.SPOT: self.spot,
            Purchase.RESERVED: self.reserved,
        }
        return {purchase: price for purchase, price in prices.items() if price is not UNSET}


_NO_PRICES: Final = Prices()  # one object, by which msgspec knows that a field has its default


class InstanceTypeEntry(Part, frozen=True, kw_only=True):
    """One instance type, as EC2 describes it."""

    name: Annotated[str, Meta(pattern=r"^[a-z][a-z0-9-]{0,30}\.[a-z0-9-]{1,30}$")]
    arch: Literal["amd64", "arm64"]
    gpu: str
    """A GPU model that gpuslice knows, such as "L4" or "A100-80GB"."""
    gpu_count: Annotated[int, Meta(ge=0, le=64)]
    """Whole GPUs; 0 for fractional types."""
    gpu_fraction: str = ""
    """The part of a card, for fractional types, such as "1/8"; absent otherwise."""
    gpu_memory: str
    """Of one GPU (of the fraction, for fractional types), as EC2 reports it: a quantity."""
    vcpu: Annotated[int, Meta(ge=1, le=4096)]
    memory: str
    """Of the machine, as EC2 reports it: a quantity."""
    max_pods: Annotated[int, Meta(ge=1, le=100_000)]
    """Pods that the default network card's interfaces have addresses for."""
    local_storage_gb: Annotated[int, Meta(ge=0, le=10_000_000)] = 0
    """Of all instance stores together, in GB of 10^9 bytes."""
    efa: Annotated[int, Meta(ge=0, le=1_000)] = 0
    """Elastic Fabric Adapter interfaces that it can have."""
    usd_per_hour: Prices = _NO_PRICES


class CatalogFile(Part, frozen=True, kw_only=True):
    """Instance types with NVIDIA GPUs of one region, at one date."""

    api_version: ApiVersion
    kind: Literal["Catalog"]
    region: Annotated[str, Meta(pattern=REGION_PATTERN)]
    prices: str
    """ISO date of the prices."""
    source: Annotated[str, Meta(max_length=1000)] = ""
    """One line on where it comes from."""
    instance_types: Annotated[tuple[InstanceTypeEntry, ...], Meta(max_length=10_000)]


@cache
def bundled() -> Catalog:
    """The snapshot that comes with gpuslice: us-east-1, on-demand prices only."""
    text = resources.files("gpuslice.cloud").joinpath("data", BUNDLED).read_bytes()
    return catalog_of(msgspec.json.decode(text, type=CatalogFile))


def read(path: str) -> Catalog:
    """A catalog from a file, JSON or YAML; "-" is stdin.

    Raises:
        InputError: not a catalog, or one that contradicts itself, with the file, the field and what to write.
    """
    documents = read_documents(path)
    if len(documents) != 1:
        raise InputError(
            f"has {len(documents)} documents, a catalog is one",
            where=path,
            fix="give the file that `gpuslice catalog refresh` wrote",
        )
    file = decode(documents[0].data, CatalogFile, where=documents[0].where)
    try:
        return catalog_of(file)
    except InputError as error:
        raise error.inside(documents[0].where) from None


def write(catalog: Catalog, path: str) -> None:
    """Write a catalog to a file, whole or not at all."""
    write_atomically(path, render(catalog))


def render(catalog: Catalog) -> str:
    """A catalog as JSON with one line per instance type, so that a change of price is a change of one line."""
    content = msgspec.to_builtins(to_file(catalog))
    types = ",\n".join(f"    {json.dumps(entry)}" for entry in content.pop("instanceTypes"))
    lines = [f"  {json.dumps(key)}: {json.dumps(value)}," for key, value in content.items()]
    return "\n".join(["{", *lines, '  "instanceTypes": [', types, "  ]", "}", ""])


def to_file(catalog: Catalog) -> CatalogFile:
    """A catalog as the content of its file."""
    return CatalogFile(
        api_version=API_VERSION,
        kind="Catalog",
        region=catalog.region,
        prices=catalog.prices_date,
        source=catalog.source,
        instance_types=tuple(_entry(kind) for kind in catalog.instance_types),
    )


def _entry(instance_type: InstanceType) -> InstanceTypeEntry:
    prices = {purchase.name.lower(): usd(price) for purchase, price in instance_type.prices.items()}
    return InstanceTypeEntry(
        name=instance_type.name,
        arch="arm64" if instance_type.arch == "arm64" else "amd64",
        gpu=instance_type.gpu,
        gpu_count=instance_type.gpu_count,
        gpu_fraction="" if instance_type.gpu_count else str(instance_type.gpu_fraction),
        gpu_memory=format_memory(instance_type.gpu_memory_mib),
        vcpu=instance_type.vcpu,
        memory=format_memory(instance_type.memory_mib),
        max_pods=instance_type.max_pods,
        local_storage_gb=instance_type.local_storage_gb,
        efa=instance_type.efa,
        usd_per_hour=Prices(**prices) if prices else _NO_PRICES,
    )


def catalog_of(file: CatalogFile) -> Catalog:
    """The catalog that a file's content describes, instance types sorted by name.

    Raises:
        InputError: a value that can't be, with its field as `where`.
    """
    try:
        dt.date.fromisoformat(file.prices)
    except ValueError:
        raise InputError(
            f"{file.prices[:40]!r} is not a date", where="prices", fix='write it as "2026-07-20"'
        ) from None
    if not file.instance_types:
        raise InputError("is empty", where="instanceTypes", fix="list at least one")
    types: dict[str, InstanceType] = {}
    for index, entry in enumerate(file.instance_types):
        where = f"instanceTypes[{index}] ({entry.name})"
        if entry.name in types:
            raise InputError("is listed twice", where=where, fix="remove one of the two")
        try:
            types[entry.name] = _instance_type(entry)
        except InputError as error:
            raise InputError(error.message, where=f"{where}.{error.where}", fix=error.fix) from None
    return Catalog(
        region=file.region,
        prices_date=file.prices,
        source=file.source,
        instance_types=tuple(types[name] for name in sorted(types)),
    )


def _instance_type(entry: InstanceTypeEntry) -> InstanceType:
    """The entry, checked. Errors carry the field as `where`."""
    if entry.gpu not in GPUS:
        raise InputError(
            f"unknown GPU {entry.gpu[:60]!r}",
            where="gpu",
            fix=f"{nearest(entry.gpu, GPUS)} known: {', '.join(GPUS)}".lstrip(),
        )
    fraction = _fraction(entry)
    memory_mib = _memory(entry.memory, "memory")
    room = allocatable(vcpu=entry.vcpu, memory_mib=memory_mib, pods=entry.max_pods, arch=entry.arch)
    if not room.memory_mib:
        raise InputError(
            f"{entry.memory} leaves no memory for pods once {entry.max_pods} of them are allowed for",
            where="memory",
            fix="check memory and maxPods",
        )
    prices = {purchase: _price(purchase, price) for purchase, price in entry.usd_per_hour.known().items()}
    return InstanceType(
        name=entry.name,
        family=entry.name.partition(".")[0],
        arch=entry.arch,
        gpu=entry.gpu,
        gpu_count=entry.gpu_count,
        gpu_fraction=fraction,
        gpu_memory_mib=_gpu_memory(entry, fraction),
        vcpu=entry.vcpu,
        memory_mib=memory_mib,
        allocatable_cpu_milli=room.cpu_milli,
        allocatable_memory_mib=room.memory_mib,
        max_pods=entry.max_pods,
        prices=MappingProxyType(prices),
        local_storage_gb=entry.local_storage_gb,
        efa=entry.efa,
    )


def _fraction(entry: InstanceTypeEntry) -> Fraction:
    fix = (
        'write gpuCount 0 and gpuFraction "1/8" for an eighth of a card; leave gpuFraction out for whole GPUs'
    )
    if entry.gpu_count:
        if entry.gpu_fraction:
            raise InputError(
                "whole GPUs and a fraction of one exclude each other", where="gpuFraction", fix=fix
            )
        return Fraction(1)
    parts, slash, whole = entry.gpu_fraction.partition("/")
    digits = all(number.isascii() and number.isdigit() and len(number) <= 4 for number in (parts, whole))
    if not (slash and digits and 0 < int(parts) < int(whole)):
        raise InputError(f"{entry.gpu_fraction[:40]!r} is not a part of a card", where="gpuFraction", fix=fix)
    return Fraction(int(parts), int(whole))


def _gpu_memory(entry: InstanceTypeEntry, fraction: Fraction) -> int:
    stated = _memory(entry.gpu_memory, "gpuMemory")
    usable = int(GPUS[entry.gpu].memory_mib * fraction)
    # What EC2 reports is up to a tenth above what a process can use; anything far off is another card.
    if not usable * 3 // 4 <= stated <= usable * 4 // 3:
        raise InputError(
            f"{entry.gpu_memory} isn't {entry.gpu}'s, where about {usable}Mi are expected",
            where="gpuMemory",
            fix="check gpu, gpuFraction and gpuMemory; the memory is that of one GPU, not of all",
        )
    return stated


def _memory(text: str, field: str) -> int:
    try:
        mib = parse_memory_mib(text, field=field, require_unit=True)
    except InputError as error:
        raise InputError(error.message, where=field, fix=error.fix) from None
    if mib > _MOST_MEMORY_MIB:
        raise InputError(f"{text[:40]!r} is more than any machine has", where=field, fix="check its unit")
    return mib


def _price(purchase: Purchase, price: float) -> int:
    # Written so that NaN, which compares false with everything, is refused too.
    if not LEAST_USD <= price <= MOST_USD:
        raise InputError(
            f"${price:g} per hour can't be its price",
            where=f"usdPerHour.{purchase}",
            fix="write dollars per hour, or leave the purchase out where its price is not known",
        )
    return micro_usd(price)
