"""The program as a whole: help, exit codes, streams, completion, and how it starts."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import gpuslice as package
from gpuslice.cli import plan as plan_verb
from gpuslice.errors import AnswerIsNoError, EnvironmentFailedError

BIN = Path(sys.executable).parent
OLD_PRICES = r"(?:note: prices are of [^\n]*\n)?"
"""As the bundled ones will be one day."""
TRACE = Path(__file__).parents[2] / "examples" / "gentd26" / "workloads.yaml"
HEAVY = {"numpy", "highspy", "boto3", "yaml", "msgspec", "rich", "ruamel"}


def script(*arguments: object, name: str = "gpuslice", **more: Any) -> subprocess.CompletedProcess[str]:
    """The installed program, in a process of its own."""
    return subprocess.run(
        [BIN / name, *map(str, arguments)], capture_output=True, text=True, check=False, **more
    )


def fail(error: BaseException) -> Callable[..., None]:
    def verb(*_: object, **__: object) -> None:
        raise error

    return verb


def test_help_names_every_verb_in_the_order_of_the_work(gpuslice):
    ended = gpuslice("--help")
    assert ended.code == 0
    verbs = re.findall(r"^  (\w+) {2,}\S", ended.out.partition("Commands:\n")[2], re.MULTILINE)
    assert verbs == [
        "scan",
        "plan",
        "explain",
        "simulate",
        "report",
        "render",
        "rehearse",
        "apply",
        "doctor",
        "status",
        "demo",
        "catalog",
        "measure",
    ]
    assert gpuslice("-h").out == gpuslice().out == ended.out


@pytest.mark.parametrize(
    "verb",
    [
        "scan",
        "plan",
        "explain",
        "simulate",
        "report",
        "render",
        "apply",
        "doctor",
        "status",
        "demo",
        "catalog",
        "measure",
    ],
)
def test_every_verb_has_help(gpuslice, verb):
    ended = gpuslice(verb, "--help")
    assert ended.code == 0
    assert ended.out.startswith(f"Usage: gpuslice {verb} ")


def test_kubectl_finds_it_as_a_plugin_and_is_named_in_its_help(gpuslice):
    out = gpuslice("plan", "-h", program="/usr/local/bin/kubectl-gpuslice").out
    assert out.startswith("Usage: kubectl gpuslice plan ")
    assert script("--help", name="kubectl-gpuslice").stdout.startswith("Usage: kubectl gpuslice ")
    assert "see kubectl gpuslice plan --help" in gpuslice("plan", program="kubectl-gpuslice").err


def test_the_version_is_the_packages(gpuslice):
    assert gpuslice("--version").out == f"gpuslice {package.__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [["frobnicate"], ["--frobnicate"], ["catalog", "frobnicate"], ["explain", "a", "b"], ["explain", "-f"]],
)
def test_bad_usage_is_two_lines_and_the_second_says_where_the_right_is_listed(gpuslice, arguments):
    ended = gpuslice(*arguments)
    assert (ended.code, ended.out) == (2, "")
    error, see = ended.err.splitlines()
    assert error.startswith("error: ")
    assert re.fullmatch(r"see gpuslice( catalog| explain)? --help", see)


def test_an_option_without_its_value_is_told_with_the_verb_whose_it_is(gpuslice):
    assert "see gpuslice explain --help" in gpuslice("explain", "-f").err
    assert "see kubectl gpuslice explain --help" in gpuslice("explain", "-f", program="kubectl-gpuslice").err


def test_a_verb_that_was_mistyped_is_named_right(gpuslice):
    assert "'explain'" in gpuslice("explian").err


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (AnswerIsNoError("it differs", fix="look"), 1, "error: it differs\nlook\n"),
        (EnvironmentFailedError("is away", where="EC2", fix="wait"), 3, "error: EC2: is away\nwait\n"),
        (
            RuntimeError("two\n lines"),
            3,
            "error: unexpected RuntimeError: two lines\nthis is a fault of gpuslice: --debug shows where\n",
        ),
        (KeyboardInterrupt(), 130, "error: interrupted\n"),
        (AnswerIsNoError("\x1b[2Jgone"), 1, "error: \\x1b[2Jgone\n"),
    ],
)
def test_every_way_to_fail_has_its_code_and_its_words(gpuslice, fleet, monkeypatch, error, code, says):
    monkeypatch.setattr(plan_verb, "make_plan", fail(error))
    ended = gpuslice("plan", "-f", fleet)
    assert (ended.code, ended.out, ended.err) == (code, "", says)


@pytest.mark.parametrize(
    "arguments", [["--debug", "plan", "-f", "/nonexistent"], ["plan", "-f", "/nonexistent", "--debug"]]
)
def test_debug_anywhere_shows_the_traceback_and_then_the_words(gpuslice, arguments):
    ended = gpuslice(*arguments)
    assert ended.code == 2
    assert ended.err.startswith("Traceback (most recent call last):")
    assert ended.err.endswith("error: /nonexistent: no such file\ncheck the path; `-` reads standard input\n")
    assert "Traceback" not in gpuslice("plan", "-f", "/nonexistent").err


def test_debug_can_be_asked_for_by_the_environment(gpuslice, monkeypatch):
    monkeypatch.setenv("GPUSLICE_DEBUG", "1")
    assert "Traceback" in gpuslice("plan", "-f", "/nonexistent").err


def test_headings_are_bold_on_a_terminal_alone_and_never_with_no_color(gpuslice, fleet, monkeypatch):
    arguments = ("plan", "-f", fleet, "--time-limit", "0")
    assert "\x1b" not in gpuslice(*arguments).out
    monkeypatch.setattr("gpuslice.cli.console._terminal", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    assert "\x1b[1m" in gpuslice(*arguments).out
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in gpuslice(*arguments).out


def test_the_real_program_plans_from_a_pipe(fleet):
    with fleet.open() as file:
        ended = script("plan", "-f", "-", "-o", "json", stdin=file)
    assert ended.returncode == 0
    assert json.loads(ended.stdout)["kind"] == "Plan"


def test_a_reader_that_leaves_early_is_no_error(fleet, tmp_path):
    many = tmp_path / "many.yaml"
    head, _, entry = fleet.read_text().partition("- name: shop/train")
    many.write_text(head + "".join(f"- name: shop/train{each}{entry}" for each in range(600)))
    command = [BIN / "gpuslice", "plan", "-f", many, "-o", "json", "--effort", "0"]
    # Python itself takes a pipe that is half written for done, where it is told not to buffer.
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=buffered) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.read(1) == b"{"
        process.stdout.close()
        said = process.stderr.read().decode()
    assert process.returncode == 0
    assert re.fullmatch(OLD_PRICES + r"planned for [^\n]*\n", said)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no full device")
def test_a_full_disk_behind_stdout_is_the_environments_fault(fleet):
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [BIN / "gpuslice", "plan", "-f", fleet, "-o", "json"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert ended.returncode == 3
    assert re.fullmatch(
        OLD_PRICES + "error: stdout: can't be written: No space left on device\n", ended.stderr
    )


def test_an_interrupt_before_there_is_a_plan_writes_nothing(tmp_path):
    out = tmp_path / "plan.yaml"
    command = [BIN / "gpuslice", "plan", "-f", "-", "--out", out]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        # More than a pipe holds: once it is written, the program is reading, and waits for the rest.
        process.stdin.write("# nothing yet\n" * 100_000)
        process.stdin.flush()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert said == "error: interrupted\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["gpuslice", "kubectl-gpuslice"])
def test_shells_get_a_completion_of_the_program(name):
    environment = {**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    ended = script("--show-completion", "bash", name=name, env=environment)
    assert ended.returncode == 0
    assert ended.stdout.rstrip().endswith(" gpuslice")
    assert "_GPUSLICE_COMPLETE=complete_bash" in ended.stdout


def test_completion_knows_the_verbs():
    environment = {
        **os.environ,
        "_GPUSLICE_COMPLETE": "complete_bash",
        "COMP_WORDS": "gpuslice pl",
        "COMP_CWORD": "1",
    }
    assert script(env=environment).stdout.split() == ["plan"]


@pytest.mark.parametrize("module", ["gpuslice", "gpuslice.cli.main"])
def test_starting_imports_nothing_heavy(module):
    ended = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", f"import {module}"],
        capture_output=True,
        text=True,
        check=True,
    )
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in ended.stderr.splitlines()}
    assert "gpuslice" in imported
    assert not imported & HEAVY
