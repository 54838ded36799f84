"""Plotting functions and colours that are shared by the figures of all reports."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps, rc_context
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from mammoseg.files import atomic_write

# Cyan and orange differ for readers with any common colour-vision deficiency, and in lightness from the tissue.
TRUTH_COLOUR, PREDICTION_COLOUR = "#35c4ff", "#ffa31a"
HEATMAP_OPACITY = 0.75  # of the colour of a probability of 1 on the image; proportional to the probability
CHARACTER_WIDTH = 0.065  # mean width of a character of size 8, in inches
LEGEND_HANDLE_WIDTH = 0.55  # of a handle and the space around it in a legend of size 8, in inches
LINE_HEIGHT, LEGEND_SPACING = 0.135, 0.06  # of size 8, and between the rows of a legend, in inches
OUTLINE_WIDTH = 0.4  # of the dark outline on each side of a contour, in points
# Palette of Okabe and Ito without yellow, which is hard to see on white; https://jfly.uni-koeln.de/color
METHOD_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#000000", "#999999")


@dataclass(frozen=True)
class ContourStyle:
    """Line of the contours of a mask.

    Attributes:
        label: Text in the legend.
        colour: Colour.
        width: Line width in points.
    """

    label: str
    colour: str
    width: float

    @property
    def outline(self) -> withStroke:
        """Dark outline of the line, which makes it visible on bright tissue."""
        return withStroke(linewidth=self.width + 2 * OUTLINE_WIDTH, foreground="black")


# The line of the ground truth is wider, so that it remains visible where the prediction coincides with it.
GROUND_TRUTH = ContourStyle("ground truth", TRUTH_COLOUR, 2.2)
THIN_GROUND_TRUTH = replace(GROUND_TRUTH, width=1.0)  # for figures without contours of the prediction
PREDICTION = ContourStyle("prediction", PREDICTION_COLOUR, 0.9)


def draw_contour(axis: Axes, values: NDArray[Any], level: float, style: ContourStyle) -> None:
    """Draw a contour line around the pixels above a level, including along the border of the image.

    Nothing is drawn if no pixel is above `level`, for which matplotlib would warn.

    Args:
        axis: Axes that show the image.
        values: Mask or probabilities, shape (H, W), at least 0.
        level: Value of the contour line, above 0.
        style: Line of the contour, which has a dark outline.
    """
    if values.max() <= level:
        return
    height, width = values.shape
    limits = axis.axis()
    # Without the border of zeros, a mask of the whole image would have no contour.
    contour = axis.contour(
        np.arange(-1, width + 1),
        np.arange(-1, height + 1),
        np.pad(values, 1),
        levels=[level],
        colors=[style.colour],
        linewidths=style.width,
    )
    contour.set_path_effects([style.outline])
    axis.axis(limits)


def add_contour_legend(figure: Figure, styles: Sequence[ContourStyle] = (GROUND_TRUTH, PREDICTION)) -> None:
    """Add a legend of the contours above the axes.

    Args:
        figure: Figure with constrained layout.
        styles: Lines of the contours.
    """
    lines = [
        Line2D([], [], color=style.colour, linewidth=style.width, label=style.label, path_effects=[style.outline])
        for style in styles
    ]
    figure.legend(handles=lines, loc="outside upper center", ncols=len(lines), fontsize=9, frameon=False)


def wrap_name(name: str, width: int) -> str:
    """Divide the name of a method into lines, at spaces and after "=" and ",".

    Args:
        name: The name, such as "Density-ASP (loss.theta=[0.5,0.5,1.0,1.0])".
        width: Maximum number of characters per line, except in parts that cannot be divided.

    Example:
        >>> wrap_name("AU-Net (loss.alpha=1.0)", 12).splitlines()
        ['AU-Net', '(loss.alpha=', '1.0)']
    """
    lines = [""]
    for part in re.split(r"(?<=[ =,])", name):
        if lines[-1] and len(f"{lines[-1]}{part}".rstrip()) > width:
            lines.append("")
        lines[-1] += part
    return "\n".join(line.rstrip() for line in lines)


def add_legend(figure: Figure, handles: Sequence[Artist], labels: Sequence[str]) -> float:
    """Add a legend above the axes, with as many columns as fit.

    Args:
        figure: Figure with constrained layout.
        handles: Artists that the legend shows.
        labels: Their labels, which may have several lines.

    Returns:
        Approximate height of the legend in inches.
    """
    longest = max(len(line) for label in labels for line in label.splitlines())
    columns = int(figure.get_figwidth() / (LEGEND_HANDLE_WIDTH + longest * CHARACTER_WIDTH))
    n_columns = min(max(columns, 1), len(labels))
    figure.legend(handles, labels, loc="outside upper center", ncols=n_columns, fontsize=8, frameon=False)
    n_lines = max(len(label.splitlines()) for label in labels)
    return math.ceil(len(labels) / n_columns) * (n_lines * LINE_HEIGHT + LEGEND_SPACING)


def draw_heatmap(
    axis: Axes, x: Sequence[tuple[float, ...]], y: Sequence[float], scores: Sequence[float], label: str
) -> None:
    """Draw a heatmap with one annotated cell per (x, y) pair. Cells without a score are blank.

    Args:
        axis: Axes to draw on.
        x: N vectors; each distinct vector is a column.
        y: N values; each distinct value is a row.
        scores: N scores, one per (x, y) pair.
        label: Label of the colour bar.
    """
    columns, rows = sorted(set(x)), sorted(set(y))
    grid = np.full((len(rows), len(columns)), np.nan)
    for vector, value, score in zip(x, y, scores, strict=True):
        grid[rows.index(value), columns.index(vector)] = score
    image = axis.imshow(grid, cmap="viridis", aspect="auto")
    axis.set_xticks(range(len(columns)), [" ".join(f"{v:g}" for v in vector) for vector in columns], rotation=20)
    axis.set_yticks(range(len(rows)), [f"{value:g}" for value in rows])
    mid_score = (min(scores) + max(scores)) / 2
    for (i, j), score in np.ndenumerate(grid):
        if not np.isnan(score):
            axis.text(j, i, f"{score:.1f}", ha="center", va="center", color="black" if score > mid_score else "white")
    assert axis.figure is not None  # narrows the type
    axis.figure.colorbar(image, ax=axis, label=label)


def draw_parallel_coordinates(axis: Axes, values: NDArray[Any], scores: NDArray[Any], names: Sequence[str]) -> None:
    """Draw a parallel-coordinates plot: one line per sample, with each coordinate scaled to its range.

    Args:
        axis: Axes to draw on.
        values: K settings of N samples, shape (N, K).
        scores: Scores of the samples, shape (N,). They are the last coordinate and determine the colours of the lines.
        names: Labels of the K + 1 coordinates.
    """
    table = np.column_stack([values, scores])
    low, high = table.min(axis=0), table.max(axis=0)
    constant = high == low
    heights = np.where(constant, 0.5, (table - low) / np.where(constant, 1, high - low))
    for line, colour in zip(heights, colormaps["viridis"](heights[:, -1]), strict=True):
        axis.plot(range(len(names)), line, color=colour, linewidth=2)
    axis.set_xticks(range(len(names)), names)
    axis.set_yticks([])
    for x, (bottom, top) in enumerate(zip(low, high, strict=True)):
        axis.axvline(x, color="grey", linewidth=0.8)
        axis.text(x, -0.06, f"{bottom:.4g}", ha="center", va="top", fontsize=8)
        axis.text(x, 1.03, f"{top:.4g}", ha="center", va="bottom", fontsize=8)
    axis.set_ylim(-0.15, 1.15)
    for side in ("top", "right", "bottom", "left"):
        axis.spines[side].set_visible(False)
    axis.tick_params(axis="x", length=0)


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure atomically and reproducibly: identical figures result in identical files.

    Args:
        figure: Figure to write.
        path: Output file. The suffix determines the format, .png or .svg.
    """
    FigureCanvasAgg(figure)
    # Omit the version of matplotlib and the date, and derive SVG identifiers from a constant salt.
    metadata = {"Date": None} if path.suffix == ".svg" else {"Software": None}
    with rc_context({"svg.hashsalt": "mammoseg"}), atomic_write(path, "wb") as file:
        figure.savefig(file, format=path.suffix.removeprefix("."), dpi=110, metadata=metadata)


def save_svg_and_png(figure: Figure, stem: Path) -> Path:
    """Write a figure in SVG and PNG format.

    Args:
        figure: Figure to write.
        stem: Output path without suffix.

    Returns:
        Path of the PNG file.
    """
    svg, png = (stem.with_name(f"{stem.name}.{suffix}") for suffix in ("svg", "png"))
    save_figure(figure, svg)
    save_figure(figure, png)
    return png
