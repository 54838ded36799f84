"""Qualitative comparison as in Figure 2 of the paper: contours on test images (columns) for each method (rows)."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from mammoseg.data.store import PreparedStore
from mammoseg.density import ACRDensity
from mammoseg.reports.plotting import GROUND_TRUTH, PREDICTION, add_contour_legend, draw_contour, wrap_name
from mammoseg.runs.discovery import RunResults
from mammoseg.runs.folder import RunFolder
from mammoseg.runs.predictions import read_predictions
from mammoseg.runs.results import has_mass as is_with_mass
from mammoseg.runs.stores import find_store
from mammoseg.statistics.comparison import Comparison

log = logging.getLogger(__name__)

LABEL_WIDTH = 26  # characters per line of the name of a method beside its row


def plot_predictions(
    comparison: Comparison, names: Mapping[str, str], store_root: Path | None, per_density: int
) -> Figure | None:
    """Plot predictions of all methods for test images of the first fold.

    Args:
        comparison: The comparison.
        names: Display names of the methods.
        store_root: Folder of the prepared images; None uses the folders that are recorded in the runs.
        per_density: Number of images per ACR category.

    Returns:
        The figure; None if predictions or prepared images are missing, for which a warning is logged.

    Raises:
        UserError: If predictions.npz of a run is damaged, or does not contain its test images.
    """
    data = comparison.data
    fold = next(iter(data.cases))
    runs = {
        method: next(run for (run_fold, _), run in by_fold_seed.items() if run_fold == fold)
        for method, by_fold_seed in data.runs.items()
    }
    if missing := [method for method, run in runs.items() if not run.folder.predictions.is_file()]:
        log.warning("skipping Figure 2: no %s found for %s", RunFolder.predictions.name, ", ".join(missing))
        return None
    recorded = sorted({run.folder.data_paths().store for run in runs.values()})
    settings = next(iter(runs.values())).settings.get("dataset")
    store = find_store(recorded if store_root is None else [store_root], data.dataset, data.cases[fold], settings)
    if store is None:
        log.warning("skipping Figure 2: prepared images of these runs not found; set dataset.store=<folder>")
        return None
    masks_pred = {
        method: read_predictions(run.folder.predictions, [row["case"] for row in run.rows]).by_case
        for method, run in runs.items()
    }
    return _plot_contours(names, runs, select_images(comparison, fold, per_density), store, masks_pred)


def select_images(comparison: Comparison, fold: str, per_density: int) -> list[int]:
    """Select representative images: those at evenly spaced quantiles of the DSC in each ACR category.

    If there are images without a mass, the one with the largest predicted area is the last image.

    Args:
        comparison: The comparison; the DSC is averaged over its methods.
        fold: Name of the fold from which images are selected.
        per_density: Number of images per ACR category.

    Returns:
        Indices of the images in the fold.
    """
    fold_slice = comparison.data.fold_slice(fold)
    dsc = np.mean([values["dsc"][fold_slice] for values in comparison.by_image.values()], axis=0)
    has_mass = comparison.has_mass[fold_slice]
    selected: list[int] = []
    for category in ACRDensity:
        candidates = np.flatnonzero((comparison.density[fold_slice] == category) & has_mass)
        if not len(candidates):
            continue
        ranked = candidates[np.argsort(dsc[candidates], kind="stable")]
        # Centred quantiles: a single image has the median DSC, two images the quartiles, etc. Ranks can coincide.
        ranks = {int(len(ranked) * (i + 0.5) / per_density) for i in range(per_density)}
        selected += [int(ranked[rank]) for rank in sorted(ranks)]
    if not has_mass.all():
        runs = [comparison.data.runs_of(method, fold)[0] for method in comparison.methods]
        predicted = np.sum([run.counts[:, 1] for run in runs], axis=0)  # false positive pixels
        selected.append(int(np.where(has_mass, -1, predicted).argmax()))
    return selected


def _plot_contours(
    names: Mapping[str, str],
    runs: Mapping[str, RunResults],
    image_indices: Sequence[int],
    store: PreparedStore,
    masks_pred: Mapping[str, Mapping[str, NDArray[np.bool_]]],
) -> Figure:
    """Plot one row per method and one column per image; ``masks_pred[method][case]`` has shape (H, W)."""
    store_index = {case.case: i for i, case in enumerate(store.cases)}
    n_methods, n_images = len(runs), len(image_indices)
    figure = Figure(figsize=(max(1.9 * n_images + 0.5, 5), 2.05 * n_methods + 0.5), layout="constrained")
    axes = figure.subplots(n_methods, n_images, squeeze=False)
    for i, (method, run) in enumerate(runs.items()):
        for axis, row in zip(axes[i], [run.rows[index] for index in image_indices], strict=True):
            case = row["case"]
            axis.imshow(store.images[store_index[case]], cmap="gray")
            draw_contour(axis, np.asarray(store.masks[store_index[case]], float), 0.5, GROUND_TRUTH)
            draw_contour(axis, masks_pred[method][case].astype(float), 0.5, PREDICTION)
            axis.set_xticks([])
            axis.set_yticks([])
            label = f"DSC {100 * row['dsc']:.0f} %" if is_with_mass(row) else "no mass"
            text = axis.text(0.02, 0.02, label, color="white", fontsize=8, transform=axis.transAxes)
            text.set_path_effects([withStroke(linewidth=2, foreground="black")])
            if i == 0:
                axis.set_title(f"ACR {row['density']}", fontsize=10)
        axes[i, 0].set_ylabel(wrap_name(names.get(method, method), LABEL_WIDTH), fontsize=9)
    add_contour_legend(figure)
    return figure
