"""Augmentation of single samples."""

from __future__ import annotations

import albumentations
import numpy as np
import pytest

from mammoseg.data.augment import Augmentation
from mammoseg.errors import UserError


@pytest.mark.parametrize(
    ("transform", "size"),
    [
        (albumentations.RandomCrop(32, 16), "32x16"),
        (albumentations.Resize(30, 30), "30x30"),
        (albumentations.Transpose(p=1), "64x48"),
    ],
)
def test_a_transform_that_changes_the_size_is_rejected(transform: albumentations.BasicTransform, size: str) -> None:
    image, mask = np.zeros((48, 64), np.float32), np.zeros((48, 64), np.uint8)
    with pytest.raises(UserError, match=f"must keep the size of the images, 48x64 pixels, got {size}"):
        Augmentation([transform])(image, mask, seed=0)
