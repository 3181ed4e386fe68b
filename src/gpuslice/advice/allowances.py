"""What a team could allow: each single rule of a workload, or of the policy, loosened by one step.

A step is always one that the workload's owner can take: it is stated in one place, and whoever takes it can still go
wherever it could go before. So no step makes the best possible plan dearer.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final, TypeVar

from msgspec import UNSET, structs

from gpuslice.cloud.catalog import Purchase
from gpuslice.hardware import cut as cuts
from gpuslice.hardware.fit import fit
from gpuslice.hardware.gpus import GPUS
from gpuslice.hardware.mechanisms import Isolation
from gpuslice.hardware.need import ANY_GPU
from gpuslice.units import format_cpu, format_memory

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpuslice.cloud.catalog import Catalog
    from gpuslice.hardware.gpus import Gpu
    from gpuslice.hardware.need import Need
    from gpuslice.planner.model.classes import WorkloadClass
    from gpuslice.workloads.model import Workload
    from gpuslice.workloads.policy import Policy

Pods = TypeVar("Pods", "Workload", "WorkloadClass")

LESS_MEMORY_MIB: Final = 1024
LESS_CPU_MILLI: Final = 500
_SLOWDOWNS: Final = (1500, 2000, 3000, 4000, 6000, 8000, 12_000, 16_000, 24_000)
_NOTICEABLE: Final = 1.25  # times as slow as before: less is within what is known of slowdown
_MORE_SPOT: Final = 0.1  # of the bill


class Kind(StrEnum):
    """Which rule is loosened."""

    GPU = "gpu"
    ISOLATION = "isolation"
    MEMORY = "memory"
    SLOWDOWN = "slowdown"
    SPOT = "spot"
    LIMIT = "limit"
    CPU = "cpu"
    POD_MEMORY = "podMemory"
    POLICY = "policy"


@dataclass(frozen=True, slots=True)
class Step:
    """One rule loosened, for whoever has that need and pods of that size.

    Attributes:
        kind: the rule.
        words: what its owner would do: "allow L4 too".
        need: afterwards; None: it stays.
        gpu: the model that is allowed; empty for all other kinds.
        cpu_milli, memory_mib: that a pod requests less.
    """

    kind: Kind
    words: str
    need: Need | None = None
    gpu: str = ""
    cpu_milli: int = 0
    memory_mib: int = 0

    def taken(self, by: Pods) -> Pods:
        """The workload or class with this step taken."""
        return replace(
            by,
            need=self.need or by.need,
            cpu_milli=by.cpu_milli - self.cpu_milli,
            memory_mib=by.memory_mib - self.memory_mib,
            interruptible=by.interruptible or self.kind is Kind.SPOT,
        )


@dataclass(frozen=True, slots=True)
class PolicyStep:
    """One entry of the policy loosened.

    Attributes:
        words: what its owner would do: "maxNodes g6.xlarge: 4 instead of 3".
        policy: afterwards.
        rule: the limit that it loosens, as `Limit.rule` has it; empty: none, it is forbidden or about pools.
        units: of the limit, for a share: of the bill.
    """

    words: str
    policy: Policy
    rule: str = ""
    units: float = 1.0


def steps(a_class: WorkloadClass, catalog: Catalog) -> tuple[Step, ...]:
    """Every step that the owner of a workload could take.

    A service that is sized by its load goes where its profiles let it: only its pods and how they are bought are rules.

    Args:
        a_class: the class of the workload.
        catalog: whose GPUs and spot prices matter.
    """
    service = a_class.members[0].service is not None
    ways = [] if service else [*_models(a_class.need, catalog), *_rules(a_class.need)]
    ways += _pods(a_class)
    if not a_class.interruptible and any(
        Purchase.SPOT in machine.prices for machine in catalog.instance_types
    ):
        ways.append(Step(Kind.SPOT, "may be interrupted, so that spot will do"))
    return tuple(ways)


def policy_steps(policy: Policy) -> tuple[PolicyStep, ...]:
    """Every entry of a policy, loosened by one step."""
    ways = [
        PolicyStep(
            f"don't forbid {name}",
            structs.replace(policy, forbid=tuple(other for other in policy.forbid if other != name)),
        )
        for name in dict.fromkeys(policy.forbid)
    ]
    ways += [
        PolicyStep(
            f"maxNodes {name}: {most + 1} instead of {most}",
            structs.replace(policy, max_nodes={**policy.max_nodes, name: most + 1}),
            f"policy.maxNodes {name}: {most}",
        )
        for name, most in sorted(policy.max_nodes.items())
    ]
    share = policy.max_spot_share
    if share is not UNSET and share < 1:
        more = min(round(share + _MORE_SPOT, 6), 1.0)
        ways.append(
            PolicyStep(
                f"maxSpotShare: {more:g} instead of {share:g}",
                structs.replace(policy, max_spot_share=more),
                f"policy.maxSpotShare: {share:g}",
                more - share,
            )
        )
    most_pools = policy.max_pools
    if most_pools is not UNSET:
        ways.append(
            PolicyStep(
                f"maxPools: {most_pools + 1} instead of {most_pools}",
                structs.replace(policy, max_pools=most_pools + 1),
            )
        )
    return tuple(ways)


def _models(need: Need, catalog: Catalog) -> Iterator[Step]:
    """Each GPU model of the catalog that isn't allowed and would do as a whole."""
    allowed = _allowed(need)
    if not allowed:
        return
    for name in sorted({kind.gpu for kind in catalog.instance_types if kind.prices} - allowed):
        after = replace(need, allow=allowed | {name})
        if _as_good(need, GPUS[name]) and fit(after, cuts.whole(GPUS[name])).fits:
            yield Step(Kind.GPU, f"allow {name} too", after, name)


def _allowed(need: Need) -> frozenset[str]:
    """The models that it may run on now; none where it may run on any, or where nobody can say."""
    if ANY_GPU in need.allow:
        return frozenset()
    if need.allow:
        return need.allow
    if need.on is None or (need.gpus == 1 and not need.known):
        return frozenset()  # the models that are good enough for what isn't known are allowed already
    if need.gpus > 1:
        return frozenset({need.on})
    if need.min_compute_capability is not None:
        return frozenset(GPUS)  # what is stated of the software is no step to take
    able = GPUS[need.on].compute_capability
    return frozenset(gpu.name for gpu in GPUS.values() if gpu.compute_capability >= able)


def _as_good(need: Need, gpu: Gpu) -> bool:
    """Whether a model is no worse than today's in whatever `fit` can't judge."""
    if need.gpus == 1 and need.known:
        return True
    if need.on is None:
        return False
    on = GPUS[need.on]
    # How fast several GPUs talk to each other is known of none, so that a better one is the least to ask for.
    memory = need.memory_mib is not None and need.gpus == 1
    speed = need.duty_ppm is not None and need.gpus == 1
    return (memory or gpu.memory_mib >= on.memory_mib) and (
        speed or (gpu.dense_gflops >= on.dense_gflops and gpu.bandwidth_gbs >= on.bandwidth_gbs)
    )


def _rules(need: Need) -> Iterator[Step]:
    """The rules of a need that can be sliced: of others nothing can be said."""
    if not need.known:
        return
    for level in Isolation:
        if level.rank < need.isolation.rank:
            yield Step(
                Kind.ISOLATION,
                f"isolation {level.value} instead of {need.isolation.value}",
                replace(need, isolation=level),
            )
    if need.memory_mib is not None and need.memory_mib > LESS_MEMORY_MIB:
        less = need.memory_mib - LESS_MEMORY_MIB
        words = f"{format_memory(LESS_MEMORY_MIB)} less GPU memory: {format_memory(less)}"
        yield Step(Kind.MEMORY, words, replace(need, memory_mib=less))
    limit = need.max_slowdown_milli
    if limit is not None:
        laxer = next((slowdown for slowdown in _SLOWDOWNS if slowdown >= _NOTICEABLE * limit), None)
        if laxer is not None:
            words = f"at most {laxer / 1000:g}x slower instead of {limit / 1000:g}x"
            yield Step(Kind.SLOWDOWN, words, replace(need, max_slowdown_milli=laxer))
    if not need.limitable:
        words = "let its framework be told how much GPU memory to take"
        yield Step(Kind.LIMIT, words, replace(need, limitable=True))


def _pods(workload_class: WorkloadClass) -> Iterator[Step]:
    """Smaller requests, where there is more than that."""
    if workload_class.cpu_milli > LESS_CPU_MILLI:
        less = (
            f"{format_cpu(LESS_CPU_MILLI)} less CPU: {format_cpu(workload_class.cpu_milli - LESS_CPU_MILLI)}"
        )
        yield Step(Kind.CPU, f"request {less}", cpu_milli=LESS_CPU_MILLI)
    if workload_class.memory_mib > LESS_MEMORY_MIB:
        after = format_memory(workload_class.memory_mib - LESS_MEMORY_MIB)
        less = f"{format_memory(LESS_MEMORY_MIB)} less memory: {after}"
        yield Step(Kind.POD_MEMORY, f"request {less}", memory_mib=LESS_MEMORY_MIB)
