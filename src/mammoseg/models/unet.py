"""U-Net (Ronneberger et al., MICCAI 2015) with padded convolutions and batch normalisation."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from mammoseg.models.blocks import N_STAGES, conv_bn_relu, stage_widths


class UNet(nn.Module):
    """U-Net: encoder-decoder with skip connections in four stages.

    Args:
        width: Number of channels of the first stage, doubled in each of the four following stages; 64 in the published
            network.
        encode: Function that builds a shape-preserving module from its number of channels. The modules are inserted
            after the encoder stages. None inserts nothing.
        skip: As `encode`, for modules on the skip connections.
        decode: As `encode`, for modules after the decoder stages.

    Shapes:
        image (B, 1, H, W) -> logits (B, 1, H, W); H and W must be multiples of 16.

    Raises:
        UserError: If `width` is below 1.

    Source: Ronneberger et al., MICCAI 2015.

    Example:
        >>> import torch
        >>> UNet(width=2)(torch.zeros(1, 1, 32, 48)).shape
        torch.Size([1, 1, 32, 48])
    """

    encoder_stages = tuple((f"encoder.{stage}",) for stage in range(N_STAGES))

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
            nn.Sequential(double_conv(in_channels, out_channels), (encode or nn.Identity)(out_channels))
            for in_channels, out_channels in zip([1, *channels], channels, strict=False)
        )
        self.skips = nn.ModuleList((skip or nn.Identity)(n_channels) for n_channels in channels[:-1])
        decoder_widths = list(reversed(channels[:-1]))
        self.enlarge = nn.ModuleList(
            nn.ConvTranspose2d(2 * n_channels, n_channels, 2, stride=2) for n_channels in decoder_widths
        )
        self.decoder = nn.ModuleList(
            nn.Sequential(double_conv(2 * n_channels, n_channels), (decode or nn.Identity)(n_channels))
            for n_channels in decoder_widths
        )
        self.head = nn.Conv2d(width, 1, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Compute the logits of images (B, 1, H, W)."""
        features = self.encoder[0](image)
        skips = []
        for skip, stage in zip(self.skips, self.encoder[1:], strict=True):
            skips.append(skip(features))
            features = stage(nn.functional.max_pool2d(features, 2))
        for upsample, stage in zip(self.enlarge, self.decoder, strict=True):
            features = stage(torch.cat([skips.pop(), upsample(features)], dim=1))
        logits: Tensor = self.head(features)
        return logits


def double_conv(in_channels: int, out_channels: int) -> nn.Sequential:
    """Build two 3x3 convolutions, each followed by batch normalisation and ReLU.

    Args:
        in_channels: Number of input channels.
        out_channels: Number of output channels of both convolutions.

    Returns:
        The module.
    """
    return nn.Sequential(conv_bn_relu(in_channels, out_channels), conv_bn_relu(out_channels, out_channels))
