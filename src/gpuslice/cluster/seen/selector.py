"""Label selectors as kubectl takes them: "app=search", "tier!=dev", "team in (a, b)", "gpu", "!legacy"."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from gpuslice.artefacts.quoting import quoted
from gpuslice.errors import InputError

_KEY: Final = r"[A-Za-z0-9]([-A-Za-z0-9._/]*[A-Za-z0-9])?"
_VALUE: Final = r"([A-Za-z0-9]([-A-Za-z0-9._]*[A-Za-z0-9])?)?"
_EQUALS: Final = re.compile(rf"(?P<key>{_KEY})\s*(?P<operator>==|=|!=)\s*(?P<value>{_VALUE})")
_AMONG: Final = re.compile(rf"(?P<key>{_KEY})\s+(?P<operator>in|notin)\s+\((?P<values>[^()]*)\)")
_EXISTS: Final = re.compile(rf"(?P<absent>!?)\s*(?P<key>{_KEY})")
_COMMA: Final = re.compile(r",(?![^(]*\))")  # not those inside brackets


@dataclass(frozen=True, slots=True)
class _Term:
    key: str
    values: frozenset[str] | None  # None: any
    negated: bool

    def holds(self, labels: Mapping[str, str]) -> bool:
        met = self.key in labels and (self.values is None or labels[self.key] in self.values)
        return met != self.negated


@dataclass(frozen=True, slots=True)
class Selector:
    """Conditions on labels, all of which must hold."""

    terms: tuple[_Term, ...]

    @classmethod
    def parse(cls, text: str) -> Selector:
        """A selector as a person writes it.

        Raises:
            InputError: it is none.
        """
        return cls(tuple(_term(part.strip()) for part in _COMMA.split(text)))

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether an object with these labels is meant."""
        return all(term.holds(labels) for term in self.terms)


def _term(text: str) -> _Term:
    if match := _EQUALS.fullmatch(text):
        return _Term(match["key"], frozenset({match["value"]}), match["operator"] == "!=")
    if match := _AMONG.fullmatch(text):
        values = frozenset(name.strip() for name in match["values"].split(","))
        return _Term(match["key"], values, match["operator"] == "notin")
    if match := _EXISTS.fullmatch(text):
        return _Term(match["key"], None, bool(match["absent"]))
    raise InputError(
        f"{quoted(text)} is no label selector", where="-l", fix="write such as app=search,tier!=dev"
    )
