"""A commit message's first line: there, no longer than a log shows, and apart from what follows.

python -m tools.commit_subject FILE    as git and pre-commit call it, with the file that holds the message
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

LONGEST: Final = 71

_MADE_BY_GIT: Final = ("Merge ", "Revert ", "fixup! ", "squash! ", "amend! ")


def fault(message: str) -> str:
    """What is wrong with a message, in a line; empty: nothing."""
    lines = [line for line in message.splitlines() if not line.startswith("#")]
    subject = lines[0] if lines else ""
    if subject.startswith(_MADE_BY_GIT):
        return ""
    if not subject.strip():
        return "the first line says nothing"
    if len(subject) > LONGEST:
        return (
            f"the first line has {len(subject)} characters, at most {LONGEST} are shown; say the rest below"
        )
    if len(lines) > 1 and lines[1].strip():
        return "the second line isn't empty"
    return ""


def main(arguments: list[str]) -> int:
    """Exit code 1 where the message won't do."""
    said = fault(Path(arguments[0]).read_text(encoding="utf-8"))
    if said:
        print(f"commit message: {said}", file=sys.stderr)
    return 1 if said else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
