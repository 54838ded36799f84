"""Figures of a run: learning curves, and overlays of ground truth and prediction.

The figures are created from the files of the run and the prepared images, without the network.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from mammoseg.data.store import PreparedStore
from mammoseg.density import ACRDensity
from mammoseg.metrics import DSC, N_LEVELS, PIXEL_METRICS
from mammoseg.reports.plotting import (
    GROUND_TRUTH,
    HEATMAP_OPACITY,
    PREDICTION,
    THIN_GROUND_TRUTH,
    add_contour_legend,
    draw_contour,
    save_figure,
)
from mammoseg.runs.predictions import Predictions
from mammoseg.runs.results import MAX_PROBABILITY, ResultRow, has_mass

ABBREVIATIONS = ("rmi", "ssim", "bce", "asp")  # names of loss terms that are written in upper case


@dataclass(frozen=True)
class Example:
    """A test image with its prediction.

    Attributes:
        image: Input of the network, shape (H, W).
        mask: Ground truth of shape (H, W) in {0, 1}.
        prob: Predicted probability of shape (H, W) in [0, 1].
        threshold: Threshold of the predicted mask, which is ``prob > threshold``.
        row: Row of the image in results.csv.
        selection: Why the image was selected, such as "ACR 2, median of 11 images".
    """

    image: NDArray[np.float32]
    mask: NDArray[np.uint8]
    prob: NDArray[np.float32]
    threshold: float
    row: ResultRow
    selection: str

    @property
    def outcome(self) -> str:
        """DSC of the image or, without a mass, the highest probability."""
        if has_mass(self.row):
            return f"DSC {DSC.format(self.row['dsc'])} %"
        return f"highest probability {self.prob.max():.2f}"


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
    selected: list[tuple[ResultRow, str]] = []
    for category in ACRDensity:
        images = [row for row in rows if row["density"] == category and has_mass(row)]
        if ranked := sorted(images, key=lambda row: (row["dsc"], row["case"])):
            selected.append((ranked[len(ranked) // 2], f"ACR {category}, {median_of(len(ranked))}"))
    if negatives := [row for row in rows if not has_mass(row)]:
        suspicious = max(negatives, key=lambda row: (row.get(MAX_PROBABILITY, row["fp"]), row["case"]))
        selected.append((suspicious, f"no mass (ACR {suspicious['density']}), highest of {len(negatives)}"))
    examples = []
    for row, selection in selected:
        index = store_index[row["case"]]
        image, mask = np.array(store.images[index]), np.array(store.masks[index])
        prob, threshold = stored_prob(predictions, prediction_index[row["case"]])
        examples.append(Example(image, mask, prob, threshold, row, selection))
    return examples


def median_of(n_images: int) -> str:
    """Describe the image with the (upper) median DSC of `n_images`.

    Example:
        >>> [median_of(n) for n in (1, 2, 3)]
        ['the only image', 'the better of 2 images', 'median of 3 images']
    """
    return {1: "the only image", 2: "the better of 2 images"}.get(n_images, f"median of {n_images} images")


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
    figure = Figure(figsize=(max(3.2 * len(examples), 5.5), 7.0), layout="constrained")
    axes = figure.subplots(2, len(examples), squeeze=False)
    for (top, bottom), example in zip(axes.T, examples, strict=True):
        top.imshow(example.image, cmap="gray")
        draw_contour(top, example.mask, 0.5, GROUND_TRUTH)
        draw_contour(top, example.prob, example.threshold, PREDICTION)
        top.set_title(f"{example.selection}\n{example.row['case']}\n{example.outcome}", fontsize=9)
        bottom.imshow(example.image, cmap="gray")
        alpha = HEATMAP_OPACITY * np.clip(example.prob, 0, 1)
        bottom.imshow(example.prob, cmap="magma", vmin=0, vmax=1, alpha=alpha)
        draw_contour(bottom, example.mask, 0.5, THIN_GROUND_TRUTH)
    for axis in axes.flat:
        axis.set_axis_off()
    colours = ScalarMappable(Normalize(0, 1), "magma")
    figure.colorbar(colours, ax=axes[1].tolist(), label="predicted probability of mass", shrink=0.9)
    add_contour_legend(figure)
    save_figure(figure, path)


def plot_learning_curves(metrics_file: Path, path: Path) -> None:
    """Write a figure of the loss, its terms and the validation metrics by epoch.

    A vertical line marks the epoch with the highest validation DSC, and triangles the epochs from which the learning
    rate is lower.

    Args:
        metrics_file: metrics.csv of a run.
        path: Output file, .png or .svg.
    """
    with metrics_file.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    figure = Figure(figsize=(13, 4), layout="constrained")
    loss_axis, term_axis, metric_axis = figure.subplots(1, 3)
    _draw_curve(loss_axis, rows, "train/loss", "training")
    _draw_curve(loss_axis, rows, "val/loss", "validation")
    for name in sorted(name for name in rows[0] if is_loss_term(name)):
        _draw_curve(term_axis, rows, name, term_title(name))
    for key, metric in PIXEL_METRICS.items():
        if metric.value_range == (0, 1):
            _draw_curve(metric_axis, rows, f"val/{key}", metric.title, scale=100)
    loss_axis.set(title="Loss")
    term_axis.set(title="Weighted terms of the training loss")
    metric_axis.set(title="Validation, pooled over pixels (%)", ylim=(-2, 102))
    for axis in (loss_axis, term_axis, metric_axis):
        axis.set_xlabel("epoch")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axis.grid(alpha=0.3)
        _mark_epochs(axis, rows)
        if axis.get_legend_handles_labels()[0]:
            axis.legend(fontsize=8)
    save_figure(figure, path)


def _mark_epochs(axis: Axes, rows: Sequence[dict[str, str]]) -> None:
    """Mark the epoch with the highest validation DSC, and those from which the learning rate is lower."""
    if scores := _points(rows, "val/dsc"):
        epoch, score = max(scores, key=lambda point: (point[1], -point[0]))
        axis.axvline(epoch, color="black", linestyle="--", linewidth=1, label=f"epoch {epoch}: DSC {100 * score:.1f} %")
    for index, epoch in enumerate(learning_rate_steps(rows)):
        label = "" if index else "lower learning rate"
        axis.axvline(epoch - 0.5, color="grey", linestyle=":", linewidth=1, label=label)


def learning_rate_steps(rows: Sequence[dict[str, str]]) -> list[int]:
    """Return the epochs (from 1) in which the learning rate decreases, if these are few, as in a step schedule.

    Args:
        rows: Rows of metrics.csv. The learning rate is in a row before those of its epoch.

    Example:
        >>> rates = [("", "0.1"), ("0", ""), ("", "0.1"), ("1", ""), ("", "0.05"), ("2", ""), ("", "0.05"), ("3", "")]
        >>> learning_rate_steps([{"epoch": epoch, "lr-Adam": rate} for epoch, rate in rates])
        [3]
    """
    column = next((name for name in rows[0] if name.startswith("lr-")), "")
    steps, last_epoch, rate = [], 0, float("inf")
    for row in rows:
        if row.get("epoch"):
            last_epoch = int(row["epoch"]) + 1
        elif row.get(column):
            if float(row[column]) < rate and last_epoch:
                steps.append(last_epoch + 1)
            rate = float(row[column])
    return steps if 4 * len(steps) <= last_epoch else []


def term_title(column: str) -> str:
    """Return the title of a loss term.

    Example:
        >>> [term_title(column) for column in ("train/rmi", "train/dice", "train/mass_size")]
        ['RMI', 'Dice', 'Mass size']
    """
    name = column.removeprefix("train/")
    return name.upper() if name in ABBREVIATIONS else name.replace("_", " ").capitalize()


def is_loss_term(column: str) -> bool:
    """Return True if a column of metrics.csv contains a weighted loss term of the training images.

    Example:
        >>> [is_loss_term(column) for column in ("train/rmi", "train/loss", "train/grad_norm_rmi", "val/dsc")]
        [True, False, False, False]
    """
    others = ("train/loss", "train/grad_norm", "train/clipped", "train/clip_factor")
    return column.startswith("train/") and column not in others and not column.startswith("train/grad_norm_")


def _points(rows: Sequence[dict[str, str]], column: str) -> list[tuple[int, float]]:
    """Return (epoch, value) of a column, with epochs from 1."""
    return [(int(row["epoch"]) + 1, float(row[column])) for row in rows if row.get(column)]


def _draw_curve(axis: Axes, rows: Sequence[dict[str, str]], column: str, label: str, scale: float = 1) -> None:
    if points := _points(rows, column):
        epochs, values = zip(*points, strict=True)
        axis.plot(epochs, [scale * value for value in values], marker=".", label=label)
