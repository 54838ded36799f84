"""Grey values of the images that are exported for nnU-Net."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from mammoseg.export.nnunet import MAX_VALUE, to_uint16

IMAGES = arrays(np.float32, (3, 4), elements=st.floats(-8, 8, width=32))


@given(image=IMAGES)
def test_the_range_is_that_of_16_bits_and_errors_are_at_most_half_a_step(image: NDArray[np.float32]) -> None:
    exported = to_uint16(image)
    span = float(image.max()) - float(image.min())
    if span == 0:
        assert not exported.any()
        return
    assert (exported.min(), exported.max()) == (0, MAX_VALUE)
    restored = exported / MAX_VALUE * span + float(image.min())
    np.testing.assert_allclose(restored, image, atol=0.5 * span / MAX_VALUE * (1 + 1e-6), rtol=1e-9)


@given(image=IMAGES, scale=st.sampled_from([2.0, 4.0, 16.0]))
def test_the_scale_of_the_normalisation_does_not_matter(image: NDArray[np.float32], scale: float) -> None:
    np.testing.assert_array_equal(to_uint16(image * np.float32(scale)), to_uint16(image))
