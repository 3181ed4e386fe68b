"""What a report is about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuslice.cloud.catalog import Catalog
    from gpuslice.plan.artefact import Plan
    from gpuslice.simulator.result import Simulation
    from gpuslice.verifier.verify import Violation
    from gpuslice.workloads.model import Workload
    from gpuslice.workloads.today import Today


@dataclass(frozen=True, slots=True)
class Subject:
    """What a report is about.

    Attributes:
        plan: in question.
        catalog: that it names.
        workloads: that it was made for, or what the plan itself says of them; see `sections.from_plan`.
        given: whether somebody gave the workloads, so that the plan could be verified.
        violations: what is wrong with the plan.
        simulation: how it would have fared.
        today: what runs and is paid for, as it was read with the workloads.
    """

    plan: Plan
    catalog: Catalog
    workloads: tuple[Workload, ...]
    given: bool
    violations: Sequence[Violation] = ()
    simulation: Simulation | None = None
    today: Today | None = None
