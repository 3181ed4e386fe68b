"""The changelog from its fragments: each file of changelog.d/ becomes a bullet under Unreleased, and is gone then.

python -m tools.changelog           put them together
python -m tools.changelog --show    print what would come of it
"""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
FOLDER: Final = ROOT / "changelog.d"
CHANGELOG: Final = ROOT / "CHANGELOG.md"
# In the order in which Keep a Changelog has them.
KINDS: Final = ("added", "changed", "deprecated", "removed", "fixed", "security")

_UNRELEASED: Final = "## [Unreleased]\n"
_NAME: Final = re.compile(rf"[a-z0-9-]+\.({'|'.join(KINDS)})\.md")
_WIDTH: Final = 120


class FragmentError(ValueError):
    """A file of changelog.d/ that is no fragment."""


def kind_of(name: str) -> str:
    """What a fragment's file name says that it is.

    Raises:
        FragmentError: it says nothing known.
    """
    match = _NAME.fullmatch(name)
    if not match:
        raise FragmentError(
            f"changelog.d/{name}: call it <name>.<kind>.md, the kind one of {', '.join(KINDS)}"
        )
    return match[1]


def fragments() -> dict[Path, str]:
    """Kind of each fragment, by path.

    Raises:
        FragmentError: a file there is none.
    """
    return {path: kind_of(path.name) for path in sorted(FOLDER.iterdir()) if path.name != "README.md"}


def with_bullets(text: str, bullets: Mapping[str, Sequence[str]]) -> str:
    """A changelog with more bullets under Unreleased, each at the end of its kind.

    Args:
        text: of the changelog.
        bullets: what they say, by kind.

    Raises:
        FragmentError: the changelog has no Unreleased.
    """
    before, mark, rest = text.partition(_UNRELEASED)
    if not mark:
        raise FragmentError(f"CHANGELOG.md lacks {_UNRELEASED.strip()!r}")
    own, released, later = rest.partition("\n## [")
    parts = {kind: _section(own, kind) for kind in KINDS}
    for kind, said in bullets.items():
        parts[kind] = "\n".join([*filter(None, [parts[kind]]), *(_bullet(words) for words in said)])
    sections = "\n\n".join(f"### {kind.title()}\n\n{part}" for kind, part in parts.items() if part)
    return f"{before}{mark}\n{sections}\n{released}{later}"


def _section(unreleased: str, kind: str) -> str:
    return unreleased.partition(f"### {kind.title()}\n")[2].partition("\n### ")[0].strip()


def _bullet(words: str) -> str:
    return textwrap.fill(
        " ".join(words.split()),
        _WIDTH,
        initial_indent="- ",
        subsequent_indent="  ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def main(arguments: list[str]) -> int:
    """Put together, or show."""
    try:
        kinds = fragments()
        bullets = {kind: [path.read_text() for path, own in kinds.items() if own == kind] for kind in KINDS}
        text = with_bullets(CHANGELOG.read_text(), bullets)
    except FragmentError as error:
        print(error, file=sys.stderr)
        return 1
    if "--show" in arguments:
        print(text, end="")
        return 0
    CHANGELOG.write_text(text)
    for path in kinds:
        path.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
