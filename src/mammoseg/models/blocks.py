"""What the networks share."""

from __future__ import annotations

from torch import nn

from mammoseg.errors import UserError

STAGES = 5  # four poolings: height and width must be multiples of 16


def stages(width: int) -> list[int]:
    """Channels of the five stages, doubled from one to the next. Raises UserError for a width below 1."""
    if width < 1:
        raise UserError(f"model.width={width}, but a network needs at least 1 channel")
    return [width * 2**stage for stage in range(STAGES)]


def conv_bn_relu(in_channels: int, out_channels: int, dilation: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, padding=dilation, dilation=dilation),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )
