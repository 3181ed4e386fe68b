"""The ways to cut a model of GPU, and for whom: whole, fractions, MIG's geometries, equal slots, metered."""

from __future__ import annotations

from collections import defaultdict
from functools import cached_property
from typing import TYPE_CHECKING

from gpuslice.hardware import cut as cuts
from gpuslice.hardware.fit import Fit, fit, slot_times
from gpuslice.hardware.mechanisms import Isolation, Mechanism
from gpuslice.hardware.mig import maximal_geometries
from gpuslice.hardware.sharing import METERED_TIMES
from gpuslice.hardware.slices import Slice
from gpuslice.planner.model.groups import Group
from gpuslice.planner.model.places import ONLY_SLICE, SliceIndex, numbers_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from fractions import Fraction

    from gpuslice.carriers.carrier import Carrier
    from gpuslice.cloud.catalog import InstanceType
    from gpuslice.hardware.gpus import Gpu
    from gpuslice.hardware.mig_profiles import MigTable
    from gpuslice.planner.model.classes import WorkloadClass
    from gpuslice.planner.model.places import ClassNumber

    Fits = Mapping[ClassNumber, tuple[tuple[SliceIndex, Fit], ...]]
    GpuGeometry = tuple[tuple[SliceIndex, int], ...]  # how many instances of each profile, ascending


class Cut:
    """How the GPUs of a node are cut, and for whom. Equal only to itself.

    Attributes:
        slices: what it offers; one, but for MIG one per profile.
        tenant: the only one admitted; empty: tenants may mix.
        geometries: for MIG, the ways in which one GPU may be cut; else empty.
        gpu: the model that is cut.
        mechanism: how it is cut.
        metered: whether memory and time are counted instead of slots.
        slots_per_gpu: pods on each GPU, for all but MIG.
        carrier: by which pods get the slices.
        group: whose pods may share nodes that are cut so, and which nodes.
        renamed: whether a slice is offered by what else it can be had, for those who ask for that.
    """

    def __init__(
        self,
        slices: tuple[Slice, ...],
        classes: Sequence[WorkloadClass],
        members: Iterable[ClassNumber],
        carrier: Carrier,
        *,
        tenant: str = "",
        geometries: tuple[GpuGeometry, ...] = (),
        renamed: bool = False,
        group: Group | None = None,
    ) -> None:
        """Cut into slices, for those of the members (numbers of classes) that fit; no group: all, on any node."""
        first = slices[0]
        self.slices = slices
        self.gpu: Gpu = first.gpu
        self.mechanism: Mechanism = first.mechanism
        self.metered = first.metered_milli is not None
        self.slots_per_gpu = first.sharers
        self.carrier = carrier
        self.tenant = tenant
        self.geometries = geometries
        self.renamed = renamed
        self.group = group or Group(tuple(numbers_of(classes)))
        self._classes = classes
        self._members = tuple(members)

    @cached_property
    def fits(self) -> Fits:
        """By class number, the slices (by index) that fit it, and how. Only classes that fit.

        Asked late: most cuts are found to be beaten before.
        """
        fits_of: dict[ClassNumber, tuple[tuple[SliceIndex, Fit], ...]] = {}
        offered = list(zip(self.indices, self.slices, strict=True))
        for number in self._members:
            each_class = self._classes[number]
            need = each_class.need
            least = need.memory_mib or 0
            good = tuple(
                [
                    (index, answer)
                    for index, slice_ in offered
                    # Most slices are too small for most: that needs no reasons.
                    if least <= slice_.memory_mib
                    and each_class.may_have(slice_, self.carrier)
                    and (answer := fit(need, slice_)).fits
                ]
            )
            if good:
                fits_of[number] = good
        return fits_of

    @property
    def indices(self) -> list[SliceIndex]:
        """The indices of its slices, in order."""
        return [SliceIndex(index) for index in range(len(self.slices))]

    def admitted(self) -> Iterable[ClassNumber]:
        """Numbers of the classes that fit."""
        shared = self.mechanism in {Mechanism.TIME_SLICING, Mechanism.MPS} and not self.metered
        return self._members if shared else self.fits  # slots were sized for their members


def cuts_of(
    gpu: Gpu,
    types: Sequence[InstanceType],
    classes: Sequence[WorkloadClass],
    carrier: Carrier,
    group: Group | None = None,
) -> list[Cut]:
    """The ways that a carrier allows and that are good for anybody.

    Args:
        gpu: to cut.
        types: that have it.
        classes: to place.
        carrier: by which pods get the slices.
        group: who may share nodes; None: all.
    """
    group = group or Group(tuple(numbers_of(classes)))
    everyone = group.members
    whole = cuts.whole(gpu)
    renamed = [number for number in everyone if classes[number].renames(whole, carrier)]
    by_own_name = sorted({*everyone} - {*renamed})
    offered = [
        Cut((whole,), classes, by_own_name, carrier, group=group),
        Cut((whole,), classes, renamed, carrier, renamed=True, group=group),
    ]
    if gpu.mig is not None:
        offered += _mig_cuts(gpu, gpu.mig, classes, carrier, group)
    fractions: set[Fraction] = {kind.gpu_fraction for kind in types if not kind.gpu_count}
    offered += [
        Cut((cuts.fractional(gpu, fraction),), classes, everyone, carrier, group=group)
        for fraction in sorted(fractions)
    ]
    # Different tenants never share what isn't isolated in hardware: each has cuts of its own.
    tenants: dict[str, list[ClassNumber]] = defaultdict(list)
    for number in everyone:
        a_class = classes[number]
        if a_class.need.slices:
            offered += _measured_cuts(gpu, number, classes, carrier, group)
        elif a_class.need.known and a_class.need.isolation is not Isolation.HARDWARE:
            tenants[a_class.tenant].append(number)
    for tenant, members in tenants.items():
        offered += _slot_cuts(gpu, tenant, members, classes, carrier, group)
        if any(carrier.meters(kind.gpu_count) for kind in types):
            offered += [
                Cut((cuts.metered(gpu, time),), classes, members, carrier, tenant=tenant, group=group)
                for time in METERED_TIMES
            ]
    return [cut for cut in offered if cut.admitted() and carrier.refuses_slice(cut.slices[0]) is None]


def _mig_cuts(
    gpu: Gpu, table: MigTable, classes: Sequence[WorkloadClass], carrier: Carrier, group: Group
) -> list[Cut]:
    """All profiles in any geometry; where there are uniform ones only, a cut for each profile."""
    everyone = group.members
    instances = carrier.instances(gpu.name)
    if instances is not None:
        return [
            Cut(
                (cuts.mig(gpu, profile),),
                classes,
                everyone,
                carrier,
                geometries=(((ONLY_SLICE, count),),),
                group=group,
            )
            for name, count in instances.items()
            if (profile := table.profile(name)) is not None
        ]
    index = {profile.name: SliceIndex(i) for i, profile in enumerate(table.plain)}
    # Cutting more never hurts, an instance may stay empty: the geometries to which nothing can be added are enough.
    geometries = sorted(
        tuple(sorted((index[name], count) for name, count in geometry))
        for geometry in maximal_geometries(table)
    )
    slices = tuple(cuts.mig(gpu, profile) for profile in table.plain)
    return [Cut(slices, classes, everyone, carrier, geometries=tuple(geometries), group=group)]


def _measured_cuts(
    gpu: Gpu, number: ClassNumber, classes: Sequence[WorkloadClass], carrier: Carrier, group: Group
) -> list[Cut]:
    """Equal slots for a class that was measured on them, beside replicas of its own and nobody else."""
    a_class = classes[number]
    return [
        Cut((sized,), classes, (number,), carrier, tenant=a_class.tenant, group=group)
        for mechanism in (Mechanism.TIME_SLICING, Mechanism.MPS)
        for replicas in range(2, cuts.most_slots(gpu, mechanism) + 1)
        if f"{gpu.name}/{mechanism.value}/{replicas}" in a_class.need.slices
        and a_class.may_have(sized := cuts.slot(gpu, mechanism, replicas), carrier)
        and fit(a_class.need, sized).fits
    ]


def _slot_cuts(
    gpu: Gpu,
    tenant: str,
    members: Sequence[ClassNumber],
    classes: Sequence[WorkloadClass],
    carrier: Carrier,
    group: Group,
) -> list[Cut]:
    """Equal slots: for each count of replicas, the slot times at which the set of classes admitted changes."""
    offered: list[Cut] = []
    for mechanism in (Mechanism.TIME_SLICING, Mechanism.MPS):
        times = {number: slot_times(classes[number].need, gpu, mechanism) for number in members}
        kept: list[frozenset[int]] = []
        by_replicas: list[list[Cut]] = []
        # Most replicas first: fewer are of use only for whom they admit beside those.
        for replicas in range(max(map(len, times.values()), default=0) + 1, 1, -1):
            plain = cuts.slot(gpu, mechanism, replicas)
            ranges = {
                number: here[replicas]
                for number, here in times.items()
                if replicas in here and classes[number].may_have(plain, carrier)
            }
            cuts_here: list[Cut] = []
            sets_here: list[frozenset[int]] = []
            for most in sorted({most for _, most in ranges.values()}):
                admitted = [number for number, (own, bearable) in ranges.items() if own <= most <= bearable]
                if any(others.issuperset(admitted) for others in kept):
                    continue
                # No lighter than the heaviest pod admitted: its neighbours then are as light as can be said.
                heaviest = (
                    None if mechanism is Mechanism.MPS else max(ranges[number][0] for number in admitted)
                )
                sized = cuts.slot(gpu, mechanism, replicas, heaviest)
                cuts_here.append(Cut((sized,), classes, admitted, carrier, tenant=tenant, group=group))
                sets_here.append(frozenset(admitted))
            kept += sets_here
            by_replicas.append(cuts_here)
        offered += [cut for cuts_here in reversed(by_replicas) for cut in cuts_here]
    return offered
