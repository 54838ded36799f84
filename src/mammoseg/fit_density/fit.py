"""Read the images of a dataset, fit a density model to the training images, and report its agreement."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mammoseg import processes
from mammoseg.data.dataset import DatasetSpec
from mammoseg.data.images.read import read_image
from mammoseg.data.preprocessing.breast import downsample_uint8, segment_downsampled
from mammoseg.data.preprocessing.density_features import density_features
from mammoseg.data.preprocessing.density_model import (
    DensityModel,
    load_density_model,
    mean_by_patient,
    score_to_category,
)
from mammoseg.data.readers.consistency import unify_patients
from mammoseg.data.readers.mammogram import Mammogram
from mammoseg.density import ACRDensity
from mammoseg.errors import UserError
from mammoseg.fit_density.regression import Floats, fit_density_model, refit_cuts
from mammoseg.statistics.agreement import confusion_matrix, kappa_interval, quadratic_kappa
from mammoseg.terminal import Progress

MIN_IMAGES_PER_WORKER = 24  # below this, starting processes costs more than it saves


@dataclass(frozen=True)
class Agreement:
    """Agreement of the estimated categories with those of the dataset.

    Attributes:
        label: Which images, and whether scores are averaged over those of a patient.
        n: Number of images or patients.
        kappa: Quadratically weighted kappa.
        interval: Its 95 % interval, from a bootstrap over patients.
        confusion: (4, 4); rows are the categories of the dataset.
    """

    label: str
    n: int
    kappa: float
    interval: tuple[float, float]
    confusion: NDArray[np.int64]

    @property
    def same_category(self) -> float:
        """Fraction with the same category."""
        return float(np.trace(self.confusion) / self.confusion.sum())


def fit_dataset(dataset: DatasetSpec, cuts_only: bool) -> tuple[DensityModel, list[Agreement]]:
    """Fit a density model to a dataset.

    Images of the dataset's own test part are not used to fit anything; the agreement on them is computed at the end.

    Args:
        dataset: The dataset; images without a density are ignored.
        cuts_only: Whether to keep the coefficients of the current model, `dataset.density_model` or the default.

    Returns:
        The model, and its agreement with the dataset for images and patients: by cross-validation on the training
        images, or with `cuts_only` on the images to which the cuts were fitted; and on the test images, if any.

    Raises:
        UserError: If an image cannot be read, or the images are too few.
    """
    mammograms = [mammogram for mammogram in unify_patients([*dataset.mammograms().values()]) if mammogram.density]
    train = [mammogram for mammogram in mammograms if mammogram.split != "test"]
    test = [mammogram for mammogram in mammograms if mammogram.split == "test"]
    if not train:
        raise UserError(f"{dataset.root}: has no training image with an ACR density")
    names, train_features = read_features(train, dataset.builder.workers)
    density, patients = known_densities(train), [mammogram.patient for mammogram in train]
    if cuts_only:
        model, predictions = refit_cuts(current_model(dataset, names), train_features, density)
    else:
        model, predictions = fit_density_model(names, train_features, density, patients)
    model = replace(model, about={"dataset": dataset.name, **model.about})
    label = "images of the cuts" if cuts_only else "training images, cross-validated"
    reports = agreements(label, model, predictions, train)
    if test:
        _, test_features = read_features(test, dataset.builder.workers)
        reports += agreements("test images", model, model.predict_all(test_features), test)
    return model, reports


def current_model(dataset: DatasetSpec, names: Sequence[str]) -> DensityModel:
    """Return the model of the setting `dataset.density_model`.

    Raises:
        UserError: If the file cannot be read, or the model was fitted to other features than `names`.
    """
    model = load_density_model(dataset.builder.density_model, dataset.root)
    model.check_names(names)
    return model


def known_densities(mammograms: Sequence[Mammogram]) -> list[ACRDensity]:
    """Return the densities of images that have one."""
    return [ACRDensity(mammogram.density) for mammogram in mammograms if mammogram.density]


def read_features(mammograms: Sequence[Mammogram], workers: int | None) -> tuple[list[str], Floats]:
    """Read images and compute their features.

    Args:
        mammograms: The images.
        workers: Number of processes; None for one per CPU core.

    Returns:
        The names of the features, and the features (N, n).
    """
    rows = []
    with Progress("reading images", len(mammograms)) as progress:
        for row in map_images(mammograms, workers or os.cpu_count() or 1):
            rows.append(row)
            progress.advance()
    return list(rows[0]), np.array([list(row.values()) for row in rows])


def map_images(mammograms: Sequence[Mammogram], workers: int) -> Iterator[dict[str, float]]:
    """Yield the features of each image, in order."""
    n_workers = min(workers, max(len(mammograms) // MIN_IMAGES_PER_WORKER, 1))
    arguments = [mammogram.image_file for mammogram in mammograms], [mammogram.view for mammogram in mammograms]
    if n_workers == 1:
        yield from map(image_features, *arguments)
        return
    with processes.spawn_pool(n_workers, partial(cv2.setNumThreads, 1)) as pool:
        yield from pool.map(image_features, *arguments, chunksize=4)


def image_features(image_file: Path, view: str) -> dict[str, float]:
    """Read an image and compute its features, which are the same as in preprocessing."""
    grey = downsample_uint8(read_image(image_file)[0])
    return density_features(grey, segment_downsampled(grey), view)


def agreements(
    label: str, model: DensityModel, predictions: Floats, mammograms: Sequence[Mammogram]
) -> list[Agreement]:
    """Return the agreement for single images, for images with the mean score of the patient, and for patients.

    Args:
        label: Which images.
        model: Its cuts are used.
        predictions: (N,) predictions of the images.
        mammograms: (N,) images with a density.
    """
    scores = [model.score(prediction) for prediction in predictions]
    means = mean_by_patient(scores, [mammogram.patient for mammogram in mammograms])
    first = [*{mammogram.patient: index for index, mammogram in reversed([*enumerate(mammograms)])}.values()][::-1]
    return [
        agreement(f"{label}, one image", mammograms, scores),
        agreement(f"{label}, mean of the patient", mammograms, means),
        agreement(f"{label}, patients", [mammograms[index] for index in first], [means[index] for index in first]),
    ]


def agreement(label: str, mammograms: Sequence[Mammogram], scores: Sequence[float]) -> Agreement:
    """Return the agreement of images with density scores (N,)."""
    reference, estimate = known_densities(mammograms), [score_to_category(score) for score in scores]
    confusion = confusion_matrix(reference, estimate)
    interval = kappa_interval(reference, estimate, [mammogram.patient for mammogram in mammograms])
    return Agreement(label, len(reference), quadratic_kappa(confusion), interval, confusion)


def format_agreement(report: Agreement) -> str:
    """Return the agreement as text for the terminal, with its confusion matrix."""
    low, high = report.interval
    lines = [
        f"{report.label} ({report.n}): quadratic kappa {report.kappa:.3f} (95 % interval {low:.3f} to {high:.3f}), "
        f"same category {100 * report.same_category:.1f} %"
    ]
    for category, counts in zip(ACRDensity, report.confusion, strict=True):
        lines.append(f"  dataset {category}, estimate 1-4: " + " ".join(f"{count:4d}" for count in counts))
    return "\n".join(lines)
