"""What a plan and its pools are made with where nobody says otherwise. Nothing is imported: `--help` stays fast."""

from __future__ import annotations

from typing import Final

DEFAULT_GAP: Final = 0.005  # half a percent: below what any price list or reading of a need is good for

DEFAULT_MIN_SAVING: Final = 0.05  # less than that is not worth restarting what runs

CONSOLIDATE_AFTER_SECONDS: Final = 300
"""A GPU node takes minutes to boot and to pull images; giving it up at the first quiet moment would cost more."""

NODE_ROOM: Final = 2
"""A pool may grow to this many times the nodes planned: room for rollouts and growth, and an end to runaways."""
