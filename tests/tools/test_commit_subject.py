"""Which commit messages are refused."""

import pytest

from tools.commit_subject import LONGEST, fault, main


@pytest.mark.parametrize(
    "message",
    [
        "Seats stay",
        "Seats stay\n\nBecause they can.\n",
        "x" * LONGEST,
        "# Please enter the commit message\nSeats stay\n# On branch main\n",
        "Merge branch 'a' into b of " + "x" * 90,
    ],
)
def test_a_short_first_line_will_do(message):
    assert fault(message) == ""


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("", "says nothing"),
        ("\n\nSeats stay", "says nothing"),
        ("# only a comment\n", "says nothing"),
        ("x" * (LONGEST + 1), f"has {LONGEST + 1} characters"),
        ("Seats stay\nand more", "second line"),
    ],
)
def test_others_are_told_why_not(message, said, tmp_path, capsys):
    path = tmp_path / "COMMIT_EDITMSG"
    path.write_text(message)
    assert main([str(path)]) == 1
    assert said in capsys.readouterr().err
