"""Hashes of images: equal for copies in other integer types, different for other images, at any size."""

from __future__ import annotations

import numpy as np
import pytest

from mammoseg.data.preprocessing.fingerprints import HASHED_ROWS, hash_pixels


@pytest.mark.parametrize("height", [1, 40, HASHED_ROWS - 1, 2 * HASHED_ROWS, 4 * HASHED_ROWS + 3])
def test_copies_in_other_types_have_the_same_hash(height: int) -> None:
    image = np.random.default_rng(height).integers(0, 256, (height, 16), dtype=np.uint8)
    wide = image.astype(np.uint16)
    copies = [wide, wide * 257, wide << 8, image.astype(np.int32), image.astype(np.float32)]
    assert {hash_pixels(copy) for copy in copies} == {hash_pixels(image)}


@pytest.mark.parametrize("height", [1, 40, HASHED_ROWS - 1, 2 * HASHED_ROWS, 4 * HASHED_ROWS + 3])
def test_other_images_have_another_hash(height: int) -> None:
    image = np.random.default_rng(height).integers(0, 4096, (height, 16), dtype=np.uint16)
    others = [image[:, ::-1], image[:, :-1], image + np.uint16(1), np.vstack([image, image[-1:]])]
    assert len({hash_pixels(np.ascontiguousarray(other)) for other in [image, *others]}) == 5
