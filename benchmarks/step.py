"""A training step of AU-Net with each of its accelerations alone and together, and its memory.

python benchmarks/step.py [--width 8] [--rounds 7] [--no-compile]

A step is forward, Density-ASP criterion, backward and Adam. On a CPU the network is narrow; give a GPU --width 64.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

import measure
from mammoseg.losses import DensityASP
from mammoseg.models.au_net import AUNet

BATCH, SIZE = 4, 256
BATCHES = (1, 2, 4, 8)  # of the memory table


@dataclass(frozen=True)
class Way:
    """A set of accelerations."""

    channels_last: bool = False
    fused: bool = False
    bf16: bool = False
    compile: bool = False
    checkpointing: bool = False


WAYS = {
    "plain: float32, Adam": Way(),
    "channels_last": Way(channels_last=True),
    "fused Adam": Way(fused=True),
    "bf16-mixed": Way(bf16=True),
    "compile": Way(compile=True),
    "channels_last, fused: the default": Way(channels_last=True, fused=True),
    "the default and bf16": Way(channels_last=True, fused=True, bf16=True),
    "the default, bf16 and compile": Way(channels_last=True, fused=True, bf16=True, compile=True),
    "the default and checkpointing": Way(channels_last=True, fused=True, checkpointing=True),
}


class Training:
    """A network from one seed and all that a step needs."""

    def __init__(
        self, way: Way, width: int, batch: int = BATCH, dtype: torch.dtype = torch.float32, size: int = SIZE
    ) -> None:
        self.where = measure.device()
        torch.manual_seed(0)
        layout = torch.channels_last if way.channels_last else torch.contiguous_format
        net = AUNet(width, gradient_checkpointing=way.checkpointing)
        self.net = net.to(self.where, dtype, memory_format=layout)  # type: ignore[call-overload]
        if way.compile:
            self.net.compile()
        self.bf16 = way.bf16
        self.criterion = DensityASP(measure.THETA).to(self.where, dtype)
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=1e-4, fused=way.fused)
        noise, self.mask, self.density = measure.batch(batch, size, self.where)
        self.image = (self.mask + 0.3 * noise).to(dtype).contiguous(memory_format=layout)

    def gradients(self) -> Tensor:
        """Loss; the gradients stay with the weights."""
        self.optimizer.zero_grad()
        with torch.autocast(self.where.type, torch.bfloat16, enabled=self.bf16):
            logits = self.net(self.image)
        loss = self.criterion(logits, self.mask, self.density).mean()
        loss.backward()
        return loss.detach()

    def step(self) -> Tensor:
        loss = self.gradients()
        self.optimizer.step()
        return loss


@dataclass(frozen=True)
class Course:
    """Loss (with its gradients) of the first step, and the loss after five."""

    loss: float
    gradients: Tensor
    later: float

    @classmethod
    def of(cls, training: Training) -> Course:
        loss = training.gradients().item()
        found = [value.grad.flatten().double() for value in training.net.parameters() if value.grad is not None]
        for _ in range(5):
            training.step()
        return cls(loss, torch.cat(found), training.gradients().item())

    def deviations(self, exact: Course) -> list[float]:
        """Relative, of the three."""
        apart = (self.gradients - exact.gradients).norm() / exact.gradients.norm()
        return [abs(self.loss / exact.loss - 1), apart.item(), abs(self.later / exact.later - 1)]


def peak_memory(way: Way, width: int) -> list[float]:
    """MiB that a step of each of BATCHES needs at most beyond a tiny one; for a process that never had more."""
    torch.set_num_threads(1)
    Training(way, width, 1, size=64).step()
    cuda = torch.cuda.is_available()

    def most() -> float:  # not getrusage, which remembers the parent's from before the start of this program
        if cuda:
            return torch.cuda.max_memory_allocated() / 2**20
        status = Path("/proc/self/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024

    lowest = most()
    needed = []
    for batch in BATCHES:
        Training(way, width, batch).step()
        needed.append(most() - lowest)
    return needed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=64 if torch.cuda.is_available() else 8)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=measure.THREADS)
    parser.add_argument("--no-compile", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    refused = {name for name, way in WAYS.items() if way.compile and way.bf16 and not torch.cuda.is_available()}
    left_out = {name for name, way in WAYS.items() if way.compile and options.no_compile} | refused
    ways = {name: way for name, way in WAYS.items() if name not in left_out}
    print(f"AU-Net of width {options.width}, batch {BATCH}, {SIZE}x{SIZE}, on {measure.device_name()}.\n")
    exact = Course.of(Training(Way(), options.width, dtype=torch.float64))
    trainings, deviating, compiling = {}, {}, {}
    for name, way in ways.items():
        trainings[name] = Training(way, options.width)
        started = time.perf_counter()
        deviating[name] = Course.of(trainings[name]).deviations(exact)
        compiling[name] = time.perf_counter() - started
    times = measure.interleaved({name: training.step for name, training in trainings.items()}, options.rounds)
    plain = times["plain: float32, Adam"]
    print("| step | time | times faster | loss off by | gradients | loss after 5 steps |\n|---|---|---|---|---|---|")
    for name, spent in times.items():
        loss, gradients, later = deviating[name]
        print(f"| {name} | {1000 * spent:.0f} ms | {plain / spent:.2f} | {loss:.0e} | {gradients:.0e} | {later:.0e} |")
    for name, way in ways.items():
        if way.compile:
            print(f'\nBefore the first steps of "{name}" compiling took about {compiling[name]:.0f} s.')
    for name in sorted(refused):
        print(f'\nNot measured on a CPU: "{name}". Its gradients are NaN with torch 2.13, so mammoseg refuses it.')
    print("\nDeviations are relative, from a plain step in double precision.\n")
    memory(options.width)


def memory(width: int) -> None:
    columns = {
        "plain": Way(channels_last=True, fused=True),
        "checkpointing": Way(channels_last=True, fused=True, checkpointing=True),
        "bf16": Way(channels_last=True, fused=True, bf16=True),
        "bf16 and checkpointing": Way(channels_last=True, fused=True, bf16=True, checkpointing=True),
    }
    print(f"Memory that a step takes at most, beyond that of one 64x64 image, MiB, width {width}:\n")
    print(f"| batch | {' | '.join(columns)} |\n|---{'|---' * len(columns)}|")
    needed = []
    for way in columns.values():
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            needed.append(pool.submit(peak_memory, way, width).result())
    for batch, row in zip(BATCHES, zip(*needed, strict=True), strict=True):
        print(f"| {batch} | {' | '.join(f'{value:.0f}' for value in row)} |")


if __name__ == "__main__":
    main()
