"""The encoder of ResNetUNet has the parameters of torchvision's ResNet."""

from __future__ import annotations

import pytest
import torch

from mammoseg.errors import UserError
from mammoseg.models.resnet_unet import ResNetUNet

# Number of parameters in the documentation of torchvision, and of the last layer, which maps to 1000 classes.
TORCHVISION = {18: (11_689_512, 512), 34: (21_797_672, 512), 50: (25_557_032, 2048)}


@pytest.mark.parametrize("depth", TORCHVISION)
def test_number_of_parameters_of_the_encoder(depth: int) -> None:
    total, features = TORCHVISION[depth]
    with torch.device("meta"):
        net = ResNetUNet(depth=depth)
    colours = 2 * 64 * 7 * 7  # weights for the second and third input channel
    assert sum(value.numel() for value in net.encoder.parameters()) + colours == total - 1000 * (features + 1)


def names_of_torchvision(blocks: tuple[int, ...], convolutions: int) -> set[str]:
    norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    names = {"conv1.weight", *(f"bn1.{name}" for name in norm)}
    for layer, n_blocks in enumerate(blocks, start=1):
        for block in range(n_blocks):
            for index in range(1, convolutions + 1):
                names |= {f"layer{layer}.{block}.conv{index}.weight"}
                names |= {f"layer{layer}.{block}.bn{index}.{name}" for name in norm}
        if layer > 1 or convolutions == 3:
            names |= {f"layer{layer}.0.downsample.0.weight", *(f"layer{layer}.0.downsample.1.{name}" for name in norm)}
    return names


@pytest.mark.parametrize(("depth", "blocks", "convolutions"), [(18, (2, 2, 2, 2), 2), (50, (3, 4, 6, 3), 3)])
def test_names_of_the_encoder(depth: int, blocks: tuple[int, ...], convolutions: int) -> None:
    assert set(ResNetUNet(width=1, depth=depth).encoder.state_dict()) == names_of_torchvision(blocks, convolutions)


@pytest.mark.parametrize("size", [(16, 48), (80, 64)])
def test_sizes_need_not_be_multiples_of_32(size: tuple[int, int]) -> None:
    assert ResNetUNet(width=1)(torch.zeros(2, 1, *size)).shape == (2, 1, *size)


def test_invalid_depth_raises() -> None:
    with pytest.raises(UserError, match=r"model\.depth must be one of 18, 34, 50, got 101"):
        ResNetUNet(depth=101)
