"""Which catalog, and which of its instance types: what the command line's options choose."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gpuslice.cloud import snapshot
from gpuslice.errors import AnswerIsNoError, InputError, nearest
from gpuslice.hardware.gpus import gpu_named

if TYPE_CHECKING:
    from gpuslice.cloud.catalog import Catalog, InstanceType


def choose(path: str = "", region: str = "") -> Catalog:
    """The catalog in a file, or the bundled one.

    Args:
        path: "" for the bundled catalog.
        region: insist on this one; "" takes whatever the catalog is of. Prices differ between regions, so that
            another region's are never taken for it.

    Raises:
        InputError: not a catalog, or of another region.
    """
    catalog = snapshot.read(path) if path else snapshot.bundled()
    if region and region != catalog.region:
        raise InputError(
            f"has prices of {catalog.region}, not of {region[:40]}",
            where=path or "the bundled catalog",
            fix=f"gpuslice catalog refresh --region {region[:40]} --out catalog.json, then --catalog catalog.json",
        )
    return catalog


def of_gpu(catalog: Catalog, gpu: str) -> Catalog:
    """The catalog with only the types that have this GPU; "" keeps all.

    Raises:
        InputError: no GPU of that name, or several.
        AnswerIsNoError: the catalog has no type with it.
    """
    if not gpu:
        return catalog
    try:
        name = gpu_named(gpu).name
    except InputError as error:
        raise error.inside("--gpu") from None
    types = tuple(kind for kind in catalog.instance_types if kind.gpu == name)
    if not types:
        known = sorted({kind.gpu for kind in catalog.instance_types})
        raise AnswerIsNoError(
            f"the catalog of {catalog.region} has no instance type with {name}",
            fix=f"it has {', '.join(known)}",
        )
    return replace(catalog, instance_types=types)


def find(catalog: Catalog, name: str) -> InstanceType:
    """The instance type of that name.

    Raises:
        InputError: the catalog has none.
    """
    types = catalog.by_name()
    if name not in types:
        raise InputError(
            f"no instance type {name[:60]!r} in the catalog of {catalog.region}",
            fix=nearest(name, types) or "see `gpuslice catalog list`",
        )
    return types[name]
