"""AU-Net, an attention-guided dense-upsampling network (Sun et al., Phys. Med. Biol. 65(5):055005, 2020)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mammoseg.models.blocks import N_STAGES, checkpointed, conv_bn_relu, stage_widths

REDUCTION = 16  # ratio of the number of channels to the number of hidden units of the channel attention


class ResUnit(nn.Module):
    """Encoder stage: a convolution, followed by a residual block of two convolutions.

    The shortcut starts after the first convolution and therefore needs no projection.

    Args:
        in_channels: Number of input channels.
        out_channels: Number of output channels.

    Shapes:
        (B, in_channels, H, W) -> (B, out_channels, H, W).
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.enter = conv_bn_relu(in_channels, out_channels)
        self.residual = nn.Sequential(
            conv_bn_relu(out_channels, out_channels),
            nn.Conv2d(out_channels, out_channels, 3, padding=1),
            nn.BatchNorm2d(out_channels),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Apply the module to features (B, in_channels, H, W)."""
        shortcut = self.enter(features)
        return torch.relu(shortcut + self.residual(shortcut))


class ChannelAttention(nn.Module):
    """Squeeze-and-excitation: scales each channel by a gate in (0, 1) that depends on the means of all channels.

    Args:
        channels: Number of channels C.

    Shapes:
        (B, C, H, W) -> (B, C, H, W).

    Source: Hu et al., CVPR 2018.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(channels // REDUCTION, 1)  # the lower bound matters for narrow networks only
        self.gate = nn.Sequential(
            nn.Linear(channels, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, channels), nn.Sigmoid()
        )

    def forward(self, features: Tensor) -> Tensor:
        """Apply the module to features (B, C, H, W)."""
        gate: Tensor = self.gate(features.mean(dim=(2, 3)))[:, :, None, None]
        return features * gate


class AUBlock(nn.Module):
    """Decoder stage: dense and bilinear upsampling, fusion with the skip connection, attention, two convolutions.

    Args:
        channels: Number of output channels C.

    Shapes:
        deep (B, 2C, H, W), skip (B, C, 2H, 2W) -> (B, C, 2H, 2W).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bilinear = nn.Sequential(
            nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True),
            conv_bn_relu(2 * channels, channels),
        )
        self.dense = nn.Sequential(conv_bn_relu(2 * channels, 4 * channels), nn.PixelShuffle(2))
        self.fuse = conv_bn_relu(channels, channels)
        self.attention = ChannelAttention(2 * channels)
        self.decode = nn.Sequential(conv_bn_relu(2 * channels, channels), conv_bn_relu(channels, channels))

    def forward(self, deep: Tensor, skip: Tensor) -> Tensor:
        """Upsample the features of the deeper stage and combine them with the skip connection.

        Args:
            deep: Features of the deeper stage, shape (B, 2C, H, W).
            skip: Features of the encoder stage, shape (B, C, 2H, 2W).

        Returns:
            Features of shape (B, C, 2H, 2W).
        """
        fused = self.fuse(skip + self.dense(deep))
        decoded: Tensor = self.decode(self.attention(torch.cat([fused, self.bilinear(deep)], dim=1)))
        return decoded


class AUNet(nn.Module):
    """AU-Net: asymmetric encoder-decoder with an attention-guided dense-upsampling block in each decoder stage.

    Args:
        width: Number of channels of the first stage, doubled in each of the four following stages. The published
            network has a width of 64 and 75,493,945 parameters.
        gradient_checkpointing: Whether to store only the outputs of the stages during training and recompute the other
            activations in the backward pass. This needs less memory and a third more time; the results are identical.

    Shapes:
        image (B, 1, H, W) -> logits (B, 1, H, W); H and W must be multiples of 16.

    Raises:
        UserError: If `width` is below 1.

    Source: Sun et al., Phys. Med. Biol. 65(5):055005, 2020, implemented from the description.

    Example:
        >>> import torch
        >>> AUNet(width=2)(torch.zeros(1, 1, 32, 48)).shape
        torch.Size([1, 1, 32, 48])
    """

    encoder_stages = tuple((f"encoder.{stage}",) for stage in range(N_STAGES))

    def __init__(self, width: int = 64, gradient_checkpointing: bool = False) -> None:
        super().__init__()
        self.gradient_checkpointing = gradient_checkpointing
        channels = stage_widths(width)
        self.encoder = nn.ModuleList(
            ResUnit(in_channels, out_channels)
            for in_channels, out_channels in zip([1, *channels], channels, strict=False)
        )
        self.decoder = nn.ModuleList(AUBlock(n_channels) for n_channels in reversed(channels[:-1]))
        self.head = nn.Conv2d(width, 1, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Compute the logits of images (B, 1, H, W)."""
        skips = [self._run_stage(self.encoder[0], image)]
        for stage in self.encoder[1:]:
            skips.append(self._run_stage(stage, nn.functional.max_pool2d(skips[-1], 2)))
        features = skips.pop()
        for block in self.decoder:
            features = self._run_stage(block, features, skips.pop())
        logits: Tensor = self.head(features)
        return logits

    def _run_stage(self, stage: nn.Module, *features: Tensor) -> Tensor:
        if self.gradient_checkpointing and self.training:
            return checkpointed(stage, *features)
        output: Tensor = stage(*features)
        return output
