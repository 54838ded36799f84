"""Density estimate on images with changed grey values, as a substitute for digital mammograms.

python benchmarks/density.py FOLDER

FOLDER is a dataset in the layout of dataset=folder, with the densities and the official parts of CBIS-DDSM. The default
model is applied to its test images after each change, once as it is, and once with cuts fitted to the changed images of
50 training patients. The table shows the quadratic kappa of the mean score of each patient.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mammoseg.data.images.read import read_image
from mammoseg.data.preprocessing.breast import downsample_uint8, segment_downsampled
from mammoseg.data.preprocessing.density_features import density_features
from mammoseg.data.preprocessing.density_model import DensityModel, default_density_model, score_to_category
from mammoseg.data.readers.image_folder import read
from mammoseg.data.readers.mammogram import Mammogram, RejectedCases
from mammoseg.density import ACRDensity
from mammoseg.fit_density.regression import category_cuts
from mammoseg.statistics.agreement import confusion_matrix, kappa_interval, quadratic_kappa

N_PATIENTS = 50  # training patients to whose images the cuts are fitted
Image = NDArray[np.float32]


def clahe(image: Image) -> Image:
    """Equalise the histogram locally, as the processing of some digital systems does."""
    equalised = cv2.createCLAHE(2.0, (8, 8)).apply(np.asarray(image * 255, np.uint8))
    return np.where(image > 0, equalised / np.float32(255), 0).astype(np.float32)


def add_noise(image: Image, deviation: float) -> Image:
    """Add Gaussian noise to the breast."""
    noise = np.random.default_rng(0).normal(0, deviation, image.shape)
    return np.where(image > 0, np.clip(image + noise, 1e-3, 1), 0).astype(np.float32)


def half_resolution(image: Image) -> Image:
    """Downsample by averaging 2 x 2 pixels."""
    return np.asarray(cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.float32)


CHANGES: dict[str, Callable[[Image], Image]] = {
    "none": lambda image: image,
    "gamma 0.5": lambda image: image**0.5,
    "gamma 0.7": lambda image: image**0.7,
    "gamma 1.4": lambda image: image**1.4,
    "gamma 2": lambda image: image**2,
    "sigmoid curve": lambda image: np.where(image > 0, 1 / (1 + np.exp(-8 * (image - 0.5))), 0).astype(np.float32),
    "local contrast (CLAHE)": clahe,
    "half the resolution": half_resolution,
    "noise, 2 % of the range": lambda image: add_noise(image, 0.02),
}


def predict(model: DensityModel, mammogram: Mammogram, change: Callable[[Image], Image]) -> float:
    """Return the model's prediction for a changed image."""
    pixels = read_image(mammogram.image_file)[0].astype(np.float32)
    grey = downsample_uint8(change(pixels / max(float(pixels.max()), 1.0)))
    return model.predict(density_features(grey, segment_downsampled(grey), mammogram.view))


def estimates(model: DensityModel, predictions: Sequence[float], mammograms: Sequence[Mammogram]) -> list[ACRDensity]:
    """Return the category of each image, from the mean score of its patient."""
    scores = defaultdict(list)
    for prediction, mammogram in zip(predictions, mammograms, strict=True):
        scores[mammogram.patient].append(model.score(prediction))
    return [score_to_category(fmean(scores[mammogram.patient])) for mammogram in mammograms]


def row(label: str, change: Callable[[Image], Image], test: Sequence[Mammogram], train: Sequence[Mammogram]) -> str:
    """Return a row of the table."""
    model = default_density_model()
    predictions = [predict(model, mammogram, change) for mammogram in test]
    cuts = category_cuts(np.array([predict(model, item, change) for item in train]), densities(train))
    patients = [mammogram.patient for mammogram in test]
    cells: list[Any] = []
    for candidate in (model, replace(model, cuts=cuts)):
        estimate = estimates(candidate, predictions, test)
        low, high = kappa_interval(densities(test), estimate, patients)
        kappa = quadratic_kappa(confusion_matrix(densities(test), estimate))
        cells.append(f"{kappa:.2f} ({low:.2f} to {high:.2f})")
    return f"| {label} | {cells[0]} | {cells[1]} | {fmean(predictions):.2f} |"


def densities(mammograms: Sequence[Mammogram]) -> list[ACRDensity]:
    """Return the densities of images that have one."""
    return [ACRDensity(mammogram.density) for mammogram in mammograms if mammogram.density]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    mammograms = [mammogram for mammogram in read(parser.parse_args().folder, RejectedCases()) if mammogram.density]
    test = [mammogram for mammogram in mammograms if mammogram.split == "test"]
    names = sorted({mammogram.patient for mammogram in mammograms if mammogram.split == "train"})
    chosen = set(np.random.default_rng(0).permutation(names)[:N_PATIENTS].tolist())
    train = [mammogram for mammogram in mammograms if mammogram.patient in chosen]
    print("| change | kappa, default cuts | kappa, cuts of 50 patients | mean prediction |\n|---|---|---|---|")
    for label, change in CHANGES.items():
        print(row(label, change, test, train), flush=True)


if __name__ == "__main__":
    main()
