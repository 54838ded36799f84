"""Figures of a prepared store: contact sheet, densities, mass sizes and examples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Patch, Rectangle
from matplotlib.ticker import NullFormatter, StrMethodFormatter

from mammoseg.data.preprocessing.inverse import InversePreprocessing
from mammoseg.data.readers.mass_location import MassBox, MassLocation, parse_locations
from mammoseg.data.store import PreparedStore
from mammoseg.density import ACRDensity
from mammoseg.reports.plotting import THIN_GROUND_TRUTH, TRUTH_COLOUR, draw_contour, save_figure

N_SAMPLED = 12  # random images on the contact sheet
N_SUSPECT = 6  # images per criterion of `likely_failures`
N_COLUMNS = 4  # pairs of images per row
BOX_COLOUR = "#ffa31a"


def draw_contact_sheet(store: PreparedStore, path: Path) -> None:
    """Draw pairs of original and preprocessed images, for a random sample and for likely failures.

    Args:
        store: The prepared store.
        path: PNG file to write.
    """
    entries = [*sample_rows(store), *likely_failures(store)]
    n_rows = -(-len(entries) // N_COLUMNS)
    figure = Figure(figsize=(2 * 1.9 * N_COLUMNS, 2.5 * n_rows + 0.5), layout="constrained")
    axes = figure.subplots(n_rows, 2 * N_COLUMNS, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for index, (row, title) in enumerate(entries):
        grid_row, grid_column = divmod(index, N_COLUMNS)
        original, preprocessed = axes[grid_row, 2 * grid_column], axes[grid_row, 2 * grid_column + 1]
        draw_original(original, store, row)
        preprocessed.imshow(store.images[row], cmap="gray")
        draw_contour(preprocessed, store.masks[row], 0.5, THIN_GROUND_TRUTH)
        original.set_title(f"{store.cases[row].case}\n{title}", fontsize=8, loc="left")
    figure.suptitle("Left: original with crop box (orange). Right: input of the network. Cyan: mass.", fontsize=9)
    save_figure(figure, path)


def sample_rows(store: PreparedStore) -> list[tuple[int, str]]:
    """Select a random sample with a fixed seed; returns (row, title) of each image."""
    size = min(N_SAMPLED, len(store.cases))
    rows = np.sort(np.random.default_rng(0).choice(len(store.cases), size, replace=False))
    return [(int(row), f"random sample, ACR {store.cases[row].density}") for row in rows]


def likely_failures(store: PreparedStore) -> list[tuple[int, str]]:
    """Select images whose preprocessing may have failed; returns (row, title) of each.

    These are the images with the smallest breasts, those whose crop was skipped, and those whose mask was resized.
    """
    fraction = np.array([case.breast_fraction for case in store.cases])
    smallest = np.argsort(fraction)[:N_SUSPECT]
    small = [(int(row), f"smallest breast: {100 * fraction[row]:.0f} %") for row in smallest]
    uncropped = [(row, "crop skipped (would cut a mass)") for row, case in enumerate(store.cases) if case.crop_skipped]
    resized = [(row, "mask resized") for row, case in enumerate(store.cases) if case.mask_resized]
    return [*small, *uncropped[:N_SUSPECT], *resized[:N_SUSPECT]]


def draw_original(axis: Axes, store: PreparedStore, row: int) -> None:
    """Draw the original image with crop box and mass, in pixel coordinates of the original image.

    Args:
        axis: Axes to draw into.
        store: The prepared store.
        row: Row of the image in the store.
    """
    case, longer = store.cases[row], max(store.cases[row].height, store.cases[row].width)
    left, top = (case.width - longer) / 2, (case.height - longer) / 2
    axis.imshow(store.previews[row], cmap="gray", extent=(left, left + longer, top + longer, top))
    box = Rectangle((case.left, case.top), case.right - case.left, case.bottom - case.top, fill=False)
    box.set(edgecolor=BOX_COLOUR, linewidth=1)
    axis.add_patch(box)
    for location in parse_locations(case.mass_locations):
        axis.add_patch(location_patch(location))
    mask = store.masks[row]
    x, y = InversePreprocessing.from_case(case, store.about["aspect"]).pixel_centres(len(mask))
    if 0 < mask.min() + mask.max() < 2:
        axis.contour(x, y, mask, levels=[0.5], colors=[TRUTH_COLOUR], linewidths=1)


def location_patch(location: MassLocation) -> Patch:
    """Return the box or circle that marks a mass, in pixel coordinates of the original image."""
    style: dict[str, Any] = {"fill": False, "edgecolor": TRUTH_COLOUR, "linewidth": 1}
    if isinstance(location, MassBox):
        corner = (location.left, location.top)
        return Rectangle(corner, location.right - location.left, location.bottom - location.top, **style)
    return Circle((location.x, location.y), location.radius, **style)


def draw_densities(store: PreparedStore, path: Path) -> None:
    """Draw a bar chart of the images per ACR category: estimated and, if available, from the dataset.

    Args:
        store: The prepared store.
        path: PNG file to write.
    """
    from_dataset = [case.given_density for case in store.cases if case.given_density is not None]
    estimated = [case.estimated_density for case in store.cases]
    figure = Figure(figsize=(6, 3.8), layout="constrained")
    axis = figure.subplots()
    series: list[tuple[str, Sequence[int]]] = [("estimated from the image", estimated)]
    if from_dataset:
        series.insert(0, ("dataset", from_dataset))
    bar_width = 0.8 / len(series)
    for index, (name, values) in enumerate(series):
        counts = [values.count(category) for category in ACRDensity]
        x = np.array(list(ACRDensity)) + (index - (len(series) - 1) / 2) * bar_width
        bars = axis.bar(x, counts, bar_width, label=name)
        axis.bar_label(bars, fontsize=8)
    axis.margins(y=0.12)  # space for the labels of the bars
    axis.set(xlabel="ACR density", ylabel="images", xticks=list(ACRDensity), title=f"{store.about['dataset']}: density")
    axis.legend(fontsize=8)
    save_figure(figure, path)


def draw_mass_sizes(store: PreparedStore, path: Path) -> None:
    """Draw the mass fraction of each preprocessed image by ACR category, with box plots.

    Args:
        store: The prepared store.
        path: PNG file to write.
    """
    percentages = 100 * store.mass_fraction
    density = np.array([case.density for case in store.cases])
    figure = Figure(figsize=(6, 4), layout="constrained")
    axis = figure.subplots()
    rng = np.random.default_rng(0)
    for category in ACRDensity:
        values = percentages[(density == category) & (percentages > 0)]
        if len(values) == 0:
            continue
        axis.plot(
            category + rng.uniform(-0.22, 0.22, len(values)), values, ".", markersize=4, alpha=0.4, markeredgewidth=0
        )
        axis.boxplot(values, positions=[category], widths=0.5, showfliers=False, medianprops={"color": "black"})
    axis.set_yscale("log")
    axis.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.yaxis.set_minor_formatter(NullFormatter())
    axis.set(
        xlabel="ACR density",
        ylabel="mass (% of the preprocessed image)",
        xticks=list(ACRDensity),
        xticklabels=list(ACRDensity),
    )
    axis.set_title(f"{store.about['dataset']}: mass size")
    axis.grid(axis="y", alpha=0.3)
    save_figure(figure, path)


def draw_examples(store: PreparedStore, path: Path) -> None:
    """Draw the image with the median mass fraction of each ACR category, among the images with an outlined mass.

    Args:
        store: The prepared store.
        path: PNG file to write.
    """
    mass_fraction = store.mass_fraction
    figure = Figure(figsize=(3 * len(ACRDensity), 3.4), layout="constrained")
    for axis, category in zip(figure.subplots(1, len(ACRDensity)), ACRDensity, strict=True):
        axis.set_axis_off()
        rows = [row for row, case in enumerate(store.cases) if case.density == category and case.mass_pixels > 0]
        if not rows:
            axis.set_title(f"ACR {category}: none", fontsize=9)
            continue
        row = sorted(rows, key=lambda row: mass_fraction[row])[len(rows) // 2]
        axis.imshow(store.images[row], cmap="gray")
        draw_contour(axis, store.masks[row], 0.5, THIN_GROUND_TRUTH)
        axis.set_title(f"ACR {category}: {store.cases[row].case}", fontsize=8)
    save_figure(figure, path)
