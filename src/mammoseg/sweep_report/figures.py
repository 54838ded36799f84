"""A sweep as pictures: DSC against each setting, against two of them, and along all of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mammoseg.sweep_report.sweeps import ALPHA, Sweep, group_means

COLUMNS = 4  # panels side by side
CELLS = 12  # rows and columns up to which a grid can be read


def sensitivity(sweep: Sweep) -> Figure:
    """A panel for each setting: a dot for each choice of settings, and the means."""
    figure, axes = panels(sweep.names)
    scores = np.array([100 * point.validation for point in sweep.points])
    pruned = np.array([point.pruned for point in sweep.points])
    for axis, name, column in zip(axes, sweep.names, columns(sweep), strict=True):
        axis.scatter(column[~pruned], scores[~pruned], s=22, color="tab:blue", alpha=0.6, linewidths=0)
        axis.scatter(column[pruned], scores[pruned], s=18, marker="x", color="grey", alpha=0.6)
        means = group_means(column[~pruned], scores[~pruned])
        axis.plot(*zip(*means, strict=True), "o-", color="black", markersize=4, linewidth=1.2)
        axis.set_xlabel(name)
        axis.grid(alpha=0.3)
    for axis in axes[::COLUMNS]:
        axis.set_ylabel("validation DSC, %")
    crosses = "; crosses: pruned, best DSC until then" if pruned.any() else ""
    figure.suptitle(f"{sweep.name}: dots are choices of settings, black their means{crosses}", fontsize=10)
    return figure


def interaction(sweep: Sweep) -> Figure | None:
    """Alpha against each other setting, the DSC as colour; None where alpha does not vary, or nothing else does."""
    others = [name for name in sweep.names if name != ALPHA]
    if ALPHA not in sweep.names or not others:
        return None
    figure, axes = panels(others)
    whole = np.array([not point.pruned for point in sweep.points])
    scores = np.array([100 * point.validation for point in sweep.points])[whole]
    by_name = dict(zip(sweep.names, columns(sweep), strict=True))
    order = np.argsort(scores)  # the best on top
    for axis, name in zip(axes, others, strict=True):
        across, up = by_name[name][whole][order], by_name[ALPHA][whole][order]
        dots = axis.scatter(across, up, c=scores[order], cmap="viridis", s=60, edgecolors="grey", linewidths=0.4)
        axis.set_xlabel(name)
        axis.grid(alpha=0.3)
    for axis in axes[::COLUMNS]:
        axis.set_ylabel(ALPHA)
    figure.colorbar(dots, ax=axes, label="validation DSC, %")
    figure.suptitle(sweep.name, fontsize=10)
    return figure


def panels(names: Sequence[str]) -> tuple[Figure, list[Axes]]:
    rows = -(-len(names) // COLUMNS)
    across = min(len(names), COLUMNS)
    figure = Figure(figsize=(max(2.9 * across, 5.5), 2.7 * rows + 0.4), layout="constrained")
    axes = figure.subplots(rows, across, squeeze=False, sharey=True).ravel().tolist()
    for unused in axes[len(names) :]:
        unused.remove()
    return figure, axes[: len(names)]


def columns(sweep: Sweep) -> list[np.ndarray]:
    return [np.array(column) for column in zip(*(point.values for point in sweep.points), strict=True)]


def grid_of(sweep: Sweep) -> Figure | None:
    """The whole vectors of theta by alpha, where both come from a grid that can be read."""
    thetas = [place for place, name in enumerate(sweep.names) if name.startswith("θ")]
    if not thetas or set(sweep.names) - {sweep.names[place] for place in thetas} != {ALPHA}:
        return None
    alpha = sweep.names.index(ALPHA)
    vectors = [tuple(point.values[place] for place in thetas) for point in sweep.whole]
    alphas = [point.values[alpha] for point in sweep.whole]
    if not (1 < len(set(vectors)) <= CELLS and 1 < len(set(alphas)) <= CELLS):
        return None
    figure = Figure(figsize=(2 + 0.9 * len(set(vectors)), 2 + 0.4 * len(set(alphas))), layout="constrained")
    axis = figure.subplots()
    heat(axis, vectors, alphas, [100 * point.validation for point in sweep.whole], "validation DSC, %")
    names = ", ".join(sweep.names[place] for place in thetas)
    axis.set_xlabel(names)
    return figure


def heat(
    axis: Axes, vectors: Sequence[tuple[float, ...]], alphas: Sequence[float], scores: Sequence[float], label: str
) -> None:
    """A cell for each theta and alpha; those that were not run stay empty."""
    across, up = sorted(set(vectors)), sorted(set(alphas))
    grid = np.full((len(up), len(across)), np.nan)
    for vector, alpha, score in zip(vectors, alphas, scores, strict=True):
        grid[up.index(alpha), across.index(vector)] = score
    shown = axis.imshow(grid, cmap="viridis", aspect="auto")
    axis.set_xticks(range(len(across)), [" ".join(f"{v:g}" for v in vector) for vector in across], rotation=20)
    axis.set_yticks(range(len(up)), [f"{alpha:g}" for alpha in up])
    axis.set_xlabel("θ by ACR category")
    axis.set_ylabel(ALPHA)
    for (row, column), score in np.ndenumerate(grid):
        if score == score:
            bright = score > (min(scores) + max(scores)) / 2
            axis.text(column, row, f"{score:.1f}", ha="center", va="center", color="black" if bright else "white")
    assert axis.figure is not None
    axis.figure.colorbar(shown, ax=axis, label=label)


def parallel(axis: Axes, values: np.ndarray, scores: np.ndarray) -> None:
    """One line per run through its theta, alpha and score, each axis on a scale of its own."""
    table = np.column_stack([values, scores])
    low, high = table.min(axis=0), table.max(axis=0)
    flat = high == low
    heights = np.where(flat, 0.5, (table - low) / np.where(flat, 1, high - low))
    colour = colormaps["viridis"](heights[:, -1])
    for line, tint in zip(heights, colour, strict=True):
        axis.plot(range(table.shape[1]), line, color=tint, linewidth=2)
    names = ["θ ACR 1", "θ ACR 2", "θ ACR 3", "θ ACR 4", ALPHA, "DSC, %"]
    axis.set_xticks(range(table.shape[1]), names)
    axis.set_yticks([])
    for place, (bottom, top) in enumerate(zip(low, high, strict=True)):
        axis.axvline(place, color="grey", linewidth=0.8)
        axis.text(place, -0.06, f"{bottom:.4g}", ha="center", va="top", fontsize=8)
        axis.text(place, 1.03, f"{top:.4g}", ha="center", va="bottom", fontsize=8)
    axis.set_ylim(-0.15, 1.15)
    for side in ("top", "right", "bottom", "left"):
        axis.spines[side].set_visible(False)
    axis.tick_params(axis="x", length=0)
