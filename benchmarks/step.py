"""Time and memory of a training step with each performance option and with combinations of them.

python benchmarks/step.py [--model au_net] [--width 8] [--size 256] [--rounds 7] [--no-compile] [--no-memory]

A step consists of the forward pass, the Density-ASP criterion, the backward pass and Adam. The default width of AU-Net
is 8 on a CPU and 64 on a GPU, that of EfficientNetUNet 32. The errors are measured after 60 training steps, since a
network with random weights amplifies rounding: that of TF32, which PyTorch uses for convolutions on a GPU by default,
to about 20 % of its gradients.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

import measure
from mammoseg.losses import DensityASP
from mammoseg.models.au_net import AUNet
from mammoseg.models.deep_supervision import list_outputs
from mammoseg.models.efficientnet_unet import EfficientNetUNet
from memory import peak_gpu_memory, peak_memory

BATCH, SIZE = 4, 256
BATCHES = (1, 2, 4, 8)  # of the memory table
TRAINED_STEPS, TRAINED_LR = 60, 5e-3  # of the training before the errors are measured
WIDTHS = {"au_net": 64 if torch.cuda.is_available() else 8, "efficientnet_unet": 32}
Weights = dict[str, Tensor]


@dataclass(frozen=True)
class Network:
    """Network of the training step, a name in `WIDTHS` and a width."""

    model: str
    width: int

    def build(self, checkpointing: bool) -> nn.Module:
        """Build the network; only AU-Net has gradient checkpointing."""
        if self.model == "au_net":
            return AUNet(self.width, gradient_checkpointing=checkpointing)
        assert not checkpointing
        return EfficientNetUNet(self.width, deep_supervision=1)


@dataclass(frozen=True)
class Options:
    """Performance options of a training step."""

    channels_last: bool = False
    fused: bool = False
    bf16: bool = False
    compile: bool = False
    checkpointing: bool = False


CONFIGURATIONS = {
    "plain: float32, Adam": Options(),
    "channels_last": Options(channels_last=True),
    "fused Adam": Options(fused=True),
    "bf16-mixed": Options(bf16=True),
    "compile": Options(compile=True),
    "channels_last, fused: the default": Options(channels_last=True, fused=True),
    "the default and bf16": Options(channels_last=True, fused=True, bf16=True),
    "the default, bf16 and compile": Options(channels_last=True, fused=True, bf16=True, compile=True),
    "the default and gradient checkpointing": Options(channels_last=True, fused=True, checkpointing=True),
}


class Training:
    """Network, criterion, optimizer and batch of a training step; the seed is fixed.

    Args:
        options: Performance options.
        network: The network.
        batch: Batch size.
        dtype: Data type of network, criterion and images.
        size: Height and width of the images.
        weights: Weights of the network; None for random ones.
        lr: Learning rate.
    """

    def __init__(
        self,
        options: Options,
        network: Network,
        batch: int = BATCH,
        dtype: torch.dtype = torch.float32,
        size: int = SIZE,
        weights: Weights | None = None,
        lr: float = 1e-4,
    ) -> None:
        self.device = measure.device()
        torch.manual_seed(0)
        layout = torch.channels_last if options.channels_last else torch.contiguous_format
        net = network.build(options.checkpointing)
        if weights is not None:
            net.load_state_dict(weights)
        self.net = net.to(self.device, dtype, memory_format=layout)  # type: ignore[call-overload]
        if options.compile:
            self.net.compile()
        self.bf16 = options.bf16
        self.criterion = DensityASP(measure.THETA).to(self.device, dtype)
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=lr, fused=options.fused)
        noise, self.mask, self.density = measure.batch(batch, size, self.device)
        self.image = (self.mask + 0.3 * noise).to(dtype).contiguous(memory_format=layout)

    def gradients(self) -> Tensor:
        """Compute loss and gradients; returns the loss."""
        self.optimizer.zero_grad()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            (logits,) = list_outputs(self.net(self.image), self.image)
        loss = self.criterion(logits, self.mask, self.density).mean()
        loss.backward()
        detached: Tensor = loss.detach()
        return detached

    def step(self) -> Tensor:
        """Take an optimizer step; returns the loss before it."""
        loss = self.gradients()
        self.optimizer.step()
        return loss


@dataclass(frozen=True)
class Trajectory:
    """Loss and gradients of the first step, and the loss after five steps."""

    loss: float
    gradients: Tensor
    later: float

    @classmethod
    def record(cls, training: Training) -> Trajectory:
        """Take five steps and compute loss and gradients before and after."""
        loss = training.gradients().item()
        gradients = [value.grad.flatten().double() for value in training.net.parameters() if value.grad is not None]
        for _ in range(5):
            training.step()
        return cls(loss, torch.cat(gradients), training.gradients().item())

    def errors(self, exact: Trajectory) -> list[float]:
        """Return the error of the loss, the relative error of the gradients, and the error of the loss after 5 steps.

        Errors of the loss are absolute, since Density-ASP can be 0.
        """
        gradient_error = (self.gradients - exact.gradients).norm() / exact.gradients.norm()
        return [abs(self.loss - exact.loss), gradient_error.item(), abs(self.later - exact.later)]


def trained_weights(network: Network, size: int) -> Weights:
    """Train the network and return its weights."""
    training = Training(Options(), network, size=size, lr=TRAINED_LR)
    for _ in range(TRAINED_STEPS):
        training.step()
    weights: Weights = training.net.state_dict()
    return weights


def step_memory(options: Options, network: Network) -> list[float]:
    """Return the peak memory in MiB of a step for each of BATCHES.

    On a GPU, that of all tensors; on a CPU, that of the process in addition to a step with one 64x64 image. Must be
    called in a new process.
    """
    torch.set_num_threads(1)

    def step(batch: int) -> None:
        Training(options, network, batch).step()

    if torch.cuda.is_available():
        return [peak_gpu_memory(partial(step, batch)) for batch in BATCHES]
    Training(options, network, 1, size=64).step()
    baseline = peak_memory()
    needed = []
    for batch in BATCHES:
        step(batch)
        needed.append(peak_memory() - baseline)
    return needed


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=WIDTHS, default="au_net")
    parser.add_argument("--width", type=int)
    parser.add_argument("--size", type=int, default=SIZE)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=measure.THREADS)
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--no-memory", action="store_true", help="do not measure the peak memory")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    network = Network(args.model, args.width or WIDTHS[args.model])
    rejected = {
        name
        for name, options in CONFIGURATIONS.items()
        if options.compile and options.bf16 and not torch.cuda.is_available()
    }
    skipped = rejected | {
        name
        for name, options in CONFIGURATIONS.items()
        if (options.compile and args.no_compile) or (options.checkpointing and network.model != "au_net")
    }
    configurations = {name: options for name, options in CONFIGURATIONS.items() if name not in skipped}
    title = f"model={network.model}, width {network.width}"
    print(f"{title}, batch {BATCH}, {args.size}x{args.size}, on {measure.device_name()}.\n")
    weights = trained_weights(network, args.size)
    exact = Trajectory.record(Training(Options(), network, dtype=torch.float64, size=args.size, weights=weights))
    trainings, errors, compile_times = {}, {}, {}
    for name, options in configurations.items():
        trainings[name] = Training(options, network, size=args.size, weights=weights)
        started = time.perf_counter()
        errors[name] = Trajectory.record(trainings[name]).errors(exact)
        compile_times[name] = time.perf_counter() - started
    times = measure.interleaved({name: training.step for name, training in trainings.items()}, args.rounds)
    plain = times["plain: float32, Adam"]
    print("| options | time | speed-up | error of the loss | of the gradients | of the loss after 5 steps |")
    print("|---|---|---|---|---|---|")
    for name, elapsed in times.items():
        loss, gradients, later = errors[name]
        print(
            f"| {name} | {1000 * elapsed:.0f} ms | {plain / elapsed:.2f} | {loss:.0e} | {gradients:.0e} | {later:.0e} |"
        )
    for name, options in configurations.items():
        if options.compile:
            print(f'\nCompilation for "{name}" took about {compile_times[name]:.0f} s.')
    for name in sorted(rejected):
        print(f'\nNot measured on a CPU: "{name}". Its gradients are NaN with torch 2.13, so mammoseg rejects it.')
    print(
        f"\nErrors are differences from the plain step in double precision, of the gradients relative to their norm, "
        f"after {TRAINED_STEPS} training steps: a network with random weights amplifies rounding.\n"
    )
    if not args.no_memory:
        memory(network)


def memory(network: Network) -> None:
    """Print the table of peak memory."""
    columns = {
        "plain": Options(channels_last=True, fused=True),
        "gradient checkpointing": Options(channels_last=True, fused=True, checkpointing=True),
        "bf16": Options(channels_last=True, fused=True, bf16=True),
        "bf16 and gradient checkpointing": Options(channels_last=True, fused=True, bf16=True, checkpointing=True),
    }
    columns = {
        name: options for name, options in columns.items() if network.model == "au_net" or not options.checkpointing
    }
    baseline = "" if torch.cuda.is_available() else ", in addition to that of a step with one 64x64 image"
    print(f"Peak memory of a step in MiB{baseline}; width {network.width}:\n")
    print(f"| batch size | {' | '.join(columns)} |\n|---{'|---' * len(columns)}|")
    needed = []
    for options in columns.values():
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            needed.append(pool.submit(step_memory, options, network).result())
    for batch, row in zip(BATCHES, zip(*needed, strict=True), strict=True):
        print(f"| {batch} | {' | '.join(f'{value:.0f}' for value in row)} |")


if __name__ == "__main__":
    main()
