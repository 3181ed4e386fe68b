"""Loads for measuring what sharing a GPU costs (PyTorch): python -m bench.gpu_loads "compute-bound".

Each runs until it is ended, and prints "step N" as it goes. What they do by themselves is in docs/reference/sharing.md.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Final

import torch
from torch import nn

_TOLD_EVERY: Final = 0.05  # seconds
_DEVICE: Final = "cuda"
Step = Callable[[], object]


def gemm() -> Step:
    """A product of two matrices of 8192 × 8192 in bf16: all multiprocessors, all tensor cores."""
    one, other = (torch.randn(8192, 8192, device=_DEVICE, dtype=torch.bfloat16) for _ in range(2))
    return lambda: one @ other


def copy() -> Step:
    """2 GiB copied: the memory's bandwidth."""
    one = torch.zeros(1 << 31, device=_DEVICE, dtype=torch.uint8)
    other = torch.empty_like(one)
    return lambda: other.copy_(one)


def launches() -> Step:
    """400 kernels that do next to nothing."""
    one = torch.zeros(32, device=_DEVICE)

    def step() -> None:
        for _ in range(400):
            one.add_(1)

    return step


def bursts(pause: float) -> Step:
    """Five products, and then a pause."""
    product = gemm()

    def step() -> None:
        for _ in range(5):
            product()
        torch.cuda.synchronize()
        time.sleep(pause)

    return step


def _encoder() -> tuple[nn.Module, torch.Tensor]:
    layer = nn.TransformerEncoderLayer(768, 12, 3072, batch_first=True, dropout=0.0)
    model = nn.TransformerEncoder(layer, 6, enable_nested_tensor=False).to(_DEVICE, torch.bfloat16)
    return model, torch.randn(8, 128, 768, device=_DEVICE, dtype=torch.bfloat16)


def _resnet(batch: int) -> tuple[nn.Module, torch.Tensor]:
    from torchvision.models import resnet50

    return resnet50().to(_DEVICE), torch.randn(batch, 3, 224, 224, device=_DEVICE)


def inference(model: nn.Module, batch: torch.Tensor) -> Step:
    """A forward pass, launched kernel by kernel."""
    model.eval()

    def step() -> object:
        with torch.inference_mode():
            return model(batch)

    return step


def training(model: nn.Module, batch: torch.Tensor) -> Step:
    """A forward and a backward pass, and a step of the optimiser."""
    optimiser = torch.optim.AdamW(model.parameters())

    def step() -> None:
        optimiser.zero_grad()
        model(batch).float().square().mean().backward()
        optimiser.step()

    return step


def decoder() -> Step:
    """One token through 24 layers of width 2048, as a CUDA graph: all weights are read for it."""
    layers = nn.ModuleList(
        nn.Sequential(
            nn.LayerNorm(2048), nn.Linear(2048, 6144), nn.Linear(6144, 2048), nn.Linear(2048, 8192),
            nn.GELU(), nn.Linear(8192, 2048),
        )
        for _ in range(24)
    ).to(_DEVICE, torch.bfloat16)  # fmt: skip
    token = torch.randn(1, 2048, device=_DEVICE, dtype=torch.bfloat16)

    def forward() -> torch.Tensor:
        found = token
        for layer in layers:
            found = found + layer(found)
        return found

    with torch.inference_mode():
        beside = torch.cuda.Stream()
        with torch.cuda.stream(beside):
            forward()
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            forward()
    replay: Step = graph.replay
    return replay


LOADS: Final[dict[str, Callable[[], Step]]] = {
    "compute-bound": gemm,
    "memory-bound": copy,
    "launch-bound": launches,
    "bursty, duty 0.17": lambda: bursts(0.04),
    "bursty, duty 0.45": lambda: bursts(0.01),
    "encoder, inference": lambda: inference(*_encoder()),
    "decoder, inference": decoder,
    "ResNet-50, inference": lambda: inference(*_resnet(8)),
    "ResNet-50, training": lambda: training(*_resnet(16)),
    "encoder, training": lambda: training(*_encoder()),
}


def main() -> None:
    """Run one until the end comes from outside."""
    silent = "--silent" in sys.argv
    step = LOADS[sys.argv[1]]()
    done, told = 0, time.monotonic()
    while True:
        step()
        torch.cuda.synchronize()
        done += 1
        if not silent and time.monotonic() - told > _TOLD_EVERY:
            told = time.monotonic()
            print(f"step {done}", flush=True)


if __name__ == "__main__":
    main()
