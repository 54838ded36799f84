"""`mammoseg.load` and the public names of the package."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

import mammoseg
from mammoseg.data.images.read import read_image
from mammoseg.errors import UserError

CHECKPOINT = Path(__file__).parent / "fixtures" / "v0_1" / "best.ckpt"


@pytest.fixture
def film(tmp_path: Path) -> Path:
    image = np.zeros((160, 120), np.uint8)
    cv2.ellipse(image, (0, 80), (90, 70), 0, 0, 360, 90, -1)
    cv2.circle(image, (40, 80), 10, 200, -1)
    cv2.imwrite(str(tmp_path / "film.png"), image)
    return tmp_path / "film.png"


def test_array_and_file_give_the_same_prediction_at_the_original_size(film: Path) -> None:
    predict = mammoseg.load(CHECKPOINT)
    from_file, from_array = predict(film), predict(read_image(film)[0])
    assert from_file.prob.shape == from_file.mask.shape == (160, 120)
    np.testing.assert_array_equal(from_file.prob, from_array.prob)
    np.testing.assert_array_equal(from_file.mask, from_file.prob > np.float32(predict.threshold))
    assert from_file.std is None
    assert 0 <= from_file.prob.min() <= from_file.prob.max() <= 1


def test_ensembles_and_tta_give_a_standard_deviation(film: Path) -> None:
    prediction = mammoseg.load(CHECKPOINT, CHECKPOINT, threshold=0.9)(film)
    np.testing.assert_allclose(prediction.prob, mammoseg.load(CHECKPOINT)(film).prob, atol=1e-6)
    assert prediction.std is not None
    np.testing.assert_allclose(prediction.std, 0, atol=1e-6)
    with_tta = mammoseg.load(CHECKPOINT, tta=True)(film).std
    assert with_tta is not None
    assert with_tta.shape == (160, 120)


def test_invalid_images_and_checkpoints_raise(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"must have the shape \(H, W\), got \(2, 3, 4\)"):
        mammoseg.load(CHECKPOINT)(np.zeros((2, 3, 4)))
    with pytest.raises(UserError, match=r"neither checkpoints/best\.ckpt nor"):
        mammoseg.load(tmp_path)


def test_public_names_exist_and_are_imported_lazily() -> None:
    for name in mammoseg.__all__:
        assert getattr(mammoseg, name).__name__ == name
    assert set(mammoseg.__all__) <= set(dir(mammoseg))
    with pytest.raises(AttributeError, match="no attribute 'unknown'"):
        _ = mammoseg.unknown
    code = "import sys, mammoseg; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
