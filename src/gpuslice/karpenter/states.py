"""What requirements become as pods are added, remembered: the same few combinations come again and again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from gpuslice.karpenter.requirements import Requirement, Requirements, combined, obstacle


class States:
    """Sets of requirements by number, and what adding a pod's requirements makes of each."""

    def __init__(self, *, undefined: bool) -> None:
        """Begin without any.

        Args:
            undefined: whether well-known labels that a set doesn't mention are still open: nodes to be made.
        """
        self._undefined = undefined
        self._known: dict[frozenset[Requirement], int] = {}
        self._all: list[Requirements] = []
        self._next: dict[tuple[int, int], int] = {}

    def number(self, requirements: Mapping[str, Requirement] | Iterable[Requirement]) -> int:
        """The number of a set."""
        listed = requirements.values() if isinstance(requirements, Mapping) else requirements
        key = frozenset(listed)
        if key not in self._known:
            self._known[key] = len(self._all)
            self._all.append({requirement.key: requirement for requirement in key})
        return self._known[key]

    def __getitem__(self, number: int) -> Requirements:
        return self._all[number]

    def after(self, have: int, want: int) -> int:
        """The set that is left when all of `want` holds too; -1 where it can't."""
        if not want:
            return have
        key = (have, want)
        number = self._next.get(key)
        if number is None:
            ours, theirs = self._all[have], self._all[want]
            if obstacle(ours, theirs, undefined=self._undefined) is not None:
                number = -1
            else:
                number = self.number(combined(ours.values(), theirs.values()))
            self._next[key] = number
        return number
