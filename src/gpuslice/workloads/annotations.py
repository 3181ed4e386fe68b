"""What owners state about a workload in annotations `gpuslice.io/*`, on the object or on its pod template.

Annotations are where a need belongs: they travel with the manifest, are reviewed with it, and survive a change of
cluster. A misspelt one would silently lose a rule, so unknown ones are refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from enum import Enum
from typing import Final, TypeVar

from gpuslice.artefacts.quoting import quoted
from gpuslice.errors import InputError, nearest
from gpuslice.hardware.features import Feature
from gpuslice.hardware.gpus import gpu_named
from gpuslice.hardware.mechanisms import Isolation
from gpuslice.hardware.need import ANY_GPU, Source
from gpuslice.units import PPM, parse_memory_mib

PREFIX: Final = "gpuslice.io/"
# Those that gpuslice puts on objects itself.
OURS: Final = frozenset({"pool", "plan", "slice", "config", "gpu-time"})

_MOST_SLOWDOWN: Final = 1000  # more is a typing error
_LONGEST_NUMBER: Final = 30

T = TypeVar("T")
E = TypeVar("E", bound=Enum)


@dataclass(frozen=True, slots=True)
class NoLimit:
    """`max-slowdown: none`, as against a limit that nobody stated."""


@dataclass(frozen=True, slots=True)
class Stated:
    """What annotations say; None: not said.

    Attributes:
        memory_mib: peak GPU memory of one replica, MiB.
        duty_ppm: mean share of time that it keeps the GPU busy, parts per million.
        on: the GPU model that duty was read on.
        max_slowdown: thousandths, or NoLimit.
        The others: as in `Need` and `Workload`.
    """

    memory_mib: int | None = None
    duty_ppm: int | None = None
    on: str | None = None
    source: Source | None = None
    isolation: Isolation | None = None
    tenant: str | None = None
    allow: frozenset[str] | None = None
    min_compute_capability: tuple[int, int] | None = None
    features: frozenset[Feature] | None = None
    max_slowdown: int | NoLimit | None = None
    interruptible: bool | None = None
    gang: bool | None = None


def read_annotations(annotations: Mapping[str, str], where: str) -> Stated:
    """What the annotations `gpuslice.io/*` among all annotations of an object say.

    Raises:
        InputError: an unknown one, or a value that means nothing.
    """
    values: dict[str, str] = {}
    for key, value in annotations.items():
        if key.startswith(PREFIX) and (name := key.removeprefix(PREFIX)) not in OURS:
            if name not in _NAMES:
                hint = nearest(key, (PREFIX + name for name in _NAMES))
                raise InputError(
                    f"unknown annotation {quoted(key)}",
                    where=where,
                    fix=hint or f"known are {', '.join(sorted(_NAMES))}",
                )
            values[name] = value.strip()

    def get(name: str, parse: Callable[[str], T]) -> T | None:
        if name not in values:
            return None
        try:
            return parse(values[name])
        except InputError as error:
            raise error.inside(f"{where}: annotation {PREFIX}{name}") from error

    return Stated(
        memory_mib=get("gpu-memory", _memory),
        duty_ppm=get("gpu-duty", _duty),
        on=get("gpu-model", _model),
        source=get("need-source", _source),
        isolation=get("isolation", _isolation),
        tenant=get("tenant", _tenant),
        allow=get("allow-gpus", _models),
        min_compute_capability=get("min-compute-capability", _capability),
        features=get("gpu-features", _features),
        max_slowdown=get("max-slowdown", _slowdown),
        interruptible=get("interruptible", _yes_or_no),
        gang=get("gang", _yes_or_no),
    )


def _memory(text: str) -> int:
    return parse_memory_mib(text, field="GPU memory", require_unit=True)


def _decimal(text: str) -> Decimal | None:
    try:
        value = Decimal(text) if len(text) <= _LONGEST_NUMBER else None
    except InvalidOperation:
        return None
    return value if value is not None and value.is_finite() else None


def _duty(text: str) -> int:
    value = _decimal(text)
    if value is None or not 0 < value <= 1:
        percent = value is not None and 1 < value <= 100
        raise InputError(
            f"duty {quoted(text)} is no share of time",
            fix=f'write it between 0 and 1: "{value / 100}"' if percent and value else 'write it as "0.18"',
        )
    return max(1, round(value * PPM))


def _model(text: str) -> str:
    return gpu_named(text).name


def _words(text: str) -> list[str]:
    words = [word.strip() for word in text.split(",")]
    if not all(words):
        raise InputError(
            f"{quoted(text)} has an empty entry", fix='separate words by commas, such as "A10G,L4"'
        )
    return words


def _models(text: str) -> frozenset[str]:
    words = _words(text)
    if ANY_GPU in {word.lower() for word in words}:
        if len(words) > 1:
            raise InputError(f"{quoted(text)} says any GPU and names some", fix='write "any", or the models')
        return frozenset({ANY_GPU})
    return frozenset(_model(word) for word in words)


def _one_of(kinds: type[E], text: str) -> E:
    try:
        return kinds(text.lower())
    except ValueError:
        known = [str(kind.value) for kind in kinds]
        raise InputError(
            f"{quoted(text)} is not known",
            fix=f"write one of {', '.join(known)}",
        ) from None


def _source(text: str) -> Source:
    return _one_of(Source, text)


def _isolation(text: str) -> Isolation:
    return _one_of(Isolation, text)


def _features(text: str) -> frozenset[Feature]:
    return frozenset(_one_of(Feature, word) for word in _words(text))


def _tenant(text: str) -> str:
    # As a label's value, which it becomes on nodes and pools.
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?", text):
        raise InputError(
            f"tenant {quoted(text)} is no label value", fix="write up to 63 letters, digits, '-', '_' or '.'"
        )
    return text


def _capability(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,2})\.(\d)", text)
    if match is None:
        raise InputError(f"compute capability {quoted(text)} is none", fix='write it as "8.0"')
    return int(match[1]), int(match[2])


def _slowdown(text: str) -> int | NoLimit:
    if text.lower() == "none":
        return NoLimit()
    value = _decimal(text)
    if value is None or not 1 <= value <= _MOST_SLOWDOWN:
        raise InputError(
            f"slowdown {quoted(text)} is no factor of 1 or more",
            fix='write "2" for half as fast at worst, or "none" for no limit',
        )
    return int(value * 1000)


def _yes_or_no(text: str) -> bool:
    if text.lower() not in {"true", "false"}:
        raise InputError(f"{quoted(text)} is neither true nor false", fix='write "true" or "false"')
    return text.lower() == "true"


_NAMES: Final = frozenset(
    {
        "gpu-memory",
        "gpu-duty",
        "gpu-model",
        "need-source",
        "isolation",
        "tenant",
        "allow-gpus",
        "min-compute-capability",
        "gpu-features",
        "max-slowdown",
        "interruptible",
        "gang",
    }
)
KNOWN: Final = frozenset(PREFIX + name for name in _NAMES)
