"""What all parts of our files have in common."""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct

ApiVersion = Literal["gpuslice.io/v1alpha1"]
API_VERSION: Final[ApiVersion] = "gpuslice.io/v1alpha1"


class Part(Struct, frozen=True, forbid_unknown_fields=True, rename="camel", omit_defaults=True):
    """A part of a file: immutable, strict, camelCase, written without what has its default."""
