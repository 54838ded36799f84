"""Views of output folders of mammoseg.predict."""

from __future__ import annotations

import csv
import json
import logging
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from mammoseg.errors import UserError
from mammoseg.predict import prediction_images
from mammoseg.predict.prediction_table import MASS_COLUMNS, PREDICTION_COLUMNS
from mammoseg.view.from_predictions import PredictedView

HEIGHT, WIDTH = 2200, 1500  # 1024 and 698 when downsampled
ROWS = [
    {"file": "sub/b.png", "name": "sub/b", "view": "CC", "side": "L", "masses": 2, "mass": 1, "area_mm2": "143.21"},
    {"file": "sub/b.png", "name": "sub/b", "view": "CC", "side": "L", "masses": 2, "mass": 2, "area_mm2": "7.9"},
    {"file": "c.png", "name": "c", "masses": 0},
]


@pytest.fixture
def mammograms(tmp_path: Path) -> Path:
    """Folder of two images that were predicted."""
    grey = np.add.outer(np.arange(HEIGHT), np.arange(WIDTH)) % 251
    for file in ("sub/b.png", "c.png"):
        path = tmp_path / "mammograms" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), grey.astype(np.uint8))
    return tmp_path / "mammograms"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Output folder; in `sub/b` the probability decreases from 1 at the left to 0 at the right, in `c` it is 0."""
    folder = tmp_path / "predictions"
    gradient = np.tile(np.linspace(1, 0, WIDTH, dtype=np.float32), (HEIGHT, 1))
    for name, prob in (("sub/b", gradient), ("c", np.zeros_like(gradient))):
        files: dict[str, Any] = {"masks": prob > 0.3, "probabilities": prediction_images.probability_image(prob)}
        files["overlays"] = prediction_images.overlay(np.full((1024, 698), 77, np.uint8), 1024 / HEIGHT, prob > 2, [])
        for kind, image in files.items():
            path = folder / kind / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(prediction_images.encode_png(image))
    (folder / "predictions.json").write_text(json.dumps({"made_of": {"threshold": 0.3}}))
    with (folder / "predictions.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, [*PREDICTION_COLUMNS, *MASS_COLUMNS], restval="")
        writer.writeheader()
        writer.writerows(ROWS)
    return folder


def test_masks_and_levels_have_the_size_of_the_downsampled_image(folder: Path, mammograms: Path) -> None:
    view = PredictedView(folder, mammograms)
    assert (view.label, view.threshold, len(view)) == ("predictions", 0.3, 2)
    first, second = view.items()
    for array in (first.image, first.mask, first.levels):
        assert array is not None
        assert array.shape == (1024, 698)
    assert first.mask.mean() == pytest.approx(0.7, abs=0.002)
    assert first.levels is not None
    for threshold in (0.1, 0.5, 0.9):
        assert (first.levels >= round(256 * threshold)).mean() == pytest.approx(1 - threshold, abs=0.005)
    assert (first.caption, first.side, first.view) == ("2 masses (143 mm², 8 mm²)", "L", "CC")
    assert second.caption == "no mass"
    assert not second.mask.any()
    assert first.truth is None


def test_overlays_are_shown_without_the_mammograms(
    folder: Path, mammograms: Path, caplog: pytest.LogCaptureFixture
) -> None:
    view = PredictedView(folder, None)
    assert "set input=<folder>" in view.note
    assert all(item.image is not None and (item.image == 77).all() for item in view.items())
    cv2.imwrite(str(mammograms / "c.png"), np.arange(90 * 80).reshape(90, 80) % 200)
    (mammograms / "sub" / "b.png").write_bytes(b"")
    with caplog.at_level(logging.WARNING):
        items = list(PredictedView(folder, mammograms).items())
    assert all(item.image is not None and (item.image == 77).all() for item in items)
    assert "c.png: differs in size from its prediction" in caplog.text
    assert "sub/b.png: the image is empty" in caplog.text


def test_damaged_files_raise_user_errors(folder: Path) -> None:
    (folder / "masks" / "c.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"masks/c\.png: the image is empty.* run mammoseg.predict again"):
        list(PredictedView(folder, None).items())
    (folder / "predictions.json").write_text('{"made_of": {}}')
    with pytest.raises(UserError, match=r"its tables are damaged .* predict again"):
        PredictedView(folder, None)
    with pytest.raises(UserError, match="no such file or folder"):
        PredictedView(folder, folder / "nowhere")
