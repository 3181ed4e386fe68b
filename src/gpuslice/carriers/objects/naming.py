"""Names that the rendered objects share: labels, resources, and names made from content."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Final

OWNED: Final = {"app.kubernetes.io/managed-by": "gpuslice"}
"""Labels of every object that is rendered."""

_LABEL_LENGTH: Final = 63
_LOWEST_WEIGHT: Final = (
    1_000  # above the small numbers that people write, so that a stray overlay of theirs yields
)
_HIGHEST_WEIGHT: Final = 9_999  # NodeOverlay allows 10,000


def content_name(stem: str, content: str, *, short: str = "", digits: int = 6) -> str:
    """A name that changes with the content: never edited in place, since nobody reloads what kept its name.

    Args:
        stem: what a person recognises; put into lower case, other signs than letters, digits and dots become "-".
        content: whose hash ends the name.
        short: used instead of the stem where the name would be too long for a label's value.
        digits: of the hash; more where the stem hardly tells one name from another.
    """
    digest = hashlib.sha256(content.encode()).hexdigest()[:digits]
    name = f"{_slug(stem)}-{digest}"
    return name if len(name) <= _LABEL_LENGTH or not short else f"{_slug(short)}-{digest}"


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-.")


def unique_weights(names: Iterable[str]) -> dict[str, int]:
    """A weight of its own for each overlay, by name.

    Two overlays of one weight that meet are dropped for all pools, without a word (Karpenter v1.14). Each
    weight follows from the name, so that a new pool leaves the others' weights alone; where two names fall on
    one weight, the later name takes the next that is free.

    Raises:
        ValueError: more names than weights.
    """
    span = _HIGHEST_WEIGHT - _LOWEST_WEIGHT + 1
    ordered = sorted(set(names))
    if len(ordered) > span:
        raise ValueError(f"{len(ordered)} overlays, {span} weights")
    taken: dict[int, str] = {}
    for name in ordered:
        weight = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) % span
        while weight in taken:
            weight = (weight + 1) % span
        taken[weight] = name
    return {name: _LOWEST_WEIGHT + weight for weight, name in taken.items()}
