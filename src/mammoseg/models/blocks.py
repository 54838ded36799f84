"""Building blocks of the networks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from mammoseg.validate import positive_int

N_STAGES = 5  # with four pooling layers, which require a height and width that are multiples of 16


def stage_widths(width: int) -> list[int]:
    """Compute the number of channels of the five stages.

    Args:
        width: Number of channels of the first stage, doubled in each of the four following stages.

    Returns:
        Number of channels of each stage.

    Raises:
        UserError: If `width` is below 1.
    """
    return [positive_int("model.width", width) * 2**stage for stage in range(N_STAGES)]


def conv_bn_relu(in_channels: int, out_channels: int, dilation: int = 1) -> nn.Sequential:
    """Build a 3x3 convolution that preserves height and width, followed by batch normalisation and ReLU.

    Args:
        in_channels: Number of input channels.
        out_channels: Number of output channels.
        dilation: Dilation of the convolution.

    Returns:
        The module.
    """
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, padding=dilation, dilation=dilation),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


def checkpointed(stage: nn.Module, *features: Tensor) -> Tensor:
    """Apply a module with gradient checkpointing: its activations are recomputed in the backward pass.

    Outputs, gradients and running statistics are the same as without checkpointing.

    Args:
        stage: Module to apply; must be deterministic (no dropout).
        *features: Inputs of the module.

    Returns:
        Output of the module.
    """

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), frozen_batchnorm_stats(stage)

    output: Tensor
    if torch.compiler.is_compiling():  # compiled code updates the running statistics only once
        output = checkpoint(stage, *features, use_reentrant=False)
    else:
        output = checkpoint(stage, *features, use_reentrant=False, preserve_rng_state=False, context_fn=contexts)
    return output


@contextmanager
def frozen_batchnorm_stats(stage: nn.Module) -> Iterator[None]:
    """Context manager in which the running statistics of batch normalisation are not updated."""
    norms = [module for module in stage.modules() if isinstance(module, _BatchNorm)]
    previous = [(module.momentum, module.num_batches_tracked) for module in norms]
    for module in norms:
        module.momentum, module.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for module, (momentum, n_batches) in zip(norms, previous, strict=True):
            module.momentum, module.num_batches_tracked = momentum, n_batches
