"""What of an input couldn't be read: told at its end, all at once, while the rest is planned for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from gpuslice.errors import GpusliceError, InputError
from gpuslice.units import first_of

_NAMED: Final = 12  # of those without a GPU's name, of which a repository may have hundreds


@dataclass(frozen=True, slots=True)
class Unread:
    """Something that couldn't be read.

    Attributes:
        error: what is wrong, where, and what to do.
        matters: whether it may hold a GPU.
        place: of the object, where it is one; empty: a file.
    """

    error: GpusliceError
    matters: bool = True
    place: str = ""

    @property
    def why(self) -> str:
        """What is wrong and what to do, on one line."""
        said = f"{self.error.message} ({self.error.fix})" if self.error.fix else self.error.message
        return " ".join(said.split())


def unread_notes(unread: Sequence[Unread]) -> Iterator[str]:
    """What couldn't be read, by its reason; of what names no GPU, the first few."""
    others = [one for one in unread if not one.matters]
    reasons: dict[tuple[str, str], list[str]] = {}
    for one in (*(one for one in unread if one.matters), *others[:_NAMED]):
        head = "left out" if one.place else "not read"
        reasons.setdefault((head, one.why), []).append(one.error.where)
    for (head, why), places in reasons.items():
        yield f"{head}: {', '.join(dict.fromkeys(places))}: {why}"
    if len(others) > _NAMED:
        yield f"not read: {len(others) - _NAMED:,} more files that name no GPU and are no plain YAML"


def refuse(unread: Iterable[Unread]) -> None:
    """Refuse an input for what couldn't be read of it; nothing where that is nothing.

    Raises:
        InputError: the one thing, or the first of several and where the others are.
    """
    listed = list(unread)
    if not listed:
        return
    first, *others = listed
    if not others:
        raise first.error
    places = first_of([one.error.where for one in others], _NAMED)
    raise InputError(
        f"{first.error.message}; and neither can {places} be read",
        where=first.error.where,
        fix=first.error.fix,
    )
