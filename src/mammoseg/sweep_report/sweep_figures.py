"""Figures of a sweep: validation DSC against each setting, and against pairs of settings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mammoseg.reports.plotting import heatmap
from mammoseg.sweep_report.sweeps import ALPHA, Sweep, binned_means

N_COLUMNS = 4  # panels side by side
MAX_GRID = 12  # rows and columns of a legible heatmap


def sensitivity(sweep: Sweep) -> Figure:
    """One panel per setting: the score of each combination, and the means."""
    figure, axes = panels(sweep.names)
    scores = np.array([100 * result.validation for result in sweep.results])
    pruned = np.array([result.pruned for result in sweep.results])
    for axis, name, column in zip(axes, sweep.names, columns(sweep), strict=True):
        axis.scatter(column[~pruned], scores[~pruned], s=22, color="tab:blue", alpha=0.6, linewidths=0)
        axis.scatter(column[pruned], scores[pruned], s=18, marker="x", color="grey", alpha=0.6)
        means = binned_means(column[~pruned], scores[~pruned])
        axis.plot(*zip(*means, strict=True), "o-", color="black", markersize=4, linewidth=1.2)
        axis.set_xlabel(name)
        axis.grid(alpha=0.3)
    for axis in axes[::N_COLUMNS]:
        axis.set_ylabel("validation DSC, %")
    crosses = "; crosses: pruned, best DSC so far" if pruned.any() else ""
    figure.suptitle(f"{sweep.name}: dots are combinations of settings, black their means{crosses}", fontsize=10)
    return figure


def interaction(sweep: Sweep) -> Figure | None:
    """Alpha against each other setting, DSC as colour; None if alpha does not vary or nothing else does."""
    others = [name for name in sweep.names if name != ALPHA]
    if ALPHA not in sweep.names or not others:
        return None
    figure, axes = panels(others)
    completed = np.array([not result.pruned for result in sweep.results])
    scores = np.array([100 * result.validation for result in sweep.results])[completed]
    by_name = dict(zip(sweep.names, columns(sweep), strict=True))
    order = np.argsort(scores)  # the best on top
    for axis, name in zip(axes, others, strict=True):
        across, up = by_name[name][completed][order], by_name[ALPHA][completed][order]
        dots = axis.scatter(across, up, c=scores[order], cmap="viridis", s=60, edgecolors="grey", linewidths=0.4)
        axis.set_xlabel(name)
        axis.grid(alpha=0.3)
    for axis in axes[::N_COLUMNS]:
        axis.set_ylabel(ALPHA)
    figure.colorbar(dots, ax=axes, label="validation DSC, %")
    figure.suptitle(sweep.name, fontsize=10)
    return figure


def panels(names: Sequence[str]) -> tuple[Figure, list[Axes]]:
    rows = -(-len(names) // N_COLUMNS)
    across = min(len(names), N_COLUMNS)
    figure = Figure(figsize=(max(2.9 * across, 5.5), 2.7 * rows + 0.4), layout="constrained")
    axes = figure.subplots(rows, across, squeeze=False, sharey=True).ravel().tolist()
    for unused in axes[len(names) :]:
        unused.remove()
    return figure, axes[: len(names)]


def columns(sweep: Sweep) -> list[np.ndarray]:
    return [np.array(column) for column in zip(*(result.values for result in sweep.results), strict=True)]


def theta_alpha_heatmap(sweep: Sweep) -> Figure | None:
    """Heatmap of theta vectors by alpha; None unless these alone vary, over at most `MAX_GRID` values each."""
    thetas = [place for place, name in enumerate(sweep.names) if name.startswith("θ")]
    if not thetas or set(sweep.names) - {sweep.names[place] for place in thetas} != {ALPHA}:
        return None
    alpha = sweep.names.index(ALPHA)
    vectors = [tuple(result.values[place] for place in thetas) for result in sweep.completed]
    alphas = [result.values[alpha] for result in sweep.completed]
    if not (1 < len(set(vectors)) <= MAX_GRID and 1 < len(set(alphas)) <= MAX_GRID):
        return None
    figure = Figure(figsize=(2 + 0.9 * len(set(vectors)), 2 + 0.4 * len(set(alphas))), layout="constrained")
    axis = figure.subplots()
    scores = [100 * result.validation for result in sweep.completed]
    heatmap(axis, vectors, alphas, scores, "validation DSC, %")
    axis.set(xlabel=", ".join(sweep.names[place] for place in thetas), ylabel=ALPHA)
    return figure
