"""Figures rearranged for narrow windows, such as those of phones."""

from __future__ import annotations

import io
import textwrap

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from matplotlib.ticker import FixedLocator

from mammoseg.reports.plotting import CHARACTER_WIDTH, add_legend, wrap_name

WIDTH = 4.2  # inches; legible in a window of 400 pixels
DPI = 110
TITLE_WIDTH = 52  # characters per line
LABEL_WIDTH = 24  # characters per line, of names in a legend or beside an axis
MARGIN = 1.2  # inches beside a panel, for the labels of its vertical axis


def narrow_png(figure: Figure) -> bytes:
    """Arrange the panels of a figure in one column, with the legends above them, and render it.

    Args:
        figure: Figure with constrained layout; it is modified. The panels keep their height.

    Returns:
        The figure as PNG, `WIDTH` inches wide.
    """
    panels = [(axis, spec) for axis in figure.axes if (spec := axis.get_subplotspec()) is not None]
    n_rows = max(spec.get_gridspec().nrows for _, spec in panels)
    height = figure.get_figheight() / n_rows
    labels = [wrapped_labels(axis.yaxis) for axis, _ in panels]  # before any change, since panels may share their axes
    grid = GridSpec(len(panels), 1, figure=figure)
    figure.set_size_inches(WIDTH, len(panels) * height)
    for i, (axis, _) in enumerate(panels):
        if labels[i]:
            axis.set_yticks(axis.get_yticks(), labels[i], fontsize=8)
        axis.set_subplotspec(grid[i])
        axis.tick_params(labelleft=True, labelbottom=True)  # axes of shared scale show labels in the first panel only
        rotate_long_labels(axis)
    figure.set_figheight(figure.get_figheight() + move_legends(figure))
    figure.suptitle(textwrap.fill(figure.get_suptitle(), TITLE_WIDTH), fontsize=9)
    figure.set_dpi(DPI)
    png = io.BytesIO()
    FigureCanvasAgg(figure).print_png(png, metadata={"Software": None})  # type: ignore[no-untyped-call]
    return png.getvalue()


def move_legends(figure: Figure) -> float:
    """Replace the legends of a figure and of its panels by one above the panels, and return its height in inches."""
    legends = [*figure.legends, *(legend for axis in figure.axes if (legend := axis.get_legend()) is not None)]
    handles = [handle for legend in legends for handle in legend.legend_handles if handle is not None]
    labels = [wrap_name(text.get_text(), LABEL_WIDTH) for legend in legends for text in legend.get_texts()]
    for legend in legends:
        legend.remove()
    return add_legend(figure, handles, labels) if legends else 0.0


def rotate_long_labels(axis: Axes) -> None:
    """Rotate the names at the horizontal axis if they would overlap."""
    labels = wrapped_labels(axis.xaxis)
    longest = max((len(line) for label in labels for line in label.splitlines()), default=0)
    if labels and longest * CHARACTER_WIDTH > (WIDTH - MARGIN) / len(labels):
        axis.set_xticks(axis.get_xticks(), labels, fontsize=8, rotation=60, ha="right", rotation_mode="anchor")


def wrapped_labels(axis: Axis) -> list[str]:
    """Return the names at an axis, wrapped; empty if its labels are numbers."""
    if not isinstance(axis.get_major_locator(), FixedLocator):
        return []
    return [wrap_name(label.get_text(), LABEL_WIDTH) for label in axis.get_ticklabels()]
