"""Frames, labels and tape go, tissue stays: on drawn films, whose truth is known, and on real ones."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest

from mammoseg.data.preprocessing.box import Box, breast_bounding_box
from mammoseg.data.preprocessing.breast import downsample_uint8, find_frame, segment_breast
from mammoseg.data.preprocessing.preprocess import preprocess
from mammoseg.data.preprocessing.preprocessing_settings import PreprocessingSettings
from mammoseg.phantom.anatomy import draw
from mammoseg.phantom.film import Film, scan

FILMS = Path(__file__).resolve().parents[4] / "shared" / "data" / "cbis_ddsm_films"
PREPARED = FILMS.with_name("cbis_ddsm_256")


def film(seed: int) -> Film:
    rng = np.random.default_rng(seed)
    view, side = ("CC", "MLO")[seed % 2], "LR"[seed // 2 % 2]
    phantom = draw(rng, density=1 + seed % 4, view=view, side=side, height=624, width=480, masses=1)
    return scan(rng, phantom, side)


@pytest.mark.parametrize("seed", range(12))
def test_what_is_not_breast_goes(seed: int) -> None:
    drawn = film(seed)
    found = segment_breast(drawn.pixels)
    overlap = 2 * (found & drawn.breast).sum() / (found.sum() + drawn.breast.sum())
    assert overlap > 0.94
    # Labels and frames are the only things as bright as this outside the breast.
    rim = cv2.dilate(drawn.breast.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    bright = (drawn.pixels > 0.7 * 65535) & ~rim
    assert bright.sum() > 500
    assert (found & bright).sum() < 0.02 * bright.sum()


@pytest.mark.parametrize("side", range(4))
def test_a_frame_beside_the_breast_is_told_from_tissue(side: int) -> None:
    y, x = np.mgrid[:400, :300]
    tissue = np.where((y - 200) ** 2 + x**2 < 180**2, 120 + 90 * np.exp(-x / 40), 4).astype(np.uint8)
    assert not find_frame(downsample_uint8(np.rot90(tissue, side))).any(), (
        "bright tissue at the chest wall fades, a frame ends"
    )
    framed = tissue.copy()
    framed[:, :7] = 250
    found = np.rot90(find_frame(downsample_uint8(np.rot90(framed, side))), -side)
    assert found[20:-20, :6].all()
    assert not found[:, 12:].any()


def test_a_thick_bright_part_is_no_frame() -> None:
    picture = np.full((400, 300), 5, np.uint8)
    picture[:, :60] = 250
    assert not find_frame(picture).any()


def boxes() -> dict[str, list[Box]]:
    if not FILMS.is_dir():
        pytest.skip("the real films are not beside this checkout")
    found: dict[str, list[Box]] = {}
    with (FILMS / "boxes.csv").open(newline="") as lines:
        for row in csv.DictReader(lines):
            x, y, width, height = (float(row[name]) for name in ("x", "y", "width", "height"))
            box = Box(int(y), int(np.ceil(y + height)), int(x), int(np.ceil(x + width)))
            found.setdefault(row["file"], []).append(box)
    return found


def test_real_films_lose_their_edges_and_no_mass() -> None:
    uncut, shares = 0, []
    for file, masses in boxes().items():
        pixels = np.asarray(cv2.imread(str(FILMS / file), cv2.IMREAD_GRAYSCALE))
        breast = segment_breast(pixels)
        kept = breast_bounding_box(breast, *pixels.shape)
        assert all(kept.contains(mass) for mass in masses), file
        uncut += kept == Box(0, pixels.shape[0], 0, pixels.shape[1])
        shares.append(breast.mean())
        mask = np.zeros(pixels.shape, np.uint8)
        for mass in masses:
            mass.crop(mask)[:] = 1
        cleaned = preprocess(pixels, mask, PreprocessingSettings(size=128))
        assert not cleaned.crop_skipped, file
        assert cleaned.mask.any()
    assert uncut == 0, "each of the 120 films has something to cut off"
    assert 0.35 < np.mean(shares) < 0.5


def test_prepared_real_images_keep_their_breasts() -> None:
    """Images that others have cleaned already: the little that goes is what they left of frames."""
    files = sorted((PREPARED / "images").glob("*.png"))[::16]
    if not files:
        pytest.skip("the real CBIS-DDSM images are not beside this checkout")
    kept = []
    for file in files:
        pixels = np.asarray(cv2.imread(str(file), cv2.IMREAD_GRAYSCALE))
        theirs = pixels > 12
        kept.append((segment_breast(pixels) & theirs).sum() / theirs.sum())
    assert np.mean(kept) > 0.98
    assert np.min(kept) > 0.85
