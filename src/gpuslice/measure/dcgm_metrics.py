"""The metrics of the DCGM exporter that needs are read off, and how.

DCGM_FI_DEV_FB_USED               MiB in use: the most of each hour
DCGM_FI_PROF_GR_ENGINE_ACTIVE     share of time busy: five-minute means
DCGM_FI_DEV_GPU_UTIL              the same in percent and coarser, where the former is not scraped
DCGM_FI_PROF_SM_ACTIVE, …PIPE_TENSOR_ACTIVE, …DRAM_ACTIVE     what of the GPU is in use: hourly means
"""

from typing import Final

MEMORY: Final = "DCGM_FI_DEV_FB_USED"
BUSY: Final = "DCGM_FI_PROF_GR_ENGINE_ACTIVE"
UTILISATION: Final = "DCGM_FI_DEV_GPU_UTIL"
ACTIVITY: Final = {
    "sm": "DCGM_FI_PROF_SM_ACTIVE",
    "tensor": "DCGM_FI_PROF_PIPE_TENSOR_ACTIVE",
    "dram": "DCGM_FI_PROF_DRAM_ACTIVE",
}
