"""Deep supervision: networks that return additional logits at lower resolutions during training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor, nn

from mammoseg.errors import UserError

if TYPE_CHECKING:
    from mammoseg.losses import Criterion


def list_outputs(outputs: Tensor | list[Tensor], image: Tensor) -> list[Tensor]:
    """Return the outputs of a network as a list, the first of which has the resolution of the image.

    Args:
        outputs: Logits (B, 1, H, W), or a list of them followed by logits of lower resolutions.
        image: Input of the network (B, 1, H, W).

    Raises:
        UserError: If the first output is not one logit per pixel, or another one is not a tensor of shape
            (B, 1, H', W').
    """
    listed = [outputs] if isinstance(outputs, Tensor) else outputs if isinstance(outputs, list) else []
    if not listed or not isinstance(listed[0], Tensor) or listed[0].shape != image.shape:
        got = tuple(listed[0].shape) if listed and isinstance(listed[0], Tensor) else type(outputs).__name__
        raise UserError(
            f"model must return one logit per pixel, of the shape {tuple(image.shape)} of the images, got {got}"
        )
    for output in listed[1:]:
        if not isinstance(output, Tensor) or output.ndim != image.ndim or output.shape[:2] != image.shape[:2]:
            got = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise UserError(f"model must return tensors of shape (B, 1, H, W) for deep supervision, got {got}")
    return listed


def downsample_mask(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize a mask to a lower resolution without losing small masses.

    A pixel belongs to the mass if at least half of its area does. If no pixel of a mask has so much, those with the
    largest area belong to it. Nearest-neighbour sampling would miss masses of a few pixels.

    Args:
        mask: Ground truth (B, 1, H, W) in {0, 1}.
        size: Height and width of the result, at most H and W.

    Returns:
        Mask (B, 1, height, width) in {0, 1}; empty only if the input is.

    Example:
        >>> import torch
        >>> mask = torch.zeros(1, 1, 4, 4)
        >>> mask[0, 0, 2, 3] = 1
        >>> downsample_mask(mask, (2, 2))[0, 0].tolist()
        [[0.0, 0.0], [0.0, 1.0]]
    """
    area = nn.functional.adaptive_avg_pool2d(mask, size)
    threshold = area.amax(dim=(2, 3), keepdim=True).clamp(max=0.5)
    return ((area >= threshold) & (area > 0)).to(mask.dtype)


def deep_supervision_terms(
    criterion: Criterion, outputs: Sequence[Tensor], mask: Tensor, density: Tensor
) -> dict[str, Tensor]:
    """Compute the summands of the loss, averaged over the outputs of a network.

    The weights of the outputs are halved with each one, and their sum is 1. The ground truth is resized to each
    resolution, see `downsample_mask`.

    Args:
        criterion: Loss of each sample.
        outputs: Logits (B, 1, H, W), followed by logits of lower resolutions.
        mask: Ground truth (B, 1, H, W) in {0, 1}.
        density: See `Criterion.forward`.

    Returns:
        Weighted terms of shape (B,) by name, see `Criterion.weighted_terms`.

    Raises:
        UserError: If the criterion rejects an output, for example since its resolution is too low.

    Source:
        Isensee et al., "nnU-Net", Nature Methods 18, 2021, supplementary note 2, without omission of the lowest
        resolutions.

    Example:
        >>> import torch
        >>> from mammoseg.losses import BCE, Criterion
        >>> outputs = [torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 4, 4)]
        >>> deep_supervision_terms(Criterion({"bce": BCE()}), outputs, torch.zeros(1, 1, 8, 8), torch.tensor([0]))
        {'bce': tensor([0.6931])}
    """
    if len(outputs) == 1:
        return criterion.weighted_terms(outputs[0], mask, density)
    weights = [0.5**index for index in range(len(outputs))]
    total: dict[str, Tensor] = {}
    for weight, logits in zip(weights, outputs, strict=True):
        for name, value in _terms(criterion, logits, mask, density).items():
            scaled = value * (weight / sum(weights))
            total[name] = total[name] + scaled if name in total else scaled
    return total


def _terms(criterion: Criterion, logits: Tensor, mask: Tensor, density: Tensor) -> dict[str, Tensor]:
    """Compute the terms of one output; errors for a lower resolution than that of the mask name deep supervision."""
    if logits.shape == mask.shape:
        return criterion.weighted_terms(logits, mask, density)
    (height, width), (full_height, full_width) = logits.shape[2:], mask.shape[2:]
    target = downsample_mask(mask, (height, width))
    try:
        return criterion.weighted_terms(logits, target, density)
    except UserError as error:
        raise UserError(
            f"the loss of the {height}x{width} logits for deep supervision of {full_height}x{full_width} images: "
            f"{error}, or fewer outputs (model.deep_supervision)"
        ) from error
