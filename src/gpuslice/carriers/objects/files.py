"""A rendered file: objects with a comment above them, and its text."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from gpuslice.artefacts.documents import dump_yaml

Object = Mapping[str, object]

HELM_VALUES: Final = "gpu-operator/values.yaml"
POLICY_PATCH: Final = "gpu-operator/cluster-policy-patch.yaml"
"""What a rendered directory says to the GPU Operator, by Helm or by a patch of its ClusterPolicy."""


@dataclass(frozen=True, slots=True)
class RenderedFile:
    """YAML documents to be written.

    Attributes:
        path: relative, with "/".
        objects: its documents, in their order.
        comment: for a person; stands at the top.
        applied: whether `kubectl apply -k` takes it.
    """

    path: str
    objects: tuple[Object, ...]
    comment: str = ""
    applied: bool = True

    @property
    def text(self) -> str:
        """The file, with a final newline."""
        return commented(self.comment) + "---\n".join(dump_yaml(entry) for entry in self.objects)


def commented(text: str) -> str:
    """Text as lines of comment: paragraphs filled, indented lines as they are."""
    lines: list[str] = []
    for (indented, _), block in groupby(text.splitlines(), lambda line: (line.startswith(" "), not line)):
        written = list(block)
        filled = textwrap.wrap(" ".join(written), 98, break_long_words=False, break_on_hyphens=False)
        lines += written if indented else filled or [""]
    return "".join(f"# {line}".rstrip() + "\n" for line in lines)
