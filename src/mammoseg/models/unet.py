"""U-Net (Ronneberger et al., MICCAI 2015) with padded convolutions and batch normalisation."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from mammoseg.models.blocks import conv_bn_relu, stage_widths


class UNet(nn.Module):
    """Encoder-decoder with a skip connection in each of four stages.

    Shapes: image (B, 1, H, W) -> logits (B, 1, H, W); H and W multiples of 16.

    Args:
        width: Channels of the first stage, doubled in each of the next four; 64 is the published size.
        encode: Channels -> shape-preserving module to insert after each encoder stage; None for none.
        skip: The same on each skip connection.
        decode: The same after each decoder stage.

    Raises:
        UserError: If `width` is below 1.
    """

    def __init__(
        self,
        width: int = 64,
        *,
        encode: Callable[[int], nn.Module] | None = None,
        skip: Callable[[int], nn.Module] | None = None,
        decode: Callable[[int], nn.Module] | None = None,
    ) -> None:
        super().__init__()
        channels = stage_widths(width)
        self.encoder = nn.ModuleList(
            nn.Sequential(double_conv(before, after), (encode or identity)(after))
            for before, after in zip([1, *channels], channels, strict=False)
        )
        self.skips = nn.ModuleList((skip or identity)(count) for count in channels[:-1])
        decoder_widths = list(reversed(channels[:-1]))
        self.enlarge = nn.ModuleList(nn.ConvTranspose2d(2 * count, count, 2, stride=2) for count in decoder_widths)
        self.decoder = nn.ModuleList(
            nn.Sequential(double_conv(2 * count, count), (decode or identity)(count)) for count in decoder_widths
        )
        self.head = nn.Conv2d(width, 1, 1)

    def forward(self, image: Tensor) -> Tensor:
        features = self.encoder[0](image)
        skips = []
        for skip, stage in zip(self.skips, self.encoder[1:], strict=True):
            skips.append(skip(features))
            features = stage(nn.functional.max_pool2d(features, 2))
        for enlarge, stage in zip(self.enlarge, self.decoder, strict=True):
            features = stage(torch.cat([skips.pop(), enlarge(features)], dim=1))
        return self.head(features)


def identity(channels: int) -> nn.Module:
    """Inserts nothing."""
    return nn.Identity()


def double_conv(in_channels: int, out_channels: int) -> nn.Sequential:
    """Two 3x3 convolutions with batch normalisation and ReLU."""
    return nn.Sequential(conv_bn_relu(in_channels, out_channels), conv_bn_relu(out_channels, out_channels))
