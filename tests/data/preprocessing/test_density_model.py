"""The density model: density scores, the default model, and its file."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mammoseg.data.preprocessing.density_features import density_features
from mammoseg.data.preprocessing.density_model import (
    DEFAULT_MODEL,
    DensityModel,
    default_density_model,
    read_density_model,
    score_to_category,
)
from mammoseg.errors import UserError

MODEL = DensityModel(
    names=("a", "b"),
    mean=np.array([1.0, 2.0]),
    deviation=np.array([0.5, 4.0]),
    coefficients=np.array([0.3, -0.2]),
    intercept=2.25,
    cuts=(1.75, 2.5, 3.0),
)


def test_a_prediction_is_linear_in_clipped_standardised_features() -> None:
    assert MODEL.predict({"a": 1.5, "b": 4.0}) == pytest.approx(2.25 + 0.3 * 1 - 0.2 * 0.5)
    assert MODEL.predict({"a": 1e9, "b": -1e9}) == pytest.approx(2.25 + 0.3 * 3 + 0.2 * 3)
    with pytest.raises(UserError, match="fitted to the features of another version"):
        MODEL.predict({"b": 4.0, "a": 1.5})


@given(st.floats(-10, 10), st.floats(-10, 10))
def test_scores_are_monotone_and_agree_with_the_cuts(first: float, second: float) -> None:
    low, high = sorted((first, second))
    assert 1 <= MODEL.score(low) <= MODEL.score(high) <= 4
    if min(abs(low - cut) for cut in MODEL.cuts) > 1e-6:
        assert score_to_category(MODEL.score(low)) == 1 + np.searchsorted(MODEL.cuts, low)


def test_cuts_have_half_integer_scores() -> None:
    assert [MODEL.score(cut) for cut in MODEL.cuts] == [1.5, 2.5, 3.5]


def test_a_model_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "model.json"
    default_density_model().write(path)
    assert path.read_bytes() == DEFAULT_MODEL.read_bytes()
    assert read_density_model(path).digest == default_density_model().digest


def test_the_digest_covers_coefficients_and_cuts_only() -> None:
    assert replace(MODEL, about={"images": 3}).digest == MODEL.digest
    assert replace(MODEL, intercept=2.0).digest != MODEL.digest
    assert replace(MODEL, cuts=(1.0, 2.0, 3.0)).digest != MODEL.digest


def test_the_default_model_fits_the_features() -> None:
    image = np.random.default_rng(0).random((200, 100))
    features = density_features(image, np.ones(image.shape, bool), "MLO")
    assert 1 <= default_density_model().score(default_density_model().predict(features)) <= 4


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"cuts": [3, 2, 1]},
        {"cuts": [1, 2]},
        {"intercept": float("nan")},
        {"intercept": None},
        {"features": {"a": [0, 0, 1]}},
        {"features": {"a": [0, 1]}},
        {"features": []},
    ],
)
def test_a_damaged_file_is_an_error(change: dict[str, object], tmp_path: Path) -> None:
    path = tmp_path / "model.json"
    path.write_text(json.dumps(MODEL.as_json() | change))
    with pytest.raises(UserError, match=r"dataset\.density_model must be a file written by .* got .*model\.json: "):
        read_density_model(path)
