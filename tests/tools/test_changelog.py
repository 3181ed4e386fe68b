"""Fragments become bullets of the changelog."""

import pytest

from tools import changelog
from tools.changelog import CHANGELOG, FragmentError, fragments, kind_of, main, with_bullets

TEXT = """\
# Changelog

## [Unreleased]

### Added

- Seats.

## [0.1.0] - 2026-01-01

### Added

- Everything.
"""


def test_bullets_go_to_the_end_of_their_kind_and_no_release_changes():
    text = with_bullets(TEXT, {"fixed": ["A crash."], "added": ["Pools,\nand  more."]})
    assert text == TEXT.replace("- Seats.\n", "- Seats.\n- Pools, and more.\n\n### Fixed\n\n- A crash.\n")


def test_a_changelog_to_which_nothing_is_added_stays_as_it_is():
    text = CHANGELOG.read_text()
    assert with_bullets(text, {}) == text


def test_a_long_bullet_is_wrapped_below_its_own_beginning():
    text = with_bullets(TEXT, {"security": ["word " * 60]})
    lines = text.partition("### Security\n\n")[2].partition("\n\n")[0].splitlines()
    assert len(lines) == 3
    assert [line[:2] for line in lines] == ["- ", "  ", "  "]
    assert max(map(len, lines)) <= 120


@pytest.mark.parametrize("name", ["seats.md", "seats.new.md", "Seats.added.md", "seats.added.txt"])
def test_a_file_of_another_name_is_refused(name):
    with pytest.raises(FragmentError, match=r"<name>\.<kind>\.md"):
        kind_of(name)


def test_without_unreleased_there_is_no_place_for_them():
    with pytest.raises(FragmentError, match="Unreleased"):
        with_bullets("# Changelog\n", {"added": ["Seats."]})


def test_what_was_put_together_is_gone(monkeypatch, tmp_path):
    (tmp_path / "README.md").write_text("words")
    (tmp_path / "crash.fixed.md").write_text("A crash.\n")
    (tmp_path / "CHANGELOG.md").write_text(TEXT)
    monkeypatch.setattr(changelog, "FOLDER", tmp_path / "changelog.d")
    monkeypatch.setattr(changelog, "CHANGELOG", tmp_path / "CHANGELOG.md")
    (tmp_path / "changelog.d").mkdir()
    for name in ("README.md", "crash.fixed.md"):
        (tmp_path / name).rename(tmp_path / "changelog.d" / name)
    assert main([]) == 0
    assert "### Fixed\n\n- A crash.\n" in (tmp_path / "CHANGELOG.md").read_text()
    assert [path.name for path in (tmp_path / "changelog.d").iterdir()] == ["README.md"]


def test_the_fragments_that_there_are_have_a_kind_and_say_something():
    assert [path.name for path in fragments() if not path.read_text().strip()] == []
