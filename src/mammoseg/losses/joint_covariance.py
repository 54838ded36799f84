"""Joint covariance matrix of pixel neighbourhoods in a prediction and a mask, on a CPU without im2col.

The neighbourhood of a position consists of `radius` x `radius` probabilities and as many mask pixels. On a GPU, the
neighbourhoods are materialised by im2col, which requires the fewest operations. On a CPU with radius 3, im2col would
materialise 18 shifted float64 copies of a map and be limited by memory bandwidth. Instead, each image row is expanded
into `features`: `radius` copies of each of the two maps, shifted by 0, 1, ... columns, and a row of ones. The
neighbourhoods of all positions in a row are then contained in `radius` consecutive rows of features, and sliding
windows over these rows are views.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


def joint_covariance(prob: Tensor, mask: Tensor, radius: int) -> Tensor:
    """Compute the joint covariance matrix of all neighbourhoods, scaled by the number of positions.

    Args:
        prob: Probabilities of shape (B, H, W).
        mask: Ground truth of shape (B, H, W); receives no gradient.
        radius: Side of the square neighbourhood in pixels.

    Returns:
        Float64 tensor of shape (B, 2 radius^2, 2 radius^2). The first radius^2 rows and columns correspond to the
        neighbours in `prob` in row-major order, the others to those in `mask`.

    Example:
        >>> import torch
        >>> prob = torch.tensor([[[0.0, 1.0], [1.0, 0.0]]])
        >>> joint_covariance(prob, 1 - prob, radius=1)
        tensor([[[ 1., -1.],
                 [-1.,  1.]]], dtype=torch.float64)
    """
    covariance = covariance_by_im2col if prob.is_cuda else covariance_by_rows
    return covariance(prob, mask, radius)


def covariance_by_im2col(prob: Tensor, mask: Tensor, radius: int) -> Tensor:
    """Compute the matrix with few operations; see `joint_covariance`."""
    covariance: Tensor = _CovarianceByIm2Col.apply(prob, mask, radius)  # type: ignore[no-untyped-call]  # torch
    return covariance


class _CovarianceByIm2Col(torch.autograd.Function):
    """Covariance matrix of the columns of im2col; the backward pass is a matrix product and col2im."""

    @staticmethod
    def forward(ctx: Any, prob: Tensor, mask: Tensor, radius: int) -> Tensor:
        points = functional.unfold(torch.stack([prob, mask], dim=1).double(), radius)
        points = points - points.mean(dim=2, keepdim=True)
        ctx.radius, ctx.shape, ctx.dtype = radius, prob.shape, prob.dtype
        ctx.save_for_backward(points)
        return torch.bmm(points, points.mT)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, None, None]:
        (points,) = ctx.saved_tensors
        # The sum of the gradients over all positions is 0, since that of the points is, so the subtraction of the mean
        # does not change the gradients.
        grad_points = torch.bmm((grad_output + grad_output.mT)[:, : ctx.radius**2], points)
        grad_prob = functional.fold(grad_points, ctx.shape[1:], ctx.radius)
        return grad_prob[:, 0].to(ctx.dtype), None, None


def covariance_by_rows(prob: Tensor, mask: Tensor, radius: int) -> Tensor:
    """Compute the matrix with few memory accesses; see `joint_covariance`."""
    n_positions = (prob.shape[1] - radius + 1) * (prob.shape[2] - radius + 1)
    moments: Tensor = _NeighbourhoodMoments.apply(prob, mask, radius)  # type: ignore[no-untyped-call]  # torch
    split = (2, radius)  # features are ordered by map, then by column
    sums = torch.unflatten(moments[:, :, :-1, 0, -1], 2, split).transpose(1, 2).flatten(1)  # products with ones
    products = torch.unflatten(torch.unflatten(moments[:, :, :-1, :, :-1], 4, split), 2, split)
    products = products.permute(0, 2, 1, 3, 5, 4, 6).flatten(4, 6).flatten(1, 3)  # (row, map, column) -> map first
    return products - sums[:, :, None] * (sums[:, None, :] / n_positions)


class _NeighbourhoodMoments(torch.autograd.Function):
    """Sums, over all neighbourhoods, of the products between the features of any two of their rows.

    Maps prob and mask of shape (B, H, W) to a tensor of shape (B, radius, features, radius, features).
    """

    @staticmethod
    def forward(ctx: Any, prob: Tensor, mask: Tensor, radius: int) -> Tensor:
        rows = _shifted_rows(prob, mask, radius)
        ctx.radius, ctx.shape, ctx.dtype = radius, prob.shape, prob.dtype
        ctx.save_for_backward(rows)
        batch, height, _ = prob.shape
        n_features = rows.shape[1]
        first_rows = rows[radius - 1 :]
        row_windows = _sliding_rows(first_rows, radius)
        products = torch.bmm(first_rows[: len(row_windows)], row_windows.mT)
        products = products.view(batch, -1, n_features, radius, n_features)
        moments = products.new_empty(batch, radius, n_features, radius, n_features)
        for row in range(radius):
            # Products of row `row` of each neighbourhood with this row and the rows below it.
            block = products[:, row : row + height - radius + 1].sum(dim=1)[:, :, : radius - row]
            moments[:, row, :, row:] = block
            moments[:, row:, :, row] = block.permute(0, 2, 3, 1)
        return moments

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, None, None]:
        (rows,) = ctx.saved_tensors
        radius = ctx.radius
        batch, height, width = ctx.shape
        n_features = rows.shape[1]
        grad_moments = grad_output + grad_output.permute(0, 3, 4, 1, 2)  # the products are symmetric
        # Coefficients of the features in each row, the radius - 1 rows above and the radius - 1 rows below it.
        coefficients = rows.new_zeros(batch, height + 2 * radius - 2, radius, 2 * radius - 1, n_features)
        for row in range(radius):
            offset_range = slice(radius - 1 - row, 2 * radius - 1 - row)
            coefficients[:, row : row + height - radius + 1, :, offset_range] += grad_moments[:, row, None, :radius]
        grad_rows = torch.bmm(coefficients.flatten(3).flatten(0, 1), _sliding_rows(rows, 2 * radius - 1))
        grad_rows = grad_rows.view(batch, height + 2 * radius - 2, radius, -1)[:, :height]
        grad_prob = rows.new_zeros(batch, height, width)
        for column in range(radius):
            grad_prob[:, :, column : column + grad_rows.shape[3]] += grad_rows[:, :, column]
        return grad_prob.to(ctx.dtype), None, None


def _shifted_rows(prob: Tensor, mask: Tensor, radius: int) -> Tensor:
    """Compute the features of all image rows: float64 tensor of shape (rows, 2 radius + 1, W - radius + 1).

    The samples are concatenated along the first dimension, each padded with radius - 1 rows of zeros above and below.
    Further zeros are appended for the last sliding windows.
    """
    batch, height, width = prob.shape
    margin = radius - 1
    n_features, row_length = 2 * radius + 1, width - margin
    n_rows = batch * (height + 2 * margin)
    rows = prob.new_empty((n_rows + 2 * margin, n_features, row_length), dtype=torch.float64)
    rows[n_rows:] = 0
    samples = rows[:n_rows].view(batch, -1, n_features, row_length)
    samples[:, :margin] = 0
    samples[:, margin + height :] = 0
    image_rows = samples[:, margin : margin + height]
    image_rows[:, :, :radius] = prob.unfold(2, row_length, 1)
    image_rows[:, :, radius:-1] = mask.unfold(2, row_length, 1)
    image_rows[:, :, -1] = 1
    return rows


def _sliding_rows(rows: Tensor, window: int) -> Tensor:
    """Return overlapping windows of rows: (R, features, W) -> (R - window + 1, window * features, W)."""
    return rows.unfold(0, window, 1).movedim(3, 1).flatten(1, 2)
