"""JSON Schema of the artefacts, described by the docstrings of their types."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from itertools import pairwise
from typing import Final

import msgspec

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_ENTRY: Final = re.compile(r"(?P<names>\w+(?:, \w+)*): (?P<text>.+)", re.DOTALL)


def json_schema(kind: type, *, title: str, schema_id: str) -> dict[str, object]:
    """JSON Schema (2020-12) of a msgspec struct.

    A struct's description is the first paragraph of its docstring; a field's is the docstring below it, or its
    entry under "Attributes:" in the docstring of its struct.

    Args:
        kind: the struct.
        title: for people.
        schema_id: the schema's `$id`.
    """
    _, definitions = msgspec.json.schema_components((kind,), ref_template="#/$defs/{name}")
    for struct in _structs(kind):
        if struct.__name__ in definitions:
            _describe(definitions[struct.__name__], struct)
    top = definitions.pop(kind.__name__)
    return {
        "$schema": DIALECT,
        "$id": schema_id,
        **top,
        "title": title,
        "$defs": dict(sorted(definitions.items())),
    }


def _structs(kind: type) -> list[type[msgspec.Struct]]:
    """The struct and all inside it."""
    structs: dict[type[msgspec.Struct], None] = {}
    todo: list[object] = [msgspec.inspect.type_info(kind)]
    while todo:
        match todo.pop():
            case msgspec.inspect.StructType(cls=cls, fields=fields) if cls not in structs:
                structs[cls] = None
                todo.extend(field.type for field in fields)
            case msgspec.inspect.UnionType(types=types):
                todo.extend(types)
            case msgspec.inspect.DictType(value_type=inner):
                todo.append(inner)
            case msgspec.inspect.CollectionType(item_type=inner):
                todo.append(inner)
            case _:
                pass
    return list(structs)


def _describe(definition: dict[str, object], struct: type[msgspec.Struct]) -> None:
    definition["description"] = inspect.cleandoc(struct.__doc__ or "").partition("\n\n")[0].replace("\n", " ")
    properties = definition.get("properties")
    if not isinstance(properties, dict):
        return
    texts = _field_texts(struct)
    tag = struct.__struct_config__.tag_field
    if tag is not None:
        properties[tag]["description"] = "Which form this is."
    for field in msgspec.structs.fields(struct):
        if field.name in texts:
            properties[field.encode_name]["description"] = texts[field.name]


def _field_texts(struct: type) -> dict[str, str]:
    texts: dict[str, str] = {}
    for parent in struct.__bases__:
        if parent is not msgspec.Struct and issubclass(parent, msgspec.Struct):
            texts |= _field_texts(parent)
    _, _, attributes = inspect.cleandoc(struct.__doc__ or "").partition("\nAttributes:\n")
    # An entry begins at the section's indentation; its further lines are deeper.
    for entry in re.split(r"\n(?=\S)", textwrap.dedent(attributes)):
        if match := _ENTRY.fullmatch(entry.strip()):
            texts |= dict.fromkeys(match["names"].split(", "), " ".join(match["text"].split()))
    source = ast.parse(textwrap.dedent(inspect.getsource(struct))).body[0]
    body = source.body if isinstance(source, ast.ClassDef) else []
    for field, below in pairwise(body):
        match field, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str() as text)):
                texts[name] = " ".join(text.split())
            case _:
                pass
    return texts
