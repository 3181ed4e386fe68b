"""A docstring says what a thing is, to whoever reads no other: none leans on a neighbour's."""

import ast
import re
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src" / "gpuslice"
LEANS = re.compile(
    r"\A(The same\b|As (of|by|in) |As `|See )"  # what begins so
    r"|\b[Aa]s of `|^ {4,}[\w, ]+: (as (of|by)|the same) ",  # what an argument or attribute is said to be
    re.MULTILINE,
)


def docstrings(source):
    """Lines and texts of a file's docstrings, those of attributes and constants too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            text = node.value.value
            if isinstance(text, str):
                yield node.lineno, text


def leaning(source):
    return [(line, text) for line, text in docstrings(source) if LEANS.search(text)]


def test_a_docstring_that_leans_on_another_is_seen_wherever_it_stands():
    text = '''
def other(nodes):
    """As `one`, of many."""

class Kind:
    name: str
    """The same in words."""

    def __str__(self):
        """What it is.

        Args:
            tolerance: as of `solve`.
        """
'''
    assert [line for line, _ in leaning(text)] == [3, 7, 10]
    assert not leaning('def one():\n    """The nodes, the same number as before: as few as can be."""\n')


def test_no_docstring_leans_on_another():
    found = [
        f"{file.relative_to(SOURCE)}:{line}: {text.splitlines()[0]}"
        for file in sorted(SOURCE.rglob("*.py"))
        for line, text in leaning(file.read_text(encoding="utf-8"))
    ]
    assert found == []
