"""Files and directories are written whole or not at all."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from gpuslice.artefacts.output import LISTING, write_atomically, write_directory
from gpuslice.errors import EnvironmentFailedError, InputError


def contents(directory: Path) -> dict[str, str]:
    return {
        each.relative_to(directory).as_posix(): each.read_text()
        for each in directory.rglob("*")
        if each.is_file()
    }


def names(directory: Path) -> list[str]:
    return sorted(each.name for each in directory.iterdir())


@pytest.fixture
def broken_disk(monkeypatch):
    """fsync fails as it does on a full disk."""

    def fail(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)


def test_a_file_is_written_and_replaced(tmp_path):
    path = tmp_path / "plan.yaml"
    write_atomically(path, "one\n")
    write_atomically(str(path), "twö\n")
    assert path.read_text(encoding="utf-8") == "twö\n"
    assert names(tmp_path) == ["plan.yaml"]


def test_a_new_file_has_the_mode_of_the_umask_and_an_old_one_keeps_its_own(tmp_path):
    path = tmp_path / "plan.yaml"
    before = os.umask(0o027)
    try:
        write_atomically(path, "one")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    path.chmod(0o604)
    write_atomically(path, "two")
    assert stat.S_IMODE(path.stat().st_mode) == 0o604


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, broken_disk):
    path = tmp_path / "plan.yaml"
    path.write_text("old")
    with pytest.raises(EnvironmentFailedError, match="No space left on device") as caught:
        write_atomically(path, "new")
    assert caught.value.where == str(path)
    assert contents(tmp_path) == {"plan.yaml": "old"}


def test_an_interrupt_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    def interrupt(descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", interrupt)
    path = tmp_path / "plan.yaml"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, "new")
    with pytest.raises(KeyboardInterrupt):
        write_directory(tmp_path / "new", {"a": "b"})
    assert contents(tmp_path) == {"plan.yaml": "old"}
    assert names(tmp_path) == ["plan.yaml"]


def test_a_symbolic_link_stays_one(tmp_path):
    (tmp_path / "real").mkdir()
    link = tmp_path / "link.yaml"
    link.symlink_to("real/plan.yaml")
    write_atomically(link, "text")
    assert link.is_symlink()
    assert (tmp_path / "real" / "plan.yaml").read_text() == "text"


def test_standard_output_can_be_written_by_its_path(tmp_path):
    code = "from gpuslice.artefacts.output import write_atomically as w; w('/dev/stdout', 'text\\n')"
    piped = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert piped.stdout == "text\n"
    log = tmp_path / "log"
    log.write_text("before\n")
    with log.open("a") as file:
        subprocess.run([sys.executable, "-c", code], stdout=file, check=True)
    assert log.read_text() == "before\ntext\n"


@pytest.mark.parametrize(
    ("path", "problem", "fix"),
    [
        ("no/plan.yaml", "no directory", "mkdir -p"),
        ("file/plan.yaml", "no directory", "mkdir -p"),
        ("directory", "is a directory", "name a file in it"),
        ("x" * 300, "can't be written", ""),
        ("\0", "no file name", ""),
    ],
)
def test_a_path_that_can_not_be_written_is_named(tmp_path, path, problem, fix):
    (tmp_path / "file").touch()
    (tmp_path / "directory").mkdir()
    with pytest.raises(EnvironmentFailedError, match=problem) as caught:
        write_atomically(f"{tmp_path}/{path}", "text")
    assert caught.value.exit_code == 3
    assert fix in caught.value.fix
    assert names(tmp_path) == ["directory", "file"]


def test_a_read_only_file_is_not_replaced(tmp_path, monkeypatch):
    path = tmp_path / "plan.yaml"
    path.write_text("old")
    path.chmod(0o444)
    if os.access(path, os.W_OK):  # the superuser writes everything
        monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(EnvironmentFailedError, match="permission denied"):
        write_atomically(path, "new")
    assert path.read_text() == "old"


def test_a_directory_holds_exactly_what_was_last_written(tmp_path):
    path = tmp_path / "manifests"
    write_directory(path, {"a.yaml": "1", "pools/b.yaml": "2", "pools/c.yaml": "3"})
    write_directory(path, {"a.yaml": "4", "pools/c.yaml": "3", "d.yaml": "5"})
    found = contents(path)
    listing = found.pop(LISTING)
    assert found == {"a.yaml": "4", "pools/c.yaml": "3", "d.yaml": "5"}
    assert listing.splitlines()[1:] == ["a.yaml", "d.yaml", "pools/c.yaml"]
    assert names(tmp_path) == ["manifests"]


def test_an_empty_directory_may_be_filled(tmp_path):
    path = tmp_path / "manifests"
    path.mkdir(mode=0o750)
    write_directory(path, {"a.yaml": "1"})
    assert (path / "a.yaml").read_text() == "1"
    assert stat.S_IMODE(path.stat().st_mode) == 0o750


@pytest.mark.parametrize("foreign", ["notes.txt", "pools/mine.yaml", LISTING])
def test_a_directory_with_somebody_elses_files_is_refused_and_untouched(tmp_path, foreign):
    path = tmp_path / "manifests"
    if foreign != LISTING:
        write_directory(path, {"a.yaml": "1", "pools/b.yaml": "2"})
    (path / foreign).parent.mkdir(parents=True, exist_ok=True)
    (path / foreign).write_text("")
    before = contents(path)
    with pytest.raises(InputError, match="files that gpuslice didn't write") as caught:
        write_directory(path, {"a.yaml": "3"})
    assert foreign in str(caught.value)
    assert contents(path) == before
    assert names(tmp_path) == ["manifests"]


def test_a_link_to_a_directory_of_somebody_else_is_not_followed(tmp_path):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "data").write_text("x")
    path = tmp_path / "manifests"
    write_directory(path, {"a.yaml": "1"})
    (path / "link").symlink_to(tmp_path / "precious")
    with pytest.raises(InputError, match="link"):
        write_directory(path, {"a.yaml": "2"})
    assert (tmp_path / "precious" / "data").read_text() == "x"


def test_a_failure_leaves_the_old_directory_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "manifests"
    write_directory(path, {"a.yaml": "1"})
    real = Path.rename
    failed: list[Path] = []

    def fail_to_move_in(self, target):
        if target == path and not failed:
            failed.append(self)
            raise OSError(5, "Input/output error")
        return real(self, target)

    monkeypatch.setattr(Path, "rename", fail_to_move_in)
    with pytest.raises(EnvironmentFailedError, match="Input/output error"):
        write_directory(path, {"a.yaml": "2"})
    assert (path / "a.yaml").read_text() == "1"
    assert names(tmp_path) == ["manifests"]


def test_the_directory_that_one_stands_in_is_not_pulled_away(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="the directory that you are in"):
        write_directory(".", {"a.yaml": "1"})


def test_a_file_is_no_directory(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="is a file"):
        write_directory(tmp_path / "file", {"a.yaml": "1"})
    with pytest.raises(EnvironmentFailedError, match="no directory"):
        write_directory(tmp_path / "no" / "manifests", {"a.yaml": "1"})


@pytest.mark.parametrize("name", ["/etc/passwd", "../up", "a/../../b", "", LISTING])
def test_no_file_is_written_outside_of_its_directory(tmp_path, name):
    with pytest.raises(ValueError, match="not a path inside"):
        write_directory(tmp_path / "manifests", {name: "x"})
