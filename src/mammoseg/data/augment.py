"""Augmentation with albumentations, seeded per sample."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

# albumentations asks the package index for its newest version when it is imported.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import albumentations


class Augmentation:
    """Applies transforms of albumentations in order; the seed determines their random parameters.

    Shapes: image (H, W) float32, mask (H, W) uint8 in {0, 1}, seed -> the same shapes, types and range of the mask.

    Args:
        transforms: See https://albumentations.ai/docs.
    """

    def __init__(self, transforms: Sequence[albumentations.BasicTransform]) -> None:
        self.compose = albumentations.Compose(list(transforms))

    def __call__(self, image: np.ndarray, mask: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
        self.compose.set_random_seed(seed)
        augmented = self.compose(image=image, mask=mask)
        return np.ascontiguousarray(augmented["image"]), np.ascontiguousarray(augmented["mask"])
