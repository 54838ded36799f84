"""Data augmentation with dictionary transforms of MONAI, seeded per sample."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_SEED = 2**32 - 1


class MonaiAugmentation:
    """Apply a sequence of MONAI transforms to an image and its mask; an alternative to `Augmentation`.

    Args:
        transforms: Dictionary transforms with the keys "image" and "mask", applied in order to arrays of shape
            (1, H, W); see https://docs.monai.io/en/stable/transforms.html#dictionary-transforms.

    Example:
        >>> from monai.transforms import RandFlipd
        >>> augmentation = MonaiAugmentation([RandFlipd(keys=["image", "mask"], prob=1, spatial_axis=1)])
        >>> image, mask = np.eye(4, dtype=np.float32), np.eye(4, dtype=np.uint8)
        >>> augmented_image, augmented_mask = augmentation(image, mask, seed=0)
        >>> bool((augmented_image == np.fliplr(image)).all())
        True
    """

    def __init__(self, transforms: Sequence[Callable[[Mapping[str, Any]], Mapping[str, Any]]]) -> None:
        from monai.transforms import Compose  # slow import

        self.compose = Compose(list(transforms))

    def __call__(self, image: NDArray[Any], mask: NDArray[Any], seed: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Augment one sample.

        Args:
            image: (H, W) float32.
            mask: (H, W) uint8 in {0, 1}.
            seed: Determines the random parameters of the transforms.

        Returns:
            The augmented image and mask, with the same dtypes.
        """
        share_random_state(self.compose, np.random.RandomState(seed % MAX_SEED))
        augmented = self.compose({"image": image[None].copy(), "mask": mask[None].astype(np.float32)})
        augmented_image, augmented_mask = (np.asarray(augmented[key])[0] for key in ("image", "mask"))
        return augmented_image.astype(image.dtype), (augmented_mask > 0.5).astype(mask.dtype)


def share_random_state(transform: Any, state: np.random.RandomState) -> None:
    """Let a transform and those that it contains draw from one generator.

    `Compose.set_random_state` gives a transform and its parts generators with the same seed, so that the number that
    decides whether a transform is applied would also be its first parameter.
    """
    from monai.transforms import Compose, Randomizable

    if isinstance(transform, Compose):
        transform.R = state
        for child in transform.transforms:
            share_random_state(child, state)
    elif isinstance(transform, Randomizable):
        transform.set_random_state(state=state)
