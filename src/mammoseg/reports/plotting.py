"""What all our pictures share."""

from __future__ import annotations

from pathlib import Path

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

TRUTH, PREDICTION = "#2ca02c", "#1f5fff"  # the paper's Figure 2: green and blue


def contour(axis: Axes, values: NDArray, level: float, colour: str) -> None:
    """Nothing is drawn, and no warning given, where no pixel lies above the level."""
    if values.min() < level < values.max():
        axis.contour(values, levels=[level], colors=[colour], linewidths=1.4)


def save(figure: Figure, path: Path) -> None:
    FigureCanvasAgg(figure)
    # matplotlib would note its own version and the date; the same run should give the same file.
    metadata = {"Date": None} if path.suffix == ".svg" else {"Software": None}
    with rc_context({"svg.hashsalt": "mammoseg"}):
        figure.savefig(path, dpi=110, metadata=metadata)
