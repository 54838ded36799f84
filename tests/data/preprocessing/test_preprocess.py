"""Preprocessing: crop, resize, normalise, and rasterised outlines."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.draw import polygon2mask

from mammoseg.data.images.masks import rasterise
from mammoseg.data.preprocessing.box import Box
from mammoseg.data.preprocessing.breast import segment_breast
from mammoseg.data.preprocessing.preprocess import preprocess
from mammoseg.data.preprocessing.preprocessing_settings import PreprocessingSettings
from mammoseg.errors import UserError


def film(rng: np.random.Generator, height: int = 300, width: int = 220) -> tuple[np.ndarray, np.ndarray]:
    """A half-disc of noisy tissue at the left edge and a label at the upper right: pixels and breast mask."""
    y, x = np.mgrid[:height, :width]
    breast = ((y - height / 2) / (0.42 * height)) ** 2 + (x / (0.6 * width)) ** 2 < 1
    pixels = np.where(
        breast, 1500 + 200 * rng.standard_normal(breast.shape), 40 + 5 * rng.standard_normal(breast.shape)
    )
    pixels[12:30, width - 60 : width - 20] = 4000
    return np.clip(pixels, 0, 4095).astype(np.uint16), breast


def square(shape: tuple[int, int], top: int, left: int, side: int) -> np.ndarray:
    mask = np.zeros(shape, np.uint8)
    mask[top : top + side, left : left + side] = 1
    return mask


def test_breast_segmentation_excludes_the_label() -> None:
    pixels, breast = film(np.random.default_rng(0))
    segmented = segment_breast(pixels)
    overlap = 2 * (segmented & breast).sum() / (segmented.sum() + breast.sum())
    assert overlap > 0.97
    assert not segmented[12:30, -60:-20].any()


def test_the_label_is_cropped() -> None:
    pixels, _ = film(np.random.default_rng(0))
    mask = square(pixels.shape, 140, 40, 20)
    preprocessed = preprocess(pixels, mask, PreprocessingSettings(size=64))
    assert preprocessed.box.right < 220 - 60
    assert not preprocessed.crop_skipped
    uncropped = preprocess(pixels, mask, PreprocessingSettings(size=64, crop="none"))
    assert uncropped.image[3:6, 50:58].max() == pytest.approx(1), (
        "without the crop, the label is the brightest structure"
    )


def test_crop_film_removes_the_label_and_keeps_the_whole_film() -> None:
    pixels, breast = film(np.random.default_rng(0))
    mask = square(pixels.shape, 120, 40, 60)
    preprocessed = preprocess(pixels, mask, PreprocessingSettings(size=64, crop="film"))
    assert preprocessed.box == Box(0, pixels.shape[0], 0, pixels.shape[1])
    assert not preprocessed.crop_skipped
    assert preprocessed.image[3:6, 50:58].max() == 0
    assert preprocessed.breast.mean() == pytest.approx(breast.mean(), abs=0.02)
    assert preprocessed.mask.mean() == pytest.approx(mask.mean(), rel=0.1)
    cropped = preprocess(pixels, mask, PreprocessingSettings(size=64))
    assert preprocessed.mask.sum() < cropped.mask.sum()


@pytest.mark.parametrize(("earlier", "crop"), [(True, "breast"), (False, "none")])
def test_crop_of_version_0_2_is_the_same_setting(earlier: bool, crop: str) -> None:
    assert PreprocessingSettings(crop=earlier) == PreprocessingSettings(crop=crop)
    assert PreprocessingSettings(crop=earlier).digest == PreprocessingSettings(crop=crop).digest


@settings(max_examples=40)
@given(
    st.integers(0, 999), st.integers(0, 290), st.integers(0, 210), st.integers(1, 60), st.sampled_from([16, 48, 128])
)
def test_preprocessing_keeps_every_mass(seed: int, top: int, left: int, side: int, size: int) -> None:
    pixels, _ = film(np.random.default_rng(seed))
    mask = square(pixels.shape, top, left, side)
    preprocessed = preprocess(pixels, mask, PreprocessingSettings(size=size))
    assert preprocessed.box.crop(mask).sum() == mask.sum(), "the box contains every pixel of the mass"
    assert preprocessed.mask.sum() >= 1
    expected = mask.sum() / (
        (preprocessed.box.bottom - preprocessed.box.top) * (preprocessed.box.right - preprocessed.box.left)
    )
    assert preprocessed.mask.mean() == pytest.approx(
        expected, rel=0.35, abs=3 / size**2 + 2.2 * np.sqrt(expected) / size
    )


def test_separate_masses_stay_separate() -> None:
    pixels, _ = film(np.random.default_rng(0))
    mask = square(pixels.shape, 100, 30, 3) | square(pixels.shape, 180, 60, 40)
    small = preprocess(pixels, mask, PreprocessingSettings(size=32)).mask
    assert ndimage.label(small)[1] == 2


def test_the_crop_is_skipped_if_it_would_cut_a_mass() -> None:
    pixels, _ = film(np.random.default_rng(0))
    preprocessed = preprocess(pixels, square(pixels.shape, 250, 200, 10), PreprocessingSettings(size=64))
    assert preprocessed.crop_skipped
    assert (preprocessed.box.bottom, preprocessed.box.right) == pixels.shape


def test_a_mirrored_film_gives_a_mirrored_image() -> None:
    pixels, _ = film(np.random.default_rng(0))
    mask = square(pixels.shape, 140, 40, 20)
    reference, mirrored = (
        preprocess(pixels, mask, PreprocessingSettings(size=64)),
        preprocess(pixels[:, ::-1], mask[:, ::-1], PreprocessingSettings(size=64)),
    )
    assert np.abs(reference.image - mirrored.image[:, ::-1]).mean() < 0.02


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.float32, np.float64])
def test_the_result_is_invariant_to_brightness_and_dtype(dtype: type) -> None:
    pixels, _ = film(np.random.default_rng(0))
    mask = square(pixels.shape, 140, 40, 20)
    reference, other = (
        preprocess(pixels, mask, PreprocessingSettings(size=64)),
        preprocess((pixels * 3 + 500).astype(dtype), mask, PreprocessingSettings(size=64)),
    )
    np.testing.assert_allclose(reference.image, other.image, atol=1e-4)


def test_pad_keeps_the_aspect_ratio_and_stretch_fills_the_square() -> None:
    pixels = np.full((100, 40), 9.0)
    mask = rasterise(
        [np.array([[20 + 12 * np.cos(a), 50 + 12 * np.sin(a)] for a in np.linspace(0, 6.28, 60)])], 100, 40
    )
    for aspect, ratio in (("pad", 1.0), ("stretch", 2.5)):
        small = preprocess(pixels, mask, PreprocessingSettings(size=208, crop="none", aspect=aspect)).mask
        rows, columns = np.flatnonzero(small.any(1)), np.flatnonzero(small.any(0))
        assert len(columns) / len(rows) == pytest.approx(ratio, rel=0.05), aspect


def test_normalisations_equal_their_formulas() -> None:
    values = np.arange(256 * 256, dtype=np.float32).reshape(256, 256)
    mask = square(values.shape, 5, 5, 9)
    minmax = preprocess(values, mask, PreprocessingSettings(size=256, crop="none")).image
    np.testing.assert_allclose(minmax, values / values.max(), atol=1e-6)
    zscore = preprocess(values, mask, PreprocessingSettings(size=256, crop="none", normalise="zscore")).image
    assert zscore.mean() == pytest.approx(0, abs=1e-3)
    assert zscore.std() == pytest.approx(1, abs=1e-3)
    percentile = preprocess(values, mask, PreprocessingSettings(size=256, crop="none", normalise="percentile")).image
    low, high = np.percentile(values, [0.5, 99.5])
    np.testing.assert_allclose(percentile, np.clip((values - low) / (high - low), 0, 1), atol=1e-5)
    with pytest.raises(UserError, match=r"dataset\.normalise must be .* got log"):
        preprocess(values, mask, PreprocessingSettings(size=64, normalise="log"))


@pytest.mark.parametrize("normalise", ["minmax", "percentile", "zscore"])
def test_the_image_does_not_depend_on_the_mask(normalise: str) -> None:
    pixels, _ = film(np.random.default_rng(0))
    breast = preprocess(pixels, np.zeros(pixels.shape, np.uint8), PreprocessingSettings(size=96, normalise=normalise))
    box = breast.box
    mask = square(pixels.shape, box.top, box.right - 20, 20)  # in the box, at a corner outside the breast
    with_mask = preprocess(pixels, mask, PreprocessingSettings(size=96, normalise=normalise))
    assert with_mask.mass_in_breast < 0.5
    np.testing.assert_array_equal(with_mask.image, breast.image)


def test_padding_is_not_part_of_the_statistics() -> None:
    pixels = np.random.default_rng(0).normal(1000, 100, (200, 50)).astype(np.float32)
    mask = np.zeros(pixels.shape, np.uint8)
    padded = preprocess(pixels, mask, PreprocessingSettings(size=64, crop="none", aspect="pad", normalise="zscore"))
    content = np.zeros((64, 64), bool)
    content[:, 24:40] = True  # 16 of 64 columns
    np.testing.assert_array_equal(padded.breast, content)
    assert padded.image[content].mean() == pytest.approx(0, abs=1e-4)
    assert padded.image[content].std() == pytest.approx(1, abs=1e-4)
    assert (padded.image[~content] == padded.image[content].min()).all()


@pytest.mark.parametrize("scale", [1e-12, 1e12])
def test_the_result_is_invariant_to_the_unit_of_the_grey_values(scale: float) -> None:
    pixels, _ = film(np.random.default_rng(0))
    mask = square(pixels.shape, 140, 40, 20)
    reference, scaled = (
        preprocess(image, mask, PreprocessingSettings(size=64))
        for image in (pixels.astype(np.float32), (pixels * scale).astype(np.float32))
    )
    np.testing.assert_allclose(scaled.image, reference.image, atol=1e-4)


@pytest.mark.parametrize("shape", [(1, 1), (3, 200), (64, 64)])
@pytest.mark.parametrize("value", [0, 7])
def test_constant_images_give_finite_values(shape: tuple[int, int], value: int) -> None:
    preprocessed = preprocess(
        np.full(shape, value, np.uint8), np.zeros(shape, np.uint8), PreprocessingSettings(size=32)
    )
    assert np.isfinite(preprocessed.image).all()
    assert preprocessed.mask.sum() == 0


def test_rasterise_fills_the_outline() -> None:
    angle = np.linspace(0, 2 * np.pi, 80, endpoint=False)
    outline = np.column_stack([60 + 31.3 * np.cos(angle), 45 + 20.7 * np.sin(angle)])
    mask = rasterise([outline], 100, 130)
    reference = polygon2mask((100, 130), outline[:, ::-1])  # type: ignore[no-untyped-call]
    assert 2 * (mask & reference).sum() / (mask.sum() + reference.sum()) > 0.97
    both = rasterise([outline, outline + np.array([30, 20])], 100, 130)
    assert mask.sum() < both.sum() < 2 * mask.sum(), "overlapping masses are merged"


@pytest.mark.parametrize("turns", [1.0, 1.3, 2.0])
def test_rasterise_fills_outlines_that_overlap_themselves(turns: float) -> None:
    angle = np.linspace(0, 2 * np.pi * turns, 200)
    outline = np.column_stack([60 + 30 * np.cos(angle), 45 + 30 * np.sin(angle)])
    assert rasterise([outline], 100, 130).sum() == pytest.approx(np.pi * 30**2, rel=0.05)


def test_rasterise_clips_outlines_and_rejects_those_outside() -> None:
    half_out = np.array([[-10.0, 10], [10, 10], [10, 30], [-10, 30]])
    mask = rasterise([half_out], 50, 50)
    assert mask.sum() == pytest.approx(11 * 21, abs=2)
    with pytest.raises(ValueError, match="outline 2 lies outside the image of 50x50"):
        rasterise([half_out, half_out - [100, 0]], 50, 50)
    with pytest.raises(ValueError, match="outside"):
        rasterise([half_out + 1e12], 50, 50)


def test_real_films_have_one_connected_breast() -> None:
    folder = Path(__file__).resolve().parents[4] / "shared" / "data" / "cbis_ddsm_films"
    films = sorted(folder.glob("*.jpg"))
    if not films:
        pytest.skip("the real CBIS-DDSM films are not available")
    uncropped = []
    for path in films:
        pixels = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        assert pixels is not None
        segmented = segment_breast(pixels)
        uncropped += [path.name] if segmented.all() else []
        assert segmented.all() or 0.08 < segmented.mean() < 0.9, path.name
        assert ndimage.label(segmented)[1] == 1, path.name
    # A closed white frame around the film counts as breast, with everything inside; the film is then uncropped.
    assert len(uncropped) <= 2, uncropped
