"""The probe on a driver that counts what it is asked: on a real one it was run on an H100 and an H200."""

import ctypes
import re
import sys
import time

import pytest

from gpuslice.measure import probe

SMS = 132
PER_TURN = 1e-7  # seconds of the kernel


class Libcuda:
    """A driver of one GPU with a clock of its own, which is lost after so many cycles."""

    def __init__(self, cycles):
        self.cycles, self.launched, self.slept, self.now = cycles, [], [], 0.0

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds

    def __getattr__(self, name):
        def call(*arguments):
            match name:
                case "cuDeviceGetAttribute":
                    arguments[0]._obj.value = SMS
                case "cuLaunchKernel":
                    turns = ctypes.cast(arguments[9][1], ctypes.POINTER(ctypes.c_uint))[0]
                    self.launched.append((arguments[1], arguments[4], turns))
                    self.now += turns * PER_TURN
                case "cuCtxSynchronize":
                    return 999 if len(self.slept) >= self.cycles else 0
            return 0

        return call


@pytest.fixture
def run(monkeypatch, capsys):
    """The probe's exit code, and what it said, on a driver."""

    def run(library, *arguments):
        def load(_):
            if library is None:
                raise OSError("libcuda.so.1: cannot open shared object file")
            monkeypatch.setattr(time, "sleep", library.sleep)
            monkeypatch.setattr(time, "perf_counter", lambda: library.now)
            return library

        monkeypatch.setattr(ctypes, "CDLL", load)
        monkeypatch.setattr(sys, "argv", ["probe", *arguments])
        code = probe.main()
        monkeypatch.undo()  # the clock is everybody's
        return code, capsys.readouterr()

    return run


def test_a_cycle_keeps_the_gpu_busy_for_its_duty_and_leaves_it_alone_for_the_rest(run):
    library = Libcuda(cycles=20)
    code, said = run(library, "--duty", "0.25", "--sm", "0.125", "--turns", "5000", "--blocks", "66")
    assert library.launched[:100] == [(66, 1024, 5000)] * 100  # five a cycle, half a millisecond each
    assert library.slept == pytest.approx([0.0075] * 20)
    assert said.out.splitlines()[-1].endswith(" cycles, 5000 turns, 66 blocks")
    assert (code, "999" in said.err) == (3, True)


def test_alone_it_finds_its_size_and_tells_it_for_later_runs(run):
    _, said = run(Libcuda(cycles=20), "--duty", "0.5", "--sm", "0.25")
    line = said.out.splitlines()[-1]
    assert re.fullmatch(probe.LINE, line)
    # Half a millisecond, on half of the multiprocessors while it is busy.
    assert probe.size_told(line) == ("--turns", "5000", "--blocks", "66")


def test_a_machine_without_a_driver_is_said(run):
    code, said = run(None, "--duty", "0.5", "--sm", "0.25")
    assert code == 3
    assert "the probe can't use the GPU: libcuda" in said.err
