"""A preallocating framework's own limit on GPU memory, for mechanisms under which it sees the whole card.

That is time-slicing, which limits nobody, and MPS, which refuses what goes beyond the limit. So a framework that takes
a share of what it sees must be told a share of the whole GPU, not of its slot.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from msgspec import UNSET

from gpuslice.errors import InputError
from gpuslice.hardware.gpus import GPUS
from gpuslice.hardware.sharing import SEES_ALL
from gpuslice.plan.layouts import mechanism
from gpuslice.units import MIB, parse_quantity
from gpuslice.workloads.frameworks import LIMIT_ARGUMENT, LIMIT_ENVIRONMENT

if TYPE_CHECKING:
    from gpuslice.plan.artefact import Assignment, Layout
    from gpuslice.workloads.target import Framework


@dataclass(frozen=True, slots=True)
class ArgumentList:
    """The container's arguments with the limit in them: all of the list named by `field` ("args" or "command")."""

    field: str
    arguments: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Variable:
    """An environment variable that sets the limit."""

    name: str
    value: str


def framework_limit(assignment: Assignment, layout: Layout) -> ArgumentList | Variable | None:
    """The change that keeps a workload's framework to its memory; None where nothing needs to.

    Raises:
        InputError: the framework can't be limited from outside and the mechanism doesn't limit it either, or the
            limit is less than the hundredth part of the GPU that can be written.
    """
    framework = assignment.target.framework
    if mechanism(layout) not in SEES_ALL or framework is None:
        return None
    if framework.limit == "none":
        raise InputError(
            f"{framework.name} takes most of the GPU memory it sees, can't be limited from its pod, "
            f"and under {mechanism(layout).value} it sees all of it",
            fix="ask for isolation: hardware, and plan again",
        )
    if assignment.memory_limit is UNSET:
        return None
    share = _share(assignment.memory_limit, layout)
    if framework.limit == "environment":
        return Variable(_known(framework, LIMIT_ENVIRONMENT), share)
    flag = _known(framework, LIMIT_ARGUMENT)
    return ArgumentList(framework.field, (*without_flag(framework.arguments, flag), f"{flag}={share}"))


def without_flag(arguments: Sequence[str], flag: str) -> tuple[str, ...]:
    """The arguments without a flag and its value, in either spelling: "--x=0.9", "--x 0.9"; "_" is taken for "-"."""
    kept: list[str] = []
    value_follows = False
    for argument in arguments:
        if value_follows:
            value_follows = False
            continue
        name, has_value, _ = argument.partition("=")
        if _spelling(name) == _spelling(flag):
            value_follows = not has_value
        else:
            kept.append(argument)
    return tuple(kept)


def _spelling(flag: str) -> str:
    return flag.replace("_", "-")


def _share(limit: str, layout: Layout) -> str:
    usable = GPUS[layout.gpu].memory_mib * MIB
    hundredths = int(
        parse_quantity(limit, field="memoryLimit") * 100 / usable
    )  # down: never more than allowed
    if not 1 <= hundredths <= 100:
        raise InputError(
            f"memoryLimit {limit} is no share of a {layout.gpu} that can be written in hundredths",
            fix="plan again, or write a limit between a hundredth of the GPU and all of it",
        )
    return f"{hundredths / 100:.2f}"


def _known(framework: Framework, table: dict[str, str]) -> str:
    if framework.name not in table:
        raise InputError(
            f"no {framework.limit} limits framework {framework.name!r}",
            where=".target.framework",
            fix=f"known are {', '.join(sorted(table))}",
        )
    return table[framework.name]
