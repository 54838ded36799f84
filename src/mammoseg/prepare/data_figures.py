"""Pictures of a prepared store: a contact sheet to check it by, and what its masses and densities are like."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from mammoseg.data.preprocessing.inverse import InversePreprocessing
from mammoseg.data.store import PreparedStore
from mammoseg.density import ACRDensity
from mammoseg.reports.plotting import TRUTH_COLOUR, contour, save_figure

SAMPLE, WORST = 12, 6  # images of each kind on the contact sheet
ACROSS = 6  # of them in a row
KEPT = "#ffcc00"


def contact_sheet(store: PreparedStore, path: Path) -> None:
    """Before (the film, with the box that was kept) and after, for a sample and for the worst of each kind."""
    chosen = [*sample(store), *worst(store)]
    rows = -(-len(chosen) // ACROSS)
    figure = Figure(figsize=(2 * 1.55 * ACROSS, 1.95 * rows + 0.4), layout="constrained")
    axes = figure.subplots(rows, 2 * ACROSS, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for place, (number, why) in enumerate(chosen):
        row, column = divmod(place, ACROSS)
        before, after = axes[row, 2 * column], axes[row, 2 * column + 1]
        draw_before(before, store, number)
        after.imshow(store.images[number], cmap="gray")
        contour(after, store.masks[number], 0.5, TRUTH_COLOUR)
        before.set_title(f"{store.cases[number].case}\n{why}", fontsize=5.5, loc="left")
    figure.suptitle("each: the film with the box that is kept, and what the network gets; masses green", fontsize=9)
    save_figure(figure, path)


def sample(store: PreparedStore) -> list[tuple[int, str]]:
    """Spread over the store, the same each time."""
    number = min(SAMPLE, len(store.cases))
    rows = np.sort(np.random.default_rng(0).choice(len(store.cases), number, replace=False))
    return [(int(row), f"sample, ACR {store.cases[row].density}") for row in rows]


def worst(store: PreparedStore) -> list[tuple[int, str]]:
    """Where the cleaning is most likely to have failed: the smallest breasts first, then what was reported."""
    share = np.array([case.breast_fraction for case in store.cases])
    small = [(int(row), f"smallest breast: {100 * share[row]:.0f} %") for row in np.argsort(share)[:WORST]]
    whole = [(row, "kept whole for its mass") for row, case in enumerate(store.cases) if case.crop_skipped]
    sized = [(row, "mask had another size") for row, case in enumerate(store.cases) if case.mask_resized]
    return [*small, *whole[:WORST], *sized[:WORST]]


def draw_before(axis: Axes, store: PreparedStore, number: int) -> None:
    """The film in its own pixels, so that box and outline need no scaling."""
    case, longer = store.cases[number], max(store.cases[number].height, store.cases[number].width)
    left, top = (case.width - longer) / 2, (case.height - longer) / 2
    axis.imshow(store.previews[number], cmap="gray", extent=(left, left + longer, top + longer, top))
    box = Rectangle((case.left, case.top), case.right - case.left, case.bottom - case.top, fill=False)
    box.set(edgecolor=KEPT, linewidth=1)
    axis.add_patch(box)
    mask = store.masks[number]
    x, y = InversePreprocessing.from_case(case, store.about["aspect"]).pixel_centres(len(mask))
    if 0 < mask.min() + mask.max() < 2:
        axis.contour(x, y, mask, levels=[0.5], colors=[TRUTH_COLOUR], linewidths=1)


def densities(store: PreparedStore, path: Path) -> None:
    """Images by ACR category: the given ones and the estimate, where both are there."""
    given = [case.given_density for case in store.cases if case.given_density is not None]
    estimated = [case.estimated_density for case in store.cases]
    figure = Figure(figsize=(5, 3.2), layout="constrained")
    axis = figure.subplots()
    bars: list[tuple[str, Sequence[int]]] = [("estimated from the image", estimated)]
    if given:
        bars.insert(0, ("given", given))
    for place, (name, values) in enumerate(bars):
        counts = [values.count(category) for category in ACRDensity]
        wide = 0.8 / len(bars)
        drawn = axis.bar(np.array(list(ACRDensity)) + (place - (len(bars) - 1) / 2) * wide, counts, wide, label=name)
        axis.bar_label(drawn, fontsize=8)
    axis.set(xlabel="ACR density", ylabel="images", xticks=list(ACRDensity), title=f"{store.about['dataset']}: density")
    axis.legend(fontsize=8)
    save_figure(figure, path)


def mass_sizes(store: PreparedStore, path: Path) -> None:
    """Share of the prepared image that is mass, by density: each image a point, quartiles as a box."""
    shares = 100 * store.mass_fraction
    density = np.array([case.density for case in store.cases])
    figure = Figure(figsize=(5, 3.4), layout="constrained")
    axis = figure.subplots()
    rng = np.random.default_rng(0)
    for category in ACRDensity:
        some = shares[(density == category) & (shares > 0)]
        if len(some) == 0:
            continue
        axis.plot(category + rng.uniform(-0.22, 0.22, len(some)), some, ".", markersize=2, alpha=0.5)
        axis.boxplot(some, positions=[category], widths=0.5, showfliers=False, medianprops={"color": "black"})
    axis.set_yscale("log")
    axis.set(
        xlabel="ACR density",
        ylabel="mass, % of the prepared image",
        xticks=list(ACRDensity),
        xticklabels=list(ACRDensity),
    )
    axis.set_title(f"{store.about['dataset']}: size of masses")
    axis.grid(axis="y", alpha=0.3)
    save_figure(figure, path)


def examples(store: PreparedStore, path: Path) -> None:
    """For each density the image whose mass is of median size."""
    shares = store.mass_fraction
    figure = Figure(figsize=(3 * len(ACRDensity), 3.4), layout="constrained")
    for axis, category in zip(figure.subplots(1, len(ACRDensity)), ACRDensity, strict=True):
        axis.set_axis_off()
        rows = [row for row, case in enumerate(store.cases) if case.density == category]
        if not rows:
            axis.set_title(f"ACR {category}: none", fontsize=9)
            continue
        row = sorted(rows, key=lambda row: shares[row])[len(rows) // 2]
        axis.imshow(store.images[row], cmap="gray")
        contour(axis, store.masks[row], 0.5, TRUTH_COLOUR)
        axis.set_title(f"ACR {category}: {store.cases[row].case}", fontsize=8)
    save_figure(figure, path)
