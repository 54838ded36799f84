"""The tiled Gaussian filter compared with conv2d and the same kernel."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from mammoseg.errors import UserError
from mammoseg.losses.gaussian_filter import (
    best_tile_size,
    cached_band_matrix,
    gaussian_filter2d,
    tiled_filter,
    untiled_filter,
)


def convolve(maps: Tensor, window_size: int, sigma: float, padding: str) -> Tensor:
    line = torch.exp(-((torch.arange(window_size, dtype=maps.dtype) - window_size // 2) ** 2) / (2 * sigma**2))
    window = torch.outer(line, line)[None, None] / line.sum() ** 2
    return functional.conv2d(maps, window, padding=padding)


# One tile, two complete tiles, tiles with padding, and a side that no tile size divides.
@pytest.mark.parametrize("shape", [(11, 11), (12, 40), (34, 58), (74, 139), (256, 113)])
@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("window_size", [1, 3, 11])
def test_values_and_gradients_equal_conv2d(shape: tuple[int, int], padding: str, window_size: int) -> None:
    generator = torch.Generator().manual_seed(0)
    maps = torch.rand(2, 1, *shape, dtype=torch.float64, generator=generator, requires_grad=True)
    filtered = gaussian_filter2d(maps, window_size, 1.5, padding)
    expected = convolve(maps, window_size, 1.5, padding)
    torch.testing.assert_close(filtered, expected)
    direction = torch.rand(expected.shape, dtype=torch.float64, generator=generator)
    torch.testing.assert_close(
        torch.autograd.grad(filtered, maps, direction)[0], torch.autograd.grad(expected, maps, direction)[0]
    )


@pytest.mark.parametrize("filter_maps", [tiled_filter, untiled_filter])
@pytest.mark.parametrize("pad", [0, 2, 5, 10])
@pytest.mark.parametrize("shape", [(11, 11), (34, 58), (74, 139)])
def test_both_filters_equal_conv2d_with_any_padding(
    filter_maps: Callable[[Tensor, int, float, int], Tensor], pad: int, shape: tuple[int, int]
) -> None:
    maps = torch.rand(3, 2, 1, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = convolve(functional.pad(maps.flatten(0, 1), (pad, pad, pad, pad)), 11, 1.5, "valid")
    torch.testing.assert_close(filter_maps(maps, 11, 1.5, pad), expected.view(3, 2, *expected.shape[1:]))


def test_stacked_float32_maps_equal_conv2d() -> None:
    maps = torch.rand(3, 2, 1, 70, 50, generator=torch.Generator().manual_seed(0))
    stacked = gaussian_filter2d(maps, 11, 1.5, "valid")
    for filtered, single in zip(stacked, maps, strict=True):
        torch.testing.assert_close(filtered, convolve(single, 11, 1.5, "valid"))


@pytest.mark.parametrize(("side", "size"), [(5, 5), (25, 25), (246, 41), (256, 32), (118, 59), (502, 24)])
def test_best_tile_size_needs_little_padding(side: int, size: int) -> None:
    assert best_tile_size(side) == size


def test_band_matrix_cached_in_inference_mode_can_be_used_for_training() -> None:
    cached_band_matrix.cache_clear()
    with torch.inference_mode():
        gaussian_filter2d(torch.rand(1, 1, 30, 30), 11, 1.5, "valid")
    maps = torch.rand(1, 1, 30, 30, requires_grad=True)
    (gradient,) = torch.autograd.grad(gaussian_filter2d(maps, 11, 1.5, "valid").sum(), maps)
    assert gradient.isfinite().all()


def test_image_smaller_than_the_window_raises() -> None:
    with pytest.raises(UserError, match="got 8x30"):
        gaussian_filter2d(torch.zeros(1, 1, 8, 30), 11, 1.5, "valid")
