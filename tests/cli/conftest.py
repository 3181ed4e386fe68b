"""What tests of the command line share: the program run in this process, and inputs that plan in no time."""

import io
import sys
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pytest

from gpuslice.cli.main import main
from gpuslice.cli.shown import prices

WORKLOADS = """\
apiVersion: gpuslice.io/v1alpha1
kind: Workloads
region: us-east-1
workloads:
- name: shop/search
  target: {kind: Deployment}
  replicas: {now: 2, peak: 3}
  pod: {cpu: 500m, memory: 1Gi}
  need: {memory: 3Gi, duty: 0.1, 'on': T4, source: measured}
  gpu: {allow: [T4]}
- name: shop/train
  target: {kind: Job}
  replicas: 1
  pod: {cpu: 500m, memory: 1Gi}
  need: {memory: 3Gi, duty: 0.2, 'on': T4, source: assumed}
  gpu: {allow: [T4]}
"""
# It asks for two models of which none has so much memory.
TOO_BIG = """\
- name: shop/giant
  target: {kind: Deployment}
  replicas: 1
  need: {memory: 60Gi, duty: 0.1, 'on': T4}
  gpu: {allow: [T4, A10G]}
"""


@dataclass(frozen=True)
class Ended:
    """How the program ended, and what it said."""

    code: int
    out: str
    err: str


@pytest.fixture
def gpuslice(monkeypatch, capsys):
    """The whole program, from its arguments to its exit code."""
    for name in ("COLUMNS", "NO_COLOR", "GPUSLICE_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(
        prices, "_day", lambda: date(2026, 9, 18)
    )  # 60 days after those of the bundled catalog

    def run(*arguments: object, stdin: str | bytes | io.TextIOBase = b"", program: str = "gpuslice") -> Ended:
        content = stdin.encode() if isinstance(stdin, str) else stdin
        keys = content if isinstance(content, io.TextIOBase) else io.TextIOWrapper(io.BytesIO(content))
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", [program, *map(str, arguments)])
            patch.setattr(sys, "stdin", keys)
            with pytest.raises(SystemExit) as ended:
                main()
        out, err = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Ended(ended.value.code, out, err)

    return run


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    """A workloads.yaml."""
    path = tmp_path / "workloads.yaml"
    path.write_text(WORKLOADS)
    return path


@pytest.fixture
def misfit(tmp_path: Path) -> Path:
    """A workloads.yaml with one workload that fits nothing."""
    path = tmp_path / "misfit.yaml"
    path.write_text(WORKLOADS + TOO_BIG)
    return path


@pytest.fixture(autouse=True)
def _no_terminal_width(monkeypatch):
    """What a developer's terminal says of its width must not wrap what tests read."""
    monkeypatch.delenv("COLUMNS", raising=False)
