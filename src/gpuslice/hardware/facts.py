"""Where a figure about hardware comes from, and how far it can be trusted."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Confidence(StrEnum):
    """How far a figure can be trusted."""

    READ = "read"  # by this project, from a real card
    PUBLISHED = "published"  # in the vendor's or AWS's documentation, or in readings that others published
    INFERRED = "inferred"  # derived from a sibling; nobody we know of has read it


@dataclass(frozen=True, slots=True)
class Fact:
    """One field of a table entry, with its source.

    Attributes:
        field: the field's name.
        source: a document or a reading that a person can look up.
        confidence: how far it can be trusted.
    """

    field: str
    source: str
    confidence: Confidence
