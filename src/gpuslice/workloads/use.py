"""GPUs that pods use, in whatever way, as a note can tell it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Use:
    """GPUs that pods of an object use.

    Attributes:
        what: the resource's name, or words: "a GPU by DRA", "a GPU that isn't asked for".
        amount: for each pod; 0: not known, or said by the words.
        pods: how many.
        why: why no plan counts it; empty: it would, in a pod template that is understood.
    """

    what: str
    amount: int
    pods: int
    why: str = ""

    @property
    def words(self) -> str:
        """For a note: "3 pods with 2 nvidia.com/gpu each"."""
        pods = f"{self.pods:,} pod{'s' * (self.pods != 1)}"
        per_pod = " each" * (self.pods != 1)
        return (
            f"{pods} with {self.amount:,} {self.what}{per_pod}" if self.amount else f"{pods} with {self.what}"
        )


def words_of(uses: Iterable[Use]) -> str:
    """All uses of an object, those that are alike counted together."""
    pods: dict[tuple[str, int], int] = {}
    for use in uses:
        pods[use.what, use.amount] = pods.get((use.what, use.amount), 0) + use.pods
    return ", and ".join(Use(what, amount, count).words for (what, amount), count in pods.items())
