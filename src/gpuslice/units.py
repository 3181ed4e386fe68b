"""Quantities: Kubernetes quantities, MiB, milli-CPU, thousandths of a GPU, dollars.

Decisions are made on integers in fixed units (MiB, milli-CPU, parts per million, micro-dollars per hour);
this module is the one way in from text and the one way out to text.
"""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Final

from gpuslice.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

MIB: Final = 1024 * 1024
PPM: Final = 1_000_000
MICRO_USD: Final = 1_000_000
HOURS_A_MONTH: Final = 730  # AWS's own figure for monthly estimates: 8,760 hours / 12

_SUFFIXES: Final[dict[str, Fraction]] = {
    "": Fraction(1),
    "n": Fraction(1, 10**9),
    "u": Fraction(1, 10**6),
    "m": Fraction(1, 1000),
    "k": Fraction(10**3),
    "M": Fraction(10**6),
    "G": Fraction(10**9),
    "T": Fraction(10**12),
    "P": Fraction(10**15),
    "E": Fraction(10**18),
    "Ki": Fraction(1024),
    "Mi": Fraction(1024**2),
    "Gi": Fraction(1024**3),
    "Ti": Fraction(1024**4),
    "Pi": Fraction(1024**5),
    "Ei": Fraction(1024**6),
}
# Bounded digits: a quantity of a million digits is an attack, not a quantity.
_QUANTITY: Final = re.compile(
    r"([+-]?)(\d{1,24}(?:\.\d{0,24})?|\.\d{1,24})(?:([eE][+-]?\d{1,2})|([A-Za-z]{0,2}))"
)
_LARGEST: Final = Fraction(2**63)  # Kubernetes keeps quantities in 64 bits


def parse_quantity(text: str | float, *, field: str = "quantity") -> Fraction:
    """A Kubernetes quantity ("1500m", "4Gi", "2e3", 2) as an exact number.

    Raises:
        InputError: not a quantity, or beyond 64 bits. Negative values are returned, not refused.
    """
    written = str(text).strip()
    match = _QUANTITY.fullmatch(written)
    if match is None or (match[4] or "") not in _SUFFIXES:
        raise InputError(
            f"{field} {_shown(written)} is not a quantity",
            fix='write a number with a unit of Kubernetes, such as "500m", "4Gi" or "5200Mi"',
        )
    sign, digits, exponent, suffix = match.groups()
    value = Fraction(Decimal(digits + (exponent or ""))) * _SUFFIXES[suffix or ""]
    if value >= _LARGEST:
        raise InputError(f"{field} {_shown(written)} is beyond 64 bits", fix="write a smaller number")
    return -value if sign == "-" else value


def parse_memory_mib(text: str | float, *, field: str = "memory", require_unit: bool = False) -> int:
    """Memory as MiB, rounded up: what is asked for never becomes less.

    Args:
        text: a quantity in bytes.
        field: its name, for messages.
        require_unit: refuse a plain number, where it is more likely a mistake than bytes.

    Raises:
        InputError: not a quantity, zero or negative, or without its unit where one is required.
    """
    written = str(text).strip()
    value = parse_quantity(text, field=field)
    if value <= 0:
        raise InputError(
            f"{field} {_shown(written)} is not positive", fix='write how much it needs, such as "5200Mi"'
        )
    if require_unit and not written[-1:].isalpha():
        # A large number is bytes, a small one was meant as MiB or GiB.
        meant = (
            f'"{format_memory(-int(-value // MIB))}"' if value >= MIB else f'"{written}Mi" or "{written}Gi"'
        )
        raise InputError(f"{field} {_shown(written)} has no unit", fix=f"write {meant}")
    return -int(-value // MIB)


def parse_cpu_milli(text: str | float, *, field: str = "cpu") -> int:
    """CPU as thousandths of a core, rounded up as Kubernetes does.

    Raises:
        InputError: not a quantity, or negative.
    """
    value = parse_quantity(text, field=field)
    if value < 0:
        raise InputError(f"{field} {_shown(str(text))} is negative", fix='write cores, such as "500m" or "2"')
    return -int(-value * 1000 // 1)


def micro_usd(usd: str | float | Decimal) -> int:
    """Dollars as whole micro-dollars (floats by their shortest decimal form, so 0.1 is exact)."""
    return int((Decimal(str(usd)) * MICRO_USD).to_integral_value())


def usd(micro: int) -> float:
    """Micro-dollars as dollars, for printing and for artefacts."""
    return micro / MICRO_USD


def format_memory(mib: int) -> str:
    """MiB as the shortest exact Kubernetes quantity: 6144 -> "6Gi", 5200 -> "5200Mi"."""
    return f"{mib // 1024}Gi" if mib and mib % 1024 == 0 else f"{mib}Mi"


def format_cpu(milli: int) -> str:
    """Thousandths of a core as a Kubernetes quantity: 1500 -> "1500m", 2000 -> "2"."""
    return str(milli // 1000) if milli % 1000 == 0 else f"{milli}m"


def format_usd(micro: int, *, digits: int = 2) -> str:
    """Micro-dollars as "$1,234.56"."""
    return f"${micro / MICRO_USD:,.{digits}f}"


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")


def first_of(words: Sequence[str], most: int) -> str:
    """So many words of a list at the most, and how many more there are: "a, b and 3 more"."""
    more = f" and {len(words) - most:,} more" if len(words) > most else ""
    return ", ".join(words[:most]) + more
