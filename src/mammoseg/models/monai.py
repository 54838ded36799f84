"""MONAI's networks in this project's terms: one input channel, one logit, `width` as the size of the first stage."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from mammoseg.models.blocks import STAGES, stages


class LastHead(nn.Module):
    """MONAI's U-Net++ without deep supervision: its last head, as a tensor where the class returns a list.

    The heads of the shallower paths would be computed and thrown away, with parameters that never learn.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        net.final_conv_0_1 = net.final_conv_0_2 = net.final_conv_0_3 = nn.Identity()
        self.net = net

    def forward(self, image: Tensor) -> Tensor:
        return self.net(image)[0]


def attention_unet(width: int = 64, **options: Any) -> nn.Module:
    """Attention U-Net (Oktay et al., MIDL 2018)."""
    from monai.networks.nets import AttentionUnet

    return AttentionUnet(2, 1, 1, channels=stages(width), strides=[2] * (STAGES - 1), **options)


def unet_plus_plus(width: int = 64, **options: Any) -> nn.Module:
    """U-Net++ (Zhou et al., DLMIA 2018)."""
    from monai.networks.nets import BasicUNetPlusPlus

    return LastHead(BasicUNetPlusPlus(2, 1, 1, features=[*stages(width), width], **options))


def dyn_unet(width: int = 64, **options: Any) -> nn.Module:
    """The plain convolutional U-Net that nnU-Net configures (Isensee et al., Nature Methods 18, 2021)."""
    from monai.networks.nets import DynUNet

    strides = [1] + [2] * (STAGES - 1)
    return DynUNet(2, 1, 1, [3] * STAGES, strides, strides[1:], filters=stages(width), **options)


def swin_unetr(width: int = 64, **options: Any) -> nn.Module:
    """Swin UNETR (Hatamizadeh et al., BrainLes 2021), a transformer; H and W must be multiples of 32.

    Its own width must be a multiple of 12: the next one not below `width`.
    """
    from monai.networks.nets import SwinUNETR

    return SwinUNETR(1, 1, spatial_dims=2, feature_size=12 * -(-max(width, 1) // 12), **options)
