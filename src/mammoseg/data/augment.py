"""Data augmentation with albumentations, seeded per sample."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

# albumentations queries the package index for updates on import.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import albumentations


class Augmentation:
    """Apply a sequence of albumentations transforms to an image and its mask.

    Args:
        transforms: Applied in order; see https://albumentations.ai/docs.

    Example:
        >>> augmentation = Augmentation([albumentations.HorizontalFlip(p=1)])
        >>> image, mask = np.eye(4, dtype=np.float32), np.eye(4, dtype=np.uint8)
        >>> augmented_image, augmented_mask = augmentation(image, mask, seed=0)
        >>> bool((augmented_image == np.fliplr(image)).all())
        True
    """

    def __init__(self, transforms: Sequence[albumentations.BasicTransform]) -> None:
        self.compose = albumentations.Compose(list(transforms))

    def __call__(self, image: NDArray[Any], mask: NDArray[Any], seed: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Augment one sample.

        Args:
            image: (H, W) float32.
            mask: (H, W) uint8 in {0, 1}.
            seed: Determines the random parameters of the transforms.

        Returns:
            The augmented image and mask, with the same dtypes.
        """
        # One generator for all transforms: with set_random_seed, each would draw the same random numbers.
        self.compose.set_random_state(np.random.default_rng(seed), random.Random(seed))
        augmented = self.compose(image=image, mask=mask)
        return np.ascontiguousarray(augmented["image"]), np.ascontiguousarray(augmented["mask"])
