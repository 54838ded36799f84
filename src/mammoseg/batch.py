"""Batches of the data loaders."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from mammoseg.errors import UserError

Batch = dict[str, Tensor]  # see `mammoseg.segmenter.Segmenter` for the keys
SIZE_FACTOR = 16


def check_size(shape: Sequence[int]) -> None:
    """Check that the networks can downsample images of this shape, which a cropping augmentation may have changed.

    Args:
        shape: Shape of the images (B, 1, H, W).

    Raises:
        UserError: If height or width is not a multiple of `SIZE_FACTOR`.
    """
    height, width = shape[-2:]
    if height % SIZE_FACTOR or width % SIZE_FACTOR:
        raise UserError(
            f"the height and width of training images must be multiples of {SIZE_FACTOR}, got {height} x {width}; "
            "correct the transforms of augment that crop or resize"
        )


def is_padding_batch(batch: Batch) -> bool:
    """Return True for a padding batch: its weights are 0, and it only keeps the processes synchronised."""
    return "weight" in batch and not batch["weight"].any()


def check_same_size(shape: Sequence[int], augmented: Sequence[int]) -> None:
    """Check that augmentation has not changed the size of an image, since the network is tested on whole images.

    Args:
        shape: Shape of the image (H, W).
        augmented: Shape of the augmented image (H, W).

    Raises:
        UserError: If the shapes differ.
    """
    if tuple(shape) != tuple(augmented):
        raise UserError(
            f"augment.transforms must keep the size of the images, {shape[0]}x{shape[1]} pixels, got "
            f"{augmented[0]}x{augmented[1]}; remove the transform that crops, pads or resizes them"
        )
