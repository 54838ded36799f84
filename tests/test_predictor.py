"""`mammoseg.load` and the public names of the package."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hydra import compose, initialize_config_dir

import mammoseg
from mammoseg.conf import conf_dir
from mammoseg.data.images.read import read_image
from mammoseg.errors import UserError
from mammoseg.metrics.regions import label_regions

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
    unfiltered = mammoseg.load(CHECKPOINT, min_area_pixels=0)(film)
    np.testing.assert_array_equal(unfiltered.mask, unfiltered.prob > np.float32(predict.threshold))
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


def test_the_options_of_load_and_of_the_command_have_the_same_defaults(film: Path) -> None:
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        command = compose("predict", ["input=film.png"])
    parameters = inspect.signature(mammoseg.load).parameters
    options = {
        name: parameter.default for name, parameter in parameters.items() if parameter.kind.name == "KEYWORD_ONLY"
    }
    expected = {name: tuple(value) if name == "trusted_modules" else value for name, value in command.items()}
    assert options == {name: expected[str(name)] for name in options}
    assert {name for name in command if str(name).startswith(("min_", "max_"))} <= options.keys()


def test_load_removes_small_masses(film: Path) -> None:
    threshold = float(np.median(np.unique(mammoseg.load(CHECKPOINT)(film).prob)))
    everything = mammoseg.load(CHECKPOINT, threshold=threshold, min_area_pixels=0)(film).mask
    regions = label_regions(everything)
    largest = int(regions.areas.max())
    filtered = mammoseg.load(CHECKPOINT, threshold=threshold, min_area_pixels=largest)(film).mask
    np.testing.assert_array_equal(filtered, np.append(False, regions.areas >= largest)[regions.labels])
    assert not mammoseg.load(CHECKPOINT, threshold=threshold, min_area_pixels=largest + 1)(film).mask.any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_area_mm2": -1}, "min_area_mm2 must be a number of at least 0, got -1"),
        ({"min_area_pixels": 0.5}, "min_area_pixels must be an integer of at least 0 or null, got 0.5"),
        ({"max_masses": 0}, "max_masses must be an integer of at least 1 or null, got 0"),
        ({"max_masses_by": "size"}, "max_masses_by must be one of area, score, got size"),
    ],
)
def test_invalid_options_of_load_raise(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        mammoseg.load(CHECKPOINT, **options)


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
