"""Small faults put into the code, one at a time: do the tests that are about it notice?

python -m tools.mutants --page                       a sample of every target, onto the page
python -m tools.mutants verifier --count 200         more of one, printed
python -m tools.mutants --seed 2 --seconds 600       other ones, for so long at most

A mutant is one change in one function: a comparison turned round, a number one more, `and` for `or`, a statement
dropped, an answer of None. The same seed takes the same mutants of the same code. The tests run once as they are, in
this process, which also imports all there is; each mutant is then put into a fork of it, in its function's place.
"""

from __future__ import annotations

import argparse
import ast
import datetime as dt
import functools
import importlib
import io
import itertools
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any, Final, NamedTuple

import pytest

from tools.markdown import code, table

ROOT: Final = Path(__file__).resolve().parents[1]
PAGE: Final = ROOT / "docs/reference/mutants.md"

_BEGIN: Final = "<!-- mutants: written by `make mutants` -->"
_END: Final = "<!-- end -->"
_TEST_SECONDS: Final = 120  # for one mutant: an endless loop has been noticed
_COUNT: Final = 30  # of each target
_KILLED, _SURVIVED = 0, 10  # exit codes of a fork


class Target(NamedTuple):
    """Modules that are mutated together, and the tests that are about them."""

    modules: tuple[str, ...]
    tests: tuple[str, ...]
    keep: bool = False
    """What the tests have computed once may stay: nothing of it comes from these modules."""


TARGETS: Final = {
    "verifier": Target(
        ("src/gpuslice/verifier",), ("tests/verifier", "tests/planner/test_services.py"), keep=True
    ),
    "fit": Target(("src/gpuslice/hardware/fit.py",), ("tests/hardware/test_fit.py",)),
    "model": Target(
        ("src/gpuslice/planner/model",),
        (
            "tests/planner/test_affinity.py",
            "tests/planner/test_options.py",
            "tests/planner/test_solve_rules.py",
            "tests/planner/test_policy.py",
            "tests/planner/test_services.py",
        ),
    ),
    "loads": Target(
        ("src/gpuslice/planner/loads",),
        (
            "tests/planner/test_knapsack.py",
            "tests/planner/test_mig_load.py",
            "tests/planner/test_enumeration.py",
            "tests/planner/test_columns.py",
        ),
    ),
}


class _Place(NamedTuple):
    """Where a node hangs in a tree."""

    parent: ast.AST
    field: str
    at: int | None  # in a list


class Mutant(NamedTuple):
    """One change in one function."""

    path: str
    function: str  # its qualified name in the module
    line: int
    was: str
    becomes: str
    number: int  # among those of its module

    @property
    def name(self) -> str:
        """Where it is and what it changes, in a line."""
        return f"{self.path}:{self.line} {self.function}: {self.was} → {self.becomes}"


_COMPARISONS: Final[dict[type[ast.cmpop], type[ast.cmpop]]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
_OPERATORS: Final[dict[type[ast.operator], type[ast.operator]]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.FloorDiv: ast.Mult,
    ast.Div: ast.Mult,
    ast.Mod: ast.Mult,
}
_SWAPPED: Final = {"min": "max", "max": "min", "all": "any", "any": "all"}


def changes(node: ast.AST) -> Iterator[ast.AST]:
    """What may stand in a node's place: each a fault that a person could have made."""
    match node:
        case ast.Compare(ops=[operator]):
            yield ast.Compare(node.left, [_COMPARISONS[type(operator)]()], node.comparators)
        case ast.BoolOp():
            yield ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
        case ast.UnaryOp(op=ast.Not()):
            yield node.operand
        case ast.Constant(value=bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(value=int(value)):
            yield ast.Constant(value + 1)
        case ast.BinOp() if type(node.op) in _OPERATORS:
            yield ast.BinOp(node.left, _OPERATORS[type(node.op)](), node.right)
        case ast.Call(func=ast.Name(id=name)) if name in _SWAPPED:
            yield ast.Call(ast.Name(_SWAPPED[name], ast.Load()), node.args, node.keywords)
        case ast.Return(value=ast.expr()) if not isinstance(node.value, ast.Constant):
            yield ast.Return(ast.Constant(None))
        case ast.Expr(value=ast.Call() | ast.Yield() | ast.YieldFrom()) | ast.AugAssign() | ast.Raise():
            yield ast.Pass()
        case ast.Continue():
            yield ast.Pass()
        case _:
            return


def mutants(path: str) -> list[Mutant]:
    """All mutants of the functions of a module, in the order of its text."""
    tree = ast.parse((ROOT / path).read_text())
    return [
        Mutant(path, name, getattr(node, "lineno", 0), ast.unparse(node), ast.unparse(change), number)
        for number, (name, _, node, change) in enumerate(_faults(tree))
    ]


def code_of(mutant: Mutant) -> CodeType:
    """The code of a mutant's function, with the fault in it."""
    tree = ast.parse((ROOT / mutant.path).read_text())
    name, place, node, change = next(itertools.islice(_faults(tree), mutant.number, None))
    _put(place, ast.copy_location(change, node))
    waiting = [compile(ast.fix_missing_locations(tree), str(ROOT / mutant.path), "exec", dont_inherit=True)]
    while waiting:
        candidate = waiting.pop()
        if candidate.co_qualname == name:
            return candidate
        waiting += [constant for constant in candidate.co_consts if isinstance(constant, CodeType)]
    raise LookupError(name)


def _faults(tree: ast.Module) -> Iterator[tuple[str, _Place, ast.AST, ast.AST]]:
    """Name of the function, place, what stands there, and what may stand there instead."""
    for name, function in _functions(tree):
        for place, node in _places(function):
            for change in changes(node):
                yield name, place, node, change


def _put(place: _Place, node: ast.AST) -> None:
    parent, field, at = place
    if at is None:
        setattr(parent, field, node)
    else:
        getattr(parent, field)[at] = node


def _functions(tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef]]:
    """Functions of the module and methods of its classes, by qualified name."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            yield node.name, node
        elif isinstance(node, ast.ClassDef):
            for method in node.body:
                if isinstance(method, ast.FunctionDef):
                    yield f"{node.name}.{method.name}", method


def _places(function: ast.FunctionDef) -> Iterator[tuple[_Place, ast.AST]]:
    """Every node in a function's body, with where it hangs; annotations and texts aside."""
    waiting: list[tuple[_Place, ast.AST]] = [
        (_Place(function, "body", i), statement) for i, statement in enumerate(function.body)
    ]
    below: list[tuple[_Place, Any]]
    while waiting:
        place, node = waiting.pop(0)
        yield place, node
        if isinstance(node, ast.JoinedStr):
            continue
        below = []
        for name, value in ast.iter_fields(node):
            if name in {"annotation", "returns", "decorator_list"}:
                continue
            if isinstance(value, list):
                below += [(_Place(node, name, i), item) for i, item in enumerate(value)]
            else:
                below.append((_Place(node, name, None), value))
        waiting[:0] = [(where, item) for where, item in below if isinstance(item, ast.AST)]


def sample(target: Target, count: int, seed: int) -> list[Mutant]:
    """So many mutants of a target, or all: the same for the same seed and code."""
    paths = sorted(
        file.relative_to(ROOT).as_posix()
        for path in target.modules
        for file in ([ROOT / path] if path.endswith(".py") else (ROOT / path).rglob("*.py"))
    )
    everyone = [mutant for path in paths for mutant in mutants(path)]
    chosen = random.Random(seed).sample(range(len(everyone)), min(count, len(everyone)))
    return [everyone[index] for index in sorted(chosen)]


def _function(mutant: Mutant) -> FunctionType:
    """The live function whose code a mutant replaces, out of its wrappers."""
    module = mutant.path.removeprefix("src/").removesuffix(".py").replace("/", ".")
    found: Any = importlib.import_module(module)
    for part in mutant.function.split("."):
        found = found.__dict__[part]
    while not isinstance(found, FunctionType):
        found = next(
            getattr(found, name)
            for name in ("__wrapped__", "fget", "func", "__func__")
            if getattr(found, name, None)
        )
    return found


def _forget(*, keep: bool) -> None:
    """Empty what functions have remembered: of gpuslice, and of the tests too unless that may be kept."""
    for name, module in list(sys.modules.items()):
        if name.startswith("gpuslice") or (name.startswith("tests") and not keep):
            for value in list(vars(module).values()):
                clear: Callable[[], None] | None = getattr(value, "cache_clear", None)
                if clear is not None and isinstance(value, functools._lru_cache_wrapper):  # noqa: SLF001  no other name
                    clear()


def _passes(tests: tuple[str, ...]) -> bool:
    """Whether the tests pass in this process, as far as the first that doesn't."""
    quiet = (
        "-x",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        "--hypothesis-profile=check",
        "-m",
        "not slow and not e2e",
    )
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        return pytest.main([*quiet, *tests]) == pytest.ExitCode.OK


def survives(mutant: Mutant | None, target: Target) -> bool:
    """Whether the tests pass with it, or with none, tried in a fork. Tests that take too long don't pass."""
    child = os.fork()
    if not child:
        signal.alarm(_TEST_SECONDS)  # ends the fork
        _forget(keep=target.keep)
        if mutant is not None:
            _function(mutant).__code__ = code_of(mutant)
        os._exit(_SURVIVED if _passes(target.tests) else _KILLED)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) == _SURVIVED


def report(results: dict[str, list[tuple[Mutant, bool]]], seed: int) -> str:
    """The part of the page that a run writes."""
    counted = [
        (name, len(tried), sum(not lives for _, lives in tried)) for name, tried in results.items() if tried
    ]
    survivors = [
        (code(mutant.path.removeprefix("src/gpuslice/")), mutant.line, code(mutant.was), code(mutant.becomes))
        for tried in results.values()
        for mutant, lives in tried
        if lives
    ]
    date = dt.datetime.now(tz=dt.UTC).date()
    return "\n\n".join(
        [
            f"Of {date}, seed {seed}.",
            table(["target", "mutants", "noticed"], counted, right=["mutants", "noticed"]),
            "Those that nobody noticed:" if survivors else "",
            table(["file", "line", "was", "became"], survivors, right=["line"]) if survivors else "",
        ]
    ).strip()


def main(arguments: list[str]) -> int:
    """Try a sample of each target; exit code 1 where the tests fail without any mutant."""
    parser = argparse.ArgumentParser(prog="python -m tools.mutants", description=__doc__.partition("\n")[0])
    parser.add_argument(
        "targets", nargs="*", choices=[*TARGETS, []], metavar="TARGET", help=", ".join(TARGETS)
    )
    parser.add_argument("--count", type=int, default=_COUNT, help="mutants of each target")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=1800.0, help="begin no mutant after so long")
    parser.add_argument("--page", action="store_true", help="write the page")
    options = parser.parse_args(arguments)
    end = time.monotonic() + options.seconds
    results: dict[str, list[tuple[Mutant, bool]]] = {}
    for name in options.targets or TARGETS:
        target = TARGETS[name]
        results[name] = []
        if not (_passes(target.tests) and survives(None, target)):
            print(f"{name}: its tests fail without any mutant", file=sys.stderr)
            return 1
        for mutant in sample(target, options.count, options.seed):
            if time.monotonic() > end:
                print(f"{name}: no time for the rest", file=sys.stderr)
                break
            results[name].append((mutant, survives(mutant, target)))
            if results[name][-1][1]:
                print(f"not noticed: {mutant.name}", flush=True)
        print(
            f"{name}: {len(results[name])} mutants, {sum(lives for _, lives in results[name])} not noticed",
            flush=True,
        )
    if options.page:
        before, begin, rest = PAGE.read_text().partition(_BEGIN)
        PAGE.write_text(
            f"{before}{begin}\n\n{report(results, options.seed)}\n\n{_END}{rest.partition(_END)[2]}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
