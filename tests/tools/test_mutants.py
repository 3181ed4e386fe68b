"""Which faults are put into code, and that the code of the right function has them."""

import ast

import pytest

from tools.mutants import TARGETS, changes, code_of, mutants, sample


def _changed(source: str) -> list[str]:
    (statement,) = ast.parse(source).body
    node = statement.value if isinstance(statement, ast.Expr) else statement
    assert node is not None
    return [ast.unparse(change) for change in changes(node)]


@pytest.mark.parametrize(
    ("source", "becomes"),
    [
        ("a < b", "a <= b"),
        ("a is None", "a is not None"),
        ("a in b", "a not in b"),
        ("a and b", "a or b"),
        ("not a", "a"),
        ("True", "False"),
        ("7", "8"),
        ("a // b", "a * b"),
        ("min(a, b)", "max(a, b)"),
        ("total += a", "pass"),
        ("raise KeyError", "pass"),
    ],
)
def test_a_fault_is_one_that_a_person_could_have_made(source, becomes):
    assert _changed(source) == [becomes]


@pytest.mark.parametrize("source", ["a", "'words'", "0 < a < 1", "f(a)", "a = b"])
def test_other_code_is_left_as_it_is(source):
    assert _changed(source) == []


def test_a_mutant_is_the_code_of_its_function_with_one_fault():
    (mutant,) = (
        mutant
        for mutant in mutants("src/gpuslice/hardware/fit.py")
        if mutant.function == "Fit.fits" and mutant.was == "self.binds is None"
    )
    assert mutant.becomes == "self.binds is not None"
    assert code_of(mutant).co_qualname == "Fit.fits"
    assert mutant.name.endswith("Fit.fits: self.binds is None → self.binds is not None")


def test_the_same_seed_takes_the_same_mutants():
    first, again, other = (sample(TARGETS["fit"], 20, seed) for seed in (1, 1, 2))
    assert [mutant.name for mutant in first] == [mutant.name for mutant in again]
    assert [mutant.name for mutant in first] != [mutant.name for mutant in other]
    assert len(first) == 20
