"""The generated reference: every page that is made from the code, written, or compared with what is committed.

python -m tools.reference           write docs/reference/, docs/images/, the table of rooms and the README's block
python -m tools.reference --check   say what is out of date, exit 1 if anything is
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from tools import architecture, readme
from tools.answers import answers
from tools.checks import check_page
from tools.command_line import command_line
from tools.hardware_tables import gpus, mig
from tools.permissions import permission_page
from tools.pictures import pictures
from tools.report_pictures import report_pictures
from tools.rules import annotation_page, assumption_page
from tools.schemas import schema_files
from tools.sharing_table import sharing_page

ROOT: Final = Path(__file__).resolve().parents[1]


def files() -> dict[str, str]:
    """The text of every file that is generated as a whole, by path from the root of the repository."""
    found = {
        "command-line.md": command_line(),
        "answers.md": answers(),
        "checks.md": check_page(),
        "permissions.md": permission_page(),
        "gpus.md": gpus(),
        "mig.md": mig(),
        "sharing.md": sharing_page(),
        "annotations.md": annotation_page(),
        "assumptions.md": assumption_page(),
        **schema_files(),
    }
    reference = {f"docs/reference/{name}": text for name, text in found.items()}
    images = pictures() | report_pictures() | {architecture.PICTURE: architecture.picture()}
    return reference | images


def main(arguments: list[str]) -> int:
    """Write, or check."""
    wanted = files()
    text = (ROOT / readme.PATH).read_text()
    wanted[readme.PATH] = readme.with_block(text, readme.block())
    wanted[architecture.PAGE] = architecture.page()
    stale = [
        path
        for path, content in wanted.items()
        if not (ROOT / path).is_file() or (ROOT / path).read_text() != content
    ]
    if "--check" in arguments:
        for path in stale:
            print(f"{path} is out of date: run make reference", file=sys.stderr)
        return 1 if stale else 0
    for path in stale:
        (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / path).write_text(wanted[path])
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
