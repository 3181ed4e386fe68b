"""A program that stands in for another among copies of it: a GPU load of a given duty, whose iterations are counted.

    python -m gpuslice.measure.probe --duty 0.3 --sm 0.2 [--turns N --blocks N]

Programs that tell no progress and don't end can't be timed themselves. This one takes a copy's place: in each cycle of
10 ms it keeps the GPU busy for the same share of the time, on as many multiprocessors, and leaves it alone for the
rest. How many fewer cycles it gets through beside the copies is what sharing costs such a load. It uses no memory
bandwidth, so it can't show what programs lose to each other there.

It speaks to the driver alone (libcuda's C interface): no toolkit or framework is needed. Each line it prints is
"C cycles, T turns, B blocks": cycles done, and the size of its kernel. That is found alone, where a kernel takes
`_KERNEL` seconds, and given to later runs: beside others it would take longer, and under MPS a client that is limited
is told of fewer multiprocessors.
"""

from __future__ import annotations

import argparse
import ctypes
import math
import sys
import time
from typing import Final

LINE: Final = r"^(\d+) cycles, \d+ turns, \d+ blocks$"
_CYCLE: Final = 0.01  # seconds alone: short against a measurement, long against a kernel
_KERNEL: Final = 0.0005  # seconds alone: within what programs launch, and far more than a launch takes
_THREADS: Final = 1024  # of a block: enough to keep a multiprocessor's arithmetic full by itself
_WARM: Final = 1.0  # seconds until clocks are up
_TRIES: Final = 9
_TOLD_EVERY: Final = 0.05  # seconds
_SMS: Final = 16  # CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT
# A chain of multiplications and additions in registers; PTX 6.0 is compiled by any driver since 2017, for any card
# since Maxwell.
_PTX: Final = (
    b"""
.version 6.0
.target sm_50
.address_size 64
.visible .entry spin(.param .u64 out, .param .u32 turns)
{
  .reg .pred %p;
  .reg .f32 %f<3>;
  .reg .b32 %left;
  .reg .b64 %place;
  ld.param.u32 %left, [turns];
  mov.f32 %f1, 0f3F800000;
  mov.f32 %f2, 0f3F000000;
again:
"""
    + b"  fma.rn.f32 %f1, %f1, %f2, %f2;\n" * 8
    + b"""
  sub.u32 %left, %left, 1;
  setp.ne.u32 %p, %left, 0;
  @%p bra again;
  ld.param.u64 %place, [out];
  st.global.f32 [%place], %f1;
  ret;
}
\0"""
)


def size_told(line: str) -> tuple[str, ...]:
    """The options that give a later run the size of a kernel that a line tells."""
    _, turns, blocks = line.split(", ")
    return ("--turns", turns.partition(" ")[0], "--blocks", blocks.partition(" ")[0])


class Driver:
    """The first GPU that CUDA sees, and the kernel on it.

    Raises:
        OSError: no driver, or a call of it fails.
    """

    def __init__(self) -> None:
        self._cuda = ctypes.CDLL("libcuda.so.1")
        device, context, module = ctypes.c_int(), ctypes.c_void_p(), ctypes.c_void_p()
        self._kernel, self._place, sms = ctypes.c_void_p(), ctypes.c_uint64(), ctypes.c_int()
        self._call("cuInit", 0)
        self._call("cuDeviceGet", ctypes.byref(device), 0)
        self._call("cuDeviceGetAttribute", ctypes.byref(sms), _SMS, device)
        self._call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
        self._call("cuCtxSetCurrent", context)
        self._call("cuModuleLoadData", ctypes.byref(module), _PTX)
        self._call("cuModuleGetFunction", ctypes.byref(self._kernel), module, b"spin")
        self._call("cuMemAlloc_v2", ctypes.byref(self._place), ctypes.c_size_t(4))
        self.sms = sms.value

    def spin(self, blocks: int, turns: int, times: int = 1) -> None:
        """Run the kernel so many times, and wait for the end."""
        count = ctypes.c_uint(turns)
        arguments = (ctypes.c_void_p * 2)(
            ctypes.cast(ctypes.byref(self._place), ctypes.c_void_p),
            ctypes.cast(ctypes.byref(count), ctypes.c_void_p),
        )
        for _ in range(times):
            self._call("cuLaunchKernel", self._kernel, blocks, 1, 1, _THREADS, 1, 1, 0, None, arguments, None)
        self._call("cuCtxSynchronize")

    def _call(self, name: str, *arguments: object) -> None:
        code = getattr(self._cuda, name)(*arguments)
        if code:
            raise OSError(f"{name} failed with CUDA's error {code}")


def turns_of(seconds: float, driver: Driver, blocks: int) -> int:
    """How many turns of the kernel take so long now, with the clocks up."""
    turns, until = 1000, time.perf_counter() + _WARM
    while time.perf_counter() < until:
        driver.spin(blocks, turns)
    took = []
    for _ in range(_TRIES):
        before = time.perf_counter()
        driver.spin(blocks, 1)
        between = time.perf_counter()
        driver.spin(blocks, 100 * turns)
        took.append(time.perf_counter() - between - (between - before))
    return max(1, round(seconds / (sorted(took)[_TRIES // 2] / (100 * turns))))


def main() -> int:
    """Load the GPU and tell how far, until it is ended."""
    parser = argparse.ArgumentParser(prog="python -m gpuslice.measure.probe")
    parser.add_argument("--duty", type=float, required=True)
    parser.add_argument("--sm", type=float, required=True)
    parser.add_argument("--turns", type=int, default=0)
    parser.add_argument("--blocks", type=int, default=0)
    options = parser.parse_args()
    duty = min(1.0, max(0.01, options.duty))
    try:
        driver = Driver()
        blocks = options.blocks or max(1, min(driver.sms, math.ceil(options.sm / duty * driver.sms)))
        turns = options.turns or turns_of(_KERNEL, driver, blocks)
        kernels = max(1, round(duty * _CYCLE / _KERNEL))
        pause = kernels * _KERNEL * (1 / duty - 1)
        cycles, told = 0, time.perf_counter()
        while True:
            driver.spin(blocks, turns, kernels)
            time.sleep(pause)
            cycles += 1
            if time.perf_counter() - told > _TOLD_EVERY:
                told = time.perf_counter()
                sys.stdout.write(f"{cycles} cycles, {turns} turns, {blocks} blocks\n")
                sys.stdout.flush()
    except OSError as error:
        sys.stderr.write(f"the probe can't use the GPU: {error}\n")
        return 3


if __name__ == "__main__":
    sys.exit(main())
