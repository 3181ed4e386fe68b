"""What a team allows its plans to buy: forbidden types, caps, reservations that are paid for. Part of two artefacts.

workloads.yaml states it under `policy`; plan.yaml repeats it, so that a plan can be checked against it by itself.
"""

from __future__ import annotations

import re
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Final, Literal

from msgspec import UNSET, Meta, UnsetType, field

from gpuslice.artefacts.part import ApiVersion, Part
from gpuslice.cloud.catalog import InstanceType, Purchase
from gpuslice.errors import InputError, nearest
from gpuslice.units import micro_usd

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gpuslice.cloud.catalog import Catalog

TypeName = Annotated[
    str,
    Meta(
        pattern=r"^[a-z0-9-]{1,30}\.[a-z0-9-]{1,30}$", extra={"hint": "an instance type, such as g6.xlarge"}
    ),
]
FamilyOrType = Annotated[
    str,
    Meta(
        pattern=r"^[a-z0-9-]{1,30}(\.[a-z0-9-]{1,30})?$",
        extra={"hint": "a family, such as p4d, or an instance type, such as g6.xlarge"},
    ),
]
ReservationId = Annotated[
    str,
    Meta(
        pattern=r"^cr-[0-9a-z]{1,32}$",
        extra={"hint": "a capacity reservation's id, such as cr-56fac701cc1951b03"},
    ),
]
NodeCount = Annotated[int, Meta(ge=0, le=100_000)]
Share = Annotated[float, Meta(ge=0, le=1, extra={"hint": "a number from 0 to 1, such as 0.3 for 30 %"})]


class Reservation(Part, frozen=True, kw_only=True):
    """Instances that are held for us and paid for: an On-Demand Capacity Reservation or a Capacity Block."""

    instance_type: TypeName
    count: NodeCount
    usd_per_hour: Annotated[float, Meta(ge=0, le=10_000)] = 0.0
    """What one more used of them costs; 0 where it is paid for whether used or not."""
    ids: tuple[ReservationId, ...] = ()
    """Of the reservations, for Karpenter to find them; or `tags`."""
    tags: dict[str, str] = field(default_factory=dict)
    """Of the reservations, for Karpenter to find them; or `ids`."""


class Policy(Part, frozen=True, kw_only=True):
    """What a plan may buy. Left out: whatever is cheapest."""

    forbid: tuple[FamilyOrType, ...] = ()
    """Families ("p3") and instance types ("g5.xlarge") that are not to be bought, however."""
    max_nodes: dict[TypeName, NodeCount] = field(default_factory=dict)
    """The most nodes of an instance type, however bought: a quota, or what the region has."""
    max_spot_share: Share | UnsetType = UNSET
    """The most of the hourly bill that may go to spot, 0 to 1: what may be taken away at once."""
    reserved: tuple[Reservation, ...] = ()
    """Capacity that is paid for already. It is used first."""
    max_pools: Annotated[int, Meta(ge=1, le=1000)] | UnsetType = UNSET
    """The most pools: each is a NodePool with its overlays to look after."""


class PolicyFile(Policy, frozen=True, kw_only=True):
    """A policy in a file of its own, for whatever is planned: what it says goes before the `policy` of workloads."""

    api_version: ApiVersion
    kind: Literal["Policy"]


FREE: Final = Policy()
_COUNT: Final = re.compile(r"[0-9]{1,5}")
_PRICE: Final = re.compile(r"[0-9]{1,4}(\.[0-9]{1,6})?")


def check_policy(policy: Policy, catalog: Catalog, where: str) -> None:
    """Accept a policy that speaks of this catalog, and of each type once.

    Args:
        policy: to check.
        catalog: that plans are made with.
        where: of the policy, for messages: "workloads.yaml: policy"; with ": " at its end where its fields are those of
            a document: "policy.yaml: "; empty where each is an option: "--max-nodes".

    Raises:
        InputError: a type or family that isn't in the catalog, or that is said twice.
    """
    forbid, max_nodes, reserved = ("--forbid", "--max-nodes", "--reserved")
    if where:
        start = where if where.endswith(": ") else f"{where}."
        forbid, max_nodes, reserved = (f"{start}{name}" for name in ("forbid", "maxNodes", "reserved"))
    types = catalog.by_name()
    families = {kind.family for kind in catalog.instance_types}
    for index, name in enumerate(policy.forbid):
        _known(name, types if "." in name else families, f"{forbid}[{index}]" if where else forbid, catalog)
    for name in policy.max_nodes:
        _known(name, types, max_nodes, catalog)
    seen: dict[str, int] = {}
    for index, reservation in enumerate(policy.reserved):
        place = f"{reserved}[{index}]" if where else reserved
        _known(reservation.instance_type, types, f"{place}.instanceType" if where else place, catalog)
        if reservation.instance_type in seen:
            raise InputError(
                f"is of {reservation.instance_type}, as reserved[{seen[reservation.instance_type]}] is"
                if where
                else f"names {reservation.instance_type} twice",
                where=place,
                fix="add the counts up, with the ids of both" if where else "add the counts up",
            )
        seen[reservation.instance_type] = index


def merged(policy: Policy, over: Policy) -> Policy:
    """A policy with another over it: what is forbidden adds up, of the rest the other one's word counts.

    Caps on nodes and reservations are told apart by their instance types.
    """
    stated = {reservation.instance_type for reservation in over.reserved}
    return Policy(
        forbid=tuple(dict.fromkeys((*policy.forbid, *over.forbid))),
        max_nodes=policy.max_nodes | over.max_nodes,
        max_spot_share=policy.max_spot_share if over.max_spot_share is UNSET else over.max_spot_share,
        reserved=(
            *(reservation for reservation in policy.reserved if reservation.instance_type not in stated),
            *over.reserved,
        ),
        max_pools=policy.max_pools if over.max_pools is UNSET else over.max_pools,
    )


def stated_counts(texts: Iterable[str]) -> dict[str, int]:
    """Of `--max-nodes TYPE=COUNT`."""
    form = "TYPE=COUNT, such as g6.xlarge=3"
    pairs = ((text, *text.partition("=")[::2]) for text in texts)
    return {name: _count(number, text, "--max-nodes", form) for text, name, number in pairs}


def stated_reservations(texts: Iterable[str]) -> tuple[Reservation, ...]:
    """Of `--reserved TYPE=COUNT[@USD]`."""
    form = "TYPE=COUNT or TYPE=COUNT@USD, such as p5.48xlarge=2 or g6.xlarge=4@0.35"
    reservations = []
    for text in texts:
        name, _, rest = text.partition("=")
        count, at, price = rest.partition("@")
        if at and not _PRICE.fullmatch(price):
            raise InputError(f"{text[:60]!r} has no price after @", where="--reserved", fix=f"write {form}")
        reservations.append(
            Reservation(
                instance_type=name,
                count=_count(count, text, "--reserved", form),
                usd_per_hour=float(price) if at else 0.0,
            )
        )
    return tuple(reservations)


def _count(number: str, text: str, where: str, form: str) -> int:
    if not _COUNT.fullmatch(number):
        raise InputError(f"{text[:60]!r} has no count", where=where, fix=f"write {form}")
    return int(number)


def forbids(policy: Policy, instance_type: InstanceType) -> bool:
    """Whether a type may not be bought."""
    return instance_type.name in policy.forbid or instance_type.family in policy.forbid


def priced(policy: Policy, catalog: Catalog) -> Catalog:
    """The catalog in which reserved is a purchase of exactly the types that are reserved, at the policy's price."""
    reserved = {
        reservation.instance_type: micro_usd(reservation.usd_per_hour)
        for reservation in policy.reserved
        if reservation.count
    }
    return replace(
        catalog,
        instance_types=tuple(_repriced(kind, reserved.get(kind.name)) for kind in catalog.instance_types),
    )


def _repriced(instance_type: InstanceType, reserved: int | None) -> InstanceType:
    prices = dict(instance_type.prices)
    prices.pop(Purchase.RESERVED, None)
    if reserved is not None:
        prices[Purchase.RESERVED] = reserved
    return (
        instance_type
        if prices == instance_type.prices
        else replace(instance_type, prices=MappingProxyType(prices))
    )


def _known(name: str, known: Iterable[str], where: str, catalog: Catalog) -> None:
    if name not in known:
        what = "instance type" if "." in name else "family"
        raise InputError(
            f"no {what} {name!r} in the catalog of {catalog.region}",
            where=where,
            fix=nearest(name, known) or "see `gpuslice catalog list`",
        )
