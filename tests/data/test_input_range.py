"""Range of the training images, and warnings about images outside of it."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from itertools import product
from typing import Any

import cv2
import numpy as np
import pytest
import skimage.data
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mammoseg.data.images.metadata import ImageMetadata, PixelSpacing
from mammoseg.data.input_range import INTERVALS, TOLERANCE, ImageMeasures, InputRange
from mammoseg.data.preprocessing.preprocess import preprocess
from mammoseg.data.preprocessing.preprocessing_settings import PreprocessingSettings
from mammoseg.data.store import Case
from mammoseg.density import ACRDensity
from mammoseg.errors import UserError

PLACEHOLDERS: dict[str, Any] = {"int": 0, "float": 0.0, "str": "", "ACRDensity": ACRDensity(1)}
SETTINGS = PreprocessingSettings(size=256)
Pixels = NDArray[np.uint8]


def case(**values: Any) -> Case:
    placeholders = {field.name: PLACEHOLDERS.get(str(field.type)) for field in fields(Case)}
    return Case(**{**placeholders, "height": 300, "width": 200, "bottom": 250, "right": 100, **values})


def spacing(mm: float) -> PixelSpacing:
    return PixelSpacing(mm, mm, "PixelSpacing", (mm, mm))


def breast(height: int, width: int, depth: float = 0.6, length: float = 0.8) -> Pixels:
    """Half an ellipse with a bright centre at the left edge of a dark image; `depth` and `length` are fractions."""
    y, x = np.mgrid[:height, :width]
    radius = ((y - height / 2) / (length * height / 2)) ** 2 + (x / (depth * width)) ** 2
    return np.asarray(np.where(radius < 1, 200 - 80 * radius, 5), np.uint8)


def pad_to_square(pixels: Pixels) -> Pixels:
    height, width = pixels.shape
    return np.pad(pixels, ((0, 0), (0, height - width)), constant_values=5)


def resize(pixels: Pixels, height: int, width: int) -> Pixels:
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def measure(pixels: Pixels, settings: PreprocessingSettings = SETTINGS) -> ImageMeasures:
    preprocessed = preprocess(pixels, np.zeros(pixels.shape, np.uint8), settings)
    return ImageMeasures.of_preprocessed(preprocessed, pixels.shape, settings, ImageMetadata())


def case_of(pixels: Pixels, settings: PreprocessingSettings = SETTINGS) -> Case:
    """Row of a prepared store for an image, as `cache.py` writes it."""
    preprocessed = preprocess(pixels, np.zeros(pixels.shape, np.uint8), settings)
    sides = {name: getattr(preprocessed.box, name) for name in ("top", "bottom", "left", "right")}
    fraction = preprocessed.breast_fraction
    return case(height=pixels.shape[0], width=pixels.shape[1], breast_fraction=fraction, **sides)


def test_the_range_consists_of_percentiles() -> None:
    rng = np.random.default_rng(0)
    fractions, bottoms = rng.uniform(0.05, 0.2, 500), rng.integers(150, 300, 500)
    cases = [
        case(breast_fraction=fraction, bottom=int(bottom)) for fraction, bottom in zip(fractions, bottoms, strict=True)
    ]
    cases.append(case(breast_fraction=0.9, bottom=300, right=200, crop_skipped=1))  # its box is not that of the breast
    measured = InputRange.of_cases(cases, SETTINGS, ["film"])
    quantiles = [0.005, 0.995]
    assert measured.box_side == pytest.approx(np.quantile([*bottoms, 300], quantiles), abs=1e-4)
    in_square = np.array([*fractions, 0.9]) * (300 * 200) / 300**2
    assert measured.square_fraction == pytest.approx(np.quantile(in_square, quantiles), abs=1e-4)
    in_box = fractions * (300 * 200) / (bottoms * 100)
    assert measured.box_fraction == pytest.approx(np.quantile(in_box, quantiles), abs=1e-4)
    assert measured.spacing_mm is None
    assert measured.acquisitions == ("film",)
    known = InputRange.of_cases([*cases, case(spacing_mm=0.07, acquisition="digital")], SETTINGS)
    assert (known.spacing_mm, known.acquisitions) == ((0.07, 0.07), ("digital",))


@pytest.mark.parametrize(
    ("settings", "known"),
    [
        (PreprocessingSettings(crop="breast"), (True, True)),
        (PreprocessingSettings(crop="film"), (True, False)),
        (PreprocessingSettings(crop="none", flip="left"), (True, False)),
        (PreprocessingSettings(crop="none"), (False, False)),
    ],
)
def test_fractions_are_unknown_without_a_segmentation_or_a_crop(
    settings: PreprocessingSettings, known: tuple[bool, bool]
) -> None:
    pixels = breast(300, 200)
    measures = measure(pixels, settings)
    assert (measures.square_fraction is not None, measures.box_fraction is not None) == known
    assert (measures.background is not None) is known[0]
    assert ImageMeasures.of_case(case_of(pixels, settings), settings) == replace(measures, background=None)


TRAINED = InputRange((400, 900), (0.2, 0.5), (0.5, 0.8), (0.05, 0.07), ("film",))
INSIDE = ImageMeasures(500, 0.3, 0.6, 0.06)


@pytest.mark.parametrize(
    ("measures", "acquisition", "expected"),
    [
        (INSIDE, "", ""),
        (INSIDE, "film", ""),
        (ImageMeasures(9000, 0.9, 0.6, None), "", ""),
        (ImageMeasures(128, 0.3, 0.6, None), "", ""),
        (
            ImageMeasures(127, 0.3, 0.6, None),
            "",
            "longer side of the crop box 127 pixels, expected at least 128 pixels",
        ),
        (
            ImageMeasures(500, 0.1, 0.6, None),
            "",
            "breast fraction of the padded image 0.10, in training at least 0.20",
        ),
        (ImageMeasures(500, 0.3, 0.4, None), "", "breast fraction of the crop box 0.40, in training 0.50 to 0.80"),
        (ImageMeasures(500, 0.3, 0.9, None), "", "breast fraction of the crop box 0.90, in training 0.50 to 0.80"),
        (ImageMeasures(500, 0.3, 0.6, 0.2), "", "pixel spacing 0.200 mm, in training 0.050 to 0.070"),
        (
            ImageMeasures(500, 0.3, 0.6, None, background=0.3),
            "",
            "background brightness 0.30 of the grey range, expected at most 0.10",
        ),
        (INSIDE, "digital", "an image of a digital detector, in training a digitised film"),
        (
            ImageMeasures(100, 0.1, 0.6, None),
            "",
            "longer side of the crop box 100 pixels, expected at least 128 pixels; breast fraction of the padded image "
            "0.10, in training at least 0.20",
        ),
    ],
)
def test_images_outside_the_range_have_a_warning(measures: ImageMeasures, acquisition: str, expected: str) -> None:
    assert TRAINED.warning(measures, ImageMetadata(acquisition=acquisition), 256) == expected


def test_unknown_values_have_no_warning() -> None:
    assert (
        InputRange((400, 900)).warning(ImageMeasures(500, 0.01, 0.1, 5), ImageMetadata("", "", None, "film"), 256) == ""
    )
    assert TRAINED.warning(ImageMeasures(500, None, None, None), ImageMetadata(), 256) == ""


def test_the_smallest_crop_box_is_half_of_the_input_or_that_of_the_training_images() -> None:
    assert InputRange((3000, 4000)).min_box_side(256) == 128
    assert InputRange((90, 200)).min_box_side(256) == 90


PREPARED = [
    resize(pad_to_square(breast(700, 450, depth, length)), 256, 256)
    for depth, length in product((0.4, 0.6, 0.9), (0.6, 0.8, 0.95))
]
FROM_PREPARED = InputRange.of_cases([case_of(pixels) for pixels in PREPARED], SETTINGS, ["film"])


def warning_of(pixels: Pixels) -> str:
    return FROM_PREPARED.warning(measure(pixels), ImageMetadata(), 256)


@pytest.mark.parametrize(
    "pixels",
    [
        breast(700, 450),
        breast(2100, 1350),  # higher resolution
        pad_to_square(breast(2100, 1350)),
        resize(breast(700, 450), 800, 800),  # stretched to a square
        breast(700, 300, depth=0.9),  # cut at the breast
        breast(256, 160),
    ],
    ids=["film", "high resolution", "padded", "stretched", "cut", "low resolution"],
)
def test_films_like_the_prepared_training_images_have_no_warning(pixels: Pixels) -> None:
    assert warning_of(pixels) == ""


def photograph() -> Pixels:
    noise = np.random.default_rng(0).normal(size=(600, 800))
    smooth = cv2.GaussianBlur(noise, (0, 0), 40) + 0.05 * cv2.GaussianBlur(noise, (0, 0), 2)
    return np.asarray(cv2.normalize(smooth, np.zeros_like(smooth), 0, 255, cv2.NORM_MINMAX), np.uint8)


def nearly_full() -> Pixels:
    pixels = np.asarray(np.random.default_rng(0).integers(120, 200, (700, 450)), np.uint8)
    pixels[:, -9:] = 0
    return pixels


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        (photograph(), "breast fraction of the"),
        (resize(breast(700, 450), 64, 64), "longer side of the crop box"),
        (breast(2000, 2000, depth=0.13, length=0.2), "breast fraction of the padded image 0.02"),
        (nearly_full(), "breast fraction of the crop box 0.98"),
    ],
    ids=["photograph", "thumbnail", "2 percent", "98 percent"],
)
def test_unsuitable_images_have_a_warning(pixels: Pixels, expected: str) -> None:
    assert expected in warning_of(pixels)


@pytest.mark.parametrize("name", ["astronaut", "camera", "coffee", "coins", "moon", "page"])
def test_photographs_have_a_warning(name: str) -> None:
    pixels = getattr(skimage.data, name)()
    assert warning_of(pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)) != ""


@given(
    st.lists(st.tuples(st.floats(0.01, 0.99), st.integers(50, 300), st.integers(20, 200)), min_size=1, max_size=30),
    st.sampled_from([16, 256, 1024]),
)
def test_an_image_has_a_warning_if_and_only_if_it_is_outside_the_limits(
    images: list[tuple[float, int, int]], size: int
) -> None:
    cases = [case(breast_fraction=fraction, bottom=bottom, right=right) for fraction, bottom, right in images]
    measured = InputRange.of_cases(cases, SETTINGS)
    assert InputRange.from_plain(measured.to_plain(), "config.yaml") == measured
    assert measured.square_fraction is not None
    assert measured.box_fraction is not None
    for fraction, bottom, right in images:
        area = fraction * 300 * 200
        inside = (
            max(bottom, right) >= min(size / 2, measured.box_side[0])
            and area / 300**2 >= measured.square_fraction[0] / TOLERANCE
            and measured.box_fraction[0] / TOLERANCE <= area / (bottom * right) <= measured.box_fraction[1] * TOLERANCE
        )
        measures = ImageMeasures.of_case(case(breast_fraction=fraction, bottom=bottom, right=right), SETTINGS)
        assert (measured.warning(measures, ImageMetadata(), size) == "") is inside


@given(st.integers(100, 4000), st.integers(100, 4000), st.floats(0.05, 1), st.integers(1, 8))
def test_a_higher_resolution_never_has_a_warning(height: int, width: int, fraction: float, factor: int) -> None:
    own = case(height=height, width=width, bottom=height, right=width, breast_fraction=fraction)
    larger = case(
        **{name: factor * getattr(own, name) for name in ("height", "width", "bottom", "right")},
        breast_fraction=fraction,
    )
    trained = InputRange.of_cases([own], SETTINGS)
    assert trained.warning(ImageMeasures.of_case(larger, SETTINGS), ImageMetadata(), 256) == ""


def test_the_union_contains_all_ranges() -> None:
    other = InputRange((300, 800), (0.3, 0.6), None, None, ("digital",))
    union = InputRange.union([TRAINED, other])
    assert union == InputRange((300, 900), (0.2, 0.6), (0.5, 0.8), (0.05, 0.07), ("digital", "film"))
    assert InputRange.union([]) is None


def test_the_description_states_quantities_and_units() -> None:
    assert TRAINED.describe(256) == (
        "Training images, percentiles 0.5 to 99.5: longer side of the crop box 400 to 900 pixels, breast area 0.20 to "
        "0.50 of the image padded to a square, breast area 0.50 to 0.80 of the crop box, pixel spacing 0.050 to 0.070 "
        "mm; acquisition: digitised films. mammoseg.predict warns about images that are unlike them. Images of a "
        "higher resolution have no warning; the longer side of the crop box should be at least 128 pixels."
    )
    assert "acquisition: unknown" in InputRange((400, 900)).describe(256)


INVALID_INTERVALS: list[Any] = [[2, 1], [1], "ab", [0, math.inf], [math.nan, 1], {}]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *product(INTERVALS, INVALID_INTERVALS),
        ("box_side", None),
        ("acquisitions", ["x-ray"]),
        ("acquisitions", [[]]),
        ("acquisitions", 3),
        ("acquisitions", ["film", "film"]),
        ("box_side", "12"),
        ("box_side", [1, 10**400]),
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
