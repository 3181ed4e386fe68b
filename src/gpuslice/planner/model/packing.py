"""Nodes by what they carry, and what they cost."""

from __future__ import annotations

from collections import Counter

from gpuslice.planner.model.patterns import Pattern

Packing = Counter[Pattern]


def cost(packing: Packing) -> int:
    """Micro-dollars per hour of all nodes."""
    return sum(pattern.option.price * count for pattern, count in packing.items())
