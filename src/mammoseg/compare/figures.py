"""Figures of a comparison."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from mammoseg.density import ACRDensity
from mammoseg.metrics import N_CALIBRATION_BINS, PIXEL_METRICS
from mammoseg.reports.plotting import draw_heatmap, draw_parallel_coordinates
from mammoseg.reports.table import format_count
from mammoseg.statistics.comparison import Comparison
from mammoseg.statistics.secondary_outcomes import reliability_by_method

Names = Mapping[str, str]
PANEL_WIDTH = 2.75  # width of the panel of a metric, in inches


def method_colours(methods: list[str]) -> dict[str, tuple[float, ...]]:
    """Assign a colour to each method, which is the same in all figures.

    Args:
        methods: Names of the methods.

    Returns:
        RGBA colours in [0, 1] by method.
    """
    palette = colormaps["tab10"]
    return {method: palette(i % 10) for i, method in enumerate(methods)}


def plot_metrics(comparison: Comparison, names: Names) -> Figure:
    """Create a forest plot: per metric, the estimate and interval of each method, and the values of its runs.

    Args:
        comparison: The comparison.
        names: Display names of the methods.

    Returns:
        The figure.
    """
    methods = comparison.methods
    width = PANEL_WIDTH * len(PIXEL_METRICS)
    figure = Figure(figsize=(width, 1.1 + 0.42 * len(methods)), layout="constrained")
    axes = figure.subplots(1, len(PIXEL_METRICS), sharey=True, squeeze=False)[0]
    for axis, (key, metric) in zip(axes, PIXEL_METRICS.items(), strict=True):
        scale = metric.scale()
        for y, (method, colour) in enumerate(method_colours(methods).items()):
            estimate = comparison.overall[method][key]
            dots = scale * comparison.run_values[method][key]
            axis.plot([scale * estimate.low, scale * estimate.high], [y, y], color=colour, linewidth=2)
            axis.plot(dots, np.full(len(dots), y), "o", color=colour, markersize=3, alpha=0.5)
            axis.plot(scale * estimate.value, y, "D", color=colour, markersize=6)
        axis.set_title(metric.axis_label(), fontsize=10)
        axis.grid(axis="x", alpha=0.3)
        axis.set_yticks(range(len(methods)), [names.get(method, method) for method in methods])
    axis.set_ylim(len(methods) - 0.5, -0.5)
    figure.suptitle(
        f"Diamonds: means with {100 * comparison.confidence_level:.0f} % confidence intervals. Dots: individual runs.",
        fontsize=9,
    )
    return figure


def plot_density(comparison: Comparison, names: Names) -> Figure:
    """Create bar charts: per metric, the estimates and confidence intervals by ACR category and method.

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
    width = 0.8 / len(methods)
    for axis, (key, metric) in zip(axes, PIXEL_METRICS.items(), strict=False):
        for i, (method, colour) in enumerate(method_colours(methods).items()):
            estimates = [by_method[method][key] for by_method in by_category.values()]
            x = np.arange(len(by_category)) + (i - (len(methods) - 1) / 2) * width
            values = metric.scale() * np.array([estimate.value for estimate in estimates])
            limits = metric.scale() * np.array([[estimate.low, estimate.high] for estimate in estimates]).T
            axis.bar(x, values, width, color=colour, label=names.get(method, method))
            axis.vlines(x, *limits, color="black", linewidth=0.8)
        n_images = {category: int((comparison.density == category).sum()) for category in by_category}
        labels = [f"ACR {category}\n{format_count(n, 'image')}" for category, n in n_images.items()]
        axis.set_xticks(range(len(by_category)), labels)
        axis.set_ylabel(metric.axis_label())
    figure.legend(*axis.get_legend_handles_labels(), loc="outside upper center", ncols=min(len(methods), 6), fontsize=8)
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
    axis.legend(fontsize=8)
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
    figure.legend(*diagram.get_legend_handles_labels(), loc="outside upper center", ncols=3, fontsize=8)
    histogram.set_yscale("log")
    histogram.set_ylabel("Fraction of all pixels")
    return figure


def plot_ranking(comparison: Comparison, names: Names) -> Figure | None:
    """Create a line plot of the pooled DSC of the methods, with one line per common (fold, seed) pair.

    Args:
        comparison: The comparison.
        names: Display names of the methods.

    Returns:
        The figure, or None if there are fewer than two common pairs.
    """
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
    axis.set_ylabel("Pooled DSC (%)")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    return figure


def plot_theta_alpha(comparison: Comparison) -> Figure | None:
    """Create a parallel-coordinates plot of theta, alpha and DSC, and a heatmap if both theta and alpha vary.

    Args:
        comparison: The comparison.

    Returns:
        The figure, or None if there are fewer than two combinations of theta and alpha.
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
        are fewer than two combinations of theta and alpha.
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
