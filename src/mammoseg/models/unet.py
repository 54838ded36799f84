"""U-Net (Ronneberger et al., MICCAI 2015) with padded convolutions and batch normalisation."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from mammoseg.models.blocks import conv_bn_relu, stages


class UNet(nn.Module):
    """Encoder-decoder with a skip connection in each of four stages.

    Shapes: image (B, in_channels, H, W) -> logits (B, out_channels, H, W); H and W multiples of 16.
    `width`: channels of the first stage, doubled in each of the next four; 64 is the published size.
    `encode`, `skip`, `decode`: channels -> module that keeps its shape, put after each encoder stage, on
    each skip connection, after each decoder stage; None puts nothing there.
    Raises UserError for a width below 1.
    """

    def __init__(
        self,
        width: int = 64,
        in_channels: int = 1,
        out_channels: int = 1,
        *,
        encode: Callable[[int], nn.Module] | None = None,
        skip: Callable[[int], nn.Module] | None = None,
        decode: Callable[[int], nn.Module] | None = None,
    ) -> None:
        super().__init__()
        nothing = lambda _: nn.Identity()  # noqa: E731
        channels = stages(width)
        self.encoder = nn.ModuleList(
            nn.Sequential(double(before, after), (encode or nothing)(after))
            for before, after in zip([in_channels, *channels], channels, strict=False)
        )
        self.skips = nn.ModuleList((skip or nothing)(count) for count in channels[:-1])
        upward = list(reversed(channels[:-1]))
        self.enlarge = nn.ModuleList(nn.ConvTranspose2d(2 * count, count, 2, stride=2) for count in upward)
        self.decoder = nn.ModuleList(
            nn.Sequential(double(2 * count, count), (decode or nothing)(count)) for count in upward
        )
        self.head = nn.Conv2d(width, out_channels, 1)

    def forward(self, image: Tensor) -> Tensor:
        features = self.encoder[0](image)
        kept = []
        for skip, stage in zip(self.skips, self.encoder[1:], strict=True):
            kept.append(skip(features))
            features = stage(nn.functional.max_pool2d(features, 2))
        for enlarge, stage in zip(self.enlarge, self.decoder, strict=True):
            features = stage(torch.cat([kept.pop(), enlarge(features)], dim=1))
        return self.head(features)


def double(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(conv_bn_relu(in_channels, out_channels), conv_bn_relu(out_channels, out_channels))
