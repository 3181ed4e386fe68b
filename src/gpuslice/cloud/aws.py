"""AWS's services as gpuslice sees them: clients, pages, and failures in words. boto3 is imported only when asked for.

Every answer is read in pages; throttled calls are repeated with growing pauses (botocore's standard mode).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

import msgspec
from msgspec import Struct

from gpuslice.cloud.snapshot import LEAST_USD, MOST_USD, REGION_PATTERN
from gpuslice.errors import EnvironmentFailedError, InputError

PERMISSIONS: Final = (
    "ec2:DescribeInstanceTypes",
    "ec2:DescribeInstanceTypeOfferings",
    "ec2:DescribeSpotPriceHistory",
    "pricing:GetProducts",
)
# The Price List API answers for all regions, but is served in a few only.
PRICE_LIST_REGION: Final = "us-east-1"
ATTEMPTS: Final = 10


class Pages(Protocol):
    """What boto3 calls a paginator."""

    def paginate(self, **parameters: object) -> Iterable[Mapping[str, object]]:
        """The answers, page by page."""


class Client(Protocol):
    """The part of a boto3 client that is used here."""

    def get_paginator(self, operation_name: str) -> Pages:
        """The operation's pages."""


@dataclass(frozen=True, slots=True)
class Clients:
    """EC2 in the region that is asked about, and the Price List."""

    ec2: Client
    price_list: Client


def connect(region: str) -> Clients:
    """Clients with the credentials that boto3 finds (environment, profile, instance role).

    Raises:
        InputError: not the name of a region.
        EnvironmentFailedError: boto3 is missing, or finds its configuration broken.
    """
    if not re.fullmatch(REGION_PATTERN.strip("^$"), region):
        raise InputError(
            f"{region[:40]!r} is not the name of a region", where="--region", fix='such as "eu-west-1"'
        )
    try:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError
    except ImportError:
        raise EnvironmentFailedError(
            "refreshing the catalog needs boto3, which is not installed", fix="pip install 'gpuslice[aws]'"
        ) from None
    config = Config(retries={"mode": "standard", "total_max_attempts": ATTEMPTS})
    try:
        session = boto3.session.Session()
        return Clients(
            ec2=session.client("ec2", region_name=region, config=config),
            price_list=session.client("pricing", region_name=PRICE_LIST_REGION, config=config),
        )
    except BotoCoreError as error:
        raise _failed("AWS", error) from error


class Answer(Struct, frozen=True, rename="pascal"):
    """A part of an answer of AWS: what is read of it; the rest is ignored."""


_Form = TypeVar("_Form", bound=Struct)


def pages(client: Client, operation: str, form: type[_Form], **parameters: object) -> Iterator[_Form]:
    """An operation's answers, page by page, in the form expected of them.

    Raises:
        EnvironmentFailedError: a call failed for good, or was answered in another form.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        for page in client.get_paginator(operation).paginate(**parameters):
            yield parsed(page, form, operation)
    except (BotoCoreError, ClientError) as error:
        raise _failed(operation, error) from error


def parsed(answer: object, form: type[_Form], operation: str) -> _Form:
    """An answer in the form expected of it.

    Raises:
        EnvironmentFailedError: it has another one.
    """
    try:
        if isinstance(answer, str):
            return msgspec.json.decode(answer, type=form)
        return msgspec.convert(answer, form)
    except msgspec.DecodeError as error:
        raise EnvironmentFailedError(
            f"{operation} answered in a form that gpuslice doesn't know: {str(error)[:300]}",
            fix="a newer gpuslice may know it; the bundled catalog works meanwhile",
        ) from error


def _failed(what: str, error: Exception) -> EnvironmentFailedError:
    return EnvironmentFailedError(
        f"{what} failed: {' '.join(str(error).split())[:300]}",
        fix=f"check credentials (`aws sts get-caller-identity`) and that they allow {', '.join(PERMISSIONS)}",
    )


def dollars(text: str) -> float | None:
    """A price per hour as AWS writes it, or None where it is none: AWS lists zero for what it doesn't sell this way."""
    try:
        price = float(text)
    except ValueError:
        return None
    return price if LEAST_USD <= price <= MOST_USD else None
