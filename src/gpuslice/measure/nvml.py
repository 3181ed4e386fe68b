"""A GPU of this machine as NVML shows it: what it is, who is on it, and how busy it is. The edge to nvidia-ml-py.

Since Hopper, GPM counts what DCGM's profiling metrics count, between two samples. Older cards have utilisation only:
the share of time in which any kernel ran, as `nvidia-smi` shows it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, cast

from gpuslice.errors import EnvironmentFailedError, InputError
from gpuslice.units import MIB

if TYPE_CHECKING:
    from types import ModuleType

# NVML's numbers of GPM metrics (nvml.h, nvmlGpmMetricId_t), each in percent.
_GPM: Final = {"duty": 1, "sm": 2, "tensor": 5, "dram": 10}


class Sample(Protocol):
    """An opaque GPM sample."""


@dataclass(frozen=True, slots=True)
class Activity:
    """What a GPU did between two looks, 0 to 1; None: not counted on this card."""

    duty: float
    sm: float | None = None
    tensor: float | None = None
    dram: float | None = None
    coarse: bool = False


@dataclass(frozen=True, slots=True)
class Identity:
    """What the card says of itself."""

    name: str
    driver: str
    total_mib: int
    mig: bool
    gpm: bool


class Card:
    """One GPU. `library` is the module pynvml, or in tests something that answers like it.

    Raises:
        EnvironmentFailedError: no NVML, no driver, or NVML fails.
        InputError: no GPU of that number.
    """

    def __init__(self, index: int = 0, *, library: ModuleType | None = None) -> None:
        self._nvml = library or _library()
        try:
            self._nvml.nvmlInit()
        except self._nvml.NVMLError as error:
            raise _no_driver(error) from None
        try:
            count = self._nvml.nvmlDeviceGetCount()
            if not 0 <= index < count:
                raise InputError(
                    f"GPU {index} is not there", where="--gpu", fix=f"this machine has {count}, from 0"
                )
            self._handle = self._nvml.nvmlDeviceGetHandleByIndex(index)
            self.identity = self._identity()
        except self._nvml.NVMLError as error:
            raise _failed(error) from None
        self.index = index
        self._last: Sample | None = None

    def close(self) -> None:
        """Let go of NVML."""
        self._free(self._last)
        self._last = None
        self._nvml.nvmlShutdown()

    def processes(self) -> dict[int, int | None]:
        """Memory of each process on the card, MiB; None: the driver doesn't say.

        Under MPS clients are listed by themselves, and the server beside them with its own.
        """
        memory: dict[int, int | None] = {}
        for name in ("nvmlDeviceGetComputeRunningProcesses", "nvmlDeviceGetMPSComputeRunningProcesses"):
            ask = getattr(self._nvml, name, None)
            if ask is None:
                continue
            try:
                for entry in ask(self._handle):
                    used = None if entry.usedGpuMemory is None else -(-int(entry.usedGpuMemory) // MIB)
                    memory[int(entry.pid)] = used
            except self._nvml.NVMLError as error:
                if name == "nvmlDeviceGetComputeRunningProcesses":
                    raise _failed(error) from None
        return memory

    def activity(self) -> Activity | None:
        """What the card did since the last time this was asked; None: the first time."""
        try:
            if not self.identity.gpm:
                first, self._last = self._last is None, self._handle
                busy = self._nvml.nvmlDeviceGetUtilizationRates(self._handle).gpu / 100
                return None if first else Activity(min(1.0, busy), coarse=True)
            now = self._nvml.nvmlGpmSampleAlloc()
            self._nvml.nvmlGpmSampleGet(self._handle, now)
            before, self._last = self._last, now
            if before is None:
                return None
            metrics = self._between(before, now)
            self._free(before)
        except self._nvml.NVMLError as error:
            raise _failed(error) from None
        duty = metrics["duty"]
        if duty is None:
            raise EnvironmentFailedError("NVML counts no activity on this card", fix="update the driver")
        return Activity(duty, metrics["sm"], metrics["tensor"], metrics["dram"])

    def _identity(self) -> Identity:
        name, driver = self._nvml.nvmlDeviceGetName(self._handle), self._nvml.nvmlSystemGetDriverVersion()
        try:
            mig = bool(self._nvml.nvmlDeviceGetMigMode(self._handle)[0])
        except self._nvml.NVMLError:
            mig = False  # a card that has none says so by an error
        try:
            gpm = bool(self._nvml.nvmlGpmQueryDeviceSupport(self._handle).isSupportedDevice)
        except (self._nvml.NVMLError, AttributeError):
            gpm = False
        total = int(self._nvml.nvmlDeviceGetMemoryInfo(self._handle).total) // MIB
        return Identity(_text(name), _text(driver), total, mig, gpm)

    def _between(self, before: Sample, now: Sample) -> Mapping[str, float | None]:
        asked = self._nvml.c_nvmlGpmMetricsGet_t()
        asked.version = self._nvml.NVML_GPM_METRICS_GET_VERSION
        asked.numMetrics = len(_GPM)
        asked.sample1, asked.sample2 = before, now
        for index, number in enumerate(_GPM.values()):
            asked.metrics[index].metricId = number
        self._nvml.nvmlGpmMetricsGet(asked)
        return {
            name: _share(asked.metrics[index].value) if asked.metrics[index].nvmlReturn == 0 else None
            for index, name in enumerate(_GPM)
        }

    def _free(self, sample: Sample | None) -> None:
        if sample is not None and self.identity.gpm:
            self._nvml.nvmlGpmSampleFree(sample)


def count_cards(*, library: ModuleType | None = None) -> int:
    """How many GPUs this machine has.

    Raises:
        EnvironmentFailedError: no NVML, no driver, or NVML fails.
    """
    nvml = library or _library()
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        raise _no_driver(error) from None
    try:
        return int(nvml.nvmlDeviceGetCount())
    except nvml.NVMLError as error:
        raise _failed(error) from None
    finally:
        nvml.nvmlShutdown()


def _share(percent: float) -> float | None:
    """Percent as a share; None for what no counter can give."""
    return min(1.0, percent / 100) if 0 <= percent <= 101 else None


def _library() -> ModuleType:
    try:
        import pynvml
    except ImportError:
        raise EnvironmentFailedError(
            "measuring on a GPU needs nvidia-ml-py, which is not installed", fix="pip install 'gpuslice[gpu]'"
        ) from None
    return cast("ModuleType", pynvml)


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _no_driver(error: Exception) -> EnvironmentFailedError:
    return EnvironmentFailedError(f"NVML finds no driver: {error}", fix="run it on a machine with a GPU")


def _failed(error: Exception) -> EnvironmentFailedError:
    return EnvironmentFailedError(f"NVML failed: {error}", fix="check the GPU: nvidia-smi")
