"""How long Karpenter waits and nodes take, in seconds. Nothing is imported: the command line shows some as defaults."""

from __future__ import annotations

from typing import Final

LOOK_SECONDS: Final = 10.0
"""Between Karpenter's looks for something to consolidate (core, disruption controller)."""

VALIDATION_SECONDS: Final = 15.0
"""Karpenter looks again so long after it has found something to consolidate (core, disruption controller)."""

READY_SECONDS: Final = (45.0, 90.0)
"""From launch to ready, at least and at most, where a fleet is priced. Assumed: nothing but the order in which nodes
come up depends on it, so it is their spread that matters and not the mean."""

BOOT_SECONDS: Final = 180
"""From launch to slices that pods can have, where demand is replayed. Assumed: EC2's start, the AMI's boot, driver and
device plug-in. Waits are counted by it, so it is on the careful side, and the same for all nodes."""
