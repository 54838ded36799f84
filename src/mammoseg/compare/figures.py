"""A comparison as pictures. Each function makes one figure; `None` where the runs have nothing to show in it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from mammoseg.density import ACRDensity
from mammoseg.metrics import BINS, PIXEL_METRICS
from mammoseg.reports.plotting import heatmap, parallel_coordinates
from mammoseg.statistics.comparison import Comparison

Names = Mapping[str, str]
PANEL_WIDTH = 2.75  # inches, of one metric


def colours(methods: list[str]) -> dict[str, tuple[float, ...]]:
    """The last method, which in the paper's order is its proposal, stands out; the same colour in every figure."""
    palette = colormaps["tab10"]
    return {method: palette(place % 10) for place, method in enumerate(methods)}


def forest(comparison: Comparison, names: Names) -> Figure:
    """A panel for each metric: values with their intervals, and a dot for every fold and seed."""
    methods = comparison.methods
    width = PANEL_WIDTH * len(PIXEL_METRICS)
    figure = Figure(figsize=(width, 1.1 + 0.42 * len(methods)), layout="constrained")
    axes = figure.subplots(1, len(PIXEL_METRICS), sharey=True, squeeze=False)[0]
    for axis, (key, metric) in zip(axes, PIXEL_METRICS.items(), strict=True):
        scale = metric.scale()
        for place, (method, colour) in enumerate(colours(methods).items()):
            estimate = comparison.overall[method][key]
            dots = scale * comparison.bootstraps[method].values[key]
            axis.plot([scale * estimate.low, scale * estimate.high], [place, place], color=colour, linewidth=2)
            axis.plot(dots, np.full(len(dots), place), "o", color=colour, markersize=3, alpha=0.5)
            axis.plot(scale * estimate.value, place, "D", color=colour, markersize=6)
        axis.set_title(metric.label(), fontsize=10)
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
    """A panel for each metric: values by ACR category, with intervals."""
    found = comparison.by_density
    if not found:
        return None
    methods = comparison.methods
    n_rows = -(-len(PIXEL_METRICS) // 2)
    figure = Figure(figsize=(11, 3.5 * n_rows + 0.4), layout="constrained")
    axes = figure.subplots(n_rows, 2, squeeze=False).ravel().tolist()
    for unused in axes[len(PIXEL_METRICS) :]:
        unused.remove()
    width = 0.8 / len(methods)
    for axis, (key, metric) in zip(axes, PIXEL_METRICS.items(), strict=False):
        for place, (method, colour) in enumerate(colours(methods).items()):
            estimates = [found[category][method][key] for category in found]
            x = np.arange(len(found)) + (place - (len(methods) - 1) / 2) * width
            values = metric.scale() * np.array([e.value for e in estimates])
            ends = metric.scale() * np.array([[e.low, e.high] for e in estimates]).T
            axis.bar(x, values, width, color=colour, label=names.get(method, method))
            axis.vlines(x, *ends, color="black", linewidth=0.8)
        numbers = [int((comparison.density == category).sum()) for category in found]
        axis.set_xticks(range(len(found)), [f"ACR {c}\n{n} images" for c, n in zip(found, numbers, strict=True)])
        axis.set_ylabel(metric.label())
    figure.legend(*axis.get_legend_handles_labels(), loc="outside upper center", ncols=min(len(methods), 6), fontsize=8)
    return figure


def by_mass_size(comparison: Comparison, names: Names) -> Figure:
    """Mean DSC of the images against the size of their masses."""
    figure = Figure(figsize=(7.5, 4.2), layout="constrained")
    axis = figure.subplots()
    groups = comparison.size_groups
    for method, colour in colours(comparison.methods).items():
        values = [100 * comparison.by_image[method]["dsc"][chosen].mean() for _, chosen in groups]
        axis.plot(range(len(groups)), values, "o-", color=colour, label=names.get(method, method))
    axis.set_xticks(
        range(len(groups)), [f"{label}\n{int(chosen.sum())} images" for label, chosen in groups], fontsize=8
    )
    axis.set_xlabel("mass pixels in the prepared image")
    axis.set_ylabel("DSC, mean over images, %")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    return figure


def calibration(comparison: Comparison, names: Names) -> Figure | None:
    """What share of the pixels with a given probability is mass; on the diagonal, the heat-map tells the truth."""
    if not comparison.reliability:
        return None
    figure = Figure(figsize=(9.5, 4.2), layout="constrained")
    curve, number = figure.subplots(1, 2)
    curve.plot([0, 1], [0, 1], color="grey", linestyle=":")
    for method, colour in colours(comparison.methods).items():
        if method not in comparison.reliability:
            continue
        pixels, probabilities, masses = comparison.reliability[method].T
        seen = pixels > 0
        curve.plot(
            (probabilities / np.maximum(pixels, 1))[seen], (masses / np.maximum(pixels, 1))[seen], "o-", color=colour
        )
        number.plot(
            (np.arange(BINS) + 0.5) / BINS, pixels / pixels.sum(), "o-", color=colour, label=names.get(method, method)
        )
    curve.set_xlabel("predicted probability of mass")
    curve.set_ylabel("share of these pixels that is mass")
    number.set_yscale("log")
    number.set_xlabel("predicted probability of mass")
    number.set_ylabel("share of all pixels")
    number.legend(fontsize=8)
    return figure


def ranking(comparison: Comparison, names: Names) -> Figure | None:
    """Pooled DSC of each method in each fold and seed that all of them have, one line each."""
    parts, scores = comparison.fold_seed_scores
    if len(parts) < 2:
        return None
    methods = comparison.methods
    figure = Figure(figsize=(7.5, 4.2), layout="constrained")
    axis = figure.subplots()
    for (fold, seed), line in zip(parts, scores, strict=True):
        told = ", ".join(part for part in (f"fold {fold}" if fold else "", f"seed {seed}") if part)
        axis.plot(range(len(methods)), 100 * line, "o-", label=told, alpha=0.7)
    axis.set_xticks(range(len(methods)), [names.get(method, method) for method in methods], fontsize=8, rotation=15)
    axis.set_ylabel("pooled DSC, %")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    return figure


def sweep(comparison: Comparison, names: Names) -> Figure | None:
    """Where runs differ in theta or alpha: parallel coordinates, and a heat-map where both vary."""
    points = sweep_points(comparison)
    if points is None:
        return None
    values, scores = points
    thetas, alphas = [tuple(row[:4]) for row in values.tolist()], values[:, 4].tolist()
    both = len(set(thetas)) > 1 and len(set(alphas)) > 1
    figure = Figure(figsize=(11 if both else 7.5, 4.2), layout="constrained")
    axes = figure.subplots(1, 2 if both else 1, squeeze=False)[0]
    names_of_values = [*(f"θ ACR {category}" for category in ACRDensity), "α"]
    parallel_coordinates(axes[0], values, scores, [*names_of_values, "DSC, %"])
    if both:
        heatmap(axes[1], thetas, alphas, scores.tolist(), "pooled DSC, %")
        axes[1].set(xlabel="θ by ACR category", ylabel="α")
    return figure


def sweep_points(comparison: Comparison) -> tuple[np.ndarray, np.ndarray] | None:
    """Theta 1-4 and alpha (N, 5), and pooled DSC in % (N,), of the methods whose loss has them, if they differ."""
    found = []
    for method in comparison.methods:
        run = next(iter(comparison.data.runs[method].values()))
        theta, alpha = run.setting("loss.theta"), run.setting("loss.alpha")
        if theta is not None and alpha is not None:
            found.append(([*theta, alpha], 100 * comparison.overall[method]["dsc"].value))
    if len({tuple(values) for values, _ in found}) < 2:
        return None
    values, scores = zip(*found, strict=True)
    return np.array(values, dtype=float), np.array(scores)
