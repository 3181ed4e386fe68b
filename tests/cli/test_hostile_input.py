"""Whatever is in a file that a verb is given, the program ends in words and an exit code of its own choosing."""

import json
import random
from itertools import chain
from typing import Any

import pytest
import yaml

from gpuslice.artefacts.documents import dump_yaml
from tests.cli.conftest import TOO_BIG, WORKLOADS
from tests.fuzz.mutation import WORKLOADS as MANY_FIELDS
from tests.fuzz.mutation import mangled_bytes, mangled_data

pytestmark = pytest.mark.fuzz

MUTANTS = 120
PLAN = ("plan", "--time-limit", "0", "-o")
EXPLAIN = ("explain", "--time-limit", "0", "-o")
RENDER = ("render", "--cluster", "lab", "--role", "nodes", "-o")
VERBS = {
    "workloads": [
        (*PLAN, "table"),
        (*PLAN, "json"),
        (*EXPLAIN, "table"),
        (*EXPLAIN, "yaml", "shop/search"),
        (*RENDER, "yaml"),
    ],
    "plan": [(*RENDER, "yaml"), (*RENDER, "name"), (*RENDER, "json"), (*PLAN, "name")],
}


def leaves(data: Any) -> list[tuple[Any, Any]]:
    """Every text and number inside: what holds it, and its key there."""
    children = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [
        each
        for key, value in children
        for each in (leaves(value) if isinstance(value, dict | list) else [(data, key)])
    ]


def plausible(data: Any, chance: random.Random) -> Any:
    """The same with some value replaced by another one of its type: right in form, and often senseless."""
    data = json.loads(json.dumps(data))
    places = leaves(data)
    for _ in range(chance.choice([1, 1, 2, 4])):
        holder, key = chance.choice(places)
        alike = [inner[at] for inner, at in places if type(inner[at]) is type(holder[key])]
        if isinstance(holder[key], int):
            alike += [0, 1, 7, 48, 1000, 1_000_000]
        holder[key] = chance.choice(alike)
    return data


def mutant(seeds: list[Any], chance: random.Random) -> bytes:
    data = chance.choice(seeds)
    match chance.randrange(10):
        case 0 | 1:
            return mangled_bytes(dump_yaml(data).encode(), chance)
        case 2 | 3 | 4:
            data = mangled_data(data, chance)
        case _:
            data = plausible(data, chance)
    return dump_yaml(data).encode() if chance.random() < 0.5 else json.dumps(data).encode()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["workloads", "plan"])
def test_mutants_never_give_a_traceback_or_a_code_of_chance(gpuslice, tmp_path, kind):
    seeds: list[Any] = [yaml.safe_load(WORKLOADS), yaml.safe_load(WORKLOADS + TOO_BIG), MANY_FIELDS]
    if kind == "plan":
        fleet = tmp_path / "fleet.yaml"
        fleet.write_text(dump_yaml(MANY_FIELDS))
        seeds = [
            json.loads(gpuslice("plan", "-f", "-", "-o", "json", stdin=WORKLOADS + TOO_BIG).out),
            json.loads(gpuslice("plan", "-f", fleet, "-o", "json").out),
        ]
    chance = random.Random(kind)
    out = tmp_path / "out"
    codes = []
    for number in range(MUTANTS):
        text = mutant(seeds, chance)
        verb = VERBS[kind][number % len(VERBS[kind])]
        to = ("--out", out) if verb[0] != "explain" and chance.random() < 0.3 else ()
        ended = gpuslice(*verb, "-f", "-", *to, stdin=text)
        codes.append(ended.code)
        said = f"{verb} of {text[:3000]!r}: {ended.err[:2000]}"
        assert ended.code in {0, 1, 2}, said
        assert "Traceback" not in ended.err, said
        for line in chain(ended.err.splitlines(), ended.out.splitlines() if verb[0] != "render" else ()):
            assert line.isprintable() or not line, said
        if ended.code == 2:
            assert ended.out == "", said
            assert len(ended.err.splitlines()) <= 2, said
            assert not out.exists(), said
        if out.is_file():
            out.unlink()
        elif out.is_dir():
            for file in sorted(out.rglob("*"), reverse=True):
                file.rmdir() if file.is_dir() else file.unlink()
            out.rmdir()
    refused = sum(code == 2 for code in codes)
    assert MUTANTS // 4 < refused < MUTANTS  # and a good part reaches the verb
