"""Time of the depthwise convolutions of EfficientNet-Lite0 on a CPU, in single precision and in bfloat16.

python benchmarks/depthwise_convolutions.py [--batch-size 8] [--size 256] [--threads 1]
"""

from __future__ import annotations

import argparse
from copy import deepcopy
from functools import partial

import torch
from torch import Tensor

import measure
from mammoseg.models.efficientnet_unet import EfficientNetUNet, SamePaddingConv2d

ROUNDS = 5
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def depthwise_convolutions(size: int) -> dict[tuple[int, ...], SamePaddingConv2d]:
    """Return the depthwise convolutions of the network by the shape of their input, their kernel and their stride."""
    layers: dict[tuple[int, ...], SamePaddingConv2d] = {}

    def record(layer: SamePaddingConv2d, inputs: tuple[Tensor, ...]) -> None:
        layers[(*inputs[0].shape[1:], layer.kernel_size[0], layer.stride[0])] = layer

    net = EfficientNetUNet().eval()
    hooks = [
        module.register_forward_pre_hook(record)
        for module in net.modules()
        if isinstance(module, SamePaddingConv2d) and module.groups > 1
    ]
    with torch.inference_mode():
        net(torch.zeros(1, 1, size, size))
    for hook in hooks:
        hook.remove()
    return layers


def step(layer: SamePaddingConv2d, features: Tensor) -> None:
    """Compute the output and the gradients of a convolution."""
    output = layer(features)
    torch.autograd.grad(output, [features, layer.weight], torch.ones_like(output))


def main() -> None:
    """Print one row per convolution: time of the forward and backward pass in both precisions."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print("| channels | size | kernel | stride | float32, ms | bfloat16, ms |\n|---|---|---|---|---|---|")
    totals = dict.fromkeys(PRECISIONS, 0.0)
    for (channels, height, width, kernel_size, stride), layer in depthwise_convolutions(arguments.size).items():
        image = torch.randn(arguments.batch_size, channels, height, width)
        steps = {
            name: partial(
                step,
                deepcopy(layer).to(dtype),
                image.to(dtype, memory_format=torch.channels_last).requires_grad_(),
            )
            for name, dtype in PRECISIONS.items()
        }
        times = {name: 1000 * time for name, time in measure.interleaved(steps, ROUNDS).items()}
        totals = {name: totals[name] + time for name, time in times.items()}
        values = " | ".join(f"{time:.1f}" for time in times.values())
        print(f"| {channels} | {height}x{width} | {kernel_size} | {stride} | {values} |", flush=True)
    print(f"| all | | | | {' | '.join(f'{time:.1f}' for time in totals.values())} |")


if __name__ == "__main__":
    main()
