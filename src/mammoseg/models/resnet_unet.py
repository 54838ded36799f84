"""U-Net with a ResNet encoder (He et al., CVPR 2016), for encoders that were pretrained on other images."""

from __future__ import annotations

from torch import Tensor, nn

from mammoseg import validate
from mammoseg.models.blocks import stage_widths
from mammoseg.models.skip_decoder import SkipDecoder
from mammoseg.models.unet import double_conv

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}  # number of residual blocks of each layer, by depth


class ResNetUNet(nn.Module):
    """U-Net with a ResNet as encoder.

    The parameters of the encoder have the names of torchvision and timm, and with `width=64` their shapes, except that
    the first convolution has one input channel. `encoder_weights` loads such parameters. See `SkipDecoder` for the
    decoder.

    Args:
        width: Number of channels of the first stage; 64 as published.
        depth: 18, 34 or 50.

    Shapes:
        image (B, 1, H, W) -> logits (B, 1, H, W); H and W must be multiples of 16.

    Raises:
        UserError: If `width` is below 1, or `depth` has no such network.

    Source of the encoder: He et al., CVPR 2016, in the implementation of MONAI; depth 50 with the stride in the 3x3
    convolution, as in torchvision.

    Example:
        >>> import torch
        >>> ResNetUNet(width=2)(torch.zeros(1, 1, 32, 48)).shape
        torch.Size([1, 1, 32, 48])
    """

    encoder_stages = (
        ("encoder.conv1", "encoder.bn1"),
        *((f"encoder.layer{layer}",) for layer in range(1, 5)),
    )

    def __init__(self, width: int = 64, depth: int = 18) -> None:
        from monai.networks.nets import ResNet  # slow to import

        super().__init__()
        channels = stage_widths(width)[:-1]
        depth = validate.one_of("model.depth", depth, BLOCKS)
        self.encoder = ResNet(
            "bottleneck" if depth == 50 else "basic",
            list(BLOCKS[depth]),
            channels,
            spatial_dims=2,
            n_input_channels=1,
            conv1_t_stride=2,
            feed_forward=False,
            bias_downsample=False,
        )
        encoder_widths = [width, *(n_channels * (4 if depth == 50 else 1) for n_channels in channels)]
        widths = [4 * width, 2 * width, width, max(width // 2, 1), max(width // 4, 1)]  # of the decoder
        self.decoder = SkipDecoder(encoder_widths, widths[:-1])
        self.full_resolution = double_conv(*widths[-2:])
        self.head = nn.Conv2d(widths[-1], 1, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Compute the logits of images (B, 1, H, W)."""
        net = self.encoder
        outputs = [net.act(net.bn1(net.conv1(image)))]
        features = net.maxpool(outputs[0])
        for layer in (net.layer1, net.layer2, net.layer3, net.layer4):
            features = layer(features)
            outputs.append(features)
        features = self.decoder(outputs)[-1]
        logits: Tensor = self.head(self.full_resolution(nn.functional.interpolate(features, size=image.shape[2:])))
        return logits
