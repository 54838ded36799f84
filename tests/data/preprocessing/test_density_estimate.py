"""The estimate of ACR density: monotone, indifferent to scale and side, and as good as stated on real images."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from mammoseg.data.dataset import build_dataset
from mammoseg.data.preprocessing.density_estimate import acr_category, percent_density
from mammoseg.data.preprocessing.preprocess import preprocess
from mammoseg.data.preprocessing.preprocessing_settings import PreprocessingSettings
from mammoseg.data.readers.image_folder import read
from mammoseg.prepare.data_report import agreement, quadratic_kappa

REAL = Path(__file__).resolve().parents[4] / "shared" / "data" / "cbis_ddsm_256"


def breast(share: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A half-disc of fat that thins out to the skin, with a bright patch on a share of it."""
    y, x = np.mgrid[:128, :128]
    inside = (y - 64) ** 2 + x**2 < 60**2
    thickness = np.clip((60 - np.hypot(y - 64, x)) / 15, 0.2, 1)
    image = np.where(inside, 0.4 * thickness, 0.0) + 0.01 * np.random.default_rng(seed).standard_normal((128, 128))
    dense = inside & (x < np.quantile(x[inside], share)) & (np.abs(y - 64) < 45)
    return np.clip(image + 0.35 * dense, 0, 1).astype(np.float32), inside


def test_more_gland_is_denser() -> None:
    estimates = [percent_density(*breast(share), view="CC") for share in (0.0, 0.15, 0.3, 0.45, 0.6)]
    assert estimates == sorted(estimates)
    assert estimates[0] < 0.05
    assert estimates[-1] > 0.3


@pytest.mark.parametrize("view", ["CC", "MLO"])
def test_scale_and_side_do_not_matter(view: str) -> None:
    image, inside = breast(0.4)
    plain = percent_density(image, inside, view)
    assert percent_density(image * 3000 - 50, inside, view) == pytest.approx(plain, abs=1e-3)
    assert percent_density(image[:, ::-1].copy(), inside[:, ::-1].copy(), view) == pytest.approx(plain, abs=0.01)


def test_pictures_without_anything_give_zero() -> None:
    assert percent_density(np.zeros((32, 32), np.float32), np.ones((32, 32), bool), "CC") == 0
    assert percent_density(np.ones((32, 32), np.float32), np.zeros((32, 32), bool), "MLO") == 0


def test_categories_by_hand() -> None:
    assert [acr_category(value, [0.1, 0.2, 0.3]) for value in (0, 0.1, 0.15, 0.25, 0.9)] == [1, 1, 2, 3, 4]


def test_kappa_equals_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    given, estimated = rng.integers(1, 5, 300), rng.integers(1, 5, 300)
    estimated[:150] = given[:150]
    confusion = np.zeros((4, 4), np.int64)
    np.add.at(confusion, (given - 1, estimated - 1), 1)
    assert quadratic_kappa(confusion) == pytest.approx(cohen_kappa_score(given, estimated, weights="quadratic"))


def test_the_stated_agreement_on_all_real_images(tmp_path: Path) -> None:
    if not REAL.is_dir():
        pytest.skip("the real CBIS-DDSM images are not beside this checkout")
    dataset = build_dataset("real", str(REAL), read, store=str(tmp_path))
    cases = dataset.open_store().cases
    assert len(cases) == 1592
    for part, kappa in (("train", 0.559), ("test", 0.522)):
        agreed = agreement([case for case in cases if case.split == part])
        assert agreed is not None
        assert agreed["quadratic_kappa"] == pytest.approx(kappa, abs=0.01)


def test_images_without_a_density_get_the_estimate(tmp_path: Path) -> None:
    root = tmp_path / "data"
    root.mkdir()
    rows = [["case", "image", "mask", "patient", "density"]]
    for n in range(8):
        image, _ = breast(0.08 * n, seed=n)
        mask = np.zeros((128, 128), np.uint8)
        mask[60:68, 10:20] = 255
        cv2.imwrite(str(root / f"{n}.png"), (60000 * image).astype(np.uint16))
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


def test_flipping_changes_sides_only() -> None:
    image, _ = breast(0.3)
    mask = np.zeros((128, 128), np.uint8)
    mask[60:68, 10:20] = 1
    plain, flipped = (preprocess(image, mask, PreprocessingSettings(size=64, flip=flip)) for flip in ("left", "right"))
    assert not plain.flipped
    assert flipped.flipped
    np.testing.assert_array_equal(plain.image, flipped.image[:, ::-1])
    np.testing.assert_array_equal(plain.mask, flipped.mask[:, ::-1])
    again = preprocess(image[:, ::-1].copy(), mask[:, ::-1].copy(), PreprocessingSettings(size=64, flip="left"))
    assert again.flipped
    assert np.abs(again.image - plain.image).mean() < 0.02
