"""From nodes and homes to plan.yaml: pools with names, assignments with reasons, figures in people's units."""

from __future__ import annotations

import re
from collections import Counter, defaultdict, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from msgspec import UNSET, UnsetType

from gpuslice.carriers.carrier import Share
from gpuslice.hardware.mechanisms import Mechanism
from gpuslice.hardware.sharing import SEES_ALL, less_margin
from gpuslice.plan import artefact
from gpuslice.planner.homes.previous import names_kept
from gpuslice.planner.model.layouts import layout_of
from gpuslice.planner.model.places import numbered
from gpuslice.planner.model.pools import pool_of
from gpuslice.planner.writing.reasons import served_in_words
from gpuslice.units import format_memory, usd
from gpuslice.workloads.requirements import needed
from gpuslice.workloads.service_kinds import kind_of, latency_limit

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gpuslice.carriers.carrier import Ask
    from gpuslice.hardware.fit import Fit
    from gpuslice.hardware.slices import Slice
    from gpuslice.planner.homes.bill_search import CarriedOut
    from gpuslice.planner.model.classes import WorkloadClass
    from gpuslice.planner.model.options import NodeOption
    from gpuslice.planner.model.packing import Packing
    from gpuslice.planner.model.patterns import Pattern
    from gpuslice.planner.model.places import ClassNumber, SliceIndex
    from gpuslice.planner.model.pools import Home, PoolKey
    from gpuslice.workloads.model import Workload
    from gpuslice.workloads.requirements import Term
    from gpuslice.workloads.service_kinds import Kind

    Dealt = tuple[tuple[str, str, int], ...]  # (workload, slice, replicas), ascending

_SHORT: Final = {
    Mechanism.WHOLE: "whole",
    Mechanism.TIME_SLICING: "ts",
    Mechanism.MPS: "mps",
    Mechanism.MIG: "mig",
    Mechanism.FRACTIONAL: "frac",
}


def optimal_nodes(packing: Packing, classes: Sequence[WorkloadClass]) -> tuple[artefact.OptimalNode, ...]:
    """The cheapest packing, with replicas of classes dealt to their members in order."""
    dealt = Dealer(
        (number, None, member, member.replicas)
        for number, a_class in numbered(classes)
        for member in a_class.members
    )
    found: Counter[tuple[str, str, int, artefact.Layout, Dealt]] = Counter()
    for pattern, pods, alike in dealt.nodes(packing):
        option = pattern.option
        layout = layout_of(option.cut, pattern.geometries)
        found[option.instance_type.name, option.purchase.value, option.price, layout, pods] += alike
    sized = {member.name for a_class in classes for member in a_class.members if member.service is not None}
    return tuple(
        artefact.OptimalNode(
            name,
            purchase,  # type: ignore[arg-type]  # StrEnum's values
            count,
            usd(price),
            layout,
            _by_workload(pods),
            {
                workload: {slice_: carried for of, slice_, carried in pods if of == workload}
                for workload in sorted({of for of, _, _ in pods} & sized)
            },
        )
        for (name, purchase, price, layout, pods), count in found.items()
    )


def _by_workload(dealt: Dealt) -> dict[str, int]:
    pods: Counter[str] = Counter()
    for workload, _, count in dealt:
        pods[workload] += count
    return dict(pods)


class Assembly:
    """Pools and assignments of a fleet that Karpenter makes."""

    def __init__(
        self,
        realisation: CarriedOut,
        classes: Sequence[WorkloadClass],
        previous: artefact.Plan | None = None,
    ) -> None:
        """Name the pools, in an order that depends on nothing but the plan; pools that there were keep their names."""
        self._classes = classes
        self._homes = realisation.homes
        members: dict[PoolKey, list[Pattern]] = defaultdict(list)
        for pattern in realisation.packing:
            members[pool_of(pattern)].append(pattern)
        drafts = sorted(
            ((base_name(patterns[0]), key) for key, patterns in members.items()),
            key=lambda draft: (draft[0], sorted(str(pattern.pods) for pattern in members[draft[1]])),
        )
        self._names: dict[PoolKey, str] = {}
        self._layouts: dict[PoolKey, artefact.Layout] = {}
        for _, key in drafts:
            self._layouts[key] = layout_of(members[key][0].option.cut, members[key][0].geometries)
        self._pins = {key: self._needed(key) for _, key in drafts}
        had: list[str | None] = [None] * len(drafts)
        if previous is not None:
            had = names_kept(
                previous,
                [(self._layouts[key], key.cut.tenant, key.spot, self._pins[key]) for _, key in drafts],
            )
        # A name that stood for another pool would mean something else in the cluster.
        taken = set() if previous is None else {pool.name for pool in previous.pools}
        for (base, key), name in zip(drafts, had, strict=True):
            names = (_numbered(base, number) for number in range(1, len(drafts) + len(taken) + 2))
            self._names[key] = name or next(name for name in names if name not in taken)
            taken.add(self._names[key])
        self._members = members
        self._packing = realisation.packing
        self._options = realisation.options

    def _needed(self, key: PoolKey) -> Term:
        """What a pool is bound to, as somebody in it requires that."""
        here = {
            self._classes[number].requires
            for number, homes in self._homes.items()
            if any(home.pool == key for _, home, _ in homes)
        }
        return needed(key.cut.group.pins, here)

    def pools(self) -> tuple[artefact.Pool, ...]:
        """Pools with their nodes."""
        found = []
        for key in sorted(self._members, key=lambda member: self._names[member]):
            dealer = Dealer(
                (number, home.slice_index, workload, count)
                for number, homes in self._homes.items()
                for workload, home, count in homes
                if home.pool == key
            )
            here = Counter({pattern: self._packing[pattern] for pattern in self._members[key]})
            nodes: Counter[tuple[NodeOption, Dealt]] = Counter()
            order: dict[str, NodeOption] = {}
            for pattern, pods, alike in dealer.nodes(here):
                option = pattern.option
                order[f"{option.instance_type.name}/{option.purchase}"] = option
                nodes[order[f"{option.instance_type.name}/{option.purchase}"], pods] += alike
            cut = self._members[key][0].option.cut
            ranked = sorted(
                nodes.items(), key=lambda node: (node[0][0].price, node[0][0].instance_type.name, node[0][1])
            )
            found.append(
                artefact.Pool(
                    name=self._names[key],
                    layout=self._layouts[key],
                    instance_types=tuple(
                        dict.fromkeys(option.instance_type.name for option in self._options[key])
                    ),
                    purchases=tuple(dict.fromkeys(option.purchase.value for option in self._options[key])),
                    nodes=tuple(
                        artefact.Node(
                            option.instance_type.name,
                            option.purchase.value,
                            count,
                            usd(option.price),
                            _by_workload(pods),
                        )
                        for (option, pods), count in ranked
                    ),
                    carrier=cut.carrier.name,
                    requires=self._pins[key],
                    tenant=cut.tenant,
                )
            )
        return tuple(found)

    def assignments(self) -> tuple[artefact.Assignment, ...]:
        """Who goes where, by name of the workload."""
        found = []
        for number, homes in self._homes.items():
            together: dict[tuple[str, Home], tuple[Workload, int]] = {}
            for workload, home, count in homes:
                before = together.get((workload.name, home), (workload, 0))[1]
                together[workload.name, home] = (workload, before + count)
            for (_, home), (workload, count) in together.items():
                found.append(self._assignment(number, workload, home, count))
        return tuple(
            sorted(found, key=lambda assignment: (assignment.workload, assignment.pool, assignment.slice))
        )

    def _assignment(
        self, number: ClassNumber, workload: Workload, home: Home, count: int
    ) -> artefact.Assignment:
        option = min(
            (pattern.option for pattern in self._members[home.pool]), key=lambda option: option.price
        )
        slice_ = option.cut.slices[home.slice_index]
        answer = dict(option.cut.fits[number])[home.slice_index]
        return assignment(workload, self._names[home.pool], option, slice_, answer, count)


def assignment(
    workload: Workload,
    pool: str,
    option: NodeOption,
    slice_: Slice,
    answer: Fit,
    count: int,
    *,
    ask: Ask | None = None,
    seat: str = "",
) -> artefact.Assignment:
    """So many replicas of a workload in a pool.

    Args:
        workload: in question.
        pool: its name.
        option: the pool's cheapest node.
        slice_: that each replica gets.
        answer: how the slice fits.
        count: replicas.
        ask: by what its pods get it; None: by what is usual for such a slice.
        seat: that it has, so that nothing is counted; empty: none.
    """
    carrier, share = option.cut.carrier, None
    limit: str | UnsetType = UNSET
    memory, cut = workload.need.memory_mib, option.cut
    if cut.metered and not seat and memory is not None and answer.time_milli is not None:
        share = Share(memory, max(answer.time_milli, 1))
    if workload.preallocates and cut.mechanism in SEES_ALL and memory is not None:
        own = memory if cut.metered else less_margin(slice_.memory_mib)
        limit = format_memory(own)
    return artefact.Assignment(
        workload=workload.name,
        pool=pool,
        replicas=count,
        slice=slice_.name,
        asks=carrier.asks(ask or carrier.ask(slice_), workload.need.gpus, share, seat),
        because=_because(workload, slice_, answer, count, seated=bool(seat)),
        target=workload.target,
        expected_slowdown=UNSET if answer.slowdown is None else round(float(answer.slowdown), 2),
        utilisation=UNSET if answer.utilisation is None else round(float(answer.utilisation), 3),
        memory_limit=limit,
        service=UNSET if (kind := kind_of(workload)) is None else _served(workload, kind),
    )


@dataclass(slots=True)
class _Open:
    """A workload, and its replicas that are still to be dealt."""

    workload: Workload
    left: int


class Dealer:
    """Deals the replicas of classes that nodes carry to the workloads behind them."""

    def __init__(self, replicas: Iterable[tuple[ClassNumber, SliceIndex | None, Workload, int]]) -> None:
        """Take (class number, slice index or None for any, workload, replicas)."""
        self._left: dict[tuple[ClassNumber, SliceIndex | None], deque[_Open]] = defaultdict(deque)
        for number, where, workload, count in replicas:
            self._left[number, where].append(_Open(workload, count))

    def nodes(self, packing: Packing) -> Iterable[tuple[Pattern, Dealt, int]]:
        """The nodes of a packing, with the replicas by workload and slice that each carries, and how many are alike.

        As if they were dealt to one by one, but in as many steps as there are kinds, not nodes.
        """
        for pattern, count in packing.items():
            left = count
            while left:
                pods: Counter[tuple[str, str]] = Counter()
                taken: dict[int, tuple[_Open, int]] = {}
                same = True  # as long as each place is filled by one workload that has more
                for number, where, wanted in pattern.pods:
                    slice_ = pattern.option.cut.slices[where].name
                    takes = self._take(number, where, wanted)
                    same &= len(takes) == 1 and takes[0][1] == wanted
                    for entry, take in takes:
                        pods[entry.workload.name, slice_] += take
                        taken[id(entry)] = entry, take + taken.get(id(entry), (entry, 0))[1]
                more = min((entry.left // take for entry, take in taken.values()), default=0) if same else 0
                alike = min(left, 1 + more)
                for entry, take in taken.values():
                    entry.left -= take * (alike - 1)
                left -= alike
                yield pattern, tuple((*key, carried) for key, carried in sorted(pods.items())), alike

    def _take(self, number: ClassNumber, where: SliceIndex | None, wanted: int) -> list[tuple[_Open, int]]:
        """Replicas for one place of one node: of which workloads, and how many of each."""
        taken: list[tuple[_Open, int]] = []
        entries = self._left[number, where] or self._left[number, None]
        while wanted and entries:
            entry = entries[0]
            if take := min(wanted, entry.left):
                taken.append((entry, take))
                entry.left -= take
                wanted -= take
            else:
                entries.popleft()
        return taken


def _served(workload: Workload, kind: Kind) -> artefact.Served | UnsetType:
    service = workload.service
    if service is None:
        return UNSET
    return artefact.Served(
        demand=service.rate,
        unit=service.unit,
        throughput=float(kind.throughput),
        latency_ms=kind.profile.latency_ms,
        limit_ms=float(latency_limit(service)),
        batch=kind.profile.batch,
        processes=kind.profile.processes,
    )


def _because(workload: Workload, slice_: Slice, answer: Fit, count: int, *, seated: bool) -> str:
    """Why here, in one line with figures."""
    need = workload.need
    kind = kind_of(workload)
    if kind is not None and workload.service is not None:
        return served_in_words(workload.service, kind, count)
    if slice_.mechanism is Mechanism.WHOLE:
        if need.gpus > 1:
            return f"{need.gpus} GPUs per pod come only whole"
        if not need.known:
            return f"its need is not known, so it gets a whole {slice_.gpu.name}: state or measure it"
        return f"a whole {slice_.gpu.name}"
    parts = []
    if need.memory_mib is not None:
        parts.append(f"{format_memory(need.memory_mib)} of {format_memory(less_margin(slice_.memory_mib))}")
    if answer.utilisation is not None:
        parts.append(f"busy {float(answer.utilisation):.0%} of the time")
    match slice_.mechanism:
        case Mechanism.MIG:
            what = f"an instance {slice_.profile.name} of {slice_.gpu.name}" if slice_.profile else ""
        case Mechanism.FRACTIONAL:
            what = f"{slice_.fraction} of an {slice_.gpu.name}"
        case _ if slice_.metered_milli is not None and seated:
            what = f"a seat on one {slice_.gpu.name}"
        case _ if slice_.metered_milli is not None:
            what = f"memory and time of one {slice_.gpu.name} counted pod by pod"
        case _:
            what = f"one of {slice_.sharers} slots of {slice_.gpu.name}"
    return f"{what}: {', '.join(parts)}"


def base_name(pattern: Pattern) -> str:
    """How the name of a pool of such nodes begins: tenant, GPU, and how it is cut."""
    cut = pattern.option.cut
    parts = [cut.tenant, cut.gpu.name, _SHORT[cut.mechanism]]
    match cut.mechanism:
        case Mechanism.TIME_SLICING if cut.metered:
            parts[-1] = f"metered{cut.slices[0].metered_milli}"
        case Mechanism.TIME_SLICING | Mechanism.MPS:
            parts[-1] += str(cut.slots_per_gpu)
        case Mechanism.FRACTIONAL if cut.slices[0].fraction is not None:
            parts[-1] += str(cut.slices[0].fraction.denominator)
        case Mechanism.MIG:
            total: Counter[int] = Counter()
            for geometry in pattern.geometries[:1]:
                total.update(dict(geometry))
            for where, count in sorted(total.items()):
                profile = cut.slices[where].profile
                if profile is not None:
                    parts.append(f"{count}x{profile.name.partition('.')[0]}")
        case _:
            pass
    if pattern.option.purchase.value == "spot":
        parts.append("spot")
    text = re.sub(r"[^a-z0-9]+", "-", "-".join(part for part in parts if part).lower())
    return text.strip("-")[:48].strip("-") or "pool"


def _numbered(base: str, number: int) -> str:
    return base if number == 1 else f"{base}-{number}"
