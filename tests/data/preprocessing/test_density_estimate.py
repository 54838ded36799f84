"""Density estimate: monotone, invariant to scale and side, and as accurate as documented on real images."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest

from mammoseg.data.dataset import build_dataset
from mammoseg.data.preprocessing.density_estimate import percent_density
from mammoseg.data.preprocessing.preprocess import preprocess
from mammoseg.data.preprocessing.preprocessing_settings import PreprocessingSettings
from mammoseg.data.readers.image_folder import read
from mammoseg.phantom.anatomy import draw_phantom
from mammoseg.prepare.data_report import density_agreement

REAL = Path(__file__).resolve().parents[4] / "shared" / "data" / "cbis_ddsm_256"


def breast(dense_fraction: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A half-disc of fat that becomes thinner towards the skin, with a bright patch on a fraction of it."""
    y, x = np.mgrid[:128, :128]
    inside = (y - 64) ** 2 + x**2 < 60**2
    thickness = np.clip((60 - np.hypot(y - 64, x)) / 15, 0.2, 1)
    image = np.where(inside, 0.4 * thickness, 0.0) + 0.01 * np.random.default_rng(seed).standard_normal((128, 128))
    dense = inside & (x < np.quantile(x[inside], dense_fraction)) & (np.abs(y - 64) < 45)
    return np.clip(image + 0.35 * dense, 0, 1).astype(np.float32), inside


def test_the_estimate_increases_with_the_dense_fraction() -> None:
    estimates = [percent_density(*breast(dense_fraction), view="CC") for dense_fraction in (0.0, 0.15, 0.3, 0.45, 0.6)]
    assert estimates == sorted(estimates)
    assert estimates[0] < 0.05
    assert estimates[-1] > 0.3


@pytest.mark.parametrize("view", ["CC", "MLO"])
def test_the_estimate_is_invariant_to_scale_and_side(view: str) -> None:
    image, inside = breast(0.4)
    reference = percent_density(image, inside, view)
    assert percent_density(image * 3000 - 50, inside, view) == pytest.approx(reference, abs=1e-3)
    assert percent_density(image[:, ::-1].copy(), inside[:, ::-1].copy(), view) == pytest.approx(reference, abs=0.01)


def test_constant_images_give_zero() -> None:
    assert percent_density(np.zeros((32, 32), np.float32), np.ones((32, 32), bool), "CC") == 0
    assert percent_density(np.ones((32, 32), np.float32), np.zeros((32, 32), bool), "MLO") == 0


def test_agreement_on_real_images_is_as_documented(tmp_path: Path) -> None:
    if not REAL.is_dir():
        pytest.skip("the real CBIS-DDSM images are not available")
    dataset = build_dataset("real", str(REAL), read, store=str(tmp_path))
    cases = dataset.open_store().cases
    assert len(cases) == 1592
    for part, kappa in (("train", 0.743), ("test", 0.696)):
        agreement_report = density_agreement([case for case in cases if case.split == part])
        assert agreement_report is not None
        assert agreement_report["quadratic_kappa"] == pytest.approx(kappa, abs=0.01)


def test_missing_densities_are_estimated(tmp_path: Path) -> None:
    root = tmp_path / "data"
    root.mkdir()
    rows = [["case", "image", "mask", "patient", "density"]]
    for n in range(8):
        rng = np.random.default_rng(n)
        phantom = draw_phantom(rng, density=1 + n % 4, view="CC", side="L", height=128, width=128)
        mask = np.zeros((128, 128), np.uint8)
        mask[60:68, 10:20] = 255
        cv2.imwrite(str(root / f"{n}.png"), phantom.pixels)
        cv2.imwrite(str(root / f"{n}-mask.png"), mask)
        rows.append([f"c{n}", f"{n}.png", f"{n}-mask.png", f"p{n}", "" if n % 2 else "2"])
    with (root / "cases.csv").open("w", newline="") as lines:
        csv.writer(lines).writerows(rows)
    for setting in ({"missing_density": "estimate"}, {"density": "estimated"}):
        dataset = build_dataset("d", str(root), read, size=64, store=str(tmp_path / "s"), workers=1, **setting)  # type: ignore[arg-type]
        cases = dataset.open_store().cases
        assert len({case.estimated_density for case in cases}) > 1
        for n, case in enumerate(cases):
            assert case.given_density == (None if n % 2 else 2)
            expected = 2 if setting.get("missing_density") and not n % 2 else case.estimated_density
            assert case.density == expected


def test_flipping_only_mirrors_the_image() -> None:
    image, _ = breast(0.3)
    mask = np.zeros((128, 128), np.uint8)
    mask[60:68, 10:20] = 1
    reference, flipped = (
        preprocess(image, mask, PreprocessingSettings(size=64, flip=flip)) for flip in ("left", "right")
    )
    assert not reference.flipped
    assert flipped.flipped
    np.testing.assert_array_equal(reference.image, flipped.image[:, ::-1])
    np.testing.assert_array_equal(reference.mask, flipped.mask[:, ::-1])
    mirrored = preprocess(image[:, ::-1].copy(), mask[:, ::-1].copy(), PreprocessingSettings(size=64, flip="left"))
    assert mirrored.flipped
    assert np.abs(mirrored.image - reference.image).mean() < 0.02
