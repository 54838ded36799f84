"""Fraction of the peak performance that the convolutions of a training step reach.

python benchmarks/convolutions.py [--rounds 5] [setting ...]     settings of train; by default
method=efficientnet_unet dataset.size=256

Operations are counted from the shapes, times are those of the profiler. The peak is the performance of a product of
two 4096x4096 matrices in the same precision, measured in the same run.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Sequence
from functools import partial
from typing import Any

import hydra
import torch
from hydra import compose, initialize_config_dir
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

import measure
from mammoseg.conf import conf_dir
from mammoseg.models.deep_supervision import list_outputs

DEFAULT = ["method=efficientnet_unet", "dataset.size=256"]
SIDE = 4096  # of the matrices
CONVOLUTIONS = ("aten::convolution", "aten::convolution_backward")
PRECISIONS = {"32-true": torch.float32, "bf16-mixed": torch.bfloat16}


def step(net: nn.Module, image: Tensor, dtype: torch.dtype) -> None:
    """Compute outputs and gradients of the network."""
    with torch.autocast(image.device.type, torch.bfloat16, enabled=dtype == torch.bfloat16):
        outputs = list_outputs(net(image), image)
    measure.negligible_loss(outputs).backward()  # type: ignore[no-untyped-call]  # torch


def forward_flops(x: Sequence[int], weight: Sequence[int], transposed: bool, out: Sequence[int]) -> int:
    """Return the number of floating-point operations of a convolution; a multiply-add counts as two.

    Args:
        x: Shape of the input (B, C, H, W).
        weight: Shape of the weights; with groups, their second dimension is that of a group.
        transposed: Whether it is a transposed convolution.
        out: Shape of the output.
    """
    positions = (x if transposed else out)[2:]
    return 2 * x[0] * math.prod(positions) * math.prod(weight)


def backward_flops(grad: Sequence[int], x: Sequence[int], weight: Sequence[int], *args: Any, **_: object) -> int:
    """Return the number of operations of the backward pass; that of PyTorch ignores groups."""
    transposed, output_mask = args[4], args[7]
    n_gradients: int = sum(output_mask[:2])
    return n_gradients * forward_flops(x, weight, transposed, grad)


def convolution_flops(net: nn.Module, image: Tensor) -> int:
    """Return the number of floating-point operations of all convolutions in a step."""
    backward = {torch.ops.aten.convolution_backward: backward_flops}
    with FlopCounterMode(display=False, custom_mapping=backward) as counter:
        step(net, image, torch.float32)
    counts = counter.get_flop_counts()["Global"]
    return sum(number for operation, number in counts.items() if "convolution" in str(operation))


def convolution_seconds(net: nn.Module, image: Tensor, dtype: torch.dtype) -> float:
    """Return the time of all convolutions in a step."""
    activities = [ProfilerActivity.CUDA if image.is_cuda else ProfilerActivity.CPU]
    with profile(activities=activities) as profiler:
        step(net, image, dtype)
        measure.synchronize()
    events = [event for event in profiler.key_averages() if event.key in CONVOLUTIONS]
    return float(sum(event.device_time_total if image.is_cuda else event.cpu_time_total for event in events)) / 1e6


def peak(device: torch.device, dtype: torch.dtype, rounds: int) -> float:
    """Return the floating-point operations per second of a matrix product."""
    left, right = (torch.randn(SIDE, SIDE, device=device, dtype=dtype) for _ in range(2))
    return 2 * SIDE**3 / min(measure.seconds(lambda: left @ right) for _ in range(rounds + 1))


def build(settings: Sequence[str]) -> tuple[nn.Module, Tensor]:
    """Return the network and a batch of random images of the settings."""
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg = compose("train", list(settings))
    net = hydra.utils.instantiate(cfg.model).to(measure.device(), memory_format=torch.channels_last)
    image = torch.randn(cfg.batch_size, 1, cfg.dataset.size, cfg.dataset.size, device=measure.device())
    return net, image.contiguous(memory_format=torch.channels_last)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("settings", nargs="*", default=DEFAULT, metavar="setting")
    parser.add_argument("--rounds", type=int, default=5, help="number of repetitions")
    args = parser.parse_args()
    net, image = build(args.settings)
    flops = convolution_flops(net, image)
    n_parameters = sum(parameter.numel() for parameter in net.parameters())
    shapes = f"{n_parameters:,} parameters, batch {tuple(image.shape)}"
    print(f"{', '.join(args.settings)}: {shapes}, {flops / 1e9:.1f} GFLOP in the convolutions of a step.")
    print(f"Device: {measure.device_name()}. Medians of {args.rounds} steps, each without optimizer.\n")
    columns = ("precision", "step", "convolutions", "GFLOP/s", "peak, GFLOP/s", "fraction of the peak")
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for precision, dtype in PRECISIONS.items():
        step(net, image, dtype)
        whole = statistics.median(measure.seconds(partial(step, net, image, dtype)) for _ in range(args.rounds))
        convolutions = statistics.median(convolution_seconds(net, image, dtype) for _ in range(args.rounds))
        reached, highest = flops / convolutions, peak(image.device, dtype, args.rounds)
        times = f"{1000 * whole:.0f} ms | {1000 * convolutions:.0f} ms ({100 * convolutions / whole:.0f} %)"
        fraction = f"{reached / 1e9:.0f} | {highest / 1e9:.0f} | {100 * reached / highest:.0f} %"
        print(f"| {precision} | {times} | {fraction} |")


if __name__ == "__main__":
    main()
