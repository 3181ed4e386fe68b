"""Standard output kept from what a library's C code writes there: it belongs to the plan alone."""

from __future__ import annotations

import ctypes
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_STDOUT: Final = 1


@contextmanager
def silenced() -> Iterator[None]:
    """Whatever is written to the process's standard output meanwhile is lost. Where it has none, nothing happens."""
    try:
        kept = os.dup(_STDOUT)
    except OSError:  # closed by whoever started the process
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, _STDOUT)
    os.close(nowhere)
    try:
        yield
    finally:
        ctypes.CDLL(None).fflush(None)  # what C has buffered would come out later
        os.dup2(kept, _STDOUT)
        os.close(kept)
