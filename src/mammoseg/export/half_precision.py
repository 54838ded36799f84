"""Half precision of the parameters of an exported network, and its effect on the predictions."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mammoseg.errors import UserError

N_IMAGES = 32  # largest number of test images on which the effect is measured
BATCH_SIZE = 8


@dataclass(frozen=True)
class RoundingEffect:
    """Effect of the rounding of the parameters on the predictions for some images.

    Attributes:
        images: Number of images.
        pixels: Number of their pixels.
        max_probability_change: Largest absolute change of the probability of a pixel.
        changed_pixels: Number of pixels whose predicted class changes.
    """

    images: int
    pixels: int
    max_probability_change: float
    changed_pixels: int


def rounded_to_half(network: nn.Module, ckpt_path: Path) -> nn.Module:
    """Return a copy of a network whose parameters are rounded to half precision and stored in single precision.

    Running statistics are not rounded: they take little space, and small variances would become 0.

    Args:
        network: The network.
        ckpt_path: Path of the checkpoint, for the error message.

    Raises:
        UserError: If a parameter exceeds the range of half precision.
    """
    rounded = copy.deepcopy(network)
    with torch.no_grad():
        for parameter in rounded.parameters():
            parameter.copy_(parameter.half())
            if not parameter.isfinite().all():
                raise UserError(f"{ckpt_path}: a weight exceeds the range of half precision; set half=false")
    return rounded


def rounding_effect(
    network: nn.Module, rounded: nn.Module, images: NDArray[np.float32], threshold: float
) -> RoundingEffect | None:
    """Compare the predictions of a network with those of its copy with rounded parameters.

    Args:
        network: The network, in evaluation mode.
        rounded: Output of `rounded_to_half`.
        images: Preprocessed images (N, size, size).
        threshold: Probability above which a pixel is mass.

    Returns:
        The effect; None without images.
    """
    if not len(images):
        return None
    largest, n_changed = 0.0, 0
    for start in range(0, len(images), BATCH_SIZE):
        batch = torch.from_numpy(images[start : start + BATCH_SIZE])[:, None]
        exact, approximate = _predict(network, batch), _predict(rounded, batch)
        largest = max(largest, float((exact - approximate).abs().max()))
        n_changed += int(((exact > threshold) != (approximate > threshold)).sum())
    return RoundingEffect(len(images), images.size, round(largest, 6), n_changed)


def describe_rounding(effect: RoundingEffect | None) -> str:
    """Describe the effect in sentences for the model card; `effect` is None if it was not measured."""
    results = "Results are those of the network before its parameters were rounded to half precision."
    if effect is None:
        return f"{results} The effect of the rounding was not measured, since no prepared test images were available."
    return (
        f"{results} On {effect.images} test images, the rounding changes the probability of a pixel by at most "
        f"{effect.max_probability_change:.2g} and the predicted class of {effect.changed_pixels:,} of "
        f"{effect.pixels:,} pixels."
    )


@torch.inference_mode()
def _predict(network: nn.Module, images: Tensor) -> Tensor:
    probabilities: Tensor = torch.sigmoid(network(images).float())
    return probabilities
