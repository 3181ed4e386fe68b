"""YAML text into plain data, on libyaml's speed and with rules of our own.

Stock loaders read YAML 1.1, where `on` and `no` are booleans, 12:30 is 750 and 2026-07-20 is a date; they keep
the last of two equal keys in silence, and they recurse. This reader follows the core schema of YAML 1.2 and
builds its data from libyaml's events on a stack of its own, so that hostile text costs no more than its length.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Final, NamedTuple, NoReturn

import yaml

from gpuslice.artefacts.quoting import quoted, shorten
from gpuslice.errors import InputError

# Deeper than any Kubernetes object (CRD schemas reach about 60), and far from Python's limit of 1,000 frames,
# which the consumers of the data recurse in.
DEEPEST: Final = 100
# What a file may come to once its aliases are followed. Plain text within the size limit stays below it; nine
# lines of aliases of aliases do not.
MOST_VALUES: Final = 5_000_000
_TEXT_OF_ONE_VALUE: Final = 64  # a long text counts as several values, or aliases could repeat a megabyte

_TAG: Final = "tag:yaml.org,2002:"
_INT: Final = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,39})")
_BASED: Final = re.compile(r"0o[0-7]{1,40}|0x[0-9a-fA-F]{1,40}")
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]{1,40}|[0-9]{1,40}(?:\.[0-9]{0,40})?)(?:[eE][-+]?[0-9]{1,9})?")
_SPECIAL_FLOAT: Final = re.compile(r"([-+]?)\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_CONSTANTS: Final[dict[str, bool | None]] = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys(("null", "Null", "NULL", "~", "")),
}
_MAY_BE_NUMBER: Final = frozenset("+-.0123456789")


def scalar(text: str) -> str | int | float | bool | None:
    """What an unquoted scalar means in the core schema of YAML 1.2 (its chapter 10.3.2).

    Two deviations, both towards text, which a typed field then refuses instead of guessing: a number with a
    leading zero (0644 is octal to some readers and decimal to others), and one beyond 40 digits or a float's
    range (a commit's hash such as 12e4567).
    """
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if text[0] not in _MAY_BE_NUMBER:
        return text
    if _INT.fullmatch(text):
        return int(text)
    if _BASED.fullmatch(text):
        return int(text, 0)
    if (special := _SPECIAL_FLOAT.fullmatch(text)) is not None:
        return math.nan if special[1] is None else math.copysign(math.inf, -1 if special[1] == "-" else 1)
    if _FLOAT.fullmatch(text) and not text.lstrip("+-").isdigit():
        value = float(text)
        return value if math.isfinite(value) else text
    return text


def read_yaml(text: str, name: str, *, first_line: int = 0) -> list[object]:
    """The documents of a YAML text as dicts (whose keys are texts, as written), lists and scalars.

    Values behind an alias are shared, not copied: treat what comes back as immutable.

    Args:
        text: the whole text, or a part of a file that stands for itself.
        name: of the file, for messages.
        first_line: lines of the file before the text.

    Raises:
        InputError: not YAML, or YAML with duplicate keys, unknown tags, keys that are no text, aliases that
            explode or refer to themselves, or nesting beyond `DEEPEST`; with line and column.
    """
    loader = getattr(
        yaml, "CSafeLoader", yaml.SafeLoader
    )  # libyaml is optional where PyYAML is built by hand
    composer = _Composer(name, first_line)
    try:
        for event in yaml.parse(text, Loader=loader):
            composer.take(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = error.problem or error.context or "it can't be parsed"
        place = f"{name}:{first_line + mark.line + 1}:{mark.column + 1}" if mark else name
        raise InputError(f"is not valid YAML: {problem}", where=place, fix=_fix(text)) from None
    except yaml.reader.ReaderError as error:
        lines = text[: error.position].split("\n")
        raise InputError(
            f"is not valid YAML: {error.reason}",
            where=f"{name}:{first_line + len(lines)}:{len(lines[-1]) + 1}",
            fix="remove the control characters; if it isn't text at all, name another file",
        ) from None
    return composer.documents


def _fix(text: str) -> str:
    if "{{" in text or "{%" in text:
        return "it looks like a template: render it first, such as with `helm template`"
    return "mind the indentation, and quote texts that hold ': ', ' #', or start with one of *&!|>%@`[{"


@dataclass(slots=True)
class _Open:
    """A collection whose end has not come yet, and what it comes to so far."""

    value: dict[str, object] | list[object]
    anchor: str | None
    key: str | None = None
    merging: bool = False
    merges: list[dict[str, object]] | None = None
    size: int = 1
    height: int = 1


class _Anchored(NamedTuple):
    """A completed value that aliases may repeat, with what following it comes to."""

    value: object
    size: int
    height: int


@dataclass(slots=True)
class _Composer:
    """Takes events one by one, and holds the documents that they have completed."""

    name: str
    first_line: int = 0
    documents: list[object] = field(default_factory=list)
    _open: list[_Open] = field(default_factory=list)
    _anchors: dict[str, _Anchored | None] = field(default_factory=dict)  # None: not completed yet
    _size: int = 0  # of all documents

    def take(self, event: yaml.Event) -> None:
        """One more event."""
        match event:
            case yaml.ScalarEvent():
                self._scalar(event)
            case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                self._start(event)
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                self._end(event)
            case yaml.AliasEvent():
                self._alias(event)
            case yaml.DocumentStartEvent():
                self._anchors.clear()
            case _:
                pass

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        at = self._open[-1] if self._open else None
        if at is not None and type(at.value) is dict and at.key is None and not at.merging:
            self._take_key(at, at.value, event)
            return
        text = event.value
        value = self._tagged(event) if event.tag else scalar(text) if event.implicit[0] else text
        size = 1 + len(text) // _TEXT_OF_ONE_VALUE
        if event.anchor:
            self._anchors[event.anchor] = _Anchored(value, size, 0)
        self._add(value, size, 0, event)

    def _take_key(self, at: _Open, mapping: dict[str, object], event: yaml.ScalarEvent) -> None:
        key: str = event.value
        if event.tag not in {None, "!", _TAG + "str"}:
            self._refuse(
                event, f"key {quoted(key)} has the tag {quoted(event.tag)}", "write keys as plain text"
            )
        if event.anchor:
            self._anchors[event.anchor] = _Anchored(key, 1 + len(key) // _TEXT_OF_ONE_VALUE, 0)
        if key == "<<" and event.implicit[0]:
            if at.merges is not None:
                self._refuse(event, "key '<<' is written twice", "merge several at once: `<<: [*a, *b]`")
            at.merging = True
            return
        if key in mapping:
            self._refuse(event, f"key {quoted(key)} is written twice in one mapping", "remove one of the two")
        at.key = key

    def _tagged(self, event: yaml.ScalarEvent) -> object:
        text: str = event.value
        tag = event.tag or "!"
        if tag in {"!", _TAG + "str"}:
            return text
        value = scalar(text)
        if tag == _TAG + "float" and type(value) is int:
            return float(value)
        types = {"int": int, "float": float, "bool": bool, "null": type(None)}
        wanted = types.get(tag.removeprefix(_TAG))
        if wanted is None:
            self._refuse_tag(event, tag)
        if type(value) is not wanted:
            self._refuse(
                event, f"{quoted(text)} is not what its tag !!{tag.removeprefix(_TAG)} says", "remove the tag"
            )
        return value

    def _start(self, event: yaml.CollectionStartEvent) -> None:
        if len(self._open) >= DEEPEST:
            self._refuse(
                event,
                f"is nested deeper than {DEEPEST} levels",
                "flatten it; no artefact or manifest needs it",
            )
        mapping = isinstance(event, yaml.MappingStartEvent)
        if event.tag not in {None, "!", _TAG + ("map" if mapping else "seq")}:
            self._refuse_tag(event, event.tag)
        self._refuse_as_key(event)
        if event.anchor:
            self._anchors[event.anchor] = None
        self._open.append(_Open({} if mapping else [], event.anchor))

    def _end(self, event: yaml.Event) -> None:
        done = self._open.pop()
        if done.merges is not None and isinstance(done.value, dict):
            own = dict(done.value)
            done.value.clear()
            for merged in done.merges:  # an earlier one goes before a later one, and its own keys before all
                for key, value in merged.items():
                    done.value.setdefault(key, value)
            done.value.update(own)
        if done.anchor:
            self._anchors[done.anchor] = _Anchored(done.value, done.size, done.height)
        self._add(done.value, done.size, done.height, event)

    def _alias(self, event: yaml.AliasEvent) -> None:
        anchor = event.anchor or ""
        if anchor not in self._anchors:
            self._refuse(
                event,
                f"alias *{shorten(anchor)} has no anchor",
                f"write &{shorten(anchor)} before its value",
            )
        self._refuse_as_key(event)
        seen = self._anchors[anchor]
        if seen is None:
            self._refuse(
                event, f"alias *{shorten(anchor)} is inside the value it stands for", "write the value out"
            )
        self._add(seen.value, seen.size, seen.height, event)

    def _add(self, value: object, size: int, height: int, event: yaml.Event) -> None:
        """Put a completed value where it belongs; `size` and `height` count what is behind aliases too."""
        if not self._open:
            self._size += size
            self._refuse_if_exploded(self._size, event)
            self.documents.append(value)
            return
        at = self._open[-1]
        at.size += size
        at.height = max(at.height, height + 1)
        self._refuse_if_exploded(self._size + at.size, event)
        if len(self._open) + height > DEEPEST:
            self._refuse(
                event, f"is nested deeper than {DEEPEST} levels, aliases followed", "write it without aliases"
            )
        if isinstance(at.value, list):
            at.value.append(value)
        elif at.merging:
            at.merges = self._merged(value, event)
            at.merging = False
        elif at.key is not None:
            at.value[at.key] = value
            at.key = None

    def _merged(self, value: object, event: yaml.Event) -> list[dict[str, object]]:
        listed = value if isinstance(value, list) else [value]
        mappings = [entry for entry in listed if isinstance(entry, dict)]
        if len(mappings) != len(listed):
            self._refuse(
                event,
                "'<<' merges something that is no mapping",
                "give it an alias of a mapping: `<<: *base`",
            )
        return mappings

    def _refuse_if_exploded(self, size: int, event: yaml.Event) -> None:
        if size > MOST_VALUES:
            self._refuse(
                event,
                f"comes to more than {MOST_VALUES:,} values, aliases followed",
                "write it without aliases of aliases, or split the file",
            )

    def _refuse_as_key(self, event: yaml.Event) -> None:
        at = self._open[-1] if self._open else None
        if at is not None and type(at.value) is dict and at.key is None and not at.merging:
            self._refuse(
                event,
                "a key is no plain text",
                "quote it; a template such as {{ name }} has to be rendered first",
            )

    def _refuse_tag(self, event: yaml.Event, tag: str) -> NoReturn:
        shown = f"!!{tag.removeprefix(_TAG)}" if tag.startswith(_TAG) else tag
        self._refuse(event, f"tag {quoted(shown)} is not known here", "remove it: plain YAML needs no tags")

    def _refuse(self, event: yaml.Event, message: str, fix: str) -> NoReturn:
        mark = event.start_mark
        place = f"{self.name}:{self.first_line + mark.line + 1}:{mark.column + 1}" if mark else self.name
        raise InputError(message, where=place, fix=fix)
