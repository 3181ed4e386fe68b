"""Other prices for some instance types: what if they cost that?

A file names types, each with prices in the form of a catalog's `usdPerHour`:

    g5.xlarge: {on-demand: 0.61}
    g6.xlarge: {on-demand: 0.75, spot: 0.31}
"""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from gpuslice.artefacts.documents import read_documents
from gpuslice.artefacts.strict import decode
from gpuslice.cloud.snapshot import LEAST_USD, MOST_USD, Prices
from gpuslice.errors import InputError, nearest
from gpuslice.units import micro_usd

if TYPE_CHECKING:
    from gpuslice.cloud.catalog import Catalog


def with_prices(catalog: Catalog, path: str) -> Catalog:
    """The catalog with the prices of a file in place of its own; types and purchases not named there keep theirs.

    Raises:
        InputError: the file is no list of prices, names an unknown type, or has a price out of range.
    """
    document = read_documents(path)[0]
    given = decode(document.data, dict[str, Prices], where=document.where)
    known = catalog.by_name()
    for name, prices in given.items():
        where = f"{document.where}: {name[:60]}"
        if name not in known:
            raise InputError(
                f"is no instance type in the catalog of {catalog.region}",
                where=where,
                fix=nearest(name, known) or "see `gpuslice catalog list`",
            )
        for purchase, usd in prices.known().items():
            if not LEAST_USD <= usd <= MOST_USD:
                raise InputError(
                    f"{purchase} is {usd:g}",
                    where=where,
                    fix=f"dollars per hour, from {LEAST_USD:g} to {MOST_USD:,.0f}",
                )
    changed = (
        replace(
            kind,
            prices=MappingProxyType(
                dict(kind.prices)
                | {purchase: micro_usd(usd) for purchase, usd in given[kind.name].known().items()}
            ),
        )
        if kind.name in given
        else kind
        for kind in catalog.instance_types
    )
    return replace(catalog, instance_types=tuple(changed))
