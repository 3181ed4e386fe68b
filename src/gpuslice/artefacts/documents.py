"""The one way in for YAML and JSON files, and the one way out to their text.

What comes in is plain data with the place it came from; `artefacts.strict` gives it a type.
"""

from __future__ import annotations

import functools
import json
import re
import sys
from dataclasses import dataclass
from enum import Enum
from io import StringIO
from pathlib import Path
from typing import BinaryIO, Final, NoReturn

import msgspec
import yaml

from gpuslice.artefacts.quoting import quoted
from gpuslice.artefacts.yaml_reader import DEEPEST, read_yaml, scalar
from gpuslice.errors import InputError

# YAML is written by people and read at some MB a second: more than this is a dump, which has a faster form.
LARGEST_YAML: Final = 32 * 1024 * 1024
# `kubectl get pods -A -o json` of 100,000 pods. Beyond it, memory for the parsed form runs out first.
LARGEST_JSON: Final = 1024 * 1024 * 1024
# People leave a key behind twice, programs don't; only texts of a person's size are read again to look for it.
_DUPLICATES_UP_TO: Final = 4 * 1024 * 1024

_STARTS_AS_JSON: Final = re.compile(rb"\s*[\[{]")
_BYTE: Final = re.compile(r"\s*\(byte (\d+)\)$")
# Readers of YAML 1.1 take these for something else than text: old booleans, sexagesimal and octal numbers,
# numbers with underscores, dates. PyYAML's dumper quotes most of them by itself.
_AMBIGUOUS: Final = re.compile(
    r"[yYnN]|(?i:yes|no|on|off)|[-+.]?[0-9][0-9_,.:eExXoO+-]*|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}.*"
)
_WIDTH: Final = 120


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a file.

    Attributes:
        data: dict with text keys, list, str, int, float, bool or None; not to be changed (aliases share values).
        where: the file, and which of its documents where it has several: "fleet.yaml (document 2)".
    """

    data: object
    where: str


def read_documents(path: str | Path) -> list[Document]:
    """The documents of a YAML or JSON file, at least one; "-" is standard input. Empty documents are skipped.

    Raises:
        InputError: missing, unreadable, a directory, too large, empty, not UTF-8, not YAML or JSON, or YAML that
            is out to hurt; see `read_yaml`.
    """
    return parse_documents(*read_text(path))


def read_text(path: str | Path, *, largest_yaml: int = LARGEST_YAML) -> tuple[bytes, str]:
    """The text of a YAML or JSON file, and its name for messages; "-" is standard input.

    Args:
        path: of the file.
        largest_yaml: the most bytes that are taken where it isn't JSON.

    Raises:
        InputError: missing, unreadable, a directory, or too large.
    """
    name = "stdin" if str(path) == "-" else str(path)
    try:
        if str(path) == "-":
            return _read_limited(sys.stdin.buffer, name, largest_yaml), name
        with Path(path).open("rb") as file:
            return _read_limited(file, name, largest_yaml), name
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise _unreadable(error, name) from None


def parse_documents(text: bytes, name: str) -> list[Document]:
    """The documents of a YAML or JSON text, at least one.

    JSON is tried first where the name ends in .json or the text starts with a bracket.

    Args:
        text: the whole file.
        name: of the file, for messages.

    Raises:
        InputError: as `read_documents`.
    """
    text = checked_text(text, name)
    if not text or text.isspace():
        _refuse_empty(name)
    named_json = name.endswith(".json")
    if named_json or _STARTS_AS_JSON.match(text):
        try:
            return [Document(_parse_json(text, name), name)]
        except _NotJsonError as error:
            if named_json or len(text) > LARGEST_YAML:
                raise InputError(error.message, where=error.where, fix=error.fix) from None
    if len(text) > LARGEST_YAML:
        refuse_size(name, LARGEST_YAML)
    return _parse_yaml(text, name)


def checked_text(text: bytes, name: str) -> bytes:
    """The text without a byte order mark.

    Raises:
        InputError: it is UTF-16, or binary.
    """
    if text[:2] in {b"\xff\xfe", b"\xfe\xff"}:
        raise InputError("is UTF-16", where=name, fix="save it as UTF-8")
    if (nul := text.find(b"\0")) >= 0:
        raise InputError(f"is binary: byte {nul} is NUL", where=name, fix="name a YAML or JSON file")
    return text.removeprefix(b"\xef\xbb\xbf")


def looks_like_json(text: bytes) -> bool:
    """Whether a text begins as JSON does."""
    return _STARTS_AS_JSON.match(text) is not None


def parse_yaml_part(text: bytes, name: str, *, first_line: int) -> list[object]:
    """The documents in a part of a YAML file that can be understood without the rest.

    Raises:
        InputError: not UTF-8, or as `read_yaml`.
    """
    decoded = _decoded(text, name, first_line)
    return [data for data in read_yaml(decoded, name, first_line=first_line) if data is not None]


def dump_yaml(*documents: object) -> str:
    """YAML of plain data, msgspec structs or dataclasses: block style, in their order, without aliases.

    A text that some reader of YAML 1.1 or 1.2 would take for a boolean, number or date is quoted, as value and
    as key.
    """
    plain = [to_plain(document) for document in documents]
    out = StringIO()
    yaml.dump_all(
        plain,
        out,
        Dumper=_Dumper,
        allow_unicode=True,
        default_flow_style=False,
        explicit_start=len(plain) > 1,
        sort_keys=False,
        width=_WIDTH,
    )
    return out.getvalue()


def dump_json(data: object) -> str:
    """JSON of plain data, msgspec structs or dataclasses: indented, in their order, with a final newline."""
    return json.dumps(to_plain(data), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def to_plain(value: object) -> object:
    """Plain data of a value made of msgspec structs, dataclasses, mappings, sequences, sets and enums.

    A struct that omits defaults omits what equals one: msgspec itself would omit what is identical to one, and so
    write a value differently after it was read back.
    """
    match value:
        case msgspec.Struct():
            return _tag(type(value)) | {
                encoded: to_plain(inner)
                for name, encoded, default in _fields(type(value))
                if (inner := getattr(value, name)) is not msgspec.UNSET and inner != default
            }
        case dict():
            return {str(key): to_plain(inner) for key, inner in value.items()}
        case Enum():
            return value.value
        case list() | tuple():
            return [to_plain(entry) for entry in value]
        case set() | frozenset():
            return sorted(str(to_plain(entry)) for entry in value)
        case str() | int() | float() | None:
            return value
        case _:
            return msgspec.to_builtins(value, str_keys=True)


@functools.cache
def _fields(struct: type[msgspec.Struct]) -> tuple[tuple[str, str, object], ...]:
    """Name, name in files and, where it may be left out, default of each field."""
    omit = struct.__struct_config__.omit_defaults
    return tuple(
        (field.name, field.encode_name, _default(field) if omit else msgspec.NODEFAULT)
        for field in msgspec.structs.fields(struct)
    )


def _tag(struct: type[msgspec.Struct]) -> dict[str, object]:
    """What says, in files, which form of several this is."""
    config = struct.__struct_config__
    return {} if config.tag_field is None else {config.tag_field: config.tag}


def _default(field: msgspec.structs.FieldInfo) -> object:
    factory = field.default_factory
    return field.default if factory is msgspec.NODEFAULT else factory()


def _read_limited(stream: BinaryIO, name: str, largest_yaml: int) -> bytes:
    text = stream.read(LARGEST_YAML + 1)
    if len(text) > LARGEST_YAML:
        if largest_yaml <= LARGEST_YAML and not name.endswith(".json") and not _STARTS_AS_JSON.match(text):
            refuse_size(name, LARGEST_YAML)
        text += stream.read(LARGEST_JSON + 1 - len(text))
        if len(text) > LARGEST_JSON:
            refuse_size(name, LARGEST_JSON)
    return text


def _unreadable(error: OSError | ValueError, name: str) -> InputError:
    match error:
        case IsADirectoryError():
            return InputError("is a directory", where=name, fix="name a file in it")
        case PermissionError():
            return InputError(
                "permission denied", where=name, fix="ask for read permission on it and its directories"
            )
        case FileNotFoundError() | NotADirectoryError():
            return InputError("no such file", where=name, fix="check the path; `-` reads standard input")
        case OSError():
            return InputError(f"can't be read: {error.strerror or error}", where=name)
        case _:
            return InputError(
                "is no file name", where=repr(name), fix="check the path; `-` reads standard input"
            )


def _refuse_empty(name: str) -> NoReturn:
    raise InputError("is empty", where=name, fix="name a file that holds an artefact or manifests")


def refuse_size(name: str, limit: int) -> NoReturn:
    """Refuse a file of more than `limit` bytes: LARGEST_YAML, or LARGEST_JSON."""
    kind = "YAML" if limit == LARGEST_YAML else "JSON"
    raise InputError(
        f"is larger than {limit // 1024**2} MiB, the most that is read as {kind}",
        where=name,
        fix="split it"
        if kind == "JSON"
        else "split it, or give it as JSON (`kubectl get … -o json`), read up to 1 GiB",
    )


class _NotJsonError(InputError):
    """The text isn't JSON; it may still be YAML."""


def _parse_json(text: bytes, name: str) -> object:
    try:
        data: object = msgspec.json.decode(text)
    except RecursionError:
        _refuse_depth(name)
    except UnicodeDecodeError as error:
        _refuse_encoding(error, name, 0)
    except msgspec.MsgspecError as error:
        if "UTF-8" in str(error):  # since msgspec 0.23, which doesn't say where
            _decoded(text, name)
        byte_position = _BYTE.search(str(error))
        at = int(byte_position[1]) if byte_position else 0
        line, column = text.count(b"\n", 0, at) + 1, at - text.rfind(b"\n", 0, at)
        problem = _BYTE.sub("", str(error)).removeprefix("JSON is malformed: ")
        raise _NotJsonError(
            f"is not valid JSON: {problem[:1].lower()}{problem[1:]}",
            where=f"{name}:{line}:{column}" if byte_position else name,
            fix="check that it is complete and holds one JSON document",
        ) from None
    if data is None:
        _refuse_empty(name)
    if _deeper_than(DEEPEST, data):
        _refuse_depth(name)
    if len(text) <= _DUPLICATES_UP_TO:
        _refuse_duplicate_keys(text, name)
    return data


def _deeper_than(limit: int, data: object) -> bool:
    level: list[dict[str, object] | list[object]] = [data] if isinstance(data, dict | list) else []
    for _ in range(limit):
        level = [
            child
            for branch in level
            for child in (branch.values() if isinstance(branch, dict) else branch)
            if isinstance(child, dict | list)
        ]
    return bool(level)


def _refuse_depth(name: str) -> NoReturn:
    raise InputError(
        f"is nested deeper than {DEEPEST} levels",
        where=name,
        fix="flatten it; no artefact or manifest needs it",
    )


def _refuse_duplicate_keys(text: bytes, name: str) -> None:
    def pairs(items: list[tuple[str, object]]) -> None:
        seen = set()
        for key, _ in items:
            if key in seen:
                raise InputError(
                    f"key {quoted(key)} is written twice in one object",
                    where=name,
                    fix="remove one of the two",
                )
            seen.add(key)

    json.loads(text, object_pairs_hook=pairs, parse_int=str, strict=False)


def _decoded(text: bytes, name: str, first_line: int = 0) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        _refuse_encoding(error, name, first_line)


def _refuse_encoding(error: UnicodeDecodeError, name: str, first_line: int) -> NoReturn:
    line = first_line + bytes(error.object[: error.start]).count(b"\n") + 1
    raise InputError(
        f"is not UTF-8: byte {error.start}, on line {line}",
        where=name,
        fix="save it as UTF-8; if it isn't text at all, name another file",
    )


def _parse_yaml(text: bytes, name: str) -> list[Document]:
    decoded = _decoded(text, name)
    numbered = [(n, data) for n, data in enumerate(read_yaml(decoded, name), 1) if data is not None]
    if not numbered:
        _refuse_empty(name)
    if len(numbered) == 1:
        return [Document(numbered[0][1], name)]
    return [Document(data, f"{name} (document {n})") for n, data in numbered]


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]  # libyaml's is optional
    """Quotes what anyone could misread, and writes texts of several lines as such."""

    def ignore_aliases(self, _data: object) -> bool:
        return True

    def represent_text(self, text: str) -> yaml.ScalarNode:
        ambiguous = _AMBIGUOUS.fullmatch(text) or not isinstance(scalar(text), str)
        style = "'" if ambiguous else "|" if "\n" in text else None
        return yaml.ScalarNode("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _Dumper.represent_text)
