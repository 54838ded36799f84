"""Augmentation by albumentations, seeded per sample."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

# albumentations asks the package index for its newest version when it is imported.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import albumentations


class Augmentation:
    """`transforms` of albumentations, in order, drawn anew for each seed.

    Shapes: image (H, W) float32, mask (H, W) uint8, seed -> the same shapes and types; the mask stays in {0, 1}.
    """

    def __init__(self, transforms: Sequence[albumentations.BasicTransform]) -> None:
        self.compose = albumentations.Compose(list(transforms))

    def __call__(self, image: np.ndarray, mask: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
        self.compose.set_random_seed(seed)
        augmented = self.compose(image=image, mask=mask)
        return np.ascontiguousarray(augmented["image"]), np.ascontiguousarray(augmented["mask"])
