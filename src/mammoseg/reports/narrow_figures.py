"""Figures rearranged for narrow windows, such as those of phones."""

from __future__ import annotations

import io
import textwrap

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from matplotlib.ticker import FixedLocator

WIDTH = 4.2  # inches; legible in a window of 400 pixels
DPI = 110
TITLE_WIDTH = 52  # characters per line
LABEL_WIDTH = 24  # characters per line, of names in a legend or beside an axis


def stacked_png(figure: Figure) -> bytes:
    """Arrange the panels of a figure in one column and render it.

    Args:
        figure: Figure with constrained layout and two or more panels; it is modified. The panels keep their height.

    Returns:
        The figure as PNG, `WIDTH` inches wide.
    """
    panels = [(axis, spec) for axis in figure.axes if (spec := axis.get_subplotspec()) is not None]
    n_rows = max(spec.get_gridspec().nrows for _, spec in panels)
    height = figure.get_figheight() / n_rows
    labels = [wrapped_labels(axis) for axis, _ in panels]  # before any change, since panels may share their axes
    grid = GridSpec(len(panels), 1, figure=figure)
    for i, (axis, _) in enumerate(panels):
        if labels[i]:
            axis.set_yticks(axis.get_yticks(), labels[i], fontsize=8)
        axis.set_subplotspec(grid[i])
        axis.tick_params(labelleft=True, labelbottom=True)  # axes of shared scale show labels in the first panel only
    for legend in figure.legends:
        legend.set_ncols(2)
        for text in legend.get_texts():
            text.set_text(textwrap.fill(text.get_text(), LABEL_WIDTH))
    figure.suptitle(textwrap.fill(figure.get_suptitle(), TITLE_WIDTH), fontsize=9)
    figure.set_size_inches(WIDTH, len(panels) * height)
    figure.set_dpi(DPI)
    png = io.BytesIO()
    FigureCanvasAgg(figure).print_png(png, metadata={"Software": None})  # type: ignore[no-untyped-call]
    return png.getvalue()


def wrapped_labels(axis: Axes) -> list[str]:
    """Return the names at the vertical axis, wrapped; empty if its labels are numbers."""
    if not isinstance(axis.yaxis.get_major_locator(), FixedLocator):
        return []
    return [textwrap.fill(label.get_text(), LABEL_WIDTH) for label in axis.get_yticklabels()]
