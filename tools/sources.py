"""What the code says in words: docstrings and comments beside a constant, and the texts inside a module."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from itertools import pairwise
from types import ModuleType
from typing import Final

_COMMENT: Final = re.compile(r"^#\s?(.*)$")


def reason(module: ModuleType, name: str) -> str:
    """Why a constant is what it is: the docstring below it, else the comments above and beside it.

    Raises:
        LookupError: the module has no such constant, or not a word about it.
    """
    source = inspect.getsource(module)
    lines = source.splitlines()
    statements = ast.parse(source).body
    for each, below in pairwise([*statements, ast.Pass()]):
        if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name) and each.target.id == name:
            match below:
                case ast.Expr(value=ast.Constant(value=str() as text)):
                    return " ".join(text.split())
                case _:
                    pass
            words = [*_comments_above(lines, each.lineno - 1), lines[each.lineno - 1].partition("  # ")[2]]
            if text := " ".join(word for word in words if word).strip():
                return text
            raise LookupError(f"{module.__name__}.{name} has neither docstring nor comment")
    raise LookupError(f"{module.__name__} has no constant {name}")


def _comments_above(lines: list[str], line: int) -> list[str]:
    found: list[str] = []
    while line and (match := _COMMENT.match(lines[line - 1])):
        found.insert(0, match[1])
        line -= 1
    return found


def first_arguments(module: ModuleType, function: str) -> Iterator[str]:
    """The texts that a module passes first to a function; of an f-string the part before its first field."""
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        match node:
            case ast.Call(func=ast.Name(id=called), args=[ast.Constant(value=str() as text), *_]) if (
                called == function
            ):
                yield text
            case ast.Call(
                func=ast.Name(id=called),
                args=[ast.JoinedStr(values=[ast.Constant(value=str() as text), *_]), *_],
            ) if called == function:
                yield text
            case _:
                pass


def texts(module: ModuleType) -> frozenset[str]:
    """Every text constant in a module."""
    return frozenset(
        node.value
        for node in ast.walk(ast.parse(inspect.getsource(module)))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )
