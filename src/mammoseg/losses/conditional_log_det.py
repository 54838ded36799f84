"""Log-determinant of a conditional covariance matrix, with an analytic backward pass."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def half_conditional_log_det(joint: Tensor, ridge: float, log_eps: float) -> Tensor:
    """Compute half of log det M, where M is the covariance matrix of the second variables given the first ones.

    For a joint covariance matrix (S_pp, S_py; S_yp, S_yy) + ridge I, M = S_yy - S_yp S_pp^-1 S_py is a Schur
    complement, so its Cholesky factor is the lower right block of the factor of the joint matrix.

    Args:
        joint: Joint covariance matrices of shape (B, 2 n, 2 n).
        ridge: Added to the diagonal, positive.
        log_eps: Added to the diagonal of the Cholesky factor inside the logarithm.

    Returns:
        Half of the log-determinant of each matrix, shape (B,).

    Example:
        >>> import torch
        >>> half_conditional_log_det(torch.eye(4).double()[None], ridge=1.0, log_eps=0.0)  # log det of 2 I
        tensor([0.6931], dtype=torch.float64)
    """
    half_log_det: Tensor = _HalfConditionalLogDet.apply(joint, ridge, log_eps)  # type: ignore[no-untyped-call]  # torch
    return half_log_det


class _HalfConditionalLogDet(torch.autograd.Function):
    """The backward pass needs one triangular solution; autograd would differentiate the Cholesky decomposition."""

    @staticmethod
    def forward(ctx: Any, joint: Tensor, ridge: float, log_eps: float) -> Tensor:
        n_first = joint.shape[1] // 2
        identity = torch.eye(joint.shape[1], dtype=joint.dtype, device=joint.device)
        # Unlike cholesky, cholesky_ex does not synchronise the GPU to check that the matrix is positive definite, which
        # the ridge guarantees.
        factor = torch.linalg.cholesky_ex(torch.add(joint, identity, alpha=ridge)).L
        pivots = factor.diagonal(dim1=1, dim2=2)[:, n_first:]
        shifted_pivots = pivots + log_eps
        ctx.save_for_backward(factor, identity, pivots, shifted_pivots)
        return torch.log(shifted_pivots).sum(dim=1)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, None, None]:
        factor, identity, pivots, shifted_pivots = ctx.saved_tensors
        # d log(L_jj) = (L^-1 dS L^-T)_jj / 2; see Murray, "Differentiation of the Cholesky decomposition", 2016.
        weight = (0.5 * grad_output)[:, None, None] * (pivots / shifted_pivots)[:, None]
        columns = torch.linalg.solve_triangular(factor.mT, identity[:, -pivots.shape[1] :], upper=True)
        return torch.bmm(columns * weight, columns.mT), None, None
