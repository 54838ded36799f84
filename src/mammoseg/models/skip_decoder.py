"""Decoder of a U-Net for encoders whose stages have any number of channels and any resolution."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mammoseg.models.unet import double_conv


class SkipDecoder(nn.ModuleList):
    """Decoder that enlarges features by nearest-neighbour interpolation to the size of each skip connection.

    At each resolution, the enlarged features and those of the encoder are concatenated, followed by two convolutions.

    Args:
        encoder_widths: Number of channels of the outputs of the encoder, from the highest to the lowest resolution.
        widths: Number of channels of the decoder at each resolution but the lowest, from the second lowest to the
            highest.

    Shapes:
        outputs of the encoder, from the highest to the lowest resolution -> features of the decoder, from the second
        lowest to the highest resolution.

    Example:
        >>> import torch
        >>> decoder = SkipDecoder([4, 8, 16], [8, 4])
        >>> features = [torch.zeros(1, 4, 9, 9), torch.zeros(1, 8, 5, 5), torch.zeros(1, 16, 3, 3)]
        >>> [tuple(decoded.shape) for decoded in decoder(features)]
        [(1, 8, 5, 5), (1, 4, 9, 9)]
    """

    def __init__(self, encoder_widths: Sequence[int], widths: Sequence[int]) -> None:
        *skips, deepest = encoder_widths
        super().__init__(
            double_conv(deep + skip, n_channels)
            for deep, skip, n_channels in zip([deepest, *widths[:-1]], reversed(skips), widths, strict=True)
        )

    def forward(self, outputs: Sequence[Tensor]) -> list[Tensor]:
        """Compute the features at each resolution."""
        *skips, features = outputs
        decoded = []
        for stage, skip in zip(self, reversed(skips), strict=True):
            enlarged = nn.functional.interpolate(features, size=skip.shape[2:])
            features = stage(torch.cat([enlarged, skip], dim=1))
            decoded.append(features)
        return decoded
