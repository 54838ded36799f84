"""What the networks share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from mammoseg import validate

STAGES = 5  # four poolings: height and width must be multiples of 16


def stages(width: int) -> list[int]:
    """Channels of the five stages, doubled from one to the next. Raises UserError for a width below 1."""
    validate.positive_int("model.width", width)
    return [width * 2**stage for stage in range(STAGES)]


def conv_bn_relu(in_channels: int, out_channels: int, dilation: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, padding=dilation, dilation=dilation),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


def recomputed(stage: nn.Module, *features: Tensor) -> Tensor:
    """stage(*features), of which only the features are kept: the gradient computes the rest again. The same values,
    gradients and running statistics; for stages without chance, such as dropout."""

    def contexts() -> tuple[AbstractContextManager, AbstractContextManager]:
        return nullcontext(), statistics_kept(stage)

    if torch.compiler.is_compiling():  # the compiler itself lets only the first computation count
        return checkpoint(stage, *features, use_reentrant=False)
    return checkpoint(stage, *features, use_reentrant=False, preserve_rng_state=False, context_fn=contexts)


@contextmanager
def statistics_kept(stage: nn.Module) -> Iterator[None]:
    """Batch normalisation does not count the same batch a second time."""
    norms = [module for module in stage.modules() if isinstance(module, _BatchNorm)]
    before = [(module.momentum, module.num_batches_tracked) for module in norms]
    for module in norms:
        module.momentum, module.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for module, (momentum, count) in zip(norms, before, strict=True):
            module.momentum, module.num_batches_tracked = momentum, count
