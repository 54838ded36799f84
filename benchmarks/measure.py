"""What the benchmarks share: the device, batches of disc-like masks, and times taken in turn."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

THREADS = 2
THETA = (0.5, 0.5, 0.85, 0.95)


def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def device_name() -> str:
    """For the tables: the GPU, or the processor and how many threads of it."""
    return (
        torch.cuda.get_device_name() if torch.cuda.is_available() else f"the CPU (threads: {torch.get_num_threads()})"
    )


def finished() -> None:
    """Waits until the GPU has done what it was given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def seconds(work: Callable[[], object]) -> float:
    finished()
    started = time.perf_counter()
    work()
    finished()
    return time.perf_counter() - started


def interleaved(works: Mapping[str, Callable[[], object]], rounds: int, warm: int = 2) -> dict[str, float]:
    """Median seconds of each, called in turn, so that a busy minute of the machine falls on all of them."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for number in range(warm + rounds):
        for name, work in works.items():
            spent = seconds(work)
            if number >= warm:
                times[name].append(spent)
    return {name: statistics.median(spent) for name, spent in times.items()}


def batch(number: int, size: int, where: torch.device | str = "cpu", seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """logits (B, 1, size, size) of an undecided network, mask of discs from small to large, density."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(number, 1, size, size, generator=generator)
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    discs = [
        (y - 0.45 * size) ** 2 + (x - 0.4 * size) ** 2 < (size * (0.03 + 0.15 * place / number)) ** 2
        for place in range(number)
    ]
    mask = torch.stack(discs)[:, None].float()
    return logits.to(where), mask.to(where), (torch.arange(number) % 4).to(where)
