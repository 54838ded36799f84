"""Gaussian filter: a separable convolution, computed as products of banded matrices with image tiles."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from mammoseg.errors import UserError

# Candidate tile sizes in pixels. The band matrix of an untiled image would consist almost entirely of zeros.
TILE_SIZES = range(24, 65)
# Images up to this height and width are not tiled on a GPU, where launching the operations that build the tiles takes
# longer than multiplying zeros.
UNTILED_SIZE = 320


def gaussian_filter2d(maps: Tensor, window_size: int, sigma: float, padding: str) -> Tensor:
    """Filter the last two dimensions with a normalised Gaussian kernel of `window_size` x `window_size` pixels.

    Args:
        maps: Tensor of shape (..., H, W).
        window_size: Side of the kernel in pixels, an odd integer.
        sigma: Standard deviation of the Gaussian in pixels.
        padding: "same" pads with zeros and keeps the shape; "valid" uses complete windows only and returns
            (..., H - window_size + 1, W - window_size + 1).

    Returns:
        The filtered maps, in the data type of `maps`.

    Raises:
        UserError: If a side of the image is smaller than the window.

    Example:
        >>> import torch
        >>> gaussian_filter2d(torch.ones(1, 1, 12, 16), window_size=11, sigma=1.5, padding="valid").shape
        torch.Size([1, 1, 2, 6])
    """
    pad = check_window(maps, window_size, padding)
    filtered: Tensor = _GaussianFilter2d.apply(maps, window_size, sigma, pad)  # type: ignore[no-untyped-call]  # torch
    return filtered


def check_window(maps: Tensor, window_size: int, padding: str) -> int:
    """Check that the window fits into the image; returns the number of zeros with which each side is padded.

    Raises:
        UserError: If a side of the image is smaller than the window.
    """
    if min(maps.shape[-2:]) < window_size:
        raise UserError(
            f"height and width of the image must be at least window_size={window_size} pixels, "
            f"got {maps.shape[-2]}x{maps.shape[-1]}; set a smaller window_size of the loss or a larger dataset.size"
        )
    return window_size // 2 if padding == "same" else 0


class _GaussianFilter2d(torch.autograd.Function):
    """The kernel is symmetric, so the backward pass is the same convolution with the complementary padding."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, window_size: int, sigma: float, pad: int) -> Tensor:
        ctx.backward_args = window_size, sigma, window_size - 1 - pad
        return separable_filter(maps, window_size, sigma, pad)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, None, None, None]:
        return separable_filter(grad_output, *ctx.backward_args), None, None, None


def separable_filter(maps: Tensor, window_size: int, sigma: float, pad: int) -> Tensor:
    """Pad (..., H, W) with `pad` zeros on each side and filter: (..., H + 2 pad - window_size + 1, W + ...).

    Autograd does not record it; the adjoint is the filter with window_size - 1 - pad zeros.
    """
    if not maps.is_cuda:
        return tiled_filter(maps, window_size, sigma, pad)
    # TF32 matrix products have an 11-bit significand, which is too imprecise for variances.
    apply_filter = untiled_filter if max(maps.shape[-2:]) <= UNTILED_SIZE else tiled_filter
    return apply_filter(maps.double(), window_size, sigma, pad).to(maps.dtype)


def untiled_filter(maps: Tensor, window_size: int, sigma: float, pad: int) -> Tensor:
    """Filter without tiles, with few operations; see `separable_filter`."""
    (row_band, column_band) = (
        # Without the columns that would be multiplied with the zeros of the padding.
        band_matrix(side + 2 * pad - window_size + 1, window_size, sigma, maps.dtype, maps.device)[:, pad : pad + side]
        for side in maps.shape[-2:]
    )
    rows = (maps @ column_band.mT).flatten(0, -3)
    columns = torch.bmm(row_band.expand(len(rows), -1, -1), rows)
    return columns.view(*maps.shape[:-2], *columns.shape[-2:])


def tiled_filter(maps: Tensor, window_size: int, sigma: float, pad: int) -> Tensor:
    """Filter tiles, with few multiplications by zero; see `separable_filter`."""
    height, width = (side + 2 * pad - window_size + 1 for side in maps.shape[-2:])
    tile_h, tile_w = best_tile_size(height), best_tile_size(width)
    pad_right, pad_bottom = pad + -width % tile_w, pad + -height % tile_h  # up to a multiple of the tile size
    if any((pad, pad_right, pad_bottom)):
        maps = functional.pad(maps, (pad, pad_right, pad, pad_bottom))
    kernel = window_size, sigma, maps.dtype, maps.device
    tiles = maps.unfold(-1, tile_w + window_size - 1, tile_w)  # (..., H, tiles, tile_w + window_size - 1)
    rows = (tiles.flatten(0, -2) @ band_matrix(tile_w, *kernel).mT).view(*maps.shape[:-1], -1)
    tiles = rows.unfold(-2, tile_h + window_size - 1, tile_h).mT  # (..., tiles, tile_h + window_size - 1, W)
    columns = torch.matmul(band_matrix(tile_h, *kernel), tiles).flatten(-3, -2)
    return columns[..., :height, :width]


def best_tile_size(side: int) -> int:
    """Return the tile size that covers `side` pixels with the least padding; at most `side`."""
    by_padding = sorted(TILE_SIZES, key=lambda size: -side % size)
    return min(by_padding[0], side)


def band_matrix(size: int, window_size: int, sigma: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Build the matrix that convolves a vector with a normalised Gaussian kernel.

    Args:
        size: Length of the output vector.
        window_size: Size of the kernel in pixels, an odd integer.
        sigma: Standard deviation of the Gaussian in pixels.
        dtype: Data type of the matrix.
        device: Device of the matrix.

    Returns:
        Matrix of shape (size, size + window_size - 1) with the kernel in columns i to i + window_size - 1 of row i.
    """
    if torch.compiler.is_compiling():  # torch.compile cannot trace a cached function
        return _make_band_matrix(size, window_size, sigma, dtype, device)
    return cached_band_matrix(size, window_size, sigma, dtype, device)


def _make_band_matrix(size: int, window_size: int, sigma: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    half = window_size // 2
    positions = torch.arange(size + window_size - 1, dtype=torch.float64, device=device)
    offset = positions[None, :] - positions[:size, None] - half
    weights = torch.exp(-(offset**2) / (2 * sigma**2)) * (offset.abs() <= half)
    return (weights / weights[0].sum()).to(dtype)


@lru_cache(maxsize=32)
def cached_band_matrix(size: int, window_size: int, sigma: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Cached version of `band_matrix`."""
    # Tensors created in inference mode cannot be used in training.
    with torch.inference_mode(False):
        return _make_band_matrix(size, window_size, sigma, dtype, device)
