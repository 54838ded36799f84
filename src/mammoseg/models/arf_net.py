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

from mammoseg import validate
from mammoseg.errors import UserError
from mammoseg.models.blocks import conv_bn_relu
from mammoseg.models.unet import UNet

PLACES = ("encode", "skip", "decode")


class SelectiveReceptiveField(nn.Module):
    """Several receptive fields, of which each channel takes a mixture that the image itself decides.

    Shapes: (B, C, H, W) -> the same. `dilations`: one 3x3 branch each. `reduction`: C to the hidden width of
    the selection.
    """

    def __init__(self, channels: int, dilations: Sequence[int], reduction: int) -> None:
        super().__init__()
        hidden = max(channels // reduction, 4)  # narrow networks would otherwise squeeze to nothing
        self.branches = nn.ModuleList(conv_bn_relu(channels, channels, dilation) for dilation in dilations)
        self.squeeze = nn.Sequential(nn.Linear(channels, hidden), nn.ReLU(inplace=True))
        self.select = nn.Linear(hidden, len(dilations) * channels)

    def forward(self, features: Tensor) -> Tensor:
        fields = torch.stack([branch(features) for branch in self.branches], dim=1)  # MRFM: (B, K, C, H, W)
        means = fields.sum(dim=1).mean(dim=(2, 3))
        share = self.select(self.squeeze(means)).unflatten(1, fields.shape[1:3]).softmax(dim=1)
        return (fields * share[..., None, None]).sum(dim=1)  # MSSM


class ARFNet(UNet):
    """U-Net with a selective receptive field module in the named `places`: encode, skip, decode.

    Shapes: image (B, in_channels, H, W) -> logits (B, out_channels, H, W); H and W multiples of 16.
    `width`: channels of the first stage, doubled in each of the next four.
    Raises UserError for an unknown place, none at all, and for fewer than two dilations.
    """

    def __init__(
        self,
        width: int = 64,
        in_channels: int = 1,
        out_channels: int = 1,
        places: Sequence[str] = ("skip",),
        dilations: Sequence[int] = (1, 2, 3, 5),
        reduction: int = 16,
    ) -> None:
        validate.subset_of("model.places", places, PLACES)
        if len(dilations) < 2 or min(dilations) < 1:
            raise UserError(f"model.dilations must be two or more integers of at least 1, got {list(dilations)}")
        module = partial(SelectiveReceptiveField, dilations=tuple(dilations), reduction=reduction)
        super().__init__(width, in_channels, out_channels, **dict.fromkeys(places, module))
