"""The cheapest packing of a few pods by trying everything: slow, obvious, and apart from the planner's own code."""

from collections import Counter
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import combinations

from gpuslice.cloud.catalog import Catalog, DaemonsetOverhead, InstanceType, Purchase
from gpuslice.hardware import cut
from gpuslice.hardware.fit import fit
from gpuslice.hardware.gpus import GPUS
from gpuslice.hardware.mechanisms import Mechanism
from gpuslice.hardware.sharing import MEMORY_MARGIN, METERED_REPLICAS, METERED_TIMES
from gpuslice.workloads.model import Workload
from tests.hardware.geometries import valid_geometries

Pods = Sequence[Workload]


def cheapest(pods: Pods, catalog: Catalog, overhead: DaemonsetOverhead) -> int | None:
    """Micro-dollars per hour of the cheapest nodes for these pods, a handful; None where one of them fits nothing."""
    everyone = frozenset(range(len(pods)))
    groups = {
        frozenset(group): node
        for size in range(1, len(pods) + 1)
        for group in combinations(range(len(pods)), size)
        if (node := _cheapest_node([pods[i] for i in group], catalog, overhead)) is not None
    }
    best: dict[frozenset[int], int | None] = {frozenset(): 0}

    def price(left: frozenset[int]) -> int | None:
        if left not in best:
            first = min(left)
            found = [
                node + rest
                for group, node in groups.items()
                if first in group and group <= left and (rest := price(left - group)) is not None
            ]
            best[left] = min(found, default=None)
        return best[left]

    return price(everyone)


def _cheapest_node(pods: Pods, catalog: Catalog, overhead: DaemonsetOverhead) -> int | None:
    prices = [
        price
        for each in catalog.instance_types
        for purchase, price in each.prices.items()
        if (purchase is not Purchase.SPOT or all(pod.interruptible for pod in pods))
        and _room(pods, each, overhead)
        and _some_cut(pods, each)
    ]
    return min(prices, default=None)


def _room(pods: Pods, each: InstanceType, overhead: DaemonsetOverhead) -> bool:
    return (
        sum(pod.cpu_milli for pod in pods) <= each.allocatable_cpu_milli - overhead.cpu_milli
        and sum(pod.memory_mib for pod in pods) <= each.allocatable_memory_mib - overhead.memory_mib
        and len(pods) <= each.max_pods - overhead.pods
        and all(pod.arch == each.arch for pod in pods)
        and _limits_kept(pods, each)
    )


def _limits_kept(pods: Pods, each: InstanceType) -> bool:
    disk = each.local_storage_gb * 10**9 or 200 * 2**30
    have = {"ephemeral-storage": disk * 0.9 / 2**20 - 1024, "vpc.amazonaws.com/efa": each.efa}
    for take in [take for pod in pods for take in pod.takes]:
        taken = sum(other.amount for pod in pods for other in pod.takes if other.resource == take.resource)
        if taken > (take.most or have.get(take.resource, 0)):
            return False
    return True


def _some_cut(pods: Pods, each: InstanceType) -> bool:
    """Whether the GPUs of one machine can be cut so that these pods go on them."""
    gpu = GPUS[each.gpu]
    if not each.gpu_count:
        slice_ = cut.fractional(gpu, each.gpu_fraction)
        return len(pods) == 1 and fit(pods[0].need, slice_).fits
    if sum(pod.need.gpus for pod in pods) <= each.gpu_count and all(
        fit(pod.need, cut.whole(gpu)).fits for pod in pods
    ):
        return True
    if len({pod.tenant for pod in pods}) == 1 and any(_shared(pods, each)):
        return True
    return gpu.mig is not None and _by_mig(pods, each)


def _shared(pods: Pods, each: InstanceType) -> Iterator[bool]:
    gpu = GPUS[each.gpu]
    for mechanism in {Mechanism.TIME_SLICING, Mechanism.MPS} & gpu.mechanisms:
        # More slots than pods serve nobody better.
        for replicas in range(2, max(len(pods), 2) + 1):
            if replicas * each.gpu_count >= len(pods):
                ceiling = cut.slot_time_milli(mechanism, replicas)
                for time in range(1, ceiling + 1) if mechanism is Mechanism.TIME_SLICING else [ceiling]:
                    slot = cut.slot(gpu, mechanism, replicas, time)
                    yield all(fit(pod.need, slot).fits for pod in pods)
    if each.gpu_count == 1 and len(pods) <= METERED_REPLICAS:
        for time in METERED_TIMES:
            answers = [fit(pod.need, cut.metered(gpu, time)) for pod in pods]
            yield (
                all(answer.fits for answer in answers)
                and sum(max(answer.time_milli or 0, 1) for answer in answers) <= time
                and sum(pod.need.memory_mib or 0 for pod in pods) <= int(gpu.memory_mib * (1 - MEMORY_MARGIN))
            )


def _by_mig(pods: Pods, each: InstanceType) -> bool:
    gpu = GPUS[each.gpu]
    assert gpu.mig is not None
    allowed = [
        {profile.name for profile in gpu.mig.plain if fit(pod.need, cut.mig(gpu, profile)).fits}
        for pod in pods
    ]
    geometries = [Counter(dict(geometry)) for geometry in valid_geometries(gpu.mig)]

    def place(number: int, used: tuple[Counter[str], ...]) -> bool:
        """Give pods an instance on some GPU, one after the other."""
        if number == len(pods):
            return True
        for index, taken in enumerate(used):
            for name in allowed[number]:
                more = taken + Counter([name])
                if any(more <= geometry for geometry in geometries) and place(
                    number + 1, (*used[:index], more, *used[index + 1 :])
                ):
                    return True
            if not taken:
                break  # empty GPUs are alike
        return False

    return place(0, (Counter(),) * each.gpu_count)


def pods_of(workloads: Sequence[Workload]) -> list[Workload]:
    """Every replica by itself."""
    return [each for each in workloads for _ in range(each.replicas)]


def share(part: float, whole: float) -> Fraction:
    """A ratio of prices, 1 where both are zero."""
    return Fraction(part) / Fraction(whole) if whole else Fraction(1)
