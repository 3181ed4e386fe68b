"""What `make docs` adds to the site while it builds it: the report of the example fleet, as gpuslice writes it."""

from __future__ import annotations

import sys
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # mkdocs loads this file by its path

from tools.pictures import example


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add examples/report.html, to which pages link."""
    files.append(File.generated(config, "examples/report.html", content=example()))
    return files
