"""Figures of a comparison."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mammoseg.density import ACRDensity
from mammoseg.metrics import N_CALIBRATION_BINS, PIXEL_METRICS
from mammoseg.reports.plotting import METHOD_COLOURS, add_legend, draw_heatmap, draw_parallel_coordinates, wrap_name
from mammoseg.reports.table import format_count
from mammoseg.statistics.comparison import Comparison
from mammoseg.statistics.secondary_outcomes import reliability_by_method

Names = Mapping[str, str]
MIN_RANGE = 1.0  # of the axis of a metric with equal values, in percentage points
ROUNDING_ERROR = 1e-9
PANEL_WIDTH = 2.75  # width of the panel of a metric, in inches
LABEL_WIDTH = 18  # characters per line of the name of a method at the horizontal axis
RUN_OFFSET = 0.22  # vertical distance of the runs from the interval of their method
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")


def method_colours(methods: list[str]) -> dict[str, str]:
    """Assign a colour to each method, which is the same in all figures.

    Args:
        methods: Names of the methods.

    Returns:
        Colours by method.
    """
    return {method: METHOD_COLOURS[i % len(METHOD_COLOURS)] for i, method in enumerate(methods)}


def plot_metrics(comparison: Comparison, names: Names, published: Mapping[str, Any] | None) -> Figure:
    """Create a forest plot: per metric, the estimate and interval of each method, and the values of its runs.

    Args:
        comparison: The comparison.
        names: Display names of the methods.
        published: A table of conf/published, whose values are marked, or None.

    Returns:
        The figure.
    """
    methods, published_rows = comparison.methods, (published or {}).get("rows", {})
    width = PANEL_WIDTH * len(PIXEL_METRICS)
    figure = Figure(figsize=(width, 1.5 + 0.5 * len(methods)), layout="constrained")
    axes = figure.subplots(1, len(PIXEL_METRICS), sharey=True, squeeze=False)[0]
    for axis, (key, metric) in zip(axes, PIXEL_METRICS.items(), strict=True):
        scale = metric.scale()
        for y, (method, colour) in enumerate(method_colours(methods).items()):
            estimate = comparison.overall[method][key]
            dots = scale * comparison.run_values[method][key]
            axis.plot([scale * estimate.low, scale * estimate.high], [y, y], color=colour, linewidth=2)
            axis.plot(dots, np.full(len(dots), y + RUN_OFFSET), "o", color=colour, markersize=3.5, alpha=0.6)
            axis.plot(scale * estimate.value, y, "D", color=colour, markersize=6)
            if (value := published_rows.get(method, {}).get(key)) is not None:
                axis.plot(value, y, "s", markerfacecolor="none", markeredgecolor="black", markersize=7)
        _widen(axis)
        axis.set_title(metric.axis_label(), fontsize=10)
        axis.grid(axis="x", alpha=0.3)
        axis.set_yticks(range(len(methods)), [names.get(method, method) for method in methods])
    axis.set_ylim(len(methods) - 0.4, -0.6)
    level = f"{100 * comparison.confidence_level:.0f} %"
    handles = [
        Line2D([], [], color="black", marker="D", label=f"estimate with {level} confidence interval"),
        Line2D([], [], color="black", marker="o", markersize=3.5, alpha=0.6, linestyle="", label="run"),
    ]
    if published_rows:
        handles.append(Line2D([], [], color="black", marker="s", fillstyle="none", linestyle="", label="published"))
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), fontsize=9, frameon=False)
    return figure


def _widen(axis: Axes) -> None:
    """Enlarge the range of the x-axis if all values are equal, for example 0."""
    low, high = axis.dataLim.intervalx
    if high - low < ROUNDING_ERROR:
        axis.set_xlim(low - MIN_RANGE / 2, high + MIN_RANGE / 2)


def plot_density(comparison: Comparison, names: Names) -> Figure:
    """Plot, per metric, the estimates and confidence intervals by ACR category and method.

    Args:
        comparison: The comparison.
        names: Display names of the methods.

    Returns:
        The figure.
    """
    by_category = comparison.by_density
    methods = comparison.methods
    n_rows = -(-len(PIXEL_METRICS) // 2)
    figure = Figure(figsize=(11, 3.5 * n_rows + 0.4), layout="constrained")
    axes = figure.subplots(n_rows, 2, squeeze=False).ravel().tolist()
    for unused in axes[len(PIXEL_METRICS) :]:
        unused.remove()
    step = 0.7 / max(len(methods), 3)
    for axis, (key, metric) in zip(axes, PIXEL_METRICS.items(), strict=False):
        for i, (method, colour) in enumerate(method_colours(methods).items()):
            estimates = [by_method[method][key] for by_method in by_category.values()]
            x = np.arange(len(by_category)) + (i - (len(methods) - 1) / 2) * step
            values = metric.scale() * np.array([estimate.value for estimate in estimates])
            limits = metric.scale() * np.array([[estimate.low, estimate.high] for estimate in estimates]).T
            axis.vlines(x, *limits, color=colour, linewidth=2)
            axis.plot(x, values, MARKERS[i % len(MARKERS)], color=colour, label=names.get(method, method))
        n_images = {category: int((comparison.density == category).sum()) for category in by_category}
        labels = [f"ACR {category}\n{format_count(n, 'image')}" for category, n in n_images.items()]
        axis.set_xticks(range(len(by_category)), labels)
        axis.set_ylabel(metric.axis_label())
        axis.grid(axis="y", alpha=0.3)
        for boundary in range(len(by_category) - 1):
            axis.axvline(boundary + 0.5, color="lightgrey", linewidth=0.8)
    add_legend(figure, *axis.get_legend_handles_labels())
    return figure


def plot_mass_size(comparison: Comparison, names: Names) -> Figure | None:
    """Create a line plot of the mean DSC over images by mass size.

    Args:
        comparison: The comparison.
        names: Display names of the methods.

    Returns:
        The figure, or None if no test image has a mass.
    """
    groups = comparison.size_groups
    if not groups:
        return None
    figure = Figure(figsize=(7.5, 4.2), layout="constrained")
    axis = figure.subplots()
    for method, colour in method_colours(comparison.methods).items():
        values = [100 * comparison.by_image[method]["dsc"][subset].mean() for _, subset in groups]
        axis.plot(range(len(groups)), values, "o-", color=colour, label=names.get(method, method))
    labels = [f"{label}\n{format_count(int(subset.sum()), 'image')}" for label, subset in groups]
    axis.set_xticks(range(len(groups)), labels, fontsize=8)
    axis.set_xlabel("Mass area (pixels of the prepared image)")
    axis.set_ylabel("Mean DSC over images (%)")
    axis.grid(alpha=0.3)
    add_legend(figure, *axis.get_legend_handles_labels())
    return figure


def plot_calibration(comparison: Comparison, names: Names) -> Figure | None:
    """Create a reliability diagram, in which perfect calibration is the diagonal, and a histogram of probabilities.

    Args:
        comparison: The comparison.
        names: Display names of the methods.

    Returns:
        The figure, or None if the runs have no calibration.csv.
    """
    reliability = reliability_by_method(comparison.data)
    if not reliability:
        return None
    figure = Figure(figsize=(9.5, 4.2), layout="constrained")
    diagram, histogram = figure.subplots(1, 2)
    diagram.plot([0, 1], [0, 1], color="grey", linestyle=":", label="perfect calibration")
    bin_centres = (np.arange(N_CALIBRATION_BINS) + 0.5) / N_CALIBRATION_BINS
    for method, colour in method_colours(comparison.methods).items():
        if method not in reliability:
            continue
        n_pixels, prob_sums, n_mass_pixels = reliability[method].T
        n_pixels = np.where(n_pixels > 0, n_pixels, np.nan)  # empty bins are not drawn
        mean_prob, mass_fraction = prob_sums / n_pixels, n_mass_pixels / n_pixels
        diagram.plot(mean_prob, mass_fraction, "o-", color=colour, label=names.get(method, method))
        histogram.plot(bin_centres, n_pixels / np.nansum(n_pixels), "o-", color=colour)
    for axis in (diagram, histogram):
        axis.set_xlabel("Predicted probability of mass")
        axis.set_xlim(-0.05, 1.05)
    diagram.set_ylabel("Observed fraction of mass pixels")
    add_legend(figure, *diagram.get_legend_handles_labels())
    histogram.set_yscale("log")
    histogram.set_ylabel("Fraction of all pixels")
    return figure


def plot_ranking(comparison: Comparison, names: Names) -> Figure | None:
    """Plot the pooled DSC of the runs of each method, and the mean, over the common (fold, seed) pairs.

    Args:
        comparison: The comparison.
        names: Display names of the methods.

    Returns:
        The figure, or None if there are fewer than two common pairs.
    """
    fold_seeds, scores = comparison.fold_seed_scores
    if len(fold_seeds) < 2:
        return None
    methods, folds = comparison.methods, sorted({fold for fold, _ in fold_seeds})
    figure = Figure(figsize=(max(1.2 * len(methods) + 2.5, 5), 4.2), layout="constrained")
    axis = figure.subplots()
    # Runs of the same fold and seed have the same horizontal position within each method.
    offsets = np.linspace(-0.25, 0.25, len(fold_seeds))
    for index, fold in enumerate(folds):
        of_fold = [i for i, (name, _) in enumerate(fold_seeds) if name == fold]
        x = np.concatenate([method + offsets[of_fold] for method in range(len(methods))])
        y = 100 * scores[of_fold].T.ravel()
        colour = METHOD_COLOURS[index % len(METHOD_COLOURS)]
        axis.plot(x, y, "o", color=colour, markersize=5, alpha=0.8, label=f"fold {fold}" if fold else "run")
    for method, mean in enumerate(100 * scores.mean(axis=0)):
        axis.hlines(mean, method - 0.3, method + 0.3, color="black", label="" if method else "mean")
    labels = [wrap_name(names.get(method, method), LABEL_WIDTH) for method in methods]
    axis.set_xticks(range(len(methods)), labels, fontsize=8)
    axis.set_xlim(-0.5, len(methods) - 0.5)
    axis.set_ylabel("Pooled DSC (%)")
    axis.grid(axis="y", alpha=0.3)
    figure.legend(loc="outside right upper", fontsize=8)
    return figure


def plot_theta_alpha(comparison: Comparison) -> Figure | None:
    """Create a parallel-coordinates plot of theta, alpha and DSC, and a heatmap if both theta and alpha vary.

    Args:
        comparison: The comparison.

    Returns:
        The figure, or None if there are fewer than three combinations of theta and alpha.
    """
    points = sweep_points(comparison)
    if points is None:
        return None
    values, scores = points
    thetas, alphas = [tuple(row[:4]) for row in values.tolist()], values[:, 4].tolist()
    both = len(set(thetas)) > 1 and len(set(alphas)) > 1
    figure = Figure(figsize=(11 if both else 7.5, 4.2), layout="constrained")
    axes = figure.subplots(1, 2 if both else 1, squeeze=False)[0]
    labels = [*(f"θ ACR {category}" for category in ACRDensity), "α"]
    draw_parallel_coordinates(axes[0], values, scores, [*labels, "DSC (%)"])
    if both:
        draw_heatmap(axes[1], thetas, alphas, scores.tolist(), "Pooled DSC (%)")
        axes[1].set(xlabel="θ (ACR 1 to 4)", ylabel="α")
    return figure


def sweep_points(comparison: Comparison) -> tuple[np.ndarray, np.ndarray] | None:
    """Collect theta, alpha and pooled DSC of the methods whose loss has these parameters.

    Args:
        comparison: The comparison.

    Returns:
        Array of shape (N, 5) with the four entries of theta and alpha, and pooled DSC in %, shape (N,). None if there
        are fewer than three combinations of theta and alpha.
    """
    points = []
    for method in comparison.methods:
        run = next(iter(comparison.data.runs[method].values()))
        theta, alpha = run.setting("loss.theta"), run.setting("loss.alpha")
        if theta is not None and alpha is not None:
            points.append(([*theta, alpha], 100 * comparison.overall[method]["dsc"].value))
    if len({tuple(values) for values, _ in points}) < 3:  # two lines show no trend
        return None
    values, scores = zip(*points, strict=True)
    return np.array(values, dtype=float), np.array(scores)
