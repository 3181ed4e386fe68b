"""The published schema says the same as the code, and explains the fields."""

from typing import Annotated

import jsonschema
from msgspec import UNSET, Meta, Struct, UnsetType

from gpuslice.artefacts.schema import DIALECT, json_schema
from gpuslice.plan.artefact import Plan


class Leaf(Struct, forbid_unknown_fields=True, rename="camel"):
    """A leaf.

    More about it.

    Attributes:
        leaf_width, length: in millimetres,
            never in inches.
    """

    leaf_width: int
    length: int = 1
    colour: str = "green"
    """As people
    say it."""


class Tree(Struct, forbid_unknown_fields=True):
    """A tree."""

    leaves: tuple[Leaf, ...] = ()
    by_name: dict[str, Annotated[int, Meta(ge=0)]] = {}
    best: Leaf | None = None
    worst: Leaf | UnsetType = UNSET


def test_descriptions_are_the_docstrings():
    schema = json_schema(Tree, title="Trees", schema_id="urn:tree")
    assert schema["$schema"] == DIALECT
    assert (schema["$id"], schema["title"], schema["description"]) == ("urn:tree", "Trees", "A tree.")
    definitions = schema["$defs"]
    assert isinstance(definitions, dict)
    leaf = definitions["Leaf"]
    assert leaf["description"] == "A leaf."
    assert {name: each.get("description") for name, each in leaf["properties"].items()} == {
        "leafWidth": "in millimetres, never in inches.",
        "length": "in millimetres, never in inches.",
        "colour": "As people say it.",
    }


def test_the_schema_is_one_and_refuses_what_the_code_refuses():
    schema = json_schema(Tree, title="Trees", schema_id="urn:tree")
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    assert validator.is_valid({"leaves": [{"leafWidth": 3}], "best": None, "by_name": {"x": 1}})
    assert not validator.is_valid({"leaves": [{}]})
    assert not validator.is_valid({"leafs": []})
    assert not validator.is_valid({"by_name": {"x": -1}})


def test_the_plan_has_a_schema_in_which_every_part_is_described():
    schema = json_schema(Plan, title="gpuslice Plan", schema_id="urn:plan")
    jsonschema.Draft202012Validator.check_schema(schema)
    definitions = schema["$defs"]
    assert isinstance(definitions, dict)
    assert all(each["description"] for each in definitions.values())
