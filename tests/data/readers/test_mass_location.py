"""Boxes and circles: pixels, text in tables, and images of which they are the only annotation."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mammoseg.data.preprocessing.cache import mass_mask
from mammoseg.data.preprocessing.fingerprints import cache_key
from mammoseg.data.readers.consistency import contradictions
from mammoseg.data.readers.mammogram import Mammogram
from mammoseg.data.readers.mass_location import (
    MassBox,
    MassCircle,
    MassLocation,
    format_locations,
    location_masks,
    parse_locations,
)
from mammoseg.errors import UserError

COORDINATE = st.integers(-5, 400).map(lambda n: n / 16)
SIZE = st.integers(1, 300).map(lambda n: n / 16)
BOXES = st.builds(lambda x, y, w, h: MassBox(x, y, x + w, y + h), COORDINATE, COORDINATE, SIZE, SIZE)
LOCATIONS = st.one_of(BOXES, st.builds(MassCircle, COORDINATE, COORDINATE, SIZE))
IMAGE = Mammogram(case="a", image_file=Path("a.png"), patient="p", locations=(MassBox(1, 2, 3, 4),))


def is_inside(location: MassLocation, x: int, y: int) -> bool:
    if isinstance(location, MassBox):
        return location.left <= x <= location.right and location.top <= y <= location.bottom
    return math.dist((x, y), (location.x, location.y)) <= location.radius


@given(location=LOCATIONS, height=st.integers(1, 20), width=st.integers(1, 20))
def test_pixels_are_those_whose_centre_is_inside(location: MassLocation, height: int, width: int) -> None:
    expected = [[is_inside(location, x, y) for x in range(width)] for y in range(height)]
    np.testing.assert_array_equal(location.rasterise(height, width), expected)


@given(locations=st.lists(LOCATIONS, max_size=4).map(tuple))
def test_text_of_locations_can_be_parsed(locations: tuple[MassLocation, ...]) -> None:
    assert parse_locations(format_locations(locations)) == locations


def test_locations_outside_the_image_are_an_error() -> None:
    assert [mask.sum() for mask in location_masks((MassBox(-5, -5, 0, 0), MassBox(0, 0, 1, 1)), 4, 4)] == [1, 4]
    with pytest.raises(
        ValueError, match="box or circle 2 must contain a pixel of the image of 4x3 pixels, got circle 9 9 2"
    ):
        location_masks((MassBox(0, 0, 1, 1), MassCircle(9, 9, 2)), 3, 4)
    with pytest.raises(ValueError, match="box or circle 1 must contain a pixel"):
        mass_mask(IMAGE, (2, 2))


def test_an_image_has_either_outlines_or_locations() -> None:
    with pytest.raises(UserError, match="a: locations must be empty for an image with outlines or masks, got 1"):
        replace(IMAGE, outlines=(np.zeros((3, 2)),))
    with pytest.raises(UserError, match="correct the reader"):
        replace(IMAGE, mask_candidates=((Path("m.png"),),))
    assert mass_mask(IMAGE, (8, 8)).mask.sum() == 0


def test_a_changed_location_changes_the_cache_key() -> None:
    keys = {
        cache_key(image, Path(), {})
        for image in (IMAGE, replace(IMAGE, locations=(MassBox(1, 2, 3, 5),)), replace(IMAGE, locations=()))
    }
    assert len(keys) == 3


def test_copies_of_an_image_with_other_locations_contradict_each_other() -> None:
    assert contradictions([IMAGE, replace(IMAGE, case="b")], {}) == ""
    assert contradictions([IMAGE, replace(IMAGE, locations=(MassCircle(1, 2, 3),))], {}) == "masks"
