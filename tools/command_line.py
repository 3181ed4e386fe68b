"""The command line's page: every verb, argument and option with its default, from typer's own objects."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import TYPE_CHECKING, Final

import typer
import typer.core
import typer.main

from gpuslice.cli import main
from tools.markdown import code, page, table

if TYPE_CHECKING:
    Command = typer.core.TyperCommand | typer.core.TyperGroup

_INTRODUCTION: Final = """\
`gpuslice` is also installed as `kubectl-gpuslice`, so that `kubectl gpuslice …` is the same command.

Data goes to standard output, everything said to a person to standard error. `-f -` reads standard input. `-o` chooses
the form of what is printed: `table` for people; `yaml` and `json` are stable, for programs; `name` prints one name a
line. `--out` writes files, whole or not at all. Colour is used on a terminal only, and not if `NO_COLOR` is set. What
the exit codes mean: [exit codes](answers.md#exit-codes).
"""
# Typer's own, the same for every program.
_TYPERS: Final = frozenset({"--help", "--install-completion", "--show-completion"})


def command_line() -> str:
    """The page."""
    root = typer.main.get_command(main.command_line())
    assert isinstance(root, typer.core.TyperGroup)  # noqa: S101  a program with verbs is one
    return page("Command line", _INTRODUCTION, *_sections(root, "gpuslice"))


def _sections(command: Command, name: str) -> Iterator[str]:
    context = typer.Context(command, info_name=name)
    inner = command.commands if isinstance(command, typer.core.TyperGroup) else {}
    parts = [
        f"## {name}",
        (command.help or "").strip(),
        f"```console\n$ {_usage(command, context, name)}\n```",
    ]
    arguments = [each for each in command.params if isinstance(each, typer.core.TyperArgument)]
    options = [
        each
        for each in command.params
        if isinstance(each, typer.core.TyperOption) and not _TYPERS & set(each.opts) and not each.hidden
    ]
    if arguments:
        parts.append(
            table(("argument", "meaning"), [(code(_argument(each)), each.help) for each in arguments])
        )
    if options:
        parts.append(
            table(
                ("option", "value", "default", "meaning"),
                [
                    (_names(each), code(_value(each, context)), _default(each), _meaning(each))
                    for each in options
                ],
            )
        )
    if inner:
        parts.append(
            table(("verb", "does"), [(_link(name, verb), _first(each.help)) for verb, each in inner.items()])
        )
    yield "\n\n".join(each for each in parts if each)
    for verb, each in inner.items():
        assert isinstance(each, typer.core.TyperCommand | typer.core.TyperGroup)  # noqa: S101  typer makes no others
        yield from _sections(each, f"{name} {verb}")


def _usage(command: Command, context: typer.Context, name: str) -> str:
    required = [
        f"{each.opts[0]} {_value(each, context)}"
        for each in command.params
        if isinstance(each, typer.core.TyperOption) and each.required
    ]
    arguments = [_argument(each) for each in command.params if isinstance(each, typer.core.TyperArgument)]
    verb = ["VERB"] if isinstance(command, typer.core.TyperGroup) else []
    return " ".join([name, *required, *arguments, "[OPTIONS]", *verb])


def _argument(argument: typer.core.TyperArgument) -> str:
    return argument.metavar or (argument.name or "").upper()


def _names(option: typer.core.TyperOption) -> str:
    return ", ".join(code(each) for each in option.opts)


def _value(option: typer.core.TyperOption, context: typer.Context) -> str:
    """What stands for the option's value in its help: "FILE", "<table|json>"; empty for a flag."""
    record = option.get_help_record(context)
    names = record[0] if record else ""
    return "" if option.is_flag else names.removeprefix(", ".join(option.opts)).strip()


def _default(option: typer.core.TyperOption) -> str:
    if option.required:
        return "required"
    default = option.default.value if isinstance(option.default, Enum) else option.default
    return "" if default in (None, "", False) or callable(default) else code(default)


def _meaning(option: typer.core.TyperOption) -> str:
    words = option.help or ""
    if isinstance(option.envvar, str):
        words += f" Also by the environment variable `{option.envvar}`."
    if option.multiple and "several times" not in words:
        words += " May be given several times."
    return words


def _link(name: str, verb: str) -> str:
    return f"[{verb}](#{name.replace(' ', '-')}-{verb})"


def _first(text: str | None) -> str:
    return (text or "").partition("\n\n")[0]
