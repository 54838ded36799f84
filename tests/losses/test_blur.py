"""Blurring by tiles against a plain convolution with the same window."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from mammoseg.errors import UserError
from mammoseg.losses.blur import blur, kept_band, tile


def convolved(maps: Tensor, window_size: int, sigma: float, padding: str) -> Tensor:
    line = torch.exp(-((torch.arange(window_size, dtype=maps.dtype) - window_size // 2) ** 2) / (2 * sigma**2))
    window = torch.outer(line, line)[None, None] / line.sum() ** 2
    return functional.conv2d(maps, window, padding=padding)


# Sides around those of a tile: one tile, exactly two, filler, and one that no tile divides.
@pytest.mark.parametrize("shape", [(11, 11), (12, 40), (34, 58), (74, 139), (256, 113)])
@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("window_size", [1, 3, 11])
def test_values_and_gradients_of_a_convolution(shape: tuple[int, int], padding: str, window_size: int) -> None:
    generator = torch.Generator().manual_seed(0)
    maps = torch.rand(2, 1, *shape, dtype=torch.float64, generator=generator, requires_grad=True)
    found, wanted = blur(maps, window_size, 1.5, padding), convolved(maps, window_size, 1.5, padding)
    torch.testing.assert_close(found, wanted)
    direction = torch.rand(wanted.shape, dtype=torch.float64, generator=generator)
    torch.testing.assert_close(
        torch.autograd.grad(found, maps, direction)[0], torch.autograd.grad(wanted, maps, direction)[0]
    )


def test_several_maps_at_once_and_single_precision() -> None:
    maps = torch.rand(3, 2, 1, 70, 50, generator=torch.Generator().manual_seed(0))
    together = blur(maps, 11, 1.5, "valid")
    for found, each in zip(together, maps, strict=True):
        torch.testing.assert_close(found, convolved(each, 11, 1.5, "valid"))


@pytest.mark.parametrize(("side", "size"), [(5, 5), (25, 25), (246, 41), (256, 32), (118, 59), (502, 24)])
def test_tiles_fit_with_little_filler(side: int, size: int) -> None:
    assert tile(side) == size


def test_a_band_first_made_under_inference_mode_serves_training() -> None:
    kept_band.cache_clear()
    with torch.inference_mode():
        blur(torch.rand(1, 1, 30, 30), 11, 1.5, "valid")
    maps = torch.rand(1, 1, 30, 30, requires_grad=True)
    blur(maps, 11, 1.5, "valid").sum().backward()
    assert maps.grad is not None


def test_an_image_smaller_than_the_window_is_told() -> None:
    with pytest.raises(UserError, match="image side of 8 pixels"):
        blur(torch.zeros(1, 1, 8, 30), 11, 1.5, "valid")
