"""Reported masses: none outside the breast, none below the minimum area."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from helpers import confidential_dicom
from mammoseg.candidates import MaximumNumber, MinimumArea, select_masses
from mammoseg.data.images.metadata import PixelSpacing
from mammoseg.data.preprocessing.breast import segment_breast
from mammoseg.data.preprocessing.preprocessing_settings import PreprocessingSettings
from mammoseg.ensemble import Ensemble
from mammoseg.errors import UserError
from mammoseg.predict.inputs import Input
from mammoseg.predict.options import PredictOptions
from mammoseg.predict.output_folder import PredictionFolder
from mammoseg.predict.pipeline import PredictionPipeline
from mammoseg.predictor import Predictor

OPTIONS = {"tta": False, "threshold": None, "segmentation": "none", "accelerator": "cpu", "batch_size": 1, "workers": 1}


class MassEverywhere(nn.Module):
    def forward(self, image: Tensor) -> Tensor:
        return torch.full_like(image, 4.0)


class Squares(nn.Module):
    """A mass of 2x2 and one of 12x12 pixels of the input."""

    def forward(self, image: Tensor) -> Tensor:
        logits = torch.full_like(image, -9.0)
        logits[..., 20:22, 10:12] = 9
        logits[..., 30:42, 10:22] = 9
        return logits


def ensemble(network: nn.Module, tta: bool = False, **settings: Any) -> Ensemble:
    return Ensemble([network], PreprocessingSettings(size=64, **settings), 0.5, tta, torch.device("cpu"))


def predict(image: Path, network: nn.Module, output: Path, tta: bool = False, **options: Any) -> list[dict[str, Any]]:
    """Predict one image; returns its rows in predictions.csv."""
    folder = PredictionFolder(output, {"checkpoints": ["0" * 16]})
    pipeline = PredictionPipeline(ensemble(network, tta), folder, PredictOptions(**{**OPTIONS, **options}))
    loaded = pipeline.load(Input(image, image.name))
    mean, std = pipeline.ensemble(loaded.network_input[None])
    return [dict(row) for row in pipeline.write(loaded, "a", mean[0], std[0]).rows]


def read(path: Path) -> np.ndarray:
    pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert pixels is not None
    return pixels


@pytest.mark.parametrize("tta", [False, True])
@pytest.mark.parametrize("side", ["L", "R"])
def test_nothing_is_reported_outside_the_breast(tmp_path: Path, side: str, tta: bool) -> None:
    pixels = confidential_dicom.phantom(side).pixels
    cv2.imwrite(str(tmp_path / "a.png"), pixels)
    (row,) = predict(tmp_path / "a.png", MassEverywhere(), tmp_path / "out", tta)
    breast = segment_breast(pixels).astype(np.uint8)
    # Half a pixel of the network at the skin line.
    outside = cv2.dilate(breast, np.ones((17, 17), np.uint8)) == 0
    assert outside.mean() > 0.2, "the comparison must not be trivial"
    mask = read(tmp_path / "out" / "masks" / "a.png") > 0
    assert not mask[outside].any()
    assert (mask & (breast > 0)).sum() > 0.97 * breast.sum()
    assert not read(tmp_path / "out" / "probabilities" / "a.png")[outside].any()
    assert int(row["area_pixels"]) == mask.sum()
    prediction = Predictor(ensemble(MassEverywhere(), tta))(pixels)
    np.testing.assert_array_equal(prediction.mask, mask)
    if tta:
        assert prediction.std is not None
        assert not prediction.std[outside].any()


def test_the_entire_image_is_reported_if_it_is_not_cropped_to_the_breast() -> None:
    assert Predictor(ensemble(MassEverywhere(), crop=False))(confidential_dicom.phantom().pixels).mask.all()


def test_small_masses_are_not_reported(tmp_path: Path) -> None:
    confidential_dicom.write(tmp_path / "a.dcm")  # 0.35 mm per pixel
    all_masses = predict(tmp_path / "a.dcm", Squares(), tmp_path / "all", min_area_mm2=0)
    areas = [float(row["area_mm2"]) for row in all_masses]
    assert len(areas) == 2
    assert areas[0] > 10 * areas[1] > 0
    (row,) = predict(tmp_path / "a.dcm", Squares(), tmp_path / "out", min_area_mm2=1.01 * areas[1])
    assert float(row["area_mm2"]) == areas[0]
    assert row["masses"] == 1
    mask = read(tmp_path / "out" / "masks" / "a.png") > 0
    assert mask.sum() == row["area_pixels"]
    assert len(predict(tmp_path / "a.dcm", Squares(), tmp_path / "equal", min_area_mm2=areas[1] - 0.01)) == 2
    (none,) = predict(tmp_path / "a.dcm", Squares(), tmp_path / "none", min_area_mm2=1e6)
    assert none["masses"] == 0
    assert float(none["highest_probability"]) > 0.9


@pytest.mark.parametrize(
    "options",
    [{}, {"min_area_mm2": 0.0}, {"min_area_mm2": 1e6}, {"max_masses": 1}, {"max_masses": 1, "max_masses_by": "score"}],
)
@pytest.mark.parametrize("suffix", [".dcm", ".png"])
def test_the_command_and_the_predictor_give_the_same_mask(tmp_path: Path, suffix: str, options: dict[str, Any]) -> None:
    image = tmp_path / f"a{suffix}"
    if suffix == ".dcm":
        confidential_dicom.write(image)
    else:
        cv2.imwrite(str(image), confidential_dicom.phantom().pixels)
    predict(image, Squares(), tmp_path / "out", **options)
    settings = PredictOptions(**{**OPTIONS, **options})
    prediction = Predictor(ensemble(Squares()), settings.min_area, settings.maximum)(image)
    np.testing.assert_array_equal(prediction.mask, read(tmp_path / "out" / "masks" / "a.png") > 0)
    assert (prediction.prob > 0.5).any()


def test_pixels_are_the_unit_where_the_spacing_is_unknown(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), confidential_dicom.phantom().pixels)
    areas = [row["area_pixels"] for row in predict(tmp_path / "a.png", Squares(), tmp_path / "all", min_area_pixels=0)]
    assert len(areas) == 2
    for limit, n_masses in ((areas[1], 2), (areas[1] + 1, 1)):
        rows = predict(tmp_path / "a.png", Squares(), tmp_path / str(limit), min_area_pixels=limit, min_area_mm2=1e6)
        assert rows[0]["masses"] == n_masses


def test_minimum_area_in_pixels() -> None:
    spacing = PixelSpacing(0.1, 0.2, "PixelSpacing", (0.1, 0.2))
    assert MinimumArea(mm2=5, pixels=7).in_pixels((100, 100), spacing) == 250
    assert MinimumArea(mm2=5.01, pixels=7).in_pixels((100, 100), spacing) == 251
    assert MinimumArea(mm2=5, pixels=7).in_pixels((100, 100), None) == 7
    assert MinimumArea().in_pixels((4000, 3000), None) == 1200


def test_all_regions_are_kept_without_a_minimum() -> None:
    mask = np.eye(5, dtype=bool)
    mask[0, 4] = True
    selected, masses = select_masses(mask, mask.astype(np.float32), None, min_pixels=0)
    np.testing.assert_array_equal(selected, mask)
    assert [mass.area for mass in masses] == [5, 1]


@pytest.mark.parametrize(("by", "expected"), [("area", [[6, 4], [6], [6, 4, 3]]), ("score", [[4, 3], [3], [6, 4, 3]])])
def test_at_most_a_number_of_masses_is_kept(by: str, expected: list[list[int]]) -> None:
    """The smallest of three masses has the highest probability in a pixel, the largest has the lowest."""
    prob = np.zeros((9, 9), np.float32)
    prob[0, :6], prob[2, :4], prob[4, :3], prob[6, 0] = 0.6, 0.7, 0.8, 1.0
    for number, areas in zip((2, 1, 5), expected, strict=True):
        mask, masses = select_masses(prob > 0.5, prob, None, 2, MaximumNumber(number, by))
        assert [mass.area for mass in masses] == areas
        assert mask.sum() == sum(areas)
        assert not mask[6, 0], "below the minimum area"


def test_of_equal_masses_the_upper_one_is_kept() -> None:
    prob = np.zeros((5, 5), np.float32)
    prob[0, 3:] = prob[4, :2] = 0.75
    for by in ("area", "score"):
        _, (mass,) = select_masses(prob > 0.5, prob, None, 0, MaximumNumber(1, by))
        assert mass.y == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_masses": 0}, "max_masses must be an integer of at least 1 or null, got 0"),
        ({"max_masses_by": "size"}, "max_masses_by must be one of area, score, got size"),
        ({"structured_report": True}, "segmentation must be anonymous or identified with structured_report=true"),
        ({"float_probabilities": "png"}, "float_probabilities must be one of true, false, got png"),
    ],
)
def test_invalid_options_are_errors(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        PredictOptions(**{**OPTIONS, **options}).check()


@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), "a", True, None])
def test_an_invalid_minimum_is_an_error(value: object) -> None:
    with pytest.raises(UserError, match=r"min_area_mm2 must be a number of at least 0, got "):
        PredictOptions(**{**OPTIONS, "min_area_mm2": value}).check()  # type: ignore[arg-type]
    if value is not None:
        with pytest.raises(UserError, match=r"min_area_pixels must be an integer of at least 0 or null, got "):
            PredictOptions(**{**OPTIONS, "min_area_pixels": value}).check()  # type: ignore[arg-type]
