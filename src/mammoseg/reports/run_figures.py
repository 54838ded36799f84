"""Figures of a run: learning curves, and overlays of ground truth (green) and prediction (blue).

The figures are created from the files of the run and the prepared images, without the network.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from mammoseg.data.store import PreparedStore
from mammoseg.density import ACRDensity
from mammoseg.metrics import DSC, N_LEVELS, PIXEL_METRICS
from mammoseg.reports.plotting import PREDICTION_COLOUR, TRUTH_COLOUR, draw_contour, save_figure
from mammoseg.runs.predictions import Predictions
from mammoseg.runs.results import MAX_PROBABILITY, ResultRow, has_mass


@dataclass(frozen=True)
class Example:
    """A test image with its prediction.

    Attributes:
        image: Input of the network, shape (H, W).
        mask: Ground truth of shape (H, W) in {0, 1}.
        prob: Predicted probability of shape (H, W) in [0, 1].
        threshold: Threshold of the predicted mask, which is ``prob > threshold``.
        row: Row of the image in results.csv.
    """

    image: NDArray[np.float32]
    mask: NDArray[np.uint8]
    prob: NDArray[np.float32]
    threshold: float
    row: ResultRow

    @property
    def outcome(self) -> str:
        """DSC of the image or, without a mass, the highest probability."""
        if has_mass(self.row):
            return f"DSC {DSC.format(self.row['dsc'])} %"
        return f"no mass, highest probability {self.prob.max():.2f}"


def select_examples(rows: Sequence[ResultRow], predictions: Predictions, store: PreparedStore) -> list[Example]:
    """Select the test image with the median DSC of each ACR category, and the most suspicious one without a mass.

    Args:
        rows: Rows of results.csv.
        predictions: Contents of predictions.npz of the same run.
        store: Prepared images.

    Returns:
        One example for each ACR category of the test images with a mass, in increasing order; and if there are images
        without a mass, the one with the highest probability.
    """
    store_index = {case.case: index for index, case in enumerate(store.cases)}
    prediction_index = {case: index for index, case in enumerate(predictions.cases)}
    selected = []
    for category in ACRDensity:
        images = [row for row in rows if row["density"] == category and has_mass(row)]
        if ranked := sorted(images, key=lambda row: (row["dsc"], row["case"])):
            selected.append(ranked[len(ranked) // 2])
    if negatives := [row for row in rows if not has_mass(row)]:
        selected.append(max(negatives, key=lambda row: (row.get(MAX_PROBABILITY, row["fp"]), row["case"])))
    examples = []
    for row in selected:
        index = store_index[row["case"]]
        prob, threshold = stored_prob(predictions, prediction_index[row["case"]])
        examples.append(Example(np.array(store.images[index]), np.array(store.masks[index]), prob, threshold, row))
    return examples


def stored_prob(predictions: Predictions, index: int) -> tuple[NDArray[np.float32], float]:
    """Reconstruct the probabilities of an image such that thresholding them reproduces the stored mask.

    Stored probabilities are quantised to 256 levels. Those in the level that contains the threshold are changed by less
    than 1/256, so that they are on the side of the threshold that agrees with the mask.

    Args:
        predictions: Contents of predictions.npz.
        index: Index of the image in `predictions`.

    Returns:
        Probabilities of shape (H, W) and threshold; mask and 0.5 if no probabilities are stored.
    """
    mask = predictions.masks[index]
    if predictions.quantised_probs is None or predictions.threshold is None:
        return mask.astype(np.float32), 0.5
    cutoff = np.float32(predictions.threshold)
    prob = (predictions.quantised_probs[index].astype(np.float32) + np.float32(0.5)) / np.float32(N_LEVELS)
    prob_inside = np.maximum(prob, np.nextafter(cutoff, np.float32(1)))
    return np.where(mask, prob_inside, np.minimum(prob, cutoff)), float(cutoff)


def plot_overlays(examples: Sequence[Example], path: Path) -> None:
    """Write a figure with one column per example: image with contours (top) and predicted probability (bottom).

    Args:
        examples: One or more examples.
        path: Output file, .png or .svg.
    """
    figure = Figure(figsize=(max(3.2 * len(examples), 5.5), 6.9), layout="constrained")
    axes = figure.subplots(2, len(examples), squeeze=False)
    for (top, bottom), example in zip(axes.T, examples, strict=True):
        row = example.row
        top.imshow(example.image, cmap="gray")
        draw_contour(top, example.mask, 0.5, TRUTH_COLOUR)
        draw_contour(top, example.prob, example.threshold, PREDICTION_COLOUR)
        top.set_title(f"ACR {row['density']}: {row['case']}\n{example.outcome}", fontsize=9)
        heatmap = bottom.imshow(example.prob, cmap="magma", vmin=0, vmax=1)
        draw_contour(bottom, example.mask, 0.5, TRUTH_COLOUR)
    for axis in axes.flat:
        axis.set_axis_off()
    figure.colorbar(heatmap, ax=axes.ravel().tolist(), label="Predicted probability of mass", shrink=0.6)
    title = "Test image with the median DSC of each ACR category"
    if not has_mass(examples[0].row):
        title = "The image without a mass with the highest probability"
    elif not has_mass(examples[-1].row):
        title += ",\nand the image without a mass with the highest probability"
    figure.suptitle(f"{title}\n(green: ground truth, blue: prediction)", fontsize=10)
    save_figure(figure, path)


def plot_learning_curves(metrics_file: Path, path: Path) -> None:
    """Write a figure of the losses and of the validation metrics with range [0, 1] by epoch.

    Args:
        metrics_file: metrics.csv of a run.
        path: Output file, .png or .svg.
    """
    with metrics_file.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    figure = Figure(figsize=(11, 4), layout="constrained")
    loss_axis, metric_axis = figure.subplots(1, 2)
    _draw_curve(loss_axis, rows, "train/loss", "training loss")
    _draw_curve(loss_axis, rows, "val/loss", "validation loss")
    for name in sorted(name for name in rows[0] if is_loss_term(name)):
        _draw_curve(loss_axis, rows, name, f"weighted {name.removeprefix('train/')} term (training)", ":")
    for key, metric in PIXEL_METRICS.items():
        if metric.value_range == (0, 1):
            _draw_curve(metric_axis, rows, f"val/{key}", metric.title)
    loss_axis.set(xlabel="Epoch", ylabel="Loss")
    metric_axis.set(xlabel="Epoch", ylabel="Validation metric (pooled)", ylim=(-0.02, 1.02))
    for axis in (loss_axis, metric_axis):
        axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    save_figure(figure, path)


def is_loss_term(column: str) -> bool:
    """Return True if a column of metrics.csv contains a weighted loss term of the training images.

    Example:
        >>> [is_loss_term(column) for column in ("train/rmi", "train/loss", "train/grad_norm_rmi", "val/dsc")]
        [True, False, False, False]
    """
    others = ("train/loss", "train/grad_norm", "train/clipped", "train/clip_factor")
    return column.startswith("train/") and column not in others and not column.startswith("train/grad_norm_")


def _draw_curve(axis: Axes, rows: Sequence[dict[str, str]], column: str, label: str, style: str = "-") -> None:
    points = [(int(row["epoch"]) + 1, float(row[column])) for row in rows if row.get(column)]
    if points:
        axis.plot(*zip(*points, strict=True), style, marker=".", label=label)
