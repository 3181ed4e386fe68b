"""What MIG can do: profiles, the rule by which instances are placed, and the geometries that follow from it.

A GPU in MIG mode is a grid of memory slices. Each profile takes a fixed number of neighbouring slices, may
start only at certain ones, and takes compute slices besides. Nothing here lists geometries: they are computed
from the placements that NVML reports (NVIDIA MIG User Guide, "Supported MIG Profiles"). The figures of each
GPU are in `mig_tables`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from gpuslice.errors import InputError, nearest
from gpuslice.hardware.mig_profiles import MigProfile, MigTable

if TYPE_CHECKING:
    from gpuslice.hardware.gpus import Gpu

_NAME: Final = re.compile(r"(\d{1,2})g\.(\d{1,4})gb(.{0,8})")


@dataclass(frozen=True, slots=True)
class Geometry:
    """How one GPU is cut: which profiles, and how many of each. Made by `Geometry.of`; equal if they hold the same.

    Attributes:
        counts: (profile's name, how many), largest profile first, each at least once.
    """

    counts: tuple[tuple[str, int], ...]

    @classmethod
    def of(cls, counts: Mapping[str, int] | Iterable[str]) -> Geometry:
        """The geometry of {"3g.40gb": 1, "1g.10gb": 4}, or of profile names, one for each instance.

        Raises:
            InputError: a negative count.
        """
        tally: dict[str, int] = dict(counts) if isinstance(counts, Mapping) else {}
        if not isinstance(counts, Mapping):
            for name in counts:
                tally[name] = tally.get(name, 0) + 1
        for name, count in tally.items():
            if count < 0:
                raise InputError(
                    f"{count} instances of MIG profile {name!r}", fix="write how many, 1 or more"
                )
        return cls(
            tuple(
                sorted(
                    ((n, c) for n, c in tally.items() if c), key=lambda profile: _largest_first(profile[0])
                )
            )
        )

    def __iter__(self) -> Iterator[tuple[str, int]]:
        return iter(self.counts)

    def __str__(self) -> str:
        return " + ".join(f"{count}×{name}" for name, count in self.counts) or "empty"

    @property
    def instances(self) -> int:
        """How many instances, of all profiles together."""
        return sum(count for _, count in self.counts)

    def count(self, name: str) -> int:
        """How many instances of that profile."""
        return dict(self.counts).get(name, 0)


Placement = tuple[tuple[MigProfile, int], ...]
"""Every instance with the memory slice at which it starts, by start."""


def compute_share(gpu: Gpu, profile: MigProfile) -> Fraction:
    """The share of the GPU's SMs that an instance has."""
    return Fraction(profile.sms, gpu.sms)


def bandwidth_share(table: MigTable, profile: MigProfile) -> Fraction:
    """The share of the GPU's memory bandwidth that an instance has: its share of the memory slices."""
    return Fraction(profile.memory_slices, table.grid)


@lru_cache(maxsize=4096)
def place(table: MigTable, geometry: Geometry) -> Placement | None:
    """A placement of all the geometry's instances, or None if there is none, or a profile isn't in the table.

    Assumed: what has a placement can be created. NVML takes explicit placements; NVIDIA's mig-parted leaves them
    to the driver but tries every order of creation until one succeeds. Which of several placements the driver
    then takes is its own choice, so a placement shows that a geometry is possible, not where instances will be.
    """
    instances: list[MigProfile] = []
    for name, count in geometry:
        profile = table.profile(name)
        if profile is None or count > profile.most:
            return None
        instances += [profile] * count
    if _compute_slices(instances) > table.compute_slices or _memory_slices(instances) > table.grid:
        return None
    # The widest have the fewest places to go. The sort is stable, so equal profiles stay side by side.
    instances.sort(key=lambda instance: -instance.memory_slices)
    starts = _starts(tuple(instances), taken=0, not_before=0)
    if starts is None:
        return None
    return tuple(sorted(zip(instances, starts, strict=True), key=lambda placed: placed[1]))


@lru_cache(maxsize=64)
def maximal_geometries(table: MigTable) -> tuple[Geometry, ...]:
    """All distinct geometries of plain profiles that can be placed, and to which no plain instance can be added."""
    possible = set(_possible(_shape(table)))
    return tuple(
        _named(table, counts)
        for counts in _possible(_shape(table))
        if not any(_one_more(counts, index) in possible for index in range(len(counts)))
    )


def check_geometry(gpu: Gpu, geometry: Geometry) -> None:
    """Accept a geometry that the GPU can have.

    Raises:
        InputError: the GPU has no MIG or lacks a profile, or the instances can't be placed together.
    """
    if gpu.mig is None:
        raise InputError(
            f"{gpu.name} has no MIG",
            fix="choose another mechanism, or a GPU with MIG, such as A100-80GB or H100",
        )
    table = gpu.mig
    instances: list[MigProfile] = []
    for name, count in geometry:
        profile = table.profile(name)
        if profile is None:
            known = [profile.name for profile in table.profiles]
            hints = (nearest(name, known), f"{gpu.name} has {', '.join(known)}")
            raise InputError(
                f"{gpu.name} has no MIG profile {name[:60]!r}",
                fix=" ".join(filter(None, hints)),
            )
        if count > profile.most:
            raise InputError(
                f"{gpu.name} takes at most {profile.most} of MIG profile {name}, not {count}",
                fix=f"write {profile.most} or fewer",
            )
        instances += [profile] * count
    if not instances:
        raise InputError(
            "a MIG geometry without instances", fix="name at least one profile, or leave the GPU whole"
        )
    if place(table, geometry) is None:
        raise InputError(
            f"{gpu.name} can't be cut into {geometry}: {_why_not(table, instances)}", fix=_ADVICE
        )


_ADVICE: Final = "take an instance away, or a smaller profile"


def _why_not(table: MigTable, instances: list[MigProfile]) -> str:
    """What an impossible geometry breaks first."""
    if (compute := _compute_slices(instances)) > table.compute_slices:
        return f"it needs {compute} compute slices of {table.compute_slices}"
    if (memory := _memory_slices(instances)) > table.grid:
        return f"it needs {memory} memory slices of {table.grid}"
    return "no placement keeps the instances apart, as each profile may start only at certain memory slices"


def _compute_slices(instances: Iterable[MigProfile]) -> int:
    return sum(instance.compute_slices for instance in instances)


def _memory_slices(instances: Iterable[MigProfile]) -> int:
    return sum(instance.memory_slices for instance in instances)


# What decides which geometries there are, without names: (grid, compute slices), then for each plain profile its
# (compute slices, memory slices, starts, most). All GPUs of seven slices share one shape, and its geometries.
_Shape = tuple[tuple[int, int], tuple[tuple[int, int, tuple[int, ...], int], ...]]


def _shape(table: MigTable) -> _Shape:
    profiles = tuple(
        (profile.compute_slices, profile.memory_slices, profile.starts, profile.most)
        for profile in table.plain
    )
    return (table.grid, table.compute_slices), profiles


@lru_cache(maxsize=16)
def _possible(shape: _Shape) -> tuple[tuple[int, ...], ...]:
    """How many instances of each profile there may be together, in every valid way.

    Every set of memory slices that placed instances can occupy is visited once for each way to count them.
    """
    (_, compute_slices), profiles = shape
    seen = {(tuple(0 for _ in profiles), 0)}
    countings: dict[tuple[int, ...], None] = {}
    fresh = list(seen)
    while fresh:
        larger: list[tuple[tuple[int, ...], int]] = []
        for counts, taken in fresh:
            compute = sum(count * profile[0] for count, profile in zip(counts, profiles, strict=True))
            for index, (more, width, starts, most) in enumerate(profiles):
                if counts[index] == most or compute + more > compute_slices:
                    continue
                after = _one_more(counts, index)
                for start in starts:
                    mask = ((1 << width) - 1) << start
                    if not taken & mask and (after, taken | mask) not in seen:
                        seen.add((after, taken | mask))
                        larger.append((after, taken | mask))
        countings |= dict.fromkeys(counts for counts, _ in larger)
        fresh = larger
    return tuple(countings)


def _one_more(counts: tuple[int, ...], index: int) -> tuple[int, ...]:
    return (*counts[:index], counts[index] + 1, *counts[index + 1 :])


def _named(table: MigTable, counts: tuple[int, ...]) -> Geometry:
    return Geometry.of(
        {profile.name: count for profile, count in zip(table.plain, counts, strict=True) if count}
    )


def _starts(instances: tuple[MigProfile, ...], *, taken: int, not_before: int) -> tuple[int, ...] | None:
    """A start for each instance, by depth-first search.

    Args:
        instances: equal profiles side by side.
        taken: occupied memory slices, one bit each.
        not_before: the first start worth trying for the first instance: equal instances take rising starts, so
            that the search doesn't try them in every order.
    """
    if not instances:
        return ()
    first, rest = instances[0], instances[1:]
    for start in first.starts:
        mask = ((1 << first.memory_slices) - 1) << start
        if start < not_before or taken & mask:
            continue
        after = start + 1 if rest and rest[0] == first else 0
        others = _starts(rest, taken=taken | mask, not_before=after)
        if others is not None:
            return (start, *others)
    return None


def _largest_first(name: str) -> tuple[int, int, str]:
    """Sorts profile names by compute, then memory, falling; names of another form come last."""
    match = _NAME.fullmatch(name)
    return (-int(match[1]), -int(match[2]), match[3]) if match else (0, 0, name)
