"""Networks from MONAI, with one input and one output channel.

MONAI is imported when a network is built, since the import is slow.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from mammoseg.errors import UserError
from mammoseg.models.blocks import N_STAGES, stage_widths
from mammoseg.models.encoder import declare_encoder
from mammoseg.validate import positive_int


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

    net = AttentionUnet(2, 1, 1, channels=stage_widths(width), strides=[2] * (N_STAGES - 1), **options)
    # Each attention layer contains the encoder stage of its resolution and the layers of lower resolutions.
    layers = ["model.1" + ".submodule.1" * depth for depth in range(N_STAGES - 1)]
    inner = [f"{layer}.submodule.0" for layer in layers[:-1]]
    return declare_encoder(net, [["model.0"], *([name] for name in inner), [f"{layers[-1]}.submodule"]])


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

    net = BasicUNetPlusPlus(2, 1, 1, features=[*stage_widths(width), width], **options)
    return declare_encoder(WithoutDeepSupervision(net), [[f"net.conv_{stage}_0"] for stage in range(N_STAGES)])


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
    net = DynUNet(2, 1, 1, [3] * N_STAGES, strides, strides[1:], filters=stage_widths(width), **options)
    downsamples = [[f"downsamples.{index}"] for index in range(N_STAGES - 2)]
    return declare_encoder(net, [["input_block"], *downsamples, ["bottleneck"]])


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

    net = SwinUNETR(1, 1, spatial_dims=2, feature_size=12 * -(-max(width, 1) // 12), **options)
    # The transformer. The modules that MONAI names encoder1 to encoder10 are on the skip connections.
    return declare_encoder(net, [["swinViT.patch_embed"], *([f"swinViT.layers{stage}"] for stage in range(1, 5))])


class PatchWise(nn.Module):
    """Wrapper of a network that works at a fraction of the resolution without discarding pixels.

    Patches of pixels become channels of the input, and channels of the outputs become patches of logits, so the network
    needs about patch_size^2 times fewer operations.

    Args:
        net: Network with patch_size^2 input and output channels. In training mode, it may return a list, whose
            elements are treated likewise.
        patch_size: Side of the patches in pixels.
        downsampling: Factor by which the network downsamples; the height and width of its input must be multiples.

    Shapes:
        image (B, 1, H, W) -> logits (B, 1, H, W), or a list with logits of lower resolutions; H and W must be multiples
        of patch_size * downsampling.

    Source:
        Shi et al., "Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel Convolutional Neural
        Network", CVPR 2016.
    """

    def __init__(self, net: nn.Module, patch_size: int, downsampling: int = 1) -> None:
        super().__init__()
        self.net = net
        self.patch_size = patch_size
        self.size_factor = patch_size * downsampling

    def forward(self, image: Tensor) -> Tensor | list[Tensor]:
        """Compute the logits of images (B, 1, H, W).

        Raises:
            UserError: If H or W is not a multiple of patch_size * downsampling.
        """
        height, width = image.shape[-2:]
        if height % self.size_factor or width % self.size_factor:
            raise UserError(
                f"the height and width of images must be multiples of {self.size_factor} for this network, got "
                f"{height} x {width}; change dataset.size or the transforms of augment that crop or resize"
            )
        outputs = self.net(nn.functional.pixel_unshuffle(image, self.patch_size))
        if isinstance(outputs, Tensor):
            return nn.functional.pixel_shuffle(outputs, self.patch_size)
        return [nn.functional.pixel_shuffle(output, self.patch_size) for output in outputs]


def seg_res_net(
    width: int = 24,
    blocks: Sequence[int] = (1, 2, 2, 4),
    patch_size: int = 2,
    deep_supervision: int = 3,
    norm: str = "batch",
) -> nn.Module:
    """Build SegResNet, a U-Net with residual blocks, with deep supervision (Myronenko, BrainLes 2018; MONAI).

    Args:
        width: Number of channels of the first stage, doubled in each of the following stages.
        blocks: Number of residual blocks of each stage of the encoder; the decoder has one per stage.
        patch_size: Side of the patches of pixels that are the channels of the input, see `PatchWise`; 1 for none.
        deep_supervision: Number of outputs in training mode, each with half the resolution of the previous one.
        norm: Normalisation layer, "batch" or "instance".

    Returns:
        Network that maps images (B, 1, H, W) to logits (B, 1, H, W), or to a list of logits in training mode; H and W
        must be multiples of patch_size * 2^(stages - 1).

    Raises:
        UserError: If `width` is below 1, or `deep_supervision` is not between 1 and the number of stages minus 1.

    Example:
        >>> import torch
        >>> [tuple(logits.shape) for logits in seg_res_net(width=2)(torch.zeros(2, 1, 64, 64))]
        [(2, 1, 64, 64), (2, 1, 32, 32), (2, 1, 16, 16)]
    """
    from monai.networks.nets import SegResNetDS

    positive_int("model.width", width)
    if not 1 <= deep_supervision < len(blocks):
        limit = f"between 1 and {len(blocks) - 1}, the number of model.blocks minus 1"
        raise UserError(f"model.deep_supervision must be {limit}, got {deep_supervision}")
    channels = patch_size**2
    options: dict[str, Any] = {"blocks_down": tuple(blocks), "dsdepth": deep_supervision, "norm": norm}
    net = PatchWise(SegResNetDS(2, width, channels, channels, **options), patch_size, 2 ** (len(blocks) - 1))
    stages = [[f"net.encoder.layers.{stage}"] for stage in range(len(blocks))]
    return declare_encoder(net, [["net.encoder.conv_init", *stages[0]], *stages[1:]])
