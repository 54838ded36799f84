"""Building blocks that the networks share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from mammoseg.validate import positive_int

N_STAGES = 5  # four poolings: height and width must be multiples of 16


def stage_widths(width: int) -> list[int]:
    """Channels of the five stages, doubled from one to the next. Raises UserError for a width below 1."""
    return [positive_int("model.width", width) * 2**stage for stage in range(N_STAGES)]


def conv_bn_relu(in_channels: int, out_channels: int, dilation: int = 1) -> nn.Sequential:
    """3x3 convolution that keeps height and width, batch normalisation, ReLU."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, padding=dilation, dilation=dilation),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


def checkpointed(stage: nn.Module, *features: Tensor) -> Tensor:
    """Apply a stage with gradient checkpointing: its activations are recomputed in the backward pass.

    Values, gradients and running statistics are unchanged. For stages without randomness, such as dropout, only.
    """

    def contexts() -> tuple[AbstractContextManager, AbstractContextManager]:
        return nullcontext(), frozen_batchnorm_stats(stage)

    if torch.compiler.is_compiling():  # the compiler updates the statistics once by itself
        return checkpoint(stage, *features, use_reentrant=False)
    return checkpoint(stage, *features, use_reentrant=False, preserve_rng_state=False, context_fn=contexts)


@contextmanager
def frozen_batchnorm_stats(stage: nn.Module) -> Iterator[None]:
    """Keep running statistics unchanged while the forward pass is recomputed."""
    norms = [module for module in stage.modules() if isinstance(module, _BatchNorm)]
    before = [(module.momentum, module.num_batches_tracked) for module in norms]
    for module in norms:
        module.momentum, module.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for module, (momentum, count) in zip(norms, before, strict=True):
            module.momentum, module.num_batches_tracked = momentum, count
