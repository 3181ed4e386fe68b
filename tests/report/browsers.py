"""Chromium for the tests: the system's own. Where CI runs it must be there; elsewhere its tests are skipped without."""

import os

import pytest

from tools import browser


def chromium() -> str:
    """Its path."""
    path = browser.chromium()
    if not path:
        words = "no Chromium: make browser installs Debian's, or GPUSLICE_CHROMIUM names one"
        if os.environ.get("CI"):
            pytest.fail(words)
        pytest.skip(words)
    return path
