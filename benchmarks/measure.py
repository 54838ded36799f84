"""Helper functions of the benchmarks: device, synthetic batches, and interleaved timing."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

THREADS = 2
THETA = (0.5, 0.5, 0.85, 0.95)


def device() -> torch.device:
    """Return the GPU if there is one, otherwise the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def device_name() -> str:
    """Return the name of the GPU, or the number of CPU threads, for the tables."""
    return (
        torch.cuda.get_device_name() if torch.cuda.is_available() else f"the CPU (threads: {torch.get_num_threads()})"
    )


def synchronize() -> None:
    """Wait until the GPU has finished."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def seconds(function: Callable[[], object]) -> float:
    """Return the run time of a call in seconds."""
    synchronize()
    started = time.perf_counter()
    function()
    synchronize()
    return time.perf_counter() - started


def negligible_loss(outputs: Sequence[Tensor]) -> Tensor:
    """Compute a loss of negligible cost from the outputs of a network."""
    return torch.stack([output.float().square().mean() for output in outputs]).sum()


def interleaved(functions: Mapping[str, Callable[[], object]], rounds: int, warmup: int = 2) -> dict[str, float]:
    """Return the median run time of each function in seconds.

    The calls are interleaved, so that other load on the machine affects all of them.
    """
    times: dict[str, list[float]] = {name: [] for name in functions}
    for index in range(warmup + rounds):
        for name, function in functions.items():
            elapsed = seconds(function)
            if index >= warmup:
                times[name].append(elapsed)
    return {name: statistics.median(elapsed) for name, elapsed in times.items()}


def batch(
    batch_size: int, size: int, device: torch.device | str = "cpu", seed: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    """Return random logits (B, 1, size, size), masks of discs of increasing size, and densities (B,)."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(batch_size, 1, size, size, generator=generator)
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    discs = [
        (y - 0.45 * size) ** 2 + (x - 0.4 * size) ** 2 < (size * (0.03 + 0.15 * index / batch_size)) ** 2
        for index in range(batch_size)
    ]
    mask = torch.stack(discs)[:, None].float()
    return logits.to(device), mask.to(device), (torch.arange(batch_size) % 4).to(device)
