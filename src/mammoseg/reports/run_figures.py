"""Figures of a run: learning curves, and overlays with the truth in green and the prediction in blue.

They are drawn from the run's files and the prepared images, without the network.
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
    """One test image.

    Attributes:
        image: (H, W), as the network saw it.
        mask: (H, W), true mask.
        prob: (H, W), predicted probability.
        threshold: The predicted mask is `prob > threshold`.
        row: Of results.csv.
    """

    image: NDArray
    mask: NDArray
    prob: NDArray
    threshold: float
    row: ResultRow


def examples(rows: Sequence[ResultRow], predictions: Predictions, store: PreparedStore) -> list[Example]:
    """The test image of median DSC of each ACR category: neither the best nor the worst of its kind.

    Args:
        rows: From results.csv.
        predictions: From predictions.npz of the same run.
        store: The prepared images.
    """
    in_store = {case.case: index for index, case in enumerate(store.cases)}
    in_predictions = {case: index for index, case in enumerate(predictions.cases)}
    found = []
    for category in ACRDensity:
        ranked = sorted((row for row in rows if row["density"] == category), key=lambda row: (row["dsc"], row["case"]))
        if ranked:
            row = ranked[len(ranked) // 2]
            index = in_store[row["case"]]
            prob, threshold = stored_prob(predictions, in_predictions[row["case"]])
            found.append(Example(np.array(store.images[index]), np.array(store.masks[index]), prob, threshold, row))
    return found


def stored_prob(predictions: Predictions, index: int) -> tuple[NDArray[np.float32], float]:
    """Probability (H, W) of one image, and the threshold at which it gives the predicted mask exactly.

    Stored probabilities are the centres of 256 levels. In the level that contains the threshold they are moved to the
    side on which the mask has the pixel, by less than 1/256.
    """
    mask = predictions.masks[index]
    if predictions.quantised_probs is None or predictions.threshold is None:
        return mask.astype(np.float32), 0.5
    cutoff = np.float32(predictions.threshold)
    prob = (predictions.quantised_probs[index].astype(np.float32) + np.float32(0.5)) / np.float32(N_LEVELS)
    above = np.maximum(prob, np.nextafter(cutoff, np.float32(1)))
    return np.where(mask, above, np.minimum(prob, cutoff)), float(cutoff)


def overlays(shown: Sequence[Example], path: Path) -> None:
    """One column per example: the image with contours above, the heat-map of probabilities below."""
    figure = Figure(figsize=(max(3.2 * len(shown), 5.5), 6.9), layout="constrained")
    axes = figure.subplots(2, len(shown), squeeze=False)
    for (above, below), item in zip(axes.T, shown, strict=True):
        above.imshow(item.image, cmap="gray")
        contour(above, item.mask, 0.5, TRUTH_COLOUR)
        contour(above, item.prob, item.threshold, PREDICTION_COLOUR)
        above.set_title(f"ACR {item.row['density']}: {item.row['case']}\nDSC {item.row['dsc']:.3f}", fontsize=9)
        heat = below.imshow(item.prob, cmap="magma", vmin=0, vmax=1)
        contour(below, item.mask, 0.5, TRUTH_COLOUR)
    for axis in axes.flat:
        axis.set_axis_off()
    figure.colorbar(heat, ax=axes[1].tolist(), label="probability of mass", shrink=0.8)
    figure.suptitle("median case of each density: truth green, prediction blue", fontsize=11)
    save_figure(figure, path)


def curves(metrics_file: Path, path: Path) -> None:
    """Loss with its terms, and the validation metrics that lie between 0 and 1, against the epoch."""
    with metrics_file.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    figure = Figure(figsize=(11, 4), layout="constrained")
    losses, scores = figure.subplots(1, 2)
    names = [name for name in rows[0] if name.startswith(("train/", "val/loss"))]
    for name in sorted(names, key=lambda name: (not name.endswith("/loss"), name)):
        draw_curve(losses, rows, name, "-" if name.endswith("/loss") else ":")
    for key, metric in PIXEL_METRICS.items():
        if metric.value_range == (0, 1):
            draw_curve(scores, rows, f"val/{key}", "-")
    losses.set(xlabel="epoch", ylabel="loss (dotted: its weighted terms)")
    scores.set(xlabel="epoch", ylabel="pooled over the validation part", ylim=(0, 1))
    for axis in (losses, scores):
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    save_figure(figure, path)


def draw_curve(axis: Axes, rows: Sequence[dict[str, str]], name: str, style: str) -> None:
    points = [(int(row["epoch"]) + 1, float(row[name])) for row in rows if row.get(name)]
    if points:
        axis.plot(*zip(*points, strict=True), style, marker=".", label=name)
