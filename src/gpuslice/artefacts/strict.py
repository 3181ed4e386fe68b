"""Plain data into typed artefacts: msgspec decides what is right, `explanation` says what is wrong."""

from __future__ import annotations

import math
from typing import TypeVar

import msgspec

T = TypeVar("T")
Step = str | int  # into a mapping, into a list


def decode(raw: object, kind: type[T], *, where: str) -> T:
    """Plain data as a value of `kind`, a msgspec struct; nothing is coerced.

    Args:
        raw: a document's data, see `artefacts.documents`.
        kind: the struct. If it has fields `apiVersion` and `kind`, a mismatch of these is said before all else.
        where: the document, for messages.

    Raises:
        InputError: with the path of the field ("workloads[3] (search/embedder).need.memory"), what was found and
            what is allowed there; for an unknown field the nearest known one.
    """
    try:
        value = msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        problem = str(error)
    else:
        if not_finite(raw) is None:
            return value
        problem = ""
    from gpuslice.artefacts.explanation import explain  # what it needs of msgspec takes a while to import

    raise explain(raw, kind, problem, where=where)


def not_finite(raw: object) -> tuple[Step, ...] | None:
    """The path to some NaN or infinity, which ranges alone would let through."""
    seen: set[int] = set()  # values behind aliases are shared: visited once
    todo: list[tuple[object, tuple[Step, ...]]] = [(raw, ())]
    while todo:
        value, path = todo.pop()
        if isinstance(value, float) and not math.isfinite(value):
            return path
        if isinstance(value, dict | list) and id(value) not in seen:
            seen.add(id(value))
            children = value.items() if isinstance(value, dict) else enumerate(value)
            todo.extend(
                (child, (*path, step)) for step, child in children if isinstance(child, dict | list | float)
            )
    return None
