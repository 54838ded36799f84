"""Breast segmentation on synthetic films with known ground truth and on real ones."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest

from mammoseg.data.preprocessing.box import Box, breast_bounding_box
from mammoseg.data.preprocessing.breast import downsample_uint8, find_frame, segment_breast
from mammoseg.data.preprocessing.padding import find_padding
from mammoseg.data.preprocessing.preprocess import preprocess
from mammoseg.data.preprocessing.preprocessing_settings import PreprocessingSettings
from mammoseg.phantom.anatomy import draw_phantom
from mammoseg.phantom.film import Film, digitise_film

FILMS = Path(__file__).resolve().parents[4] / "shared" / "data" / "cbis_ddsm_films"
PREPARED = FILMS.with_name("cbis_ddsm_256")


def film(seed: int) -> Film:
    rng = np.random.default_rng(seed)
    view, side = ("CC", "MLO")[seed % 2], "LR"[seed // 2 % 2]
    phantom = draw_phantom(rng, density=1 + seed % 4, view=view, side=side, height=624, width=480, masses=1)
    return digitise_film(rng, phantom, side)


@pytest.mark.parametrize("seed", range(12))
def test_labels_and_frames_are_excluded(seed: int) -> None:
    scanned = film(seed)
    segmented = segment_breast(scanned.pixels)
    overlap = 2 * (segmented & scanned.breast).sum() / (segmented.sum() + scanned.breast.sum())
    assert overlap > 0.9, "the margin of a fatty breast is hardly brighter than unexposed film"
    # Outside the breast, only labels and frames are this bright.
    rim = cv2.dilate(scanned.breast.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    bright = (scanned.pixels > 0.7 * 65535) & ~rim
    assert bright.sum() > 500
    assert (segmented & bright).sum() < 0.02 * bright.sum()


@pytest.mark.parametrize("side", range(4))
def test_a_frame_next_to_the_breast_is_distinguished_from_tissue(side: int) -> None:
    y, x = np.mgrid[:400, :300]
    tissue = np.where((y - 200) ** 2 + x**2 < 180**2, 120 + 90 * np.exp(-x / 40), 4).astype(np.uint8)
    assert not find_frame(downsample_uint8(np.rot90(tissue, side))).any(), (
        "tissue at the chest wall fades, a frame has a sharp edge"
    )
    framed = tissue.copy()
    framed[:, :7] = 250
    segmented = np.rot90(find_frame(downsample_uint8(np.rot90(framed, side))), -side)
    assert segmented[20:-20, :6].all()
    assert not segmented[:, 12:].any()


def test_a_wide_bright_band_is_not_a_frame() -> None:
    image = np.full((400, 300), 5, np.uint8)
    image[:, :60] = 250
    assert not find_frame(image).any()


def boxes() -> dict[str, list[Box]]:
    if not FILMS.is_dir():
        pytest.skip("the real films are not available")
    boxes_of_file: dict[str, list[Box]] = {}
    with (FILMS / "boxes.csv").open(newline="") as lines:
        for row in csv.DictReader(lines):
            x, y, width, height = (float(row[name]) for name in ("x", "y", "width", "height"))
            box = Box(int(y), int(np.ceil(y + height)), int(x), int(np.ceil(x + width)))
            boxes_of_file.setdefault(row["file"], []).append(box)
    return boxes_of_file


def test_real_films_are_cropped_without_cutting_a_mass() -> None:
    n_uncropped, fractions = 0, []
    for file, masses in boxes().items():
        pixels = np.asarray(cv2.imread(str(FILMS / file), cv2.IMREAD_GRAYSCALE))
        breast = segment_breast(pixels)
        box = breast_bounding_box(breast, *pixels.shape)
        assert all(box.contains(mass) for mass in masses), file
        n_uncropped += box == Box(0, pixels.shape[0], 0, pixels.shape[1])
        fractions.append(breast.mean())
        mask = np.zeros(pixels.shape, np.uint8)
        for mass in masses:
            mass.crop(mask)[:] = 1
        preprocessed = preprocess(pixels, mask, PreprocessingSettings(size=128))
        assert not preprocessed.crop_skipped, file
        assert preprocessed.mask.any()
    assert n_uncropped == 0, "each of the 120 films has background to crop"
    assert 0.35 < np.mean(fractions) < 0.5


def test_segmentation_of_cropped_real_images_keeps_the_breast() -> None:
    """The images are already cropped, so only remains of frames may be removed."""
    files = sorted((PREPARED / "images").glob("*.png"))[::16]
    if not files:
        pytest.skip("the real CBIS-DDSM images are not available")
    retained_fractions = []
    for file in files:
        pixels = np.asarray(cv2.imread(str(file), cv2.IMREAD_GRAYSCALE))
        reference = pixels > 12
        retained_fractions.append((segment_breast(pixels) & reference).sum() / reference.sum())
    assert np.mean(retained_fractions) > 0.98
    assert np.min(retained_fractions) > 0.85


def film_of_defect() -> tuple[np.ndarray, np.ndarray]:
    """A film with a base of 10 +- 2 and a breast of 80 to 180, and the true breast."""
    y, x = np.mgrid[:1024, :512]
    distance = ((y - 512) / 400) ** 2 + (x / 330) ** 2
    base = np.random.default_rng(0).normal(10, 2, distance.shape)
    return np.where(distance < 1, 180 - 100 * distance, base).clip(0, 255).astype(np.uint8), distance < 1


@pytest.mark.parametrize("value", [0, 10, 60, 255])
@pytest.mark.parametrize(
    "margins", [((0, 0), (0, 512)), ((0, 0), (512, 0)), ((0, 0), (256, 256)), ((300, 80), (40, 200))]
)
@pytest.mark.parametrize("angle", [0, 3])
def test_padding_is_not_the_background(value: int, margins: tuple[tuple[int, int], ...], angle: float) -> None:
    pixels, truth = (np.pad(a, margins, constant_values=v) for a, v in zip(film_of_defect(), (value, 0), strict=True))
    height, width = pixels.shape
    rotation = cv2.getRotationMatrix2D((width / 2, height / 2), angle, 1)
    pixels = cv2.warpAffine(pixels, rotation, (width, height), borderValue=value)
    truth = cv2.warpAffine(truth.astype(np.uint8), rotation, (width, height)) > 0
    breast = segment_breast(pixels)
    assert 0.97 < breast.sum() / truth.sum() < 1.05
    assert (breast & truth).sum() > 0.97 * truth.sum()


@pytest.mark.parametrize("seed", range(4))
def test_a_digital_mammogram_with_a_constant_background_is_not_padded(seed: int) -> None:
    view, side = ("CC", "MLO")[seed % 2], "LR"[seed // 2]
    phantom = draw_phantom(
        np.random.default_rng(seed), density=1 + seed, view=view, side=side, height=624, width=480, masses=1
    )
    assert find_padding(downsample_uint8(phantom.pixels)) is None


def test_a_rectangular_breast_without_background_is_not_padded() -> None:
    """A spot compression view fills its collimator; dark fat is not background."""
    tissue = np.full((300, 200), 120, np.uint8)
    tissue[100:200, 50:150] = 200
    assert find_padding(np.pad(tissue, 100)) is None
