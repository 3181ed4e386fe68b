"""JSON Schemas of the artefacts, and a page for each with its fields as tables."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Final, cast

from gpuslice.artefacts.schema import json_schema
from gpuslice.cloud.snapshot import CatalogFile
from gpuslice.plan.artefact import API_VERSION, Plan
from gpuslice.simulator.result import Simulation
from gpuslice.simulator.sweep import Sweep
from gpuslice.workloads.entries import SCHEMA_ID
from gpuslice.workloads.entries import schema as workloads_schema
from gpuslice.workloads.policy import PolicyFile
from tools.markdown import code, page, table

Schema = Mapping[str, object]

_BASE: Final = SCHEMA_ID.rpartition("/")[0]
_REFERENCE: Final = "#/$defs/"
_BY_EDITOR: Final = """\
Editors check a file while it is written if its first line is
`# yaml-language-server: $schema=PATH/{name}.json`.
"""
_TITLE: Final = {
    "workloads": "workloads.yaml",
    "plan": "plan.yaml",
    "catalog": "Catalog file",
    "simulation": "simulation.json",
    "sweep": "sweep.yaml",
    "policy": "Policy file",
}
_ABOUT: Final = {
    "workloads": """\
What runs on GPUs and what each workload needs of one. `gpuslice scan --out workloads.yaml` writes it, people review it,
`gpuslice plan -f workloads.yaml` reads it. Unknown fields, wrong units and contradictions are refused with the path of
the field.
""",
    "plan": """\
Pools, who goes where, nodes, dollars, the bound, baselines, reasons and assumptions. `gpuslice plan --out plan.yaml`
writes it (`-o yaml` and `-o json` print the same), `gpuslice render -f plan.yaml` reads it. `pods` of a node says what
one such node carries, so that a plan can be checked with a pencil.
""",
    "simulation": """\
What a replay of demand over time came to, policy by policy. `gpuslice simulate --out simulation.json` writes it
(`-o json` prints the same). The series of `overTime` are means of equally long bins of the replay.
""",
    "sweep": """\
A grid of policies, what-ifs and seeds. `gpuslice simulate --sweep sweep.yaml` replays each cell for itself.
""",
    "policy": """\
What may be bought, in a file of its own for several sets of workloads. `gpuslice plan --policy FILE` reads it: over the
`policy` of workloads.yaml, which has the same fields, and under the options. See [Say what may be
bought](../how-to/policies.md).
""",
    "catalog": """\
Instance types with GPUs and their prices in one region. `gpuslice catalog refresh` writes it, `--catalog` reads it. It
holds what EC2 says of a machine; what Kubernetes can give to pods is computed from that.
""",
}


def schemas() -> dict[str, Schema]:
    """JSON Schema of each artefact by its name."""
    return {
        "workloads": workloads_schema(),
        "plan": json_schema(
            Plan,
            title="gpuslice Plan",
            schema_id=f"{_BASE.rpartition('/')[0]}/{API_VERSION.rpartition('/')[2]}/plan.json",
        ),
        "simulation": json_schema(
            Simulation, title="gpuslice Simulation", schema_id=f"{_BASE}/simulation.json"
        ),
        "sweep": json_schema(Sweep, title="gpuslice Sweep", schema_id=f"{_BASE}/sweep.json"),
        "policy": json_schema(PolicyFile, title="gpuslice Policy", schema_id=f"{_BASE}/policy.json"),
        "catalog": json_schema(CatalogFile, title="gpuslice Catalog", schema_id=f"{_BASE}/catalog.json"),
    }


def schema_files() -> dict[str, str]:
    """The schemas and their pages, by path inside docs/reference."""
    files: dict[str, str] = {}
    for name, schema in schemas().items():
        files[f"schemas/{name}.json"] = json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
        files[f"{name}.md"] = _page(name, schema)
    return files


def _page(name: str, schema: Schema) -> str:
    source = f"JSON Schema: [{name}.json](schemas/{name}.json). {_BY_EDITOR.format(name=name).strip()}"
    return page(_TITLE[name], _ABOUT[name], source, *_tables(name, schema))


def _tables(name: str, schema: Schema) -> Iterator[str]:
    definitions = cast("Mapping[str, Schema]", schema["$defs"])
    yield _fields("Top level", schema, name)
    for each, definition in _as_met(schema, definitions):
        yield _fields(each, definition, name)


def _as_met(schema: Schema, definitions: Mapping[str, Schema]) -> list[tuple[str, Schema]]:
    """Definitions in the order in which a reader meets them from the top."""
    found: dict[str, Schema] = {}
    todo: list[Schema] = [schema]
    while todo:
        new = [each for each in _references(todo.pop(0).get("properties", {})) if each not in found]
        for each in dict.fromkeys(new):
            found[each] = definitions[each]
            todo.append(definitions[each])
    return list(found.items())


def _references(value: object) -> Iterator[str]:
    match value:
        case {"$ref": str(reference), **rest}:
            yield reference.removeprefix(_REFERENCE)
            yield from _references(rest)
        case dict():
            for each in value.values():
                yield from _references(each)
        case list():
            for each in value:
                yield from _references(each)
        case _:
            pass


def _fields(title: str, definition: Schema, name: str) -> str:
    heading = f"## {title}"
    description = str(definition.get("description", ""))
    if "enum" in definition:
        return f"{heading}\n\n{description}\n\n{_type(definition)}"
    required = set(cast("list[str]", definition.get("required", [])))
    rows = [
        (
            code(field),
            _type(each),
            "yes" if field in required else _default(each),
            str(each.get("description", "")),
        )
        for field, each in cast("Mapping[str, Schema]", definition.get("properties", {})).items()
    ]
    return "\n\n".join(
        each
        for each in (heading, description, table(("field", "type", "required, or default", "meaning"), rows))
        if each
    ) + ("" if rows else f"\n\nNo fields in {name}.")


def _default(field: Schema) -> str:
    default = field.get("default")
    return code(json.dumps(default, ensure_ascii=False).strip('"')) if default or default == 0 else ""


def _type(field: Schema) -> str:
    """A field's type in words: "whole number, 1 to 64", "list of Pool"."""
    match field:
        case {"$ref": str(reference)}:
            name = reference.removeprefix(_REFERENCE)
            return f"[{name}](#{name.lower()})"
        case {"anyOf": list(choices)}:
            return " or ".join(_type(each) for each in choices)
        case {"enum": list(values)}:
            return ", ".join(code(each if each != "" else '""') for each in values)
        case {"const": value}:
            return code(value)
        case {"type": "array", "items": dict(items)}:
            return f"list of {_type(items)}"
        case {"type": "array"}:
            return "list"
        case {"type": "object", "additionalProperties": dict(values)}:
            return f"map of names to {_type(values)}"
        case {"type": str(kind)}:
            return _KINDS.get(kind, kind) + _range(field)
        case _:
            return "anything"


_KINDS: Final = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false"}


def _range(field: Schema) -> str:
    least, above = field.get("minimum"), field.get("exclusiveMinimum")
    most, pattern = field.get("maximum"), field.get("pattern")
    words = []
    if above is not None:
        words.append(f"above {_number(above)}")
    if least is not None:
        words.append(f"from {_number(least)}")
    if most is not None:
        words.append(f"to {_number(most)}")
    text = " ".join(words)
    return (f", {text}" if text else "") + (f", matching {code(pattern)}" if pattern else "")


def _number(value: object) -> str:
    return (
        f"{value:,}" if isinstance(value, int) else f"{value:g}" if isinstance(value, float) else str(value)
    )
