"""The checks together: what is wrong in a cluster, worst first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from gpuslice.carriers import table
from gpuslice.cluster.checks import (
    claims,
    configurations,
    drift,
    mig,
    nodes,
    overlays,
    placement,
    slices,
    usage,
)
from gpuslice.cluster.checks.finding import Check, Finding, Seen, Severity, Use
from gpuslice.cluster.client.resources import CONFIG_MAP
from gpuslice.cluster.client.roles import TO_VIEW

if TYPE_CHECKING:
    from gpuslice.cloud.catalog import Catalog
    from gpuslice.cluster.seen.snapshot import Snapshot, Unread
    from gpuslice.plan.artefact import Plan

_OF_CARRIERS: Final = {
    table.DEVICE_PLUGIN: (
        *overlays.CHECKS,
        *slices.CHECKS,
        *usage.CHECKS,
        *configurations.CHECKS,
        *mig.CHECKS,
    ),
}
"""What is asked where a carrier hands out GPUs, by its name."""
CHECKS: Final[tuple[Check, ...]] = tuple(
    sorted(
        (
            *nodes.CHECKS,
            *placement.CHECKS,
            *drift.CHECKS,
            *claims.CHECKS,
            *(check for name in table.NAMES for check in _OF_CARRIERS[name]),
        ),
        key=lambda check: check.code,
    )
)
_ORDER: Final = {severity: number for number, severity in enumerate(Severity)}


_ELSEWHERE: Final = " (with --operator-namespace, where the device plugin isn't in gpu-operator)"


def diagnose(
    snapshot: Snapshot,
    catalog: Catalog,
    checks: Sequence[Check] = CHECKS,
    *,
    plan: Plan | None = None,
    use: Mapping[str, Use] = MappingProxyType({}),
    held: Mapping[str, int] = MappingProxyType({}),
) -> list[Finding]:
    """What is wrong, worst first; a check whose objects couldn't be read is itself a finding."""
    seen = Seen(snapshot, catalog, plan, use, held)
    findings: list[Finding] = []
    for check in checks:
        missing = {read.title for read in check.reads if not snapshot.could_read(read)}
        if missing:
            findings.append(_unknown(check, [kind for kind in snapshot.unread if kind.what in missing]))
            continue
        findings += [
            replace(finding, code=check.code, severity=check.severity) for finding in check.find(seen)
        ]
    return sorted(findings, key=lambda finding: (_ORDER[finding.severity], finding.code, finding.subject))


def untold(snapshot: Snapshot, checks: Sequence[Check]) -> list[Unread]:
    """What couldn't be read, and none of the checks says so: they don't need it."""
    needed = {read.title for check in checks for read in check.reads}
    return [kind for kind in snapshot.unread if kind.what not in needed]


def _unknown(check: Check, missing: list[Unread]) -> Finding:
    why = "; ".join(f"{kind.what} can't be read: {kind.why}" for kind in missing)
    return Finding(
        check.title,
        f"not looked at: {why}",
        "nobody knows",
        f"ask for the role of who looks: {TO_VIEW}"
        + (_ELSEWHERE if any(unread.what == CONFIG_MAP.title for unread in missing) else ""),
        code=check.code,
        severity=Severity.UNKNOWN,
    )
