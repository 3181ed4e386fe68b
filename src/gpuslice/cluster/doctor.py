"""The checks together: what is wrong in a cluster, worst first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from gpuslice.cluster.checks import drift, nodes, overlays, placement, sharing, slices
from gpuslice.cluster.finding import Check, Finding, Seen, Severity, Use
from gpuslice.cluster.resources import Resource

if TYPE_CHECKING:
    from gpuslice.cloud.catalog import Catalog
    from gpuslice.cluster.snapshot import Snapshot
    from gpuslice.planner.plan import Plan

CHECKS: Final[tuple[Check, ...]] = tuple(
    sorted(
        (
            *nodes.CHECKS,
            *overlays.CHECKS,
            *slices.CHECKS,
            *sharing.CHECKS,
            *placement.CHECKS,
            *drift.CHECKS,
        ),
        key=lambda each: each.code,
    )
)
_ORDER: Final = {each: number for number, each in enumerate(Severity)}


def diagnose(
    snapshot: Snapshot,
    catalog: Catalog,
    checks: Sequence[Check] = CHECKS,
    *,
    plan: Plan | None = None,
    use: Mapping[str, Use] = MappingProxyType({}),
) -> list[Finding]:
    """What is wrong, worst first; a check whose objects couldn't be read is itself a finding."""
    seen = Seen(snapshot, catalog, plan, use)
    found: list[Finding] = []
    for check in checks:
        missing = [each for each in check.reads if not snapshot.could_read(each)]
        if missing:
            found.append(_unknown(check, missing))
            continue
        found += [replace(each, code=check.code, severity=check.severity) for each in check.find(seen)]
    return sorted(found, key=lambda each: (_ORDER[each.severity], each.code, each.subject))


def _unknown(check: Check, missing: list[Resource]) -> Finding:
    names = ", ".join(each.title for each in missing)
    return Finding(
        check.title,
        f"not looked at: {names} can't be read",
        "nobody knows",
        "ask for the permission to do that",
        code=check.code,
        severity=Severity.UNKNOWN,
    )
