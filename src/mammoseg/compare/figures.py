"""Figures of a comparison.

Each function takes a comparison and the display names of its methods, and returns one figure, or None if the runs lack
the data for it.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from mammoseg.density import ACRDensity
from mammoseg.metrics import N_BINS, PIXEL_METRICS
from mammoseg.reports.plotting import heatmap, parallel_coordinates
from mammoseg.statistics.comparison import Comparison

Names = Mapping[str, str]
PANEL_WIDTH = 2.75  # of one metric, in inches


def colours(methods: list[str]) -> dict[str, tuple[float, ...]]:
    """Assign each method the colour that it has in all figures.

    Args:
        methods: Names of the methods.

    Returns:
        RGBA colours by method.
    """
    palette = colormaps["tab10"]
    return {method: palette(i % 10) for i, method in enumerate(methods)}


def forest(comparison: Comparison, names: Names) -> Figure:
    """Forest plot: one panel per metric with the estimate and interval of each method, and a dot per fold and seed."""
    methods = comparison.methods
    width = PANEL_WIDTH * len(PIXEL_METRICS)
    figure = Figure(figsize=(width, 1.1 + 0.42 * len(methods)), layout="constrained")
    axes = figure.subplots(1, len(PIXEL_METRICS), sharey=True, squeeze=False)[0]
    for axis, (key, metric) in zip(axes, PIXEL_METRICS.items(), strict=True):
        scale = metric.scale()
        for y, (method, colour) in enumerate(colours(methods).items()):
            estimate = comparison.overall[method][key]
            dots = scale * comparison.bootstraps[method].values[key]
            axis.plot([scale * estimate.low, scale * estimate.high], [y, y], color=colour, linewidth=2)
            axis.plot(dots, np.full(len(dots), y), "o", color=colour, markersize=3, alpha=0.5)
            axis.plot(scale * estimate.value, y, "D", color=colour, markersize=6)
        axis.set_title(metric.axis_label(), fontsize=10)
        axis.grid(axis="x", alpha=0.3)
        axis.set_yticks(range(len(methods)), [names.get(method, method) for method in methods])
    axis.set_ylim(len(methods) - 0.5, -0.5)
    figure.suptitle(
        f"Diamonds: pooled values with {100 * comparison.confidence_level:.0f} % intervals over patients. "
        "Dots: folds and seeds.",
        fontsize=9,
    )
    return figure


def by_density(comparison: Comparison, names: Names) -> Figure | None:
    """Bar charts: one panel per metric with the estimates by ACR category and method, with intervals."""
    by_category = comparison.by_density
    if not by_category:
        return None
    methods = comparison.methods
    n_rows = -(-len(PIXEL_METRICS) // 2)
    figure = Figure(figsize=(11, 3.5 * n_rows + 0.4), layout="constrained")
    axes = figure.subplots(n_rows, 2, squeeze=False).ravel().tolist()
    for unused in axes[len(PIXEL_METRICS) :]:
        unused.remove()
    width = 0.8 / len(methods)
    for axis, (key, metric) in zip(axes, PIXEL_METRICS.items(), strict=False):
        for i, (method, colour) in enumerate(colours(methods).items()):
            estimates = [by_category[category][method][key] for category in by_category]
            x = np.arange(len(by_category)) + (i - (len(methods) - 1) / 2) * width
            values = metric.scale() * np.array([e.value for e in estimates])
            ends = metric.scale() * np.array([[e.low, e.high] for e in estimates]).T
            axis.bar(x, values, width, color=colour, label=names.get(method, method))
            axis.vlines(x, *ends, color="black", linewidth=0.8)
        n_images = [int((comparison.density == category).sum()) for category in by_category]
        labels = [f"ACR {category}\n{n} images" for category, n in zip(by_category, n_images, strict=True)]
        axis.set_xticks(range(len(by_category)), labels)
        axis.set_ylabel(metric.axis_label())
    figure.legend(*axis.get_legend_handles_labels(), loc="outside upper center", ncols=min(len(methods), 6), fontsize=8)
    return figure


def by_mass_size(comparison: Comparison, names: Names) -> Figure:
    """Line plot: mean DSC over images against mass size."""
    figure = Figure(figsize=(7.5, 4.2), layout="constrained")
    axis = figure.subplots()
    groups = comparison.size_groups
    for method, colour in colours(comparison.methods).items():
        values = [100 * comparison.by_image[method]["dsc"][subset].mean() for _, subset in groups]
        axis.plot(range(len(groups)), values, "o-", color=colour, label=names.get(method, method))
    labels = [f"{label}\n{int(subset.sum())} images" for label, subset in groups]
    axis.set_xticks(range(len(groups)), labels, fontsize=8)
    axis.set_xlabel("mass pixels in the prepared image")
    axis.set_ylabel("mean DSC over images, %")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    return figure


def calibration(comparison: Comparison, names: Names) -> Figure | None:
    """Reliability diagram (calibrated probabilities lie on the diagonal) and histogram of the probabilities."""
    if not comparison.reliability:
        return None
    figure = Figure(figsize=(9.5, 4.2), layout="constrained")
    diagram, histogram = figure.subplots(1, 2)
    diagram.plot([0, 1], [0, 1], color="grey", linestyle=":")
    for method, colour in colours(comparison.methods).items():
        if method not in comparison.reliability:
            continue
        n_pixels, prob_sums, mass_pixels = comparison.reliability[method].T
        occupied = n_pixels > 0
        mean_prob, mass_fraction = prob_sums / np.maximum(n_pixels, 1), mass_pixels / np.maximum(n_pixels, 1)
        diagram.plot(mean_prob[occupied], mass_fraction[occupied], "o-", color=colour)
        bin_centres = (np.arange(N_BINS) + 0.5) / N_BINS
        histogram.plot(bin_centres, n_pixels / n_pixels.sum(), "o-", color=colour, label=names.get(method, method))
    diagram.set_xlabel("predicted probability of mass")
    diagram.set_ylabel("observed fraction of mass pixels")
    histogram.set_yscale("log")
    histogram.set_xlabel("predicted probability of mass")
    histogram.set_ylabel("fraction of all pixels")
    histogram.legend(fontsize=8)
    return figure


def ranking(comparison: Comparison, names: Names) -> Figure | None:
    """Line plot: pooled DSC of each method, one line per fold and seed that all methods have in common."""
    fold_seeds, scores = comparison.fold_seed_scores
    if len(fold_seeds) < 2:
        return None
    methods = comparison.methods
    figure = Figure(figsize=(7.5, 4.2), layout="constrained")
    axis = figure.subplots()
    for (fold, seed), dsc in zip(fold_seeds, scores, strict=True):
        label = f"fold {fold}, seed {seed}" if fold else f"seed {seed}"
        axis.plot(range(len(methods)), 100 * dsc, "o-", label=label, alpha=0.7)
    axis.set_xticks(range(len(methods)), [names.get(method, method) for method in methods], fontsize=8, rotation=15)
    axis.set_ylabel("pooled DSC, %")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    return figure


def sweep(comparison: Comparison) -> Figure | None:
    """Parallel coordinates of theta, alpha and pooled DSC, and a heatmap if both theta and alpha vary."""
    points = sweep_points(comparison)
    if points is None:
        return None
    values, scores = points
    thetas, alphas = [tuple(row[:4]) for row in values.tolist()], values[:, 4].tolist()
    both = len(set(thetas)) > 1 and len(set(alphas)) > 1
    figure = Figure(figsize=(11 if both else 7.5, 4.2), layout="constrained")
    axes = figure.subplots(1, 2 if both else 1, squeeze=False)[0]
    labels = [*(f"θ ACR {category}" for category in ACRDensity), "α"]
    parallel_coordinates(axes[0], values, scores, [*labels, "DSC, %"])
    if both:
        heatmap(axes[1], thetas, alphas, scores.tolist(), "pooled DSC, %")
        axes[1].set(xlabel="θ by ACR category", ylabel="α")
    return figure


def sweep_points(comparison: Comparison) -> tuple[np.ndarray, np.ndarray] | None:
    """Collect theta, alpha and pooled DSC of the methods whose loss has these parameters.

    Returns:
        Four theta entries and alpha (N, 5), and pooled DSC in % (N,); None if fewer than two combinations occur.
    """
    points = []
    for method in comparison.methods:
        run = next(iter(comparison.data.runs[method].values()))
        theta, alpha = run.setting("loss.theta"), run.setting("loss.alpha")
        if theta is not None and alpha is not None:
            points.append(([*theta, alpha], 100 * comparison.overall[method]["dsc"].value))
    if len({tuple(values) for values, _ in points}) < 2:
        return None
    values, scores = zip(*points, strict=True)
    return np.array(values, dtype=float), np.array(scores)
