"""Pictures of a run: learning curves, and overlays with the truth in green and the prediction in blue."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mammoseg.data.datamodule import MammogramDataModule
from mammoseg.density import ACRDensity
from mammoseg.reports.plotting import PREDICTION, TRUTH, contour, save
from mammoseg.runs.results import Row
from mammoseg.segmenter import Segmenter


@dataclass(frozen=True)
class Example:
    """One tested image: image, mask and prob (H, W), prob the predicted probability; its row of the results."""

    image: NDArray
    mask: NDArray
    prob: NDArray
    threshold: float
    row: Row


def examples(rows: Sequence[Row], datamodule: MammogramDataModule, segmenter: Segmenter) -> list[Example]:
    """For each ACR category the tested image of median DSC: neither the best nor the worst of its kind."""
    number = {case.case: place for place, case in enumerate(datamodule.store.cases)}
    shown = []
    for category in ACRDensity:
        ranked = sorted((row for row in rows if row["density"] == category), key=lambda row: (row["dsc"], row["case"]))
        if ranked:
            row = ranked[len(ranked) // 2]
            shown.append(example(number[row["case"]], row, datamodule, segmenter))
    return shown


def example(place: int, row: Row, datamodule: MammogramDataModule, segmenter: Segmenter) -> Example:
    image = np.array(datamodule.store.images[place])
    segmenter.eval()
    with torch.inference_mode():
        logits = segmenter(torch.from_numpy(image)[None, None].to(segmenter.device))
    threshold = 1 / (1 + np.exp(-segmenter.cut))
    prob = torch.sigmoid(logits.float())[0, 0].cpu().numpy()
    return Example(image, np.array(datamodule.store.masks[place]), prob, float(threshold), row)


def overlays(shown: Sequence[Example], path: Path) -> None:
    """One column per example: the image with contours above, the heat-map of probabilities below."""
    figure = Figure(figsize=(3.2 * len(shown), 6.9), layout="constrained")
    axes = figure.subplots(2, len(shown), squeeze=False)
    for (above, below), item in zip(axes.T, shown, strict=True):
        above.imshow(item.image, cmap="gray")
        contour(above, item.mask, 0.5, TRUTH)
        contour(above, item.prob, item.threshold, PREDICTION)
        above.set_title(f"ACR {item.row['density']}: {item.row['case']}\nDSC {item.row['dsc']:.3f}", fontsize=9)
        heat = below.imshow(item.prob, cmap="magma", vmin=0, vmax=1)
        contour(below, item.mask, 0.5, TRUTH)
    for axis in axes.flat:
        axis.set_axis_off()
    figure.colorbar(heat, ax=axes[1].tolist(), label="probability of mass", shrink=0.8)
    figure.suptitle("median case of each density: truth green, prediction blue", fontsize=11)
    save(figure, path)


def curves(metrics_file: Path, path: Path) -> None:
    """Loss and its terms, and validation DSC and sensitivity, against the epoch."""
    with metrics_file.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    figure = Figure(figsize=(11, 4), layout="constrained")
    losses, scores = figure.subplots(1, 2)
    names = [name for name in rows[0] if name.startswith(("train/", "val/loss"))]
    for name in sorted(names, key=lambda name: (not name.endswith("/loss"), name)):
        draw_curve(losses, rows, name, "-" if name.endswith("/loss") else ":")
    for name in ("val/dsc", "val/sensitivity"):
        draw_curve(scores, rows, name, "-")
    losses.set(xlabel="epoch", ylabel="loss (dotted: its weighed terms)")
    scores.set(xlabel="epoch", ylabel="pooled over the validation part", ylim=(0, 1))
    for axis in (losses, scores):
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    save(figure, path)


def draw_curve(axis: Axes, rows: Sequence[dict[str, str]], name: str, style: str) -> None:
    points = [(int(row["epoch"]) + 1, float(row[name])) for row in rows if row.get(name)]
    if points:
        axis.plot(*zip(*points, strict=True), style, marker=".", label=name)
