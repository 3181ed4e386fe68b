"""What is wrong with data that is no artefact: where it is, what was found, and what would be right."""

from __future__ import annotations

import functools
import re
from typing import Final

import msgspec
from msgspec import inspect

from gpuslice.artefacts.finite import Step, not_finite
from gpuslice.artefacts.quoting import quoted, shorten, shown
from gpuslice.artefacts.yaml_reader import scalar
from gpuslice.errors import InputError, nearest

_ERROR: Final = re.compile(r".* - at `(?P<key>key` in `)?(?P<path>\$[^`]*)`", re.DOTALL)
_STEP: Final = re.compile(r"\.(?P<field>[^.\[]+)|\[(?P<index>\d+)\]|(?P<some>\[\.\.\.\])")
_KEYS_TRIED: Final = 200

# How one comes by an artefact of a kind.
_ORIGIN: Final = {
    "Workloads": "make one from manifests: gpuslice scan --from PATH --out workloads.yaml",
    "Plan": "make one: gpuslice plan -f workloads.yaml --out plan.yaml",
}


def explain(raw: object, kind: type, problem: str, *, where: str) -> InputError:
    """The error for data that is no `kind`.

    Args:
        raw: the data.
        kind: the msgspec struct that it was to be.
        problem: msgspec's message, "" where it had none.
        where: the document.
    """
    top = _type_of(kind)
    if isinstance(top, inspect.StructType) and (error := _other_kind(raw, top, where)) is not None:
        return error
    if (at := not_finite(raw)) is not None:
        written = shown(_at(raw, at))
        return InputError(
            f"found {written}, which is no number", where=_place(where, raw, at), fix="write a finite number"
        )
    path, is_key = _path(problem)
    return _explained(raw, top, _found_key(raw, kind, path, problem), is_key=is_key, where=where)


@functools.cache
def _type_of(kind: type) -> inspect.Type:
    return inspect.type_info(kind)


def _shown_path(raw: object, path: tuple[Step, ...]) -> str:
    """A path as users see it, elements of lists with their names: "workloads[3] (search/embedder).need"."""
    text = ""
    for step in path:
        raw = _at(raw, (step,))
        if isinstance(step, int):
            name = raw.get("name") if isinstance(raw, dict) else None
            text += f"[{step}]" + (f" ({shorten(name)})" if isinstance(name, str) and name else "")
        else:
            key = shorten(step) if step and " " not in step else quoted(step)
            text += f".{key}" if text else key
    return text


def _other_kind(raw: object, top: inspect.StructType, where: str) -> InputError | None:
    wanted = {
        field.encode_name: str(field.type.values[0])
        for field in top.fields
        if field.encode_name in {"apiVersion", "kind"} and isinstance(field.type, inspect.LiteralType)
    }
    if len(wanted) < 2:
        return None
    version, kind = wanted["apiVersion"], wanted["kind"]
    origin = _ORIGIN.get(kind, "name another file")
    if not isinstance(raw, dict):
        return InputError(f"is {shown(raw)}; kind {kind} is wanted", where=where, fix=origin)
    found_version, found_kind = raw.get("apiVersion"), raw.get("kind")
    group = version.partition("/")[0]
    ours = isinstance(found_version, str) and found_version.partition("/")[0] == group
    if isinstance(found_kind, str) and found_kind != kind:
        of = "" if ours or not isinstance(found_version, str) else f" ({shorten(found_version)})"
        hint = nearest(found_kind, [kind])
        fix = f"write kind: {kind}" if hint and found_kind != "Plan" else origin
        return InputError(
            f"is of kind {shorten(found_kind)}{of}; kind {kind} is wanted", where=where, fix=fix
        )
    if found_version is None or found_kind is None:
        missing = "apiVersion" if found_version is None else "kind"
        fix = f"if it is a {kind}, start it with apiVersion: {version} and kind: {kind}; else {origin}"
        return InputError(f"has no {missing}", where=where, fix=fix)
    if found_version != version:
        return InputError(
            f"apiVersion {shown(found_version)} is not one that this gpuslice reads",
            where=where,
            fix=f"write apiVersion: {version}, or use the gpuslice that the file was written for",
        )
    return None


def _path(message: str) -> tuple[tuple[Step | None, ...], bool]:
    """The path in a message of msgspec's, None standing for some key, and whether a key itself is wrong."""
    match = _ERROR.fullmatch(message)
    if match is None:
        return (), False
    steps = tuple(
        None if step["some"] else int(step["index"]) if step["index"] else step["field"]
        for step in _STEP.finditer(match["path"])
    )
    return steps, match["key"] is not None


def _found_key(raw: object, kind: type, path: tuple[Step | None, ...], message: str) -> tuple[Step, ...]:
    """The path with each None replaced by the first one that raises this error when it is alone."""
    before: list[Step] = []
    for at, step in enumerate(path):
        if step is not None:
            before.append(step)
            continue
        mapping = _at(raw, tuple(before))
        members = list(mapping.items()) if isinstance(mapping, dict) else []
        for key, value in members[:_KEYS_TRIED]:
            alone = _replaced(raw, tuple(before), {key: value})
            try:
                msgspec.convert(alone, kind)
            except msgspec.ValidationError as error:
                if str(error) == message:
                    return _found_key(alone, kind, (*before, str(key), *path[at + 1 :]), message)
        break
    return tuple(before)


def _replaced(raw: object, path: tuple[Step, ...], value: object) -> object:
    if not path:
        return value
    step, rest = path[0], path[1:]
    if isinstance(raw, dict):
        return {**raw, step: _replaced(raw.get(step), rest, value)}
    if isinstance(raw, list) and isinstance(step, int):
        return [*raw[:step], _replaced(raw[step], rest, value), *raw[step + 1 :]]
    return raw


def _at(raw: object, path: tuple[Step, ...]) -> object:
    for step in path:
        if isinstance(raw, dict):
            raw = raw.get(step)
        elif isinstance(raw, list | tuple) and isinstance(step, int) and step < len(raw):
            raw = raw[step]
        else:
            return None
    return raw


def _place(where: str, raw: object, path: tuple[Step, ...]) -> str:
    text = _shown_path(raw, path)
    return f"{where}: {text}" if text else where


def _explained(
    raw: object, top: inspect.Type, path: tuple[Step, ...], *, is_key: bool, where: str
) -> InputError:
    value, wanted = raw, top
    for step in path:
        wanted = _type_inside(wanted, value, step)
        value = _at(value, (step,))
    place = _place(where, raw, path)
    if isinstance(value, dict) and (struct := _struct(wanted)) is not None:
        known = [field.encode_name for field in struct.fields]
        if struct.tag_field is not None:
            known.insert(0, struct.tag_field)
        for key in value:
            if key not in known:
                hint = nearest(str(key), known) or f"known here: {', '.join(known)}"
                if key in {"true", "True"} and "on" in known:
                    hint = "write on: tools of YAML 1.1 take that word for true, and write it so"
                return InputError("unknown field", where=_place(where, raw, (*path, str(key))), fix=hint)
        for fact in struct.fields:
            if fact.required and fact.encode_name not in value:
                return InputError(
                    f"has no {fact.encode_name}", where=place, fix=f"add it: {_allowed(fact.type)}"
                )
    if is_key:
        return InputError("has a key that is no text", where=place, fix="quote the key")
    quotes = ""
    if isinstance(value, str) and not isinstance(scalar(value), str):
        quotes = ", without quotes"
    elif not isinstance(value, str | dict | list) and isinstance(_members(wanted)[0], inspect.StrType):
        quotes = f', in quotes: "{shown(value)}"'
    return InputError(f"found {shown(value)}", where=place, fix=f"write {_allowed(wanted)}{quotes}")


def _struct(of: inspect.Type) -> inspect.StructType | None:
    return next((member for member in _members(of) if isinstance(member, inspect.StructType)), None)


def _members(of: inspect.Type) -> tuple[inspect.Type, ...]:
    while isinstance(of, inspect.Metadata):
        of = of.type
    return of.types if isinstance(of, inspect.UnionType) else (of,)


def _type_inside(outer: inspect.Type, value: object, step: Step) -> inspect.Type:
    """The type one step further in; `value` picks among the members of a union."""
    for member in _members(outer):
        match member:
            case inspect.StructType() if isinstance(value, dict):
                if step == member.tag_field:
                    return inspect.LiteralType((member.tag,))
                for candidate in member.fields:
                    if candidate.encode_name == step:
                        return candidate.type
            case inspect.DictType() if isinstance(value, dict):
                return member.value_type
            case (
                inspect.VarTupleType() | inspect.ListType() | inspect.SetType() | inspect.FrozenSetType()
            ) if isinstance(value, list | tuple):
                return member.item_type
            case inspect.TupleType() if isinstance(step, int) and step < len(member.item_types):
                return member.item_types[step]
            case _:
                pass
    return inspect.AnyType()


def _allowed(wanted: inspect.Type) -> str:
    """What may stand there, in words: the type's own hint (`Meta(extra={"hint": …})`), or its constraints."""
    match wanted:
        case inspect.Metadata():
            return (
                str(wanted.extra["hint"])
                if wanted.extra and "hint" in wanted.extra
                else _allowed(wanted.type)
            )
        case inspect.UnionType():
            return " or ".join(
                _allowed(kind) for kind in wanted.types if not isinstance(kind, inspect.NoneType)
            )
        case inspect.IntType():
            return "a whole number" + _range(wanted)
        case inspect.FloatType():
            return "a number" + _range(wanted)
        case inspect.StrType():
            return _text(wanted)
        case inspect.BoolType():
            return "true or false"
        case inspect.LiteralType():
            return _choices([str(value) for value in wanted.values])
        case inspect.EnumType():
            return _choices([str(enum.value) for enum in wanted.cls])
        case inspect.StructType():
            return f"a mapping of {', '.join(field.encode_name for field in wanted.fields)}"
        case inspect.DictType():
            return "a mapping"
        case inspect.CollectionType() | inspect.TupleType():
            return "a list"
        case _:
            return "another value"


def _text(of: inspect.StrType) -> str:
    if of.pattern is not None:
        return f"text that matches {of.pattern}"
    least = " that isn't empty" if of.min_length else ""
    most = f" of at most {of.max_length} characters" if of.max_length else ""
    return f"text{least}{most}"


def _choices(values: list[str]) -> str:
    return quoted(values[0]) if len(values) == 1 else f"one of {', '.join(values)}"


def _range(of: inspect.IntType | inspect.FloatType) -> str:
    least = "" if of.ge is None else f" from {of.ge:,}"
    above = "" if of.gt is None else f" above {of.gt:,}"
    most = "" if of.le is None else f" to {of.le:,}" if least else f" up to {of.le:,}"
    below = "" if of.lt is None else f" below {of.lt:,}"
    return f"{least}{above}{most}{below}"
