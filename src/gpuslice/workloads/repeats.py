"""Objects that stand in several directories or files: what tells them apart is where they stand."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePath
from typing import Final

_LONGEST: Final = 60


def suffixes(files: Sequence[str]) -> dict[str, str]:
    """A short name for each of several files, of the parts of their paths that differ.

    "clusters/dev/web.yaml" and "clusters/prod/web.yaml" are dev and prod.
    """
    parts = {file: _parts(file) for file in files}
    lists = list(parts.values())
    shortest = min(map(len, lists))
    start = next((at for at in range(shortest) if len({path[at] for path in lists}) > 1), shortest)
    end = next((at for at in range(shortest - start) if len({path[-1 - at] for path in lists}) > 1), 0)
    # One part that tells all of them apart says enough.
    at = next((at for at in range(start, shortest) if len({path[at] for path in lists}) == len(lists)), None)
    suffix_of: dict[str, str] = {}
    for file, path in parts.items():
        words = path[at] if at is not None else "-".join(path[start : len(path) - end])
        word = re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")[-_LONGEST:].strip("-")
        stem, number = word or "1", 2
        word = stem
        while word in suffix_of.values():
            word, number = f"{stem}-{number}", number + 1
        suffix_of[file] = word
    return suffix_of


def _parts(file: str) -> tuple[str, ...]:
    path = PurePath(file.partition(" (")[0])  # without what built it
    return (*path.parts[:-1], path.stem)
