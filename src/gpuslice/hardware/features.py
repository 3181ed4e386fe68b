"""What a GPU can do beyond computing."""

from __future__ import annotations

from enum import StrEnum


class Feature(StrEnum):
    """Something that a GPU has or has not."""

    BF16 = "bf16"
    FP8 = "fp8"
    FP4 = "fp4"
    ENCODER = "encoder"
    DECODER = "decoder"
    JPEG = "jpeg"
