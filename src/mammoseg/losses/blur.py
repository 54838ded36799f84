"""Gaussian means over windows: a separable filter as products of small banded matrices with tiles of the image."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from mammoseg.errors import UserError

TILES = range(24, 65)  # sides of a tile: a product with the whole image's band would mostly multiply zeros


def blur(maps: Tensor, window_size: int, sigma: float, padding: str) -> Tensor:
    """Means of (..., H, W) under a normalised Gaussian of `sigma` pixels in a square window.

    `padding`: "valid" takes whole windows, (..., H - window_size + 1, W - window_size + 1); "same" pads by zeros.
    Raises UserError for an image smaller than the window.
    """
    if min(maps.shape[-2:]) < window_size:
        raise UserError(
            f"an image side of {min(maps.shape[-2:])} pixels is smaller than the SSIM window of {window_size}; "
            "set a smaller loss.ssim.window_size or a larger dataset.size"
        )
    return Blur.apply(maps, window_size, sigma, window_size // 2 if padding == "same" else 0)


class Blur(torch.autograd.Function):
    """A symmetric window is its own adjoint: the gradient is blurred as the maps were, the padding turned round."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, window_size: int, sigma: float, pad: int) -> Tensor:
        ctx.settings = window_size, sigma, window_size - 1 - pad
        return filtered(maps, window_size, sigma, pad)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        return filtered(gradient, *ctx.settings), None, None, None


def filtered(maps: Tensor, window_size: int, sigma: float, pad: int) -> Tensor:
    """(..., H, W), zero-padded by `pad` on all sides -> (..., H + 2 pad - window_size + 1, W + ...)."""
    dtype = maps.dtype
    if maps.is_cuda:
        # A GPU may multiply 32-bit numbers with 11 bits of precision, which is too little for variances.
        maps = maps.double()
    height, width = (side + 2 * pad - window_size + 1 for side in maps.shape[-2:])
    down, across = tile(height), tile(width)
    filler = pad + -width % across, pad + -height % down  # up to whole tiles
    if any((pad, *filler)):
        maps = functional.pad(maps, (pad, filler[0], pad, filler[1]))
    kind = window_size, sigma, maps.dtype, maps.device
    tiles = maps.unfold(-1, across + window_size - 1, across)  # (..., H, tiles, across + window_size - 1)
    lines = (tiles.flatten(0, -2) @ band(across, *kind).mT).view(*maps.shape[:-1], -1)
    tiles = lines.unfold(-2, down + window_size - 1, down).mT  # (..., tiles, down + window_size - 1, W)
    columns = torch.matmul(band(down, *kind), tiles).flatten(-3, -2)
    return columns[..., :height, :width].to(dtype)


def tile(side: int) -> int:
    """The side of a tile with the least filler."""
    fitting = sorted(TILES, key=lambda size: -side % size)
    return min(fitting[0], side)


def band(size: int, window_size: int, sigma: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Matrix (size, size + window_size - 1) whose rows hold the window, each one place further."""
    if torch.compiler.is_compiling():  # the compiler looks into every function but one with a cache
        return new_band(size, window_size, sigma, dtype, device)
    return kept_band(size, window_size, sigma, dtype, device)


def new_band(size: int, window_size: int, sigma: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    half = window_size // 2
    places = torch.arange(size + window_size - 1, dtype=torch.float64, device=device)
    offset = places[None, :] - places[:size, None] - half
    weights = torch.exp(-(offset**2) / (2 * sigma**2)) * (offset.abs() <= half)
    return (weights / weights[0].sum()).to(dtype)


@lru_cache(maxsize=32)
def kept_band(size: int, window_size: int, sigma: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    # A tensor made under inference mode could not be used in training later.
    with torch.inference_mode(False):
        return new_band(size, window_size, sigma, dtype, device)
