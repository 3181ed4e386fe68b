"""What nodes run, by name. The command line shows the names: nothing else is imported."""

from __future__ import annotations

from enum import StrEnum


class Stack(StrEnum):
    """What nodes run."""

    AL2023 = "al2023"
    BOTTLEROCKET = "bottlerocket"
