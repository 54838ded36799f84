"""U-Net and ARF-Net: number of parameters and selection of the receptive field."""

from __future__ import annotations

import pytest
import torch

from mammoseg.errors import UserError
from mammoseg.models.arf_net import ARFNet, SelectiveReceptiveField
from mammoseg.models.monai_nets import swin_unetr
from mammoseg.models.unet import UNet


def n_parameters(net: torch.nn.Module) -> int:
    return sum(value.numel() for value in net.parameters())


def conv_bn(in_channels: int, out_channels: int) -> int:
    return 9 * in_channels * out_channels + out_channels + 2 * out_channels


def test_number_of_parameters_of_unet_equals_the_formula() -> None:
    channels = [64, 128, 256, 512, 1024]
    encoder = sum(conv_bn(a, b) + conv_bn(b, b) for a, b in zip([1, *channels], channels, strict=False))
    decoder = sum(4 * 2 * c * c + c + conv_bn(2 * c, c) + conv_bn(c, c) for c in channels[:-1])
    assert n_parameters(UNet(64)) == encoder + decoder + 64 + 1


def test_arf_net_adds_one_module_to_each_skip_connection() -> None:
    added = sum(
        4 * conv_bn(c, c) + c * max(c // 16, 4) + max(c // 16, 4) + max(c // 16, 4) * 4 * c + 4 * c
        for c in (64, 128, 256, 512)
    )
    assert n_parameters(ARFNet(64)) == n_parameters(UNet(64)) + added


@pytest.mark.parametrize("insertion_point", ["encode", "skip", "decode"])
def test_arf_net_trains_at_every_insertion_point(insertion_point: str) -> None:
    torch.manual_seed(0)
    net = ARFNet(2, insert_at=[insertion_point], dilations=[1, 3])
    net(torch.randn(2, 1, 32, 32)).square().mean().backward()
    assert all(value.grad is not None for value in net.parameters())
    assert n_parameters(net) > n_parameters(UNet(2))


def test_selection_is_a_convex_combination_of_the_branches() -> None:
    torch.manual_seed(0)
    module = SelectiveReceptiveField(4, (1, 2), 16).eval()
    features = torch.randn(1, 4, 16, 16)
    first, second = (branch(features) for branch in module.branches)
    out = module(features)
    low, high = torch.minimum(first, second), torch.maximum(first, second)
    assert ((out >= low - 1e-6) & (out <= high + 1e-6)).all()
    with torch.no_grad():
        module.select.weight.zero_()
        module.select.bias.copy_(torch.tensor([50.0] * 4 + [-50.0] * 4))
    torch.testing.assert_close(module(features), first)


def test_invalid_network_settings_raise() -> None:
    with pytest.raises(UserError, match="encode, skip, decode"):
        ARFNet(2, insert_at=["bottom"])
    with pytest.raises(UserError, match="two or more"):
        ARFNet(2, dilations=[1])
    with pytest.raises(UserError, match=r"model.width must be an integer of at least 1"):
        UNet(0)


def test_width_of_swin_unetr_is_rounded_up_to_a_multiple_of_12() -> None:
    assert (
        n_parameters(swin_unetr(1))
        == n_parameters(swin_unetr(12))
        < n_parameters(swin_unetr(13))
        == n_parameters(swin_unetr(24))
    )
