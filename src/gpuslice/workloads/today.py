"""What runs and is paid for when workloads are read from a cluster: nodes, their prices, and who shares what.

It is read, never reckoned: without nodes in the input there is none of it. Part of workloads.yaml, under `today`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Final, Literal

from msgspec import Meta, field

from gpuslice.artefacts.part import Part
from gpuslice.errors import InputError
from gpuslice.hardware.mechanisms import Mechanism
from gpuslice.hardware.resource_names import SHARED_GPU, is_mig
from gpuslice.units import MICRO_USD, micro_usd

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from gpuslice.workloads.model import Workload

Count = Annotated[int, Meta(ge=1, le=10_000_000)]
Usd = Annotated[float, Meta(ge=0, le=1e9)]
Day = Annotated[
    str, Meta(pattern=r"^([0-9]{4}-[0-9]{2}-[0-9]{2})?$", extra={"hint": "a day, such as 2026-07-20"})
]

_A_CENT: Final = MICRO_USD // 100


class NodesToday(Part, frozen=True, kw_only=True):
    """Nodes that are alike: what one costs, and whose pods are on it."""

    instance_type: str
    """Empty: its nodes don't say."""
    purchase: Literal["on-demand", "spot", "reserved"] = "on-demand"
    count: Count
    usd_per_hour: Usd | None = None
    """Of one node. Left out: not known, as of spot nodes without a spot price, or of another region."""
    on_demand_usd_per_hour: Usd | None = None
    """Of one node whose own price isn't known: on demand, which spot never costs more than."""
    pods: dict[str, Count] = field(default_factory=dict)
    """Pods with GPUs on one such node, by workload."""
    others: Annotated[int, Meta(ge=0, le=10_000_000)] = 0
    """Pods with GPUs on one such node that are of none of these workloads."""


class ShareToday(Part, frozen=True, kw_only=True):
    """What pods of a workload have of a GPU."""

    workload: str
    gpu: str = ""
    """The model. Left out: its nodes don't say."""
    mechanism: Literal["whole", "time-slicing", "mps", "mig", "fractional"] = "whole"
    of: Annotated[int, Meta(ge=1, le=1000)] = 1
    """How many pods may share the GPU, or the MIG instance."""
    profile: str = ""
    """Of a MIG instance: "1g.5gb"."""
    pods: Count

    def __str__(self) -> str:
        """In words: "1 of 4 slots by time-slicing", "MIG 1g.5gb", "a whole GPU"."""
        match self.mechanism:
            case "whole":
                return "a whole GPU"
            case "mig":
                return f"MIG {self.profile}" + (f", shared by {self.of}" if self.of > 1 else "")
            case "fractional":
                return "a part of a card, by itself"
            case _:
                return f"1 of {self.of} slots by {self.mechanism}"


class Today(Part, frozen=True, kw_only=True):
    """What runs and is paid for, as it was read from a cluster or a dump."""

    read: Day = ""
    """When; left out: the input doesn't say."""
    prices: Day = ""
    """Of which day they are."""
    usd_per_hour: Usd
    """Of all nodes together, as far as their prices are known."""
    nodes: tuple[NodesToday, ...]
    shares: tuple[ShareToday, ...] = ()

    @property
    def unpriced(self) -> int:
        """Nodes whose price isn't known."""
        return sum(node.count for node in self.nodes if node.usd_per_hour is None)

    @property
    def on_demand_usd(self) -> float:
        """Dollars an hour on demand of those nodes of which the own price isn't known, as far as that is known."""
        return sum((node.on_demand_usd_per_hour or 0.0) * node.count for node in self.nodes)

    @property
    def idle_usd(self) -> float:
        """Dollars an hour of nodes without a pod that has a GPU."""
        return bill(node for node in self.nodes if not node.pods and not node.others)

    @property
    def on_spot(self) -> frozenset[str]:
        """Workloads with pods on spot nodes."""
        return frozenset(name for node in self.nodes if node.purchase == "spot" for name in node.pods)

    def staying(self, leaving: Collection[str]) -> tuple[NodesToday, ...]:
        """The nodes that go on if these workloads leave: they carry pods of somebody else."""
        return tuple(node for node in self.nodes if node.others or not node.pods.keys() <= set(leaving))


def bill(nodes: Iterable[NodesToday]) -> float:
    """Dollars an hour of nodes, as far as prices are known."""
    return sum(micro_usd(node.usd_per_hour or 0) * node.count for node in nodes) / MICRO_USD


def check_today(today: Today, where: str) -> None:
    """That what it says agrees with itself.

    Raises:
        InputError: the sum isn't that of the nodes.
    """
    total = bill(today.nodes)
    if abs(micro_usd(total) - micro_usd(today.usd_per_hour)) > _A_CENT:
        raise InputError(
            f"is {today.usd_per_hour:.2f}, and its nodes come to {total:.2f}",
            where=f"{where}.usdPerHour",
            fix="correct one of them, or scan again",
        )


def left_on_shares(workloads: Sequence[Workload], today: Today | None) -> tuple[Workload, ...]:
    """The workloads, those left on the share that they have of whom nobody knows what they need.

    Their neighbours are known to get along with them. All that could be planned for such a workload is a whole GPU,
    which costs more than a share of one.

    Args:
        workloads: as read.
        today: what was read with them; None: nothing, so that only what their pods ask for says what they have.
    """
    shares: dict[str, list[ShareToday]] = defaultdict(list)
    for share in today.shares if today is not None else ():
        shares[share.workload].append(share)
    return tuple(_left(workload, shares.get(workload.name, [])) for workload in workloads)


def _left(workload: Workload, shares: Sequence[ShareToday]) -> Workload:
    share = share_of(workload, shares)
    if workload.need.known or workload.service is not None or not share or not workload.replicas:
        return workload
    why = (
        f"it has {share}, and its need isn't known, but that its neighbours get along with it there: state or measure "
        "it, or plan whole GPUs all the same with --unknown whole"
    )
    return replace(workload, stays=(*workload.stays, why))


def shares_asked(workloads: Iterable[Workload]) -> Iterator[str]:
    """A note on pods of manifests that ask for parts of GPUs already: what those cost isn't said there."""
    asked: Counter[str] = Counter()
    for workload in workloads:
        for name in _parts_asked(workload):
            asked[name.removeprefix("nvidia.com/")] += workload.replicas * workload.need.gpus
    if asked:
        listed = ", ".join(f"{count:,} of {name}" for name, count in asked.items())
        yield (
            f"pods have parts of GPUs already ({listed}), and what those cost now isn't in manifests: scan the "
            "cluster, or give its nodes and pods with them"
        )


def share_of(workload: Workload, shares: Sequence[ShareToday] = ()) -> str:
    """What a workload has of a GPU that isn't a whole one, in words; empty: whole GPUs, or nothing says.

    Args:
        workload: in question.
        shares: that its pods were seen to have; without any, what they ask for counts.
    """
    if shares:
        # Where some of its pods have whole GPUs, all may have.
        whole = any(share.mechanism == Mechanism.WHOLE.value for share in shares)
        return "" if whole else " or ".join(dict.fromkeys(map(str, shares)))
    return " and ".join(
        "a slot of a shared GPU" if name == SHARED_GPU else f"MIG {name.partition('mig-')[2]}"
        for name in _parts_asked(workload)
    )


def _parts_asked(workload: Workload) -> list[str]:
    """The extended resources by which it asks for parts of GPUs."""
    return [name for name in workload.target.gpu_limits if is_mig(name) or name == SHARED_GPU]
