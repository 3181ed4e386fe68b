"""A library in NVML's place: one H100 or several, with faults on demand."""

import os
from types import SimpleNamespace

from gpuslice.units import MIB


class Nvml:
    """NVML of one H100 on which all sessions that `leaders` names run."""

    NVMLError = type("NVMLError", (Exception,), {})
    NVML_GPM_METRICS_GET_VERSION = 1

    def __init__(self, values=(40.0, 30.0, 10.0, 20.0), gpm=True, count=1):
        self.count = count
        self.values, self.gpm, self.foreign, self.fail, self.freed = values, gpm, [], "", 0

    def __getattr__(self, name):
        if name == "nvmlGpmQueryDeviceSupport":
            return lambda _: SimpleNamespace(isSupportedDevice=int(self.gpm))
        fixed: dict[str, object] = {
            "nvmlInit": None,
            "nvmlShutdown": None,
            "nvmlDeviceGetCount": self.count,
            "nvmlDeviceGetHandleByIndex": "handle",
            "nvmlDeviceGetName": "NVIDIA H100 80GB HBM3",
            "nvmlSystemGetDriverVersion": b"580.159.04",
            "nvmlDeviceGetMemoryInfo": SimpleNamespace(total=81559 * MIB, used=5000 * MIB),
            "nvmlDeviceGetMigMode": (0, 0),
            "nvmlDeviceGetUtilizationRates": SimpleNamespace(gpu=70),
            "nvmlGpmSampleGet": None,
            "nvmlDeviceGetMPSComputeRunningProcesses": [],
        }

        def answer(*_):
            if name == self.fail:
                raise self.NVMLError("gone")
            return fixed[name]

        if name in fixed:
            return answer
        raise AttributeError(name)

    def nvmlDeviceGetComputeRunningProcesses(self, _):  # noqa: N802  NVML's name
        mine = [SimpleNamespace(pid=os.getpid(), usedGpuMemory=3000 * MIB + 1)]
        return mine + [SimpleNamespace(pid=pid, usedGpuMemory=None) for pid in self.foreign]

    def nvmlGpmSampleAlloc(self):  # noqa: N802  NVML's name
        return object()

    def nvmlGpmSampleFree(self, _):  # noqa: N802  NVML's name
        self.freed += 1

    def c_nvmlGpmMetricsGet_t(self):  # noqa: N802  NVML's name
        return SimpleNamespace(metrics=[SimpleNamespace(nvmlReturn=0, value=0.0) for _ in range(8)])

    def nvmlGpmMetricsGet(self, asked):  # noqa: N802  NVML's name
        for each, value in zip(asked.metrics, self.values, strict=False):
            each.value = value
