"""On-demand prices from AWS's Price List."""

from __future__ import annotations

from collections.abc import Container, Iterator
from typing import Final

import msgspec
from msgspec import Struct

from gpuslice.cloud.aws import Answer, Client, dollars, pages, parsed

# The Price List has bare metal under another product family, and as dedicated, which it is by nature.
_ON_DEMAND: Final = {
    "operatingSystem": "Linux",
    "preInstalledSw": "NA",
    "capacitystatus": "Used",
    "marketoption": "OnDemand",
}
_PRODUCTS: Final = (
    {"productFamily": "Compute Instance", "tenancy": "Shared"},
    {"productFamily": "Compute Instance (bare metal)", "tenancy": "Dedicated"},
)


class _Attributes(Struct, frozen=True, rename="camel"):
    instance_type: str = ""


class _Product(Struct, frozen=True):
    attributes: _Attributes


class _Dimension(Struct, frozen=True, rename="camel"):
    unit: str
    price_per_unit: dict[str, str]


class _Offer(Struct, frozen=True, rename="camel"):
    price_dimensions: dict[str, _Dimension]


class _Terms(Struct, frozen=True):
    on_demand: dict[str, _Offer] = msgspec.field(name="OnDemand", default_factory=dict)


class _PricedProduct(Struct, frozen=True):
    product: _Product
    terms: _Terms


class _ProductsPage(Answer, frozen=True):
    price_list: tuple[str, ...] = ()


def on_demand_prices(price_list: Client, region: str, wanted: Container[str]) -> dict[str, float]:
    """Dollars per hour by instance type; where the list has several prices for one, the highest."""
    operation = "get_products"
    prices: dict[str, float] = {}
    for product in _PRODUCTS:
        fields = {"regionCode": region, **_ON_DEMAND, **product}
        filters = [{"Type": "TERM_MATCH", "Field": field, "Value": value} for field, value in fields.items()]
        for page in pages(
            price_list,
            operation,
            _ProductsPage,
            ServiceCode="AmazonEC2",
            FormatVersion="aws_v1",
            Filters=filters,
        ):
            for text in page.price_list:
                priced = parsed(text, _PricedProduct, operation)
                name = priced.product.attributes.instance_type
                if name in wanted:
                    for price in _hourly(priced):
                        prices[name] = max(price, prices.get(name, price))
    return prices


def _hourly(priced: _PricedProduct) -> Iterator[float]:
    for offer in priced.terms.on_demand.values():
        for dimension in offer.price_dimensions.values():
            if dimension.unit == "Hrs":
                # China's price list is in CNY only: no price in dollars, and none is made up.
                price = dollars(dimension.price_per_unit.get("USD", ""))
                if price is not None:
                    yield price
