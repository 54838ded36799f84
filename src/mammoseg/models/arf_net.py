"""ARF-Net, the adaptive receptive field network (Xu et al., Biomed. Signal Process. Control 71:103178, 2022).

Reconstructed from its abstract; no code of its authors is public. Known: an encoder-decoder with a pixel-wise
classifier, and a selective receptive field module that makes features of several receptive fields (MRFM) and
selects among them by the size of the object (MSSM). Open, and chosen here: U-Net as the encoder-decoder; one
module on each skip connection; parallel 3x3 convolutions of growing dilation as the receptive fields; the
selection of SKNet (Li et al., CVPR 2019). Places, dilations and reduction are settings of conf/model/arf_net.yaml.
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
    """Parallel convolutions of several dilations, mixed per channel by attention over the branches.

    Shapes: (B, C, H, W) -> the same.

    Args:
        channels: C.
        dilations: One 3x3 branch each.
        reduction: Ratio of C to the hidden width of the attention.
    """

    def __init__(self, channels: int, dilations: Sequence[int], reduction: int) -> None:
        super().__init__()
        hidden = max(channels // reduction, 4)  # narrow networks need some
        self.branches = nn.ModuleList(conv_bn_relu(channels, channels, dilation) for dilation in dilations)
        self.squeeze = nn.Sequential(nn.Linear(channels, hidden), nn.ReLU(inplace=True))
        self.select = nn.Linear(hidden, len(dilations) * channels)

    def forward(self, features: Tensor) -> Tensor:
        branch_features = torch.stack([branch(features) for branch in self.branches], dim=1)  # MRFM: (B, K, C, H, W)
        means = branch_features.sum(dim=1).mean(dim=(2, 3))
        attention = self.select(self.squeeze(means)).unflatten(1, branch_features.shape[1:3]).softmax(dim=1)
        return (branch_features * attention[..., None, None]).sum(dim=1)  # MSSM


class ARFNet(UNet):
    """U-Net with a selective receptive field module in the named `places`: encode, skip, decode.

    Shapes: image (B, 1, H, W) -> logits (B, 1, H, W); H and W multiples of 16.

    Args:
        width: Channels of the first stage, doubled in each of the next four.
        places: Where modules are inserted, one or more of `INSERTION_POINTS`.
        dilations: Of the branches, at least two.
        reduction: See `SelectiveReceptiveField`.

    Raises:
        UserError: If an argument is invalid.
    """

    def __init__(
        self,
        width: int = 64,
        places: Sequence[str] = ("skip",),
        dilations: Sequence[int] = (1, 2, 3, 5),
        reduction: int = 16,
    ) -> None:
        insertion_points = subset_of("model.places", places, INSERTION_POINTS)
        if len(dilations) < 2 or min(dilations) < 1:
            raise UserError(f"model.dilations must be two or more integers of at least 1, got {list(dilations)}")
        module = partial(SelectiveReceptiveField, dilations=tuple(dilations), reduction=reduction)
        super().__init__(width, **dict.fromkeys(insertion_points, module))
