"""A region's catalog from AWS itself: what EC2 offers there, list prices, spot prices, put together."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import UNSET

from gpuslice.artefacts.part import API_VERSION
from gpuslice.cloud.ec2 import gpu_instance_types, spot_prices
from gpuslice.cloud.price_list import on_demand_prices
from gpuslice.cloud.snapshot import CatalogFile, Prices, catalog_of
from gpuslice.errors import AnswerIsNoError

if TYPE_CHECKING:
    from gpuslice.cloud.aws import Clients
    from gpuslice.cloud.catalog import Catalog

_SOURCE: Final = (
    "EC2's own description of its types; on-demand from the Price List (Linux); spot from its price history (Linux, "
    "the middle of the zones' newest prices)"
)


@dataclass(frozen=True, slots=True)
class Refreshed:
    """A fresh catalog, and what a person should know of it: types left out, prices that AWS doesn't list."""

    catalog: Catalog
    notes: tuple[str, ...]


def refresh(clients: Clients, region: str, now: dt.datetime) -> Refreshed:
    """Everything with NVIDIA GPUs that EC2 offers in a region, with its prices.

    Args:
        clients: of AWS, which `gpuslice.cloud.aws.connect` makes.
        region: the one that the clients are for.
        now: with its time zone; the catalog bears its date.

    Raises:
        EnvironmentFailedError: a call failed for good.
        AnswerIsNoError: the region offers no GPU that gpuslice knows.
    """
    entries, notes = gpu_instance_types(clients.ec2)
    if not entries:
        raise AnswerIsNoError(f"EC2 offers no GPU that gpuslice knows in {region}", fix="try another region")
    names = sorted(entry.name for entry in entries)
    on_demand = on_demand_prices(clients.price_list, region, names)
    spot = spot_prices(clients.ec2, names, now)
    notes += [f"{name} has no on-demand price in the Price List" for name in names if name not in on_demand]

    file = CatalogFile(
        api_version=API_VERSION,
        kind="Catalog",
        region=region,
        prices=now.date().isoformat(),
        source=_SOURCE,
        instance_types=tuple(
            msgspec.structs.replace(
                entry,
                usd_per_hour=Prices(
                    on_demand=on_demand.get(entry.name, UNSET), spot=spot.get(entry.name, UNSET)
                ),
            )
            for entry in sorted(entries, key=lambda kind: kind.name)
        ),
    )
    return Refreshed(catalog_of(file), tuple(sorted(notes)))
