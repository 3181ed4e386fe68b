"""Numbers in files that are no numbers."""

from __future__ import annotations

import math

Step = str | int  # into a mapping, into a list


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
