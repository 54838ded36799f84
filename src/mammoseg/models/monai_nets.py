"""Networks from MONAI, with one input and one output channel.

MONAI is imported when a network is built, since the import is slow.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from mammoseg.models.blocks import N_STAGES, stage_widths


class WithoutDeepSupervision(nn.Module):
    """Wrapper of MONAI's U-Net++ that removes the heads for deep supervision and returns a tensor instead of a list.

    The outputs of these heads would be computed but not used, so their parameters would not be trained.

    Args:
        net: Instance of `monai.networks.nets.BasicUNetPlusPlus`.

    Shapes:
        image (B, 1, H, W) -> logits (B, 1, H, W).
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        net.final_conv_0_1 = net.final_conv_0_2 = net.final_conv_0_3 = nn.Identity()
        self.net = net

    def forward(self, image: Tensor) -> Tensor:
        """Compute the logits of images (B, 1, H, W)."""
        logits: Tensor = self.net(image)[0]
        return logits


def attention_unet(width: int = 64, **options: Any) -> nn.Module:
    """Build an Attention U-Net (Oktay et al., MIDL 2018).

    Args:
        width: Number of channels of the first stage, doubled in each of the four following stages.
        **options: Additional arguments of the MONAI class.

    Returns:
        Network that maps images (B, 1, H, W) to logits (B, 1, H, W).

    Example:
        >>> import torch
        >>> attention_unet(width=2)(torch.zeros(1, 1, 32, 32)).shape
        torch.Size([1, 1, 32, 32])
    """
    from monai.networks.nets import AttentionUnet

    return AttentionUnet(2, 1, 1, channels=stage_widths(width), strides=[2] * (N_STAGES - 1), **options)


def unet_plus_plus(width: int = 64, **options: Any) -> nn.Module:
    """Build a U-Net++ (Zhou et al., DLMIA 2018).

    Args:
        width: Number of channels of the first stage, doubled in each of the four following stages.
        **options: Additional arguments of the MONAI class.

    Returns:
        Network that maps images (B, 1, H, W) to logits (B, 1, H, W).

    Example:
        >>> import torch
        >>> unet_plus_plus(width=2)(torch.zeros(1, 1, 32, 32)).shape
        torch.Size([1, 1, 32, 32])
    """
    from monai.networks.nets import BasicUNetPlusPlus

    return WithoutDeepSupervision(BasicUNetPlusPlus(2, 1, 1, features=[*stage_widths(width), width], **options))


def dyn_unet(width: int = 64, **options: Any) -> nn.Module:
    """Build the U-Net of nnU-Net (Isensee et al., Nature Methods 18, 2021).

    Args:
        width: Number of channels of the first stage, doubled in each of the four following stages.
        **options: Additional arguments of the MONAI class.

    Returns:
        Network that maps images (B, 1, H, W) to logits (B, 1, H, W).

    Example:
        >>> import torch
        >>> dyn_unet(width=2)(torch.zeros(1, 1, 32, 32)).shape
        torch.Size([1, 1, 32, 32])
    """
    from monai.networks.nets import DynUNet

    strides = [1] + [2] * (N_STAGES - 1)
    return DynUNet(2, 1, 1, [3] * N_STAGES, strides, strides[1:], filters=stage_widths(width), **options)


def swin_unetr(width: int = 64, **options: Any) -> nn.Module:
    """Build a Swin UNETR (Hatamizadeh et al., BrainLes 2021), a transformer; H and W must be multiples of 32.

    Args:
        width: Number of channels of the first stage, rounded up to a multiple of 12.
        **options: Additional arguments of the MONAI class.

    Returns:
        Network that maps images (B, 1, H, W) to logits (B, 1, H, W).

    Example:
        >>> import torch
        >>> swin_unetr(width=12)(torch.zeros(1, 1, 64, 64)).shape
        torch.Size([1, 1, 64, 64])
    """
    from monai.networks.nets import SwinUNETR

    return SwinUNETR(1, 1, spatial_dims=2, feature_size=12 * -(-max(width, 1) // 12), **options)
