"""ARF-Net, the adaptive receptive field network (Xu et al., Biomed. Signal Process. Control 71:103178, 2022).

This is a reconstruction from the abstract, since the authors' code is not public. The abstract describes an
encoder-decoder with a pixel-wise classifier and selective receptive field modules, which extract features with several
receptive fields (MRFM) and select among them according to the size of the object (MSSM). Our choices are: U-Net as
encoder-decoder; one module on each skip connection; parallel 3x3 convolutions with increasing dilation; and the
selection of SKNet (Li et al., CVPR 2019). Insertion points, dilations and reduction are settings in
conf/model/arf_net.yaml.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from mammoseg.errors import UserError
from mammoseg.models.blocks import conv_bn_relu
from mammoseg.models.unet import UNet
from mammoseg.validate import subset_of

INSERTION_POINTS = ("encode", "skip", "decode")


class SelectiveReceptiveField(nn.Module):
    """Parallel convolutions with different dilations, combined by channel-wise attention over the branches.

    Args:
        channels: Number of channels C.
        dilations: Dilation of the 3x3 convolution in each of the K branches.
        reduction: Ratio of C to the number of hidden units of the attention.

    Shapes:
        (B, C, H, W) -> (B, C, H, W).
    """

    def __init__(self, channels: int, dilations: Sequence[int], reduction: int) -> None:
        super().__init__()
        hidden = max(channels // reduction, 4)  # the lower bound matters for narrow networks only
        self.branches = nn.ModuleList(conv_bn_relu(channels, channels, dilation) for dilation in dilations)
        self.squeeze = nn.Sequential(nn.Linear(channels, hidden), nn.ReLU(inplace=True))
        self.select = nn.Linear(hidden, len(dilations) * channels)

    def forward(self, features: Tensor) -> Tensor:
        """Apply the module to features (B, C, H, W)."""
        branch_features = torch.stack([branch(features) for branch in self.branches], dim=1)  # MRFM: (B, K, C, H, W)
        means = branch_features.sum(dim=1).mean(dim=(2, 3))
        attention = self.select(self.squeeze(means)).unflatten(1, branch_features.shape[1:3]).softmax(dim=1)
        selected: Tensor = (branch_features * attention[..., None, None]).sum(dim=1)  # MSSM
        return selected


class ARFNet(UNet):
    """ARF-Net: U-Net with selective receptive field modules.

    Args:
        width: Number of channels of the first stage, doubled in each of the four following stages.
        insert_at: Where modules are inserted, one or more of "encode" (after each encoder stage), "skip" (on each skip
            connection) and "decode" (after each decoder stage).
        dilations: Dilations of the branches, at least two.
        reduction: See `SelectiveReceptiveField`.

    Shapes:
        image (B, 1, H, W) -> logits (B, 1, H, W); H and W must be multiples of 16.

    Raises:
        UserError: If an argument is invalid.

    Source: Xu et al., Biomed. Signal Process. Control 71:103178, 2022.

    Example:
        >>> import torch
        >>> ARFNet(width=2)(torch.zeros(1, 1, 32, 32)).shape
        torch.Size([1, 1, 32, 32])
    """

    def __init__(
        self,
        width: int = 64,
        insert_at: Sequence[str] = ("skip",),
        dilations: Sequence[int] = (1, 2, 3, 5),
        reduction: int = 16,
    ) -> None:
        insertion_points = subset_of("model.insert_at", insert_at, INSERTION_POINTS)
        if len(dilations) < 2 or min(dilations) < 1:
            raise UserError(f"model.dilations must be a list of two or more positive integers, got {list(dilations)}")
        module = partial(SelectiveReceptiveField, dilations=tuple(dilations), reduction=reduction)
        super().__init__(width, **dict.fromkeys(insertion_points, module))
