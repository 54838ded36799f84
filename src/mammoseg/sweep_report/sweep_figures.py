"""Figures of a sweep: validation DSC against each setting, and against pairs of settings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mammoseg.reports.plotting import draw_heatmap
from mammoseg.sweep_report.sweeps import ALPHA, Sweep, binned_means

N_COLUMNS = 4  # panels side by side
MAX_GRID = 12  # rows and columns of a legible heatmap


def effects(sweep: Sweep) -> Figure:
    """Plot validation DSC against each setting: one panel per setting, one dot per combination, and the means."""
    figure, axes = make_panels(sweep.names)
    scores = np.array([100 * result.validation for result in sweep.results])
    pruned = np.array([result.pruned for result in sweep.results])
    for axis, name, column in zip(axes, sweep.names, setting_columns(sweep), strict=True):
        axis.scatter(column[~pruned], scores[~pruned], s=22, color="tab:blue", alpha=0.6, linewidths=0)
        axis.scatter(column[pruned], scores[pruned], s=18, marker="x", color="grey", alpha=0.6)
        if means := binned_means(column[~pruned], scores[~pruned]):
            axis.plot(*zip(*means, strict=True), "o-", color="black", markersize=4, linewidth=1.2)
        axis.set_xlabel(name)
        axis.grid(alpha=0.3)
    for axis in axes[::N_COLUMNS]:
        axis.set_ylabel("validation DSC, %")
    crosses = "; crosses: pruned, best DSC before pruning" if pruned.any() else ""
    figure.suptitle(f"{sweep.name}. Dots: combinations of settings; black: means{crosses}", fontsize=10)
    return figure


def interaction(sweep: Sweep) -> Figure | None:
    """Plot alpha against each other setting, with DSC as colour; None unless alpha and another setting vary."""
    others = [name for name in sweep.names if name != ALPHA]
    if ALPHA not in sweep.names or not others:
        return None
    figure, axes = make_panels(others)
    completed = np.array([not result.pruned for result in sweep.results])
    scores = np.array([100 * result.validation for result in sweep.results])[completed]
    by_name = dict(zip(sweep.names, setting_columns(sweep), strict=True))
    order = np.argsort(scores)  # draws the best on top
    for axis, name in zip(axes, others, strict=True):
        x, y = by_name[name][completed][order], by_name[ALPHA][completed][order]
        dots = axis.scatter(x, y, c=scores[order], cmap="viridis", s=60, edgecolors="grey", linewidths=0.4)
        axis.set_xlabel(name)
        axis.grid(alpha=0.3)
    for axis in axes[::N_COLUMNS]:
        axis.set_ylabel(ALPHA)
    figure.colorbar(dots, ax=axes, label="validation DSC, %")
    figure.suptitle(sweep.name, fontsize=10)
    return figure


def make_panels(names: Sequence[str]) -> tuple[Figure, list[Axes]]:
    """Create a figure with one panel per name, `N_COLUMNS` in a row."""
    n_rows, n_columns = -(-len(names) // N_COLUMNS), min(len(names), N_COLUMNS)
    figure = Figure(figsize=(max(2.9 * n_columns, 5.5), 2.7 * n_rows + 0.4), layout="constrained")
    axes = figure.subplots(n_rows, n_columns, squeeze=False, sharey=True).ravel().tolist()
    for unused in axes[len(names) :]:
        unused.remove()
    return figure, axes[: len(names)]


def setting_columns(sweep: Sweep) -> list[np.ndarray]:
    """Return the values (results,) of each setting, in the order of `sweep.names`."""
    return [np.array(column) for column in zip(*(result.values for result in sweep.results), strict=True)]


def theta_alpha_heatmap(sweep: Sweep) -> Figure | None:
    """Plot a heatmap of theta vectors by alpha; None unless only these vary, over at most `MAX_GRID` values each."""
    theta_columns = [i for i, name in enumerate(sweep.names) if name.startswith("θ")]
    theta_names = [sweep.names[i] for i in theta_columns]
    if not theta_columns or set(sweep.names) - set(theta_names) != {ALPHA}:
        return None
    alpha_column = sweep.names.index(ALPHA)
    thetas = [tuple(result.values[i] for i in theta_columns) for result in sweep.completed]
    alphas = [result.values[alpha_column] for result in sweep.completed]
    if not (1 < len(set(thetas)) <= MAX_GRID and 1 < len(set(alphas)) <= MAX_GRID):
        return None
    figure = Figure(figsize=(2 + 0.9 * len(set(thetas)), 2 + 0.4 * len(set(alphas))), layout="constrained")
    axis = figure.subplots()
    scores = [100 * result.validation for result in sweep.completed]
    draw_heatmap(axis, thetas, alphas, scores, "validation DSC, %")
    axis.set(xlabel=", ".join(theta_names), ylabel=ALPHA)
    return figure
