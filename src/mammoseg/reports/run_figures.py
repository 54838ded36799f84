"""Figures of a run: learning curves, and overlays of ground truth (green) and prediction (blue).

They are drawn from the run's files and the prepared images; the network is not loaded.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mammoseg.data.store import PreparedStore
from mammoseg.density import ACRDensity
from mammoseg.metrics import N_LEVELS, PIXEL_METRICS
from mammoseg.reports.plotting import PREDICTION_COLOUR, TRUTH_COLOUR, contour, save_figure
from mammoseg.runs.predictions import Predictions
from mammoseg.runs.results import ResultRow


@dataclass(frozen=True)
class Example:
    """A test image with its prediction.

    Attributes:
        image: (H, W), the network's input.
        mask: (H, W) in {0, 1}, ground truth.
        prob: (H, W) in [0, 1], predicted probability.
        threshold: The predicted mask is `prob > threshold`.
        row: The image's row of results.csv.
    """

    image: NDArray[np.float32]
    mask: NDArray[np.uint8]
    prob: NDArray[np.float32]
    threshold: float
    row: ResultRow


def select_examples(rows: Sequence[ResultRow], predictions: Predictions, store: PreparedStore) -> list[Example]:
    """Select the test image with the median DSC of each ACR category.

    Args:
        rows: Rows of results.csv.
        predictions: Contents of predictions.npz of the same run.
        store: The prepared images.

    Returns:
        At most four examples, ordered by ACR category.
    """
    store_index = {case.case: index for index, case in enumerate(store.cases)}
    prediction_index = {case: index for index, case in enumerate(predictions.cases)}
    examples = []
    for category in ACRDensity:
        ranked = sorted((row for row in rows if row["density"] == category), key=lambda row: (row["dsc"], row["case"]))
        if ranked:
            row = ranked[len(ranked) // 2]
            index = store_index[row["case"]]
            prob, threshold = stored_prob(predictions, prediction_index[row["case"]])
            examples.append(Example(np.array(store.images[index]), np.array(store.masks[index]), prob, threshold, row))
    return examples


def stored_prob(predictions: Predictions, index: int) -> tuple[NDArray[np.float32], float]:
    """Reconstruct the probability map of an image so that thresholding it gives the stored mask exactly.

    Stored probabilities are quantised to 256 levels. Within the level that contains the threshold, they are shifted
    by less than 1/256 to the side of the threshold on which the mask has the pixel.

    Args:
        predictions: Contents of predictions.npz.
        index: Index of the image in it.

    Returns:
        Probabilities (H, W) and threshold; the mask itself and 0.5 if no probabilities are stored.
    """
    mask = predictions.masks[index]
    if predictions.quantised_probs is None or predictions.threshold is None:
        return mask.astype(np.float32), 0.5
    cutoff = np.float32(predictions.threshold)
    prob = (predictions.quantised_probs[index].astype(np.float32) + np.float32(0.5)) / np.float32(N_LEVELS)
    prob_inside = np.maximum(prob, np.nextafter(cutoff, np.float32(1)))
    return np.where(mask, prob_inside, np.minimum(prob, cutoff)), float(cutoff)


def plot_overlays(examples: Sequence[Example], path: Path) -> None:
    """Write a figure with one column per example: contours on the image (top), probability map (bottom).

    Args:
        examples: At least one example.
        path: Output file, .png or .svg.
    """
    figure = Figure(figsize=(max(3.2 * len(examples), 5.5), 6.9), layout="constrained")
    axes = figure.subplots(2, len(examples), squeeze=False)
    for (top, bottom), example in zip(axes.T, examples, strict=True):
        row = example.row
        top.imshow(example.image, cmap="gray")
        contour(top, example.mask, 0.5, TRUTH_COLOUR)
        contour(top, example.prob, example.threshold, PREDICTION_COLOUR)
        top.set_title(f"ACR {row['density']}: {row['case']}\nDSC {row['dsc']:.3f}", fontsize=9)
        heatmap = bottom.imshow(example.prob, cmap="magma", vmin=0, vmax=1)
        contour(bottom, example.mask, 0.5, TRUTH_COLOUR)
    for axis in axes.flat:
        axis.set_axis_off()
    figure.colorbar(heatmap, ax=axes[1].tolist(), label="probability of mass", shrink=0.8)
    title = "Median-DSC test image per ACR category (green: ground truth, blue: prediction)"
    figure.suptitle(title, fontsize=11, wrap=True)
    save_figure(figure, path)


def plot_learning_curves(metrics_file: Path, path: Path) -> None:
    """Write a figure of the losses and of the validation metrics in [0, 1] against the epoch.

    Args:
        metrics_file: metrics.csv of a run.
        path: Output file, .png or .svg.
    """
    with metrics_file.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    figure = Figure(figsize=(11, 4), layout="constrained")
    loss_axis, score_axis = figure.subplots(1, 2)
    names = [name for name in rows[0] if name.startswith(("train/", "val/loss"))]
    for name in sorted(names, key=lambda name: (not name.endswith("/loss"), name)):
        _plot_curve(loss_axis, rows, name, "-" if name.endswith("/loss") else ":")
    for key, metric in PIXEL_METRICS.items():
        if metric.value_range == (0, 1):
            _plot_curve(score_axis, rows, f"val/{key}", "-")
    loss_axis.set(xlabel="epoch", ylabel="loss (dotted: weighted terms)")
    score_axis.set(xlabel="epoch", ylabel="validation score (pooled)", ylim=(0, 1))
    for axis in (loss_axis, score_axis):
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    save_figure(figure, path)


def _plot_curve(axis: Axes, rows: Sequence[dict[str, str]], name: str, style: str) -> None:
    points = [(int(row["epoch"]) + 1, float(row[name])) for row in rows if row.get(name)]
    if points:
        axis.plot(*zip(*points, strict=True), style, marker=".", label=name)
