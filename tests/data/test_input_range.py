"""Range of the training images, and warnings about images outside of it."""

from __future__ import annotations

import math
from dataclasses import fields
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mammoseg.data.images.metadata import ImageMetadata, PixelSpacing
from mammoseg.data.input_range import INTERVALS, TOLERANCE, InputRange
from mammoseg.data.store import Case
from mammoseg.density import ACRDensity
from mammoseg.errors import UserError

PLACEHOLDERS: dict[str, Any] = {"int": 0, "float": 0.0, "str": "", "ACRDensity": ACRDensity(1)}


def case(**values: Any) -> Case:
    placeholders = {field.name: PLACEHOLDERS.get(str(field.type)) for field in fields(Case)}
    return Case(**{**placeholders, **values})


def spacing(mm: float) -> PixelSpacing:
    return PixelSpacing(mm, mm, "PixelSpacing", (mm, mm))


def test_the_range_consists_of_percentiles() -> None:
    rng = np.random.default_rng(0)
    fractions, heights = rng.uniform(0.2, 0.6, 500), rng.integers(2000, 5000, 500)
    cases = [
        case(breast_fraction=fraction, height=int(height), width=1000)
        for fraction, height in zip(fractions, heights, strict=True)
    ]
    measured = InputRange.of_cases(cases, ["film"])
    assert measured.breast_fraction == pytest.approx(np.quantile(fractions, [0.005, 0.995]), abs=1e-4)
    assert measured.height == pytest.approx(np.quantile(heights, [0.005, 0.995]), abs=1e-4)
    assert measured.width == (1000, 1000)
    assert measured.spacing_mm is None
    assert measured.acquisitions == ("film",)
    known = InputRange.of_cases([*cases, case(spacing_mm=0.07, acquisition="digital")])
    assert (known.spacing_mm, known.acquisitions) == ((0.07, 0.07), ("digital",))


TRAINED = InputRange((0.2, 0.5), (3000, 4000), (2000, 3000), (0.05, 0.07), ("film",))


@pytest.mark.parametrize(
    ("shape", "fraction", "metadata", "expected"),
    [
        ((3500, 2500), 0.3, ImageMetadata(), ""),
        ((3500, 2500), 0.3, ImageMetadata(spacing=spacing(0.06), acquisition="film"), ""),
        ((3500, 2500), 0.1, ImageMetadata(), "breast fraction 0.10, in training 0.20 to 0.50"),
        ((3500, 2500), 0.6, ImageMetadata(), "breast fraction 0.60, in training 0.20 to 0.50"),
        ((256, 2500), 0.3, ImageMetadata(), "height 256 pixels, in training 3000 to 4000"),
        ((3500, 9000), 0.3, ImageMetadata(), "width 9000 pixels, in training 2000 to 3000"),
        (
            (3500, 2500),
            0.3,
            ImageMetadata(spacing=spacing(0.2)),
            "pixel spacing 0.200 mm, in training 0.050 to 0.070",
        ),
        (
            (3500, 2500),
            0.3,
            ImageMetadata(acquisition="digital"),
            "an image of a digital detector, in training a digitised film",
        ),
        (
            (256, 2500),
            0.1,
            ImageMetadata(),
            "breast fraction 0.10, in training 0.20 to 0.50; height 256 pixels, in training 3000 to 4000",
        ),
    ],
)
def test_images_outside_the_range_have_a_warning(
    shape: tuple[int, int], fraction: float, metadata: ImageMetadata, expected: str
) -> None:
    assert TRAINED.warning(shape, fraction, metadata) == expected


def test_unknown_values_have_no_warning() -> None:
    trained = InputRange((0.2, 0.5), (3000, 4000), (2000, 3000))
    metadata = ImageMetadata(spacing=spacing(5.0), acquisition="digital")
    assert trained.warning((3500, 2500), 0.3, metadata) == ""


@given(st.lists(st.tuples(st.floats(0.01, 1), st.integers(100, 9999)), min_size=1, max_size=30))
def test_an_image_has_a_warning_if_and_only_if_it_is_outside_the_extended_percentiles(
    images: list[tuple[float, int]],
) -> None:
    cases = [case(breast_fraction=fraction, height=height, width=height) for fraction, height in images]
    measured = InputRange.of_cases(cases)
    assert InputRange.from_plain(measured.to_plain(), "config.yaml") == measured
    for fraction, height in images:
        inside = all(
            low / TOLERANCE <= value <= high * TOLERANCE
            for value, (low, high) in ((fraction, measured.breast_fraction), (height, measured.height))
        )
        assert (measured.warning((height, height), fraction, ImageMetadata()) == "") is inside


def test_the_union_contains_all_ranges() -> None:
    other = InputRange((0.3, 0.6), (1000, 3500), (2500, 2600), None, ("digital",))
    union = InputRange.union([TRAINED, other])
    assert union == InputRange((0.2, 0.6), (1000, 4000), (2000, 3000), (0.05, 0.07), ("digital", "film"))
    assert InputRange.union([]) is None


INVALID_INTERVALS: list[Any] = [[2, 1], [1], "ab", [0, math.inf], [math.nan, 1], {}]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *product(INTERVALS, INVALID_INTERVALS),
        ("height", None),
        ("acquisitions", ["x-ray"]),
        ("acquisitions", [[]]),
        ("acquisitions", 3),
        ("acquisitions", ["film", "film"]),
        ("height", "12"),
        ("height", [1, 10**400]),
    ],
)
def test_invalid_ranges_of_a_model_are_rejected(name: str, value: Any) -> None:
    plain = {**TRAINED.to_plain(), name: value}
    with pytest.raises(UserError, match=r"config\.yaml: its input_range must contain"):
        InputRange.from_plain(plain, "config.yaml")
    incomplete: list[Any] = [[], 3, {key: item for key, item in plain.items() if key != name}]
    for damaged in incomplete:
        with pytest.raises(UserError, match="its input_range must contain"):
            InputRange.from_plain(damaged, "config.yaml")
