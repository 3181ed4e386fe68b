"""Which GPU model a workload runs on today, where nothing in its pods says: as somebody states it, or as assumed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from gpuslice.artefacts.quoting import quoted
from gpuslice.cloud.allocatable import left_for_workloads
from gpuslice.cloud.catalog import Purchase
from gpuslice.cloud.labels import node_facts
from gpuslice.errors import InputError, nearest
from gpuslice.hardware import cut as cuts
from gpuslice.hardware.fit import fit
from gpuslice.hardware.gpus import GPUS, gpu_named
from gpuslice.workloads.policy import FREE, Policy, forbids
from gpuslice.workloads.requirements import meetable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from gpuslice.cloud.catalog import Catalog, DaemonsetOverhead
    from gpuslice.workloads.model import Workload

_OPTION: Final = "--today"
_FORM: Final = "GPU, or NAMESPACE/NAME=GPU with patterns such as shop/*=A10G"


@dataclass(frozen=True, slots=True)
class StatedModels:
    """GPU models as somebody states them for workloads of which nothing else says.

    Attributes:
        everywhere: the model of all that no pattern names; empty: none is stated.
        patterns: of names, such as "shop/*", each with its model; the most particular first.
    """

    everywhere: str = ""
    patterns: tuple[tuple[str, str], ...] = ()

    def by_name(self, workload: str) -> str | None:
        """What a pattern says of a workload's name; None: nothing."""
        return next((model for pattern, model in self.patterns if fnmatchcase(workload, pattern)), None)

    def of(self, workload: str) -> str | None:
        """The model that is stated for a workload of this name; None: none."""
        return self.by_name(workload) or self.everywhere or None

    def given_to(self, workload: Workload) -> Workload:
        """The workload on the model that is stated, where it says none itself."""
        model = self.of(workload.name)
        if workload.need.on is not None or model is None:
            return workload
        return replace(workload, need=replace(workload.need, on=model))

    def refuse_unused(self, names: Collection[str]) -> None:
        """Make sure that every pattern is of some workload.

        Raises:
            InputError: one is of none.
        """
        for pattern, _ in self.patterns:
            if not any(fnmatchcase(name, pattern) for name in names):
                hint = nearest(pattern, names) or "patterns are of NAMESPACE/NAME, such as shop/*"
                raise InputError(f"no workload is called {quoted(pattern)}", where=_OPTION, fix=hint)


NONE_STATED: Final = StatedModels()


def stated(texts: Iterable[str]) -> StatedModels:
    """Models as options state them: "A10G" for all, "shop/search=A10G" or "shop/*=A10G" for some.

    Raises:
        InputError: no such model; or two for all, or for one pattern.
    """
    everywhere: list[str] = []
    patterns: dict[str, str] = {}
    for text in texts:
        pattern, equals, model = text.rpartition("=")
        name = gpu_named(model).name
        if not equals:
            everywhere.append(name)
        elif "/" not in pattern or pattern in patterns:
            why = "is named twice" if pattern in patterns else "has no namespace"
            raise InputError(f"{quoted(pattern)} {why}", where=_OPTION, fix=f"write {_FORM}")
        else:
            patterns[pattern] = name
    if len(everywhere) > 1:
        raise InputError(
            f"{' and '.join(everywhere)} are named for all workloads", where=_OPTION, fix=f"write {_FORM}"
        )
    return StatedModels(
        everywhere[0] if everywhere else "",
        tuple(sorted(patterns.items(), key=lambda entry: ("*" in entry[0], -len(entry[0]), entry[0]))),
    )


def unsaid(workload: Workload) -> bool:
    """Whether nothing says which GPU a workload may run on, so that it fits none."""
    need = workload.need
    return need.on is None and not need.allow and not need.slices and workload.service is None


def assumed(
    workload: Workload,
    catalog: Catalog,
    overhead: DaemonsetOverhead,
    policy: Policy = FREE,
    among: Collection[str] = (),
) -> Workload:
    """The workload on the model that it is assumed to have today, where nothing says: whole GPUs of it, and no other.

    That is the GPU of the cheapest machine that holds one of its pods as they are, which is what Karpenter launches
    for a plain nvidia.com/gpu; of one that no machine holds, that of the cheapest with as many GPUs.

    Args:
        workload: in question; one that says its model, or asks for more than any machine's GPUs, comes back unchanged.
        catalog: types and on-demand prices.
        overhead: of daemonsets.
        policy: what may be bought.
        among: instance types that there are today, which go before all others; none: not known.
    """
    if not unsaid(workload):
        return workload
    need = workload.need
    candidates = [
        (
            not left_for_workloads(kind, overhead).holds(workload.cpu_milli, workload.memory_mib),
            kind.name not in among,
            kind.prices[Purchase.ON_DEMAND],
            kind.name,
            kind.gpu,
        )
        for kind in catalog.instance_types
        if Purchase.ON_DEMAND in kind.prices
        and kind.gpu_count >= need.gpus
        and kind.arch == workload.arch
        and not forbids(policy, kind)
        and meetable(workload.requires, node_facts(kind, Purchase.ON_DEMAND, catalog.region))
        and fit(replace(need, assumed_on=kind.gpu), cuts.whole(GPUS[kind.gpu])).fits
    ]
    if not candidates:
        return workload
    return replace(workload, need=replace(need, assumed_on=min(candidates)[-1]))
