"""Plain data into typed artefacts: msgspec decides what is right, `explanation` says what is wrong."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from gpuslice.artefacts.finite import not_finite

T = TypeVar("T")


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
