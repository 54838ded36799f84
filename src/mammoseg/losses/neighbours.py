"""Covariances of the pixels' neighbourhoods in two maps, without a copy of every neighbourhood.

A position's neighbours are `radius` x `radius` probabilities and as many pixels of the mask. Written out for all
positions in double precision they are 18 copies of a map (radius 3), and moving those takes longer than all the
sums. Here each image row becomes its `lines`: `radius` of each map, every one shifted by a column more, and a
line of ones. The neighbours of a row of positions then lie in `radius` consecutive rows of lines, and windows over
rows overlap without a copy.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def joint_covariance(prob: Tensor, mask: Tensor, radius: int) -> Tensor:
    """Covariances times the number of positions: (B, 2 radius^2, 2 radius^2) in double precision.

    Shapes: prob, mask (B, H, W). The first radius^2 rows and columns are the neighbours in `prob`, row by row, the
    others those in `mask`, which gets no gradient.
    """
    positions = (prob.shape[1] - radius + 1) * (prob.shape[2] - radius + 1)
    moments = Moments.apply(prob, mask, radius)
    sums = moments[:, :, :-1, 0, -1].unflatten(2, (2, radius)).transpose(1, 2).flatten(1)  # products with ones
    products = moments[:, :, :-1, :, :-1].unflatten(4, (2, radius)).unflatten(2, (2, radius))
    products = products.permute(0, 2, 1, 3, 5, 4, 6).flatten(4, 6).flatten(1, 3)  # (row, map, column) -> map first
    return products - sums[:, :, None] * (sums[:, None, :] / positions)


class Moments(torch.autograd.Function):
    """prob, mask (B, H, W) -> (B, radius, lines, radius, lines): sums of products of lines of two rows, over all
    rows that a neighbourhood can begin in."""

    @staticmethod
    def forward(ctx: Any, prob: Tensor, mask: Tensor, radius: int) -> Tensor:
        lines = lines_of(prob, mask, radius)
        ctx.radius, ctx.shape, ctx.dtype = radius, prob.shape, prob.dtype
        ctx.save_for_backward(lines)
        batch, height, _ = prob.shape
        count = lines.shape[1]
        own = lines[radius - 1 :]
        below = windows(own, radius)
        products = torch.bmm(own[: len(below)], below.mT).view(batch, -1, count, radius, count)
        moments = products.new_empty(batch, radius, count, radius, count)
        for row in range(radius):
            # A row times those at and below it: sums over the rows that lie `row` below a neighbourhood's first.
            part = products[:, row : row + height - radius + 1].sum(dim=1)[:, :, : radius - row]
            moments[:, row, :, row:] = part
            moments[:, row:, :, row] = part.permute(0, 2, 3, 1)
        return moments

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (lines,) = ctx.saved_tensors
        radius = ctx.radius
        batch, height, width = ctx.shape
        count = lines.shape[1]
        both = gradient + gradient.permute(0, 3, 4, 1, 2)  # the products are symmetric
        # For each row the factors of the lines from radius - 1 rows above it to as many below.
        factors = lines.new_zeros(batch, height + 2 * radius - 2, radius, 2 * radius - 1, count)
        for row in range(radius):
            reach = slice(radius - 1 - row, 2 * radius - 1 - row)
            factors[:, row : row + height - radius + 1, :, reach] += both[:, row, None, :radius]
        of_lines = torch.bmm(factors.flatten(3).flatten(0, 1), windows(lines, 2 * radius - 1))
        of_lines = of_lines.view(batch, height + 2 * radius - 2, radius, -1)[:, :height]
        of_prob = lines.new_zeros(batch, height, width)
        for column in range(radius):
            of_prob[:, :, column : column + of_lines.shape[3]] += of_lines[:, :, column]
        return of_prob.to(ctx.dtype), None, None


def lines_of(prob: Tensor, mask: Tensor, radius: int) -> Tensor:
    """Rows of all samples one after the other, with radius - 1 rows of zeros above and below each, and as many
    again at the end as the last window reaches: (rows, 2 radius + 1, W - radius + 1) in double precision."""
    batch, height, width = prob.shape
    edge = radius - 1
    count, across = 2 * radius + 1, width - edge
    rows = batch * (height + 2 * edge)
    lines = prob.new_empty((rows + 2 * edge, count, across), dtype=torch.float64)
    lines[rows:] = 0
    samples = lines[:rows].view(batch, -1, count, across)
    samples[:, :edge] = 0
    samples[:, edge + height :] = 0
    inside = samples[:, edge : edge + height]
    inside[:, :, :radius] = prob.unfold(2, across, 1)
    inside[:, :, radius:-1] = mask.unfold(2, across, 1)
    inside[:, :, -1] = 1
    return lines


def windows(lines: Tensor, rows: int) -> Tensor:
    """(R, lines, W) -> (R - rows + 1, rows * lines, W): a view, in which neighbours overlap."""
    return lines.unfold(0, rows, 1).movedim(3, 1).flatten(1, 2)
