"""Time of the depthwise convolutions of EfficientNet-Lite0 on a CPU, in single precision and in bfloat16.

python benchmarks/depthwise_convolutions.py [--batch-size 8] [--size 256] [--threads 1]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from mammoseg.models.efficientnet_unet import EfficientNetUNet, SamePaddingConv2d

REPETITIONS = 5


def milliseconds(function: Callable[[], object]) -> float:
    """Return the shortest time of a function."""
    times = []
    for _ in range(REPETITIONS + 1):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return 1000 * min(times[1:])


def depthwise_convolutions(size: int) -> dict[tuple[int, ...], SamePaddingConv2d]:
    """Return the depthwise convolutions of the network by the shape of their input, their kernel and their stride."""
    layers: dict[tuple[int, ...], SamePaddingConv2d] = {}

    def record(layer: SamePaddingConv2d, inputs: tuple[Tensor, ...]) -> None:
        layers[(*inputs[0].shape[1:], layer.kernel_size[0], layer.stride[0])] = layer

    net = EfficientNetUNet().eval()
    for module in net.modules():
        if isinstance(module, SamePaddingConv2d) and module.groups > 1:
            module.register_forward_pre_hook(record)
    with torch.inference_mode():
        net(torch.zeros(1, 1, size, size))
    return layers


def main() -> None:
    """Print one row per convolution: forward and backward pass in both precisions."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print("| channels | size | kernel | stride | float32, ms | bfloat16, ms |\n|---|---|---|---|---|---|")
    totals = {torch.float32: 0.0, torch.bfloat16: 0.0}
    for shape, layer in depthwise_convolutions(arguments.size).items():
        channels, height, width, kernel_size, stride = shape
        row = []
        for dtype in totals:
            weight = layer.weight.detach().to(dtype, memory_format=torch.channels_last).requires_grad_()
            features = torch.randn(arguments.batch_size, channels, height, width).to(
                dtype, memory_format=torch.channels_last
            )
            row.append(milliseconds(partial(step, features, weight, stride)))
            totals[dtype] += row[-1]
        print(f"| {channels} | {height}x{width} | {kernel_size} | {stride} | {row[0]:.1f} | {row[1]:.1f} |", flush=True)
    print(f"| all | | | | {totals[torch.float32]:.1f} | {totals[torch.bfloat16]:.1f} |")


def step(features: Tensor, weight: Tensor, stride: int) -> None:
    """Compute a depthwise convolution and its gradients."""
    inputs = features.detach().requires_grad_()
    padding = weight.shape[-1] // 2
    output = torch.nn.functional.conv2d(inputs, weight, None, stride, padding, groups=len(weight))
    torch.autograd.grad(output, [inputs, weight], torch.ones_like(output))


if __name__ == "__main__":
    main()
