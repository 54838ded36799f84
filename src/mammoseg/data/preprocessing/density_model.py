"""Linear model that estimates the ACR density of an image from its features.

`density_model.json` next to this module is the default model, fitted by `mammoseg.fit_density` to the official training
images of CBIS-DDSM.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mammoseg.data.preprocessing.density_features import density_features
from mammoseg.data.preprocessing.fingerprints import hash_json
from mammoseg.density import ACRDensity
from mammoseg.errors import UserError
from mammoseg.files import atomic_write_text

DEFAULT_MODEL = Path(__file__).with_suffix(".json")
FORMAT = 1
MAX_DEVIATIONS = 3.0  # features are clipped to this number of standard deviations, so that none dominates an image
DIGITS = 6  # significant digits in the file, so that rounding of a processor does not change it

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class DensityModel:
    """Linear regression of the ACR category on standardised features, and cuts between the categories.

    Attributes:
        names: Names of the n features.
        mean: (n,) mean of each feature over the training images.
        deviation: (n,) standard deviation, positive.
        coefficients: (n,) of the standardised features.
        intercept: Prediction for the mean features.
        cuts: Three ascending predictions that separate the categories.
        about: How the model was fitted, as plain values.
    """

    names: tuple[str, ...]
    mean: Floats
    deviation: Floats
    coefficients: Floats
    intercept: float
    cuts: tuple[float, float, float]
    about: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        values = [*self.mean, *self.deviation, *self.coefficients, self.intercept, *self.cuts]
        lengths = {len(self.names), len(self.mean), len(self.deviation), len(self.coefficients)}
        if len(lengths) > 1 or not np.isfinite(values).all() or (self.deviation <= 0).any():
            raise ValueError("a density model must have one finite mean, deviation > 0 and coefficient per feature")
        if len(self.cuts) != len(ACRDensity) - 1 or not self.cuts[0] < self.cuts[1] < self.cuts[2]:
            raise ValueError("a density model must have three ascending cuts")

    @property
    def digest(self) -> str:
        """Hash of everything that affects the estimates."""
        return hash_json({**self.as_json(), "about": None})

    def predict(self, features: Mapping[str, float]) -> float:
        """Return the prediction of the regression for the features of one image.

        Raises:
            UserError: If the model was fitted to other features.
        """
        self.check_names(tuple(features))
        return float(self.predict_all(np.array([list(features.values())]))[0])

    def check_names(self, names: Sequence[str]) -> None:
        """Raise UserError if the model was fitted to other features."""
        if tuple(names) != self.names:
            raise UserError(
                "dataset.density_model was fitted to the features of another version; fit it again with "
                "mammoseg.fit_density"
            )

    def predict_all(self, features: Floats) -> Floats:
        """Return the predictions (N,) for features (N, n)."""
        z = standardise_features(features, self.mean, self.deviation)
        return np.asarray(self.intercept + z @ self.coefficients)

    def score(self, prediction: float) -> float:
        """Map a prediction to a density score.

        The cuts are mapped to 1.5, 2.5 and 3.5, and the predictions between them are interpolated; those beyond the
        outer cuts are mapped with the slope of the interval next to them.

        Args:
            prediction: Output of `predict`.

        Returns:
            Density score in [1, 4], whose nearest integer is the estimated ACR category.
        """
        first, second, third = self.cuts
        knots = [first - (second - first) / 2, first, second, third, third + (third - second) / 2]
        return float(np.interp(prediction, knots, [1.0, 1.5, 2.5, 3.5, 4.0]))

    def score_of_image(self, grey: NDArray[Any], breast: NDArray[np.bool_], view: str) -> float:
        """Return the score of one image, rounded to four decimals.

        Args:
            grey: Grey values of the downsampled image, (h, w).
            breast: Breast mask, (h, w).
            view: View, such as MLO; empty if unknown.
        """
        return round(self.score(self.predict(density_features(grey, breast, view))), 4)

    def as_json(self) -> dict[str, Any]:
        """Return the content of the file."""
        columns = zip(self.names, self.mean, self.deviation, self.coefficients, strict=True)
        return {
            "format": FORMAT,
            "about": dict(self.about),
            "intercept": round_digits(self.intercept),
            "cuts": [round_digits(cut) for cut in self.cuts],
            "features": {name: [round_digits(value) for value in values] for name, *values in columns},
        }

    def write(self, path: Path) -> None:
        """Write the model to a JSON file."""
        features = self.as_json()
        rows = [f"  {json.dumps(name)}: {json.dumps(values)}" for name, values in features.pop("features").items()]
        entries = [f" {json.dumps(key)}: {json.dumps(value)}" for key, value in features.items()]
        table = ' "features": {\n' + ",\n".join(rows) + "\n }"
        atomic_write_text(path, "{\n" + ",\n".join([*entries, table]) + "\n}\n")


def standardise_features(features: Floats, mean: Floats, deviation: Floats) -> Floats:
    """Subtract the mean, divide by the standard deviation, and clip to `MAX_DEVIATIONS`; all along the last axis."""
    return np.clip((features - mean) / deviation, -MAX_DEVIATIONS, MAX_DEVIATIONS)


def round_digits(value: float) -> float:
    """Round to `DIGITS` significant digits.

    Example:
        >>> round_digits(0.123456789)
        0.123457
    """
    return float(f"{value:.{DIGITS}g}")


def score_to_category(score: float) -> ACRDensity:
    """Return the ACR category nearest to a density score; of two equally near ones, the lower.

    Args:
        score: Density score in [1, 4].

    Example:
        >>> [int(score_to_category(score)) for score in (1.0, 1.5, 1.6, 4.0)]
        [1, 1, 2, 4]
    """
    return ACRDensity(int(np.ceil(score - 0.5)))


def mean_by_patient(scores: Sequence[float], patients: Sequence[str]) -> list[float]:
    """Return for each image the mean score of the images of its patient.

    Args:
        scores: (N,) density scores of the images.
        patients: (N,) patients.

    Example:
        >>> mean_by_patient([1.0, 2.0, 4.0], ["a", "a", "b"])
        [1.5, 1.5, 4.0]
    """
    by_patient: dict[str, list[float]] = {}
    for score, patient in zip(scores, patients, strict=True):
        by_patient.setdefault(patient, []).append(score)
    return [fmean(by_patient[patient]) for patient in patients]


def read_density_model(path: Path) -> DensityModel:
    """Read a model from a JSON file.

    Raises:
        UserError: If the file cannot be read or is not a density model.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']} is unknown")
        values = np.array(list(content["features"].values()), np.float64).reshape(-1, 3)
        return DensityModel(
            names=tuple(content["features"]),
            mean=values[:, 0],
            deviation=values[:, 1],
            coefficients=values[:, 2],
            intercept=float(content["intercept"]),
            cuts=tuple(map(float, content["cuts"])),  # type: ignore[arg-type]  # checked by the class
            about=dict(content["about"]),
        )
    except FileNotFoundError as error:
        raise UserError(
            f"dataset.density_model must be a file written by mammoseg.fit_density, got {path}, which does not exist"
        ) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"dataset.density_model must be a file written by mammoseg.fit_density, got {path}: {error}"
        ) from error


@cache
def default_density_model() -> DensityModel:
    """Return the default model, which was fitted to the official training images of CBIS-DDSM."""
    return read_density_model(DEFAULT_MODEL)


def load_density_model(name: str | None, root: Path) -> DensityModel:
    """Load the model of the setting `dataset.density_model`.

    Args:
        name: Name of a file in the folder of the dataset; None for the default model.
        root: Folder of the dataset.

    Raises:
        UserError: If the setting is not the name of a density model in `root`.
    """
    if name is None:
        return default_density_model()
    if Path(name).name != name:  # the setting may come from somebody else's checkpoint
        raise UserError(f"dataset.density_model must be the name of a file in dataset.root, got {name}")
    return read_density_model(root / name)
