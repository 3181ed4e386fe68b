"""No function is longer than a screen or two: whoever reads one sees it whole."""

import ast
from functools import cache
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src" / "gpuslice"
LONGEST = 80
"""Lines, without decorators and signature: a verb has as many parameters as options, each with its help."""
MAY_BE_LONGER: set[tuple[str, str]] = set()
"""Tables: file and function."""


def functions(source):
    """Names of a file's functions, those inside others too, with the lines of their bodies."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            yield node.name, node.end_lineno - node.body[0].lineno + 1


@cache
def long_ones():
    return {
        (file.relative_to(SOURCE).as_posix(), name)
        for file in sorted(SOURCE.rglob("*.py"))
        for name, lines in functions(file.read_text(encoding="utf-8"))
        if lines > LONGEST
    }


def test_a_body_is_counted_without_its_signature_and_with_what_is_inside_it():
    text = "def outer(\n    a,\n    b,\n):\n    '''Said.'''\n    def inner():\n        return a\n\n    return inner\n"
    assert dict(functions(text)) == {"outer": 5, "inner": 1}


def test_no_function_is_too_long_to_be_read_at_once():
    assert long_ones() - MAY_BE_LONGER == set()


def test_no_exception_is_left_that_nobody_needs():
    assert MAY_BE_LONGER - long_ones() == set()
