"""An artefact that is wrong is refused with the path, what was found, and what would be right."""

import math
from enum import StrEnum
from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta, Struct

from gpuslice.artefacts.strict import decode
from gpuslice.errors import InputError


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Wheel(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """A wheel."""

    tyre_width: Annotated[int, Meta(ge=1, le=9_000)]
    name: str = ""
    colour: Colour = Colour.RED
    grip: Annotated[float, Meta(gt=0, le=1, extra={"hint": "a share, such as 0.5"})] = 1.0


class Car(Struct, frozen=True, forbid_unknown_fields=True, rename="camel", kw_only=True):
    """A car."""

    api_version: Literal["cars.io/v1"]
    kind: Literal["Car"]
    wheels: tuple[Wheel, ...] = ()
    spare: Wheel | Annotated[int, Meta(ge=0)] = 0
    load: dict[str, Annotated[int, Meta(ge=1)]] = {}
    fuel: Literal["petrol", "none"] = "none"
    sold: bool = False
    plate: Annotated[str, Meta(min_length=1, max_length=8)] = "x"


class Truck(Car, frozen=True, kw_only=True):
    """With a number that no range guards."""

    weight: float


def car(**fields: object) -> dict[str, object]:
    return {"apiVersion": "cars.io/v1", "kind": "Car", **fields}


def refusal(raw: object) -> str:
    with pytest.raises(InputError) as caught:
        decode(raw, Car, where="car.yaml")
    message = str(caught.value)
    assert len(message.splitlines()) <= 2
    assert message.isprintable() or "\n" in message
    return message


def test_what_is_right_becomes_a_value():
    value = decode(car(wheels=[{"tyreWidth": 200, "colour": "blue", "grip": 1}]), Car, where="car.yaml")
    assert value.wheels == (Wheel(200, colour=Colour.BLUE, grip=1.0),)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (car(weels=[]), "car.yaml: weels: unknown field\ndid you mean 'wheels'?"),
        (
            car(wheels=[{"tyreWidth": 1}, {"name": "front", "tyrewidth": 1}]),
            "car.yaml: wheels[1] (front).tyrewidth: unknown field\ndid you mean 'tyreWidth'?",
        ),
        (
            car(wheels=[{"tyreWidth": 1, "zzz": 1}]),
            "car.yaml: wheels[0].zzz: unknown field\nknown here: tyreWidth, name, colour, grip",
        ),
        (car(wheels=[{}]), "car.yaml: wheels[0]: has no tyreWidth\nadd it: a whole number from 1 to 9,000"),
        (
            car(wheels=[{"tyreWidth": 0}]),
            "car.yaml: wheels[0].tyreWidth: found 0\nwrite a whole number from 1 to 9,000",
        ),
        (
            car(wheels=[{"tyreWidth": "20"}]),
            "car.yaml: wheels[0].tyreWidth: found '20'\nwrite a whole number from 1 to 9,000, without quotes",
        ),
        (
            car(wheels=[{"tyreWidth": 10**5000}]),
            "car.yaml: wheels[0].tyreWidth: found a huge number\nwrite a whole number from 1 to 9,000",
        ),
        (
            car(wheels=[{"tyreWidth": 1, "colour": "green"}]),
            "car.yaml: wheels[0].colour: found 'green'\nwrite one of red, blue",
        ),
        (
            car(wheels=[{"tyreWidth": 1, "grip": 2}]),
            "car.yaml: wheels[0].grip: found 2\nwrite a share, such as 0.5",
        ),
        (
            car(wheels=[{"tyreWidth": 1, "name": 3.5}]),
            'car.yaml: wheels[0].name: found 3.5\nwrite text, in quotes: "3.5"',
        ),
        (car(wheels="x"), "car.yaml: wheels: found 'x'\nwrite a list"),
        (car(wheels=[7]), "car.yaml: wheels[0]: found 7\nwrite a mapping of tyreWidth, name, colour, grip"),
        (
            car(spare="x"),
            "car.yaml: spare: found 'x'\nwrite a mapping of tyreWidth, name, colour, grip or a whole number from 0",
        ),
        (
            car(spare={"tyreWidth": 0}),
            "car.yaml: spare.tyreWidth: found 0\nwrite a whole number from 1 to 9,000",
        ),
        (
            car(load={"a": 1, "b": 0, "c": 2}),
            "car.yaml: load.b: found 0\nwrite a whole number from 1",
        ),
        (car(load={"a": 1, "": 0}), "car.yaml: load.'': found 0\nwrite a whole number from 1"),
        (car(load={"a b": "x"}), "car.yaml: load.'a b': found 'x'\nwrite a whole number from 1"),
        (car(fuel="petorl"), "car.yaml: fuel: found 'petorl'\nwrite one of none, petrol"),
        (car(sold="yes"), "car.yaml: sold: found 'yes'\nwrite true or false"),
        (car(sold=None), "car.yaml: sold: found null\nwrite true or false"),
        (car(plate=""), "car.yaml: plate: found ''\nwrite text that isn't empty of at most 8 characters"),
        (car(spare=[1, 2]), "found a list of 2"),
        (car(spare={}), "car.yaml: spare: has no tyreWidth"),
    ],
)
def test_an_error_names_path_value_and_fix(raw, message):
    assert message in refusal(raw)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_none_are_refused_everywhere(number):
    assert "car.yaml: wheels[0].grip: found" in refusal(car(wheels=[{"tyreWidth": 1, "grip": number}]))
    with pytest.raises(InputError, match="which is no number"):
        decode(car(weight=number), Truck, where="car.yaml")
    assert "car.yaml: nowhere.at[1]: found" in refusal(car(nowhere={"at": [1, number]}))


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ([], "car.yaml: is an empty list; kind Car is wanted"),
        ("x", "car.yaml: is 'x'; kind Car is wanted"),
        ({"kind": "Car"}, "car.yaml: has no apiVersion"),
        ({"apiVersion": "cars.io/v1"}, "car.yaml: has no kind"),
        (
            {"apiVersion": "cars.io/v1", "kind": "Boat", "x": 1},
            "car.yaml: is of kind Boat; kind Car is wanted",
        ),
        ({"apiVersion": "cars.io/v1", "kind": "Cart", "x": 1}, "write kind: Car"),
        (
            {"apiVersion": "apps/v1", "kind": "Deployment"},
            "is of kind Deployment (apps/v1); kind Car is wanted",
        ),
        ({"apiVersion": "cars.io/v2", "kind": "Car", "x": 1}, "apiVersion 'cars.io/v2' is not one"),
        ({"apiVersion": 1, "kind": "Car"}, "apiVersion 1 is not one"),
        ({"apiVersion": "cars.io/v1", "kind": []}, "car.yaml: kind: found an empty list"),
    ],
)
def test_the_wrong_kind_of_file_is_said_before_all_else(raw, message):
    assert message in refusal(raw)


def test_control_characters_never_reach_the_terminal():
    message = refusal(car(wheels=[{"name": "\x1b[31mred", "\x1b[2J": 1}]))
    assert "\x1b" not in message
    assert r"\x1b[31mred" in message


def test_long_values_are_shortened():
    assert len(refusal(car(fuel="x" * 100_000))) < 200
    assert len(refusal(car(**{"y" * 100_000: 1}))) < 400


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["wheels", "tyreWidth", "name", "spare", "load", "grip"]) | st.text(),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(values, st.dictionaries(st.sampled_from(["wheels", "spare", "load", "fuel", "kind", "x"]), values))
def test_any_data_is_decoded_or_refused_with_its_place(raw, fields):
    for each in (raw, car(**fields)):
        error = None
        try:
            decode(each, Car, where="car.yaml")
        except InputError as caught:
            error = caught
        assert error is None or (error.where.startswith("car.yaml") and error.message and error.fix)
