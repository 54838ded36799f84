"""AU-Net has the published size, stage by stage."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mammoseg.errors import UserError
from mammoseg.models.au_net import AUNet, ResUnit


def parameters(module: nn.Module) -> int:
    return sum(value.numel() for value in module.parameters())


@pytest.mark.parametrize(("channels", "size"), [((1, 1), 75_493_945), ((3, 1), 75_495_097), ((3, 2), 75_495_162)])
def test_the_published_number_of_parameters(channels: tuple[int, int], size: int) -> None:
    with torch.device("meta"):
        assert parameters(AUNet(64, *channels)) == size


def test_the_published_number_of_parameters_of_each_stage() -> None:
    with torch.device("meta"):
        net = AUNet()
    assert [parameters(stage) for stage in net.encoder] == [74_880, 369_792, 1_476_864, 5_902_848, 23_602_176]
    assert [parameters(stage) for stage in net.decoder] == [33_174_592, 8_296_992, 2_075_920, 519_816]
    assert parameters(net.head) == 65


@pytest.mark.parametrize("width", [1, 2, 3, 5])
def test_narrow_networks_work(width: int) -> None:
    assert AUNet(width)(torch.zeros(1, 1, 32, 48)).shape == (1, 1, 32, 48)


def test_a_width_of_0_is_told() -> None:
    with pytest.raises(UserError, match=r"model\.width=0"):
        AUNet(0)


def test_the_shortcut_starts_after_the_first_convolution() -> None:
    unit = ResUnit(3, 4).eval()
    last = unit.residual[-1]
    assert isinstance(last, nn.BatchNorm2d)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    image = torch.randn(1, 3, 8, 8)
    torch.testing.assert_close(unit(image), unit.enter(image))
