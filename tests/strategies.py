"""hypothesis strategies: needs, slices, workloads, fleets and small catalogs, all within the rules of their types."""

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import hypothesis
from hypothesis import strategies as st

from gpuslice.cloud.catalog import Catalog, DaemonsetOverhead, InstanceType, Purchase
from gpuslice.hardware import cut
from gpuslice.hardware.features import Feature
from gpuslice.hardware.fit import fit
from gpuslice.hardware.gpus import GPUS
from gpuslice.hardware.mechanisms import Isolation, Mechanism
from gpuslice.hardware.need import ANY_GPU, Need
from gpuslice.hardware.sharing import METERED_TIMES
from gpuslice.hardware.slices import Slice
from gpuslice.planner.settings import Settings
from gpuslice.workloads.model import Workload
from gpuslice.workloads.node_limits import EFA, EPHEMERAL_STORAGE, Take, apart, host_port, spread
from gpuslice.workloads.target import Target

OVERHEAD = DaemonsetOverhead(cpu_milli=180, memory_mib=200, pods=8)
CARRIER = Settings(OVERHEAD).carrier

models = st.sampled_from(sorted(GPUS))


@st.composite
def known_needs(draw: st.DrawFn, /, on: st.SearchStrategy[str] = models, **fixed: Any) -> Need:
    """Needs of one GPU with every figure known; `fixed` overrides fields."""
    name = draw(on)
    memory = GPUS[name].memory_mib
    drawn = Need(
        gpus=1,
        memory_mib=draw(st.integers(1, memory)),
        duty_ppm=draw(st.integers(1, 1_000_000) | st.integers(1, 100_000)),
        on=name,
        isolation=draw(st.sampled_from(Isolation)),
        allow=draw(st.sampled_from([frozenset(), frozenset({ANY_GPU}), frozenset({name, "L4", "H100"})])),
        features=draw(st.frozensets(st.sampled_from(Feature), max_size=1)),
        max_slowdown_milli=draw(st.none() | st.integers(500, 12_000)),
        limitable=draw(st.booleans()),
    )
    return replace(drawn, **fixed)


@st.composite
def needs(draw: st.DrawFn) -> Need:
    """Any need: known, unknown in part, or of several GPUs."""
    need = draw(known_needs())
    return replace(
        need,
        gpus=draw(st.sampled_from([1, 1, 1, 2, 8])),
        memory_mib=draw(st.sampled_from([None, need.memory_mib])),
        duty_ppm=draw(st.sampled_from([None, need.duty_ppm])),
        on=draw(st.sampled_from([None, need.on])),
    )


@st.composite
def slices(draw: st.DrawFn, gpus: st.SearchStrategy[str] = models) -> Slice:
    """A slice of any mechanism that the GPU has."""
    gpu = GPUS[draw(gpus)]
    metered = draw(st.booleans())
    match draw(st.sampled_from(sorted(gpu.mechanisms))):
        case Mechanism.WHOLE:
            return cut.whole(gpu)
        case Mechanism.FRACTIONAL:
            return cut.fractional(gpu, Fraction(1, draw(st.sampled_from([2, 4, 8]))))
        case Mechanism.MIG if gpu.mig is not None:
            return cut.mig(gpu, draw(st.sampled_from(gpu.mig.profiles)))
        case Mechanism.TIME_SLICING if metered:
            return cut.metered(gpu, draw(st.sampled_from(METERED_TIMES)))
        case mechanism:
            replicas = draw(st.integers(2, cut.most_slots(gpu, mechanism)))
            time = draw(st.none() | st.integers(1, cut.slot_time_milli(mechanism, replicas)))
            return cut.slot(gpu, mechanism, replicas, time)


@st.composite
def fits(draw: st.DrawFn) -> tuple[Need, Slice]:
    """A need and a slice that fits it, most often closely."""
    slice_ = draw(slices())
    need = draw(
        known_needs(
            on=st.just(slice_.gpu.name) | models,
            memory_mib=draw(st.integers(1, int(slice_.memory_mib * 0.95))),
            duty_ppm=draw(
                st.integers(1, max(1, int(min(slice_.compute, slice_.bandwidth) * slice_.time_milli * 700)))
            ),
            isolation=draw(
                st.sampled_from([each for each in Isolation if each.rank <= slice_.isolation.rank])
            ),
            features=frozenset(),
            limitable=slice_.mechanism is Mechanism.TIME_SLICING or draw(st.booleans()),
            max_slowdown_milli=draw(st.none() | st.integers(1000, 20_000)),
        )
    )
    if draw(st.integers(0, 7)) == 0 and slice_.mechanism is Mechanism.WHOLE:
        need = replace(need, gpus=draw(st.integers(1, 8)), memory_mib=None, duty_ppm=None)
    hypothesis.assume(fit(need, slice_).fits)
    return need, slice_


def instance_type(
    name: str,
    gpu: str,
    usd: float,
    *,
    count: int = 1,
    fraction: Fraction = Fraction(1),
    cpu: int = 8000,
    memory: int = 32_000,
    pods: int = 58,
    arch: str = "amd64",
) -> InstanceType:
    """A machine with what matters to planning; `usd` per hour."""
    return InstanceType(
        name=name,
        family=name.partition(".")[0],
        arch=arch,
        gpu=gpu,
        gpu_count=0 if fraction < 1 else count,
        gpu_fraction=fraction,
        gpu_memory_mib=int(GPUS[gpu].memory_mib * fraction),
        vcpu=cpu // 1000,
        memory_mib=memory,
        allocatable_cpu_milli=cpu,
        allocatable_memory_mib=memory,
        max_pods=pods,
        prices={Purchase.ON_DEMAND: round(usd * 1_000_000)},
    )


def catalog_of(*types: InstanceType) -> Catalog:
    """A catalog of these types."""
    return Catalog(
        "us-east-1", "2026-07-20", "made by hand", tuple(sorted(types, key=lambda each: each.name))
    )


T4 = instance_type("g4dn.xlarge", "T4", 0.526, cpu=3920, memory=14_481, pods=29)
A10G = instance_type("g5.2xlarge", "A10G", 1.212, cpu=7910, memory=29_317)
A10G_X4 = instance_type("g5.12xlarge", "A10G", 5.672, count=4, cpu=47_810, memory=173_400, pods=737)
L4 = instance_type("g6.2xlarge", "L4", 0.9776, cpu=7910, memory=29_317)
L4_LARGE = instance_type("g6.4xlarge", "L4", 1.3232, cpu=15_890, memory=57_691, pods=234)
L4_X4 = instance_type("g6.12xlarge", "L4", 4.6016, count=4, cpu=47_810, memory=178_933, pods=234)
L4_EIGHTH = instance_type("g6f.xlarge", "L4", 0.2375, fraction=Fraction(1, 8), cpu=3920, memory=14_162)
T4G = instance_type("g5g.2xlarge", "T4G", 0.556, cpu=7910, memory=14_103, arch="arm64")
H100 = instance_type("p5.4xlarge", "H100", 6.88, cpu=15_890, memory=240_830, pods=118)
A100_X8 = instance_type(
    "p4d.24xlarge", "A100-40GB", 21.957642, count=8, cpu=95_690, memory=1_082_712, pods=737
)
SMALL_TYPES = (T4, A10G, A10G_X4, L4, L4_LARGE, L4_X4, L4_EIGHTH, T4G)
TYPES = (*SMALL_TYPES, H100, A100_X8)


@st.composite
def catalogs(
    draw: st.DrawFn, types: Sequence[InstanceType] = TYPES, least: int = 1, most: int = 4
) -> Catalog:
    """A few instance types of different sizes, some with a price for spot."""
    by_name = {each.name: each for each in types}
    chosen = [
        by_name[name]
        for name in draw(st.lists(st.sampled_from(list(by_name)), min_size=least, max_size=most, unique=True))
    ]
    spot = draw(st.frozensets(st.sampled_from([each.name for each in chosen])))
    return catalog_of(
        *(
            replace(each, prices={**each.prices, Purchase.SPOT: each.prices[Purchase.ON_DEMAND] * 2 // 5})
            if each.name in spot
            else each
            for each in chosen
        )
    )


@st.composite
def workloads(
    draw: st.DrawFn, name: str = "team/app", on: Sequence[str] = ("T4", "A10G", "L4"), replicas: int = 4
) -> Workload:
    """A workload of modest pods; most have a known need, some none, some several GPUs."""
    model = draw(st.sampled_from(on))
    need = Need(
        memory_mib=int(GPUS[model].memory_mib * draw(st.integers(3, 90)) / 100),
        duty_ppm=draw(st.sampled_from([10_000, 40_000, 90_000, 150_000, 250_000, 400_000, 700_000])),
        on=model,
        isolation=draw(st.sampled_from([Isolation.NONE] * 4 + [Isolation.MEMORY, Isolation.HARDWARE])),
        allow=draw(st.sampled_from([frozenset(), frozenset({ANY_GPU})])),
        max_slowdown_milli=draw(st.sampled_from([None, 1500, 2000, 3000])),
    )
    preallocates = draw(st.integers(0, 5)) == 0
    match draw(st.integers(0, 11)):
        case 0:
            need = replace(need, memory_mib=None, duty_ppm=None)
        case 1:
            need = replace(need, gpus=draw(st.sampled_from([2, 4])), memory_mib=None, duty_ppm=None)
        case 2:
            need = replace(need, limitable=not preallocates)
        case _:
            pass
    return Workload(
        name=name,
        replicas=draw(st.integers(1, replicas)),
        cpu_milli=draw(st.sampled_from([0, 250, 500, 1000, 2000, 3500])),
        memory_mib=draw(st.sampled_from([256, 1024, 2048, 4096, 10_000])),
        need=need,
        target=Target(kind=draw(st.sampled_from(["Deployment", "Deployment", "Pod"]))),
        tenant=draw(st.sampled_from(["red", "blue"])),
        interruptible=draw(st.booleans()),
        arch=draw(st.sampled_from(["amd64"] * 9 + ["arm64"])),
        preallocates=preallocates,
    )


@st.composite
def fleets(draw: st.DrawFn, /, most: int = 6, **kind: Any) -> list[Workload]:
    """Workloads with names of their own."""
    count = draw(st.integers(1, most))
    return [draw(workloads(name=f"team/app{number}", **kind)) for number in range(count)]


@st.composite
def limited_fleets(draw: st.DrawFn, /, most: int = 6, **kind: Any) -> list[Workload]:
    """Workloads of which some take what limits pods on a node beside CPU, memory and GPUs."""
    return [replace(each, takes=draw(_takes(each.name))) for each in draw(fleets(most=most, **kind))]


@st.composite
def _takes(draw: st.DrawFn, name: str) -> tuple[Take, ...]:
    choices = [
        Take(EPHEMERAL_STORAGE, draw(st.integers(20, 250)) * 1024),
        Take(EFA, draw(st.integers(1, 2))),
        host_port("TCP", 8080),
        apart(draw(st.sampled_from([name, "all"]))),
        spread(name, draw(st.integers(1, 2))),
    ]
    return tuple(sorted(draw(st.sets(st.sampled_from(choices), max_size=2))))
