"""What a plan is made under."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gpuslice.carriers import table
from gpuslice.hardware.stacks import Stack
from gpuslice.plan import artefact
from gpuslice.plan.defaults import DEFAULT_GAP, DEFAULT_MIN_SAVING
from gpuslice.workloads.policy import FREE, Policy

if TYPE_CHECKING:
    from gpuslice.carriers.carrier import Carrier
    from gpuslice.cloud.catalog import DaemonsetOverhead
    from gpuslice.workloads.today import Today


@dataclass(frozen=True, slots=True)
class Settings:
    """What a plan is made under.

    Attributes:
        stack: what nodes run.
        carrier_name: who hands out GPUs there, of `table.NAMES`.
        overhead: of daemonsets on every node.
        overhead_assumed: whether that is our default and not the user's word.
        gap: relative, at which a plan is good enough.
        without: mechanisms that are not wanted, by name, and "metered".
        policy: what may be bought.
        previous: plan to keep to, unless moving saves enough.
        min_saving: share of the bill that is enough.
        fallback: whether pools get a second instance type where that costs next to nothing.
        today: what runs and is paid for; None: nothing of it is known. It decides nothing.
        seats: whether nodes offer a seat for each replica, so that a workload's pods may be in many pools.
        models_today: GPU models that workloads were said or assumed to run on, beside what they say themselves.
    """

    overhead: DaemonsetOverhead
    overhead_assumed: bool = True
    stack: Stack = Stack.AL2023
    carrier_name: str = table.DEVICE_PLUGIN
    gap: float = DEFAULT_GAP
    without: frozenset[str] = frozenset()
    policy: Policy = FREE
    previous: artefact.Plan | None = None
    min_saving: float = DEFAULT_MIN_SAVING
    fallback: bool = True
    seats: bool = False
    models_today: artefact.ModelsToday = artefact.NO_MODELS
    today: Today | None = None

    @property
    def carrier(self) -> Carrier:
        """By which pods get slices on nodes of the stack."""
        return table.carrier(self.carrier_name, self.stack)
