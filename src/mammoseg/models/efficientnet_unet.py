"""U-Net with an EfficientNet-Lite0 encoder, for encoders that were pretrained on ImageNet."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from mammoseg import validate
from mammoseg.models.skip_decoder import SkipDecoder

STEM_WIDTH = 32  # channels of the first convolution as published
EPS = 1e-3  # of batch normalisation, as published


class Stage(NamedTuple):
    """Inverted residual blocks with the same number of output channels.

    Attributes:
        n_blocks: Number of blocks.
        kernel_size: Side of the kernel of the depthwise convolutions.
        stride: Stride of the first block.
        expansion: Factor by which the blocks increase the number of channels.
        width: Number of output channels as published.
    """

    n_blocks: int
    kernel_size: int
    stride: int
    expansion: int
    width: int


STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)


class EfficientNetUNet(nn.Module):
    """U-Net with EfficientNet-Lite0 as encoder and deep supervision.

    EfficientNet-Lite0 is EfficientNet-B0 without squeeze-and-excitation and with ReLU6 as activation. The encoder does
    not include the last convolution, which precedes the classification layer. With `width=32`, its parameters have the
    names and shapes of EfficientNet-PyTorch (Melas-Kyriazi), without leading underscores and with one input channel;
    `encoder_weights` loads them. Intensities from 0 to 1 are mapped to -1 to 1, about the range of the pretraining.

    The decoder, see `SkipDecoder`, ends at half the resolution of the image. Four output channels are the logits of 2x2
    pixels.

    Args:
        width: Number of channels of the first convolution; 32 as published.
        deep_supervision: Number of outputs in training mode, each with half the resolution of the previous one.

    Shapes:
        image (B, 1, H, W) in [0, 1] -> logits (B, 1, H, W), or a list of logits in training mode; H and W must be
        even.

    Raises:
        UserError: If `width` is below 1, or `deep_supervision` is not between 1 and 4.

    Source of the encoder: Tan and Le, "EfficientNet", ICML 2019, and the configuration of EfficientNet-Lite in the
    repository of TensorFlow's TPU models.

    Example:
        >>> import torch
        >>> [tuple(logits.shape) for logits in EfficientNetUNet(width=4)(torch.zeros(2, 1, 64, 64))]
        [(2, 1, 64, 64), (2, 1, 32, 32), (2, 1, 16, 16)]
    """

    encoder_stages = (
        ("encoder.conv_stem", "encoder.bn0", "encoder.blocks.0"),
        *(
            tuple(f"encoder.blocks.{index}" for index in range(first, last))
            for first, last in ((1, 3), (3, 5), (5, 11), (11, 16))
        ),
    )

    def __init__(self, width: int = STEM_WIDTH, deep_supervision: int = 3) -> None:
        super().__init__()
        self.encoder = EfficientNetLite(validate.positive_int("model.width", width))
        widths = [4 * width, 2 * width, 3 * width // 2, width]
        self.decoder = SkipDecoder(self.encoder.widths, widths)
        n_outputs = validate.one_of("model.deep_supervision", deep_supervision, range(1, len(widths) + 1))
        self.heads = nn.ModuleList(nn.Conv2d(n_channels, 4, 1) for n_channels in widths[-n_outputs:])

    def forward(self, image: Tensor) -> Tensor | list[Tensor]:
        """Compute the logits of images (B, 1, H, W), in training mode also at lower resolutions."""
        decoded = self.decoder(self.encoder(2 * image - 1))
        if not self.training:
            return functional.pixel_shuffle(self.heads[-1](decoded[-1]), 2)
        outputs = zip(reversed(self.heads), reversed(decoded), strict=False)
        logits = [functional.pixel_shuffle(head(features), 2) for head, features in outputs]
        return logits if len(logits) > 1 else logits[0]


class EfficientNetLite(nn.Module):
    """Convolutions of EfficientNet-Lite0 up to the last inverted residual block.

    Args:
        width: Number of channels of the first convolution; those of the other stages have the published ratios to it,
            rounded.

    Attributes:
        widths: Number of channels of each output.

    Shapes:
        image (B, 1, H, W) in [-1, 1] -> features with 1/2, 1/4, 1/8, 1/16 and 1/32 of its height and width, rounded up.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv_stem = SamePaddingConv2d(1, width, 3, stride=2, bias=False)
        self.bn0 = nn.BatchNorm2d(width, eps=EPS)
        self.blocks = nn.ModuleList()
        self.strides: list[int] = []  # of the blocks
        self.widths: list[int] = []
        n_channels = width
        for stage in STAGES:
            if stage.stride > 1:
                self.widths.append(n_channels)
            out_channels = max(round(stage.width * width / STEM_WIDTH), 1)
            for index in range(stage.n_blocks):
                stride = stage.stride if index == 0 else 1
                self.blocks.append(
                    InvertedResidual(n_channels, out_channels, stage.kernel_size, stride, stage.expansion)
                )
                self.strides.append(stride)
                n_channels = out_channels
        self.widths.append(n_channels)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Compute the features of images (B, 1, H, W), from the highest to the lowest resolution."""
        features = functional.relu6(self.bn0(self.conv_stem(image)))
        outputs = []
        for stride, block in zip(self.strides, self.blocks, strict=True):
            if stride > 1:
                outputs.append(features)
            features = block(features)
        return [*outputs, features]


class InvertedResidual(nn.Module):
    """Inverted residual block: 1x1 convolution to more channels, depthwise convolution, 1x1 convolution to fewer.

    Args:
        in_channels: Number of input channels.
        out_channels: Number of output channels.
        kernel_size: Side of the kernel of the depthwise convolution.
        stride: Stride of the depthwise convolution.
        expansion: Factor by which the first convolution increases the number of channels; 1 for no first convolution.

    Shapes:
        (B, in_channels, H, W) -> (B, out_channels, H / stride, W / stride), rounded up.

    Source: Sandler et al., "MobileNetV2", CVPR 2018.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = expansion * in_channels
        self.residual = stride == 1 and in_channels == out_channels
        self.expands = expansion > 1
        if self.expands:
            self.expand_conv = nn.Conv2d(in_channels, hidden, 1, bias=False)
            self.bn0 = nn.BatchNorm2d(hidden, eps=EPS)
        self.depthwise_conv = SamePaddingConv2d(hidden, hidden, kernel_size, stride, groups=hidden, bias=False)
        self.bn1 = nn.BatchNorm2d(hidden, eps=EPS)
        self.project_conv = nn.Conv2d(hidden, out_channels, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels, eps=EPS)

    def forward(self, features: Tensor) -> Tensor:
        """Apply the block."""
        hidden = functional.relu6(self.bn0(self.expand_conv(features))) if self.expands else features
        hidden = functional.relu6(self.bn1(self.depthwise_conv(hidden)))
        output: Tensor = self.bn2(self.project_conv(hidden))
        return features + output if self.residual else output


class SamePaddingConv2d(nn.Conv2d):
    """Convolution whose output has the size of the input divided by the stride, rounded up, as in TensorFlow.

    If the number of padded pixels is odd, there is one more on the right and at the bottom. On a CPU, depthwise
    convolutions are computed in single precision also in mixed precision, since most of their gradients are slower in
    bfloat16 (benchmarks/depthwise_convolutions.py).
    """

    def forward(self, features: Tensor) -> Tensor:
        """Apply the convolution to features (B, C, H, W)."""
        if self.groups == 1 or features.device.type != "cpu" or not torch.is_autocast_enabled("cpu"):
            return self._convolve(features)
        with torch.autocast("cpu", enabled=False):
            return self._convolve(features.float())

    def _convolve(self, features: Tensor) -> Tensor:
        rows, columns = (
            max(kernel_size - (size % stride or stride), 0)
            for size, kernel_size, stride in zip(features.shape[2:], self.kernel_size, self.stride, strict=True)
        )
        padding = (rows // 2, columns // 2)
        if rows % 2 or columns % 2:
            features = functional.pad(features, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))
            padding = (0, 0)
        return functional.conv2d(features, self.weight, None, self.stride, padding, groups=self.groups)
