"""AU-Net, the attention-guided dense-upsampling network (Sun et al., Phys. Med. Biol. 65(5):055005, 2020)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mammoseg.models.blocks import checkpointed, conv_bn_relu, stage_widths

REDUCTION = 16  # of the channel attention


class ResUnit(nn.Module):
    """Encoder stage: one convolution, then two with an identity shortcut around them.

    The shortcut starts after the first convolution, so it needs no projection.
    Shapes: (B, C_in, H, W) -> (B, C_out, H, W).
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
        entered = self.enter(features)
        return torch.relu(entered + self.residual(entered))


class ChannelAttention(nn.Module):
    """Squeeze-and-excitation: each channel scaled by a gate in (0, 1) computed from all channel means."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(channels // REDUCTION, 1)  # at least one channel in narrow networks
        self.gate = nn.Sequential(
            nn.Linear(channels, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, channels), nn.Sigmoid()
        )

    def forward(self, features: Tensor) -> Tensor:
        return features * self.gate(features.mean(dim=(2, 3)))[:, :, None, None]


class AUBlock(nn.Module):
    """Decoder stage: dense and bilinear up-sampling, fusion with the skip, attention, two convolutions.

    Shapes: deep (B, 2C, H, W), skip (B, C, 2H, 2W) -> (B, C, 2H, 2W).
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
        fused = self.fuse(skip + self.dense(deep))
        return self.decode(self.attention(torch.cat([fused, self.bilinear(deep)], dim=1)))


class AUNet(nn.Module):
    """Asymmetric encoder-decoder with an attention-guided up-sampling (AU) block in each decoder stage.

    Shapes: image (B, 1, H, W) -> logits (B, 1, H, W); H and W multiples of 16.
    Source: Sun et al. 2020; structure as in the authors' published model, written from its description.

    Args:
        width: Channels of the first stage, doubled in each of the next four; 64 is the published size (75,493,945
            parameters).
        gradient_checkpointing: Keep only the outputs of the stages in training and recompute the rest in the backward
            pass: the same results with a fraction of the memory, in a third more time.

    Raises:
        UserError: If `width` is below 1.
    """

    def __init__(self, width: int = 64, gradient_checkpointing: bool = False) -> None:
        super().__init__()
        self.gradient_checkpointing = gradient_checkpointing
        channels = stage_widths(width)
        self.encoder = nn.ModuleList(
            ResUnit(before, after) for before, after in zip([1, *channels], channels, strict=False)
        )
        self.decoder = nn.ModuleList(AUBlock(count) for count in reversed(channels[:-1]))
        self.head = nn.Conv2d(width, 1, 1)

    def forward(self, image: Tensor) -> Tensor:
        skips = [self.run_stage(self.encoder[0], image)]
        for stage in self.encoder[1:]:
            skips.append(self.run_stage(stage, nn.functional.max_pool2d(skips[-1], 2)))
        features = skips.pop()
        for block in self.decoder:
            features = self.run_stage(block, features, skips.pop())
        return self.head(features)

    def run_stage(self, module: nn.Module, *features: Tensor) -> Tensor:
        if self.gradient_checkpointing and self.training:
            return checkpointed(module, *features)
        return module(*features)
