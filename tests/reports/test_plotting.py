"""Contour lines on images."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mammoseg.reports.plotting import GROUND_TRUTH, PREDICTION, draw_contour


def image_axis() -> Axes:
    axis = Figure().subplots()
    axis.imshow(np.zeros((6, 8)))
    return axis


def contour_points(values: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Points (N, 2) of each contour line at level 0.5."""
    axis = image_axis()
    draw_contour(axis, values, 0.5, GROUND_TRUTH)
    (contour,) = axis.collections
    return [np.asarray(line) for line in contour.get_paths()[0].to_polygons(closed_only=False)]


def test_a_mask_of_the_whole_image_has_a_contour_along_its_border() -> None:
    (line,) = contour_points(np.ones((6, 8)))
    np.testing.assert_allclose([*line.min(axis=0), *line.max(axis=0)], [-0.5, -0.5, 7.5, 5.5])


def test_the_contour_of_a_mask_is_halfway_to_the_neighbouring_pixels() -> None:
    mask = np.zeros((6, 8))
    mask[2:4, 3:6] = 1
    (line,) = contour_points(mask)
    np.testing.assert_allclose([*line.min(axis=0), *line.max(axis=0)], [2.5, 1.5, 5.5, 3.5])


def test_the_contour_of_a_mask_at_the_border_is_closed() -> None:
    mask = np.zeros((6, 8))
    mask[0:2, 0:3] = 1
    (line,) = contour_points(mask)
    np.testing.assert_array_equal(line[0], line[-1])


@pytest.mark.filterwarnings("error")
def test_an_empty_mask_has_no_contour_and_the_limits_of_the_image_are_kept() -> None:
    axis = image_axis()
    draw_contour(axis, np.zeros((6, 8)), 0.5, GROUND_TRUTH)
    assert not axis.collections
    draw_contour(axis, np.ones((6, 8)), 0.5, GROUND_TRUTH)
    assert axis.axis() == (-0.5, 7.5, 5.5, -0.5)


def test_the_contour_of_the_ground_truth_is_visible_on_both_sides_of_a_prediction_that_coincides_with_it() -> None:
    assert GROUND_TRUTH.width >= 2 * PREDICTION.width
