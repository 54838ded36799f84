"""The paper's Figure 2: the same images in columns, methods in rows, truth green and prediction blue."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from mammoseg.data.store import PreparedStore
from mammoseg.density import ACRDensity
from mammoseg.reports.plotting import PREDICTION_COLOUR, TRUTH_COLOUR, contour
from mammoseg.runs.discovery import RunResults
from mammoseg.runs.folder import RunFolder
from mammoseg.runs.predictions import read_predictions
from mammoseg.runs.stores import find_store
from mammoseg.statistics.comparison import Comparison

log = logging.getLogger(__name__)


def figure2(comparison: Comparison, names: Mapping[str, str], place: Path | None, per_density: int) -> Figure | None:
    """None, with the reason in the log, if the runs kept no predictions or the prepared images are not found.

    `place`: folder of the prepared images; None looks where the runs say. `per_density`: images of each category.
    """
    data = comparison.data
    fold = next(iter(data.cases))
    runs = {method: first_of(parts, fold) for method, parts in data.runs.items()}
    if missing := [method for method, run in runs.items() if not run.folder.predictions.is_file()]:
        log.warning("no Figure 2: %s kept no %s", ", ".join(missing), RunFolder.predictions.name)
        return None
    places = [place] if place is not None else sorted({run.folder.data_paths().store for run in runs.values()})
    store = find_store(places, data.dataset, data.cases[fold])
    if store is None:
        log.warning("no Figure 2: the prepared images of these runs were not found; set dataset.store=<folder>")
        return None
    predicted = {method: read_predictions(run.folder.predictions).by_case for method, run in runs.items()}
    return draw(comparison, names, choose(comparison, fold, per_density), store, predicted, runs)


def first_of(parts: Mapping[tuple[str, str], RunResults], fold: str) -> RunResults:
    return next(run for (of, _), run in parts.items() if of == fold)


def choose(comparison: Comparison, fold: str, per_density: int) -> list[int]:
    """For each category the images around the median of DSC, the mean over methods: neither chosen to please, nor rare.

    Places among the fold's images.
    """
    here = comparison.fold_slice(fold)
    score = np.mean([values["dsc"][here] for values in comparison.by_image.values()], axis=0)
    chosen: list[int] = []
    for category in ACRDensity:
        those = np.flatnonzero(comparison.density[here] == category)
        ranked = those[np.argsort(score[those], kind="stable")]
        # Centred quantiles: one image is the median, two are the quarters, and so on.
        spots = (
            {int(len(ranked) * (number + 0.5) / per_density) for number in range(per_density)} if len(ranked) else set()
        )
        chosen += [int(ranked[spot]) for spot in sorted(spots)]
    return chosen


def draw(
    comparison: Comparison,
    names: Mapping[str, str],
    columns: Sequence[int],
    store: PreparedStore,
    predicted: Mapping[str, Mapping[str, np.ndarray]],
    runs: Mapping[str, RunResults],
) -> Figure:
    rows = next(iter(comparison.data.cases.values()))
    number = {case.case: place for place, case in enumerate(store.cases)}
    methods = comparison.methods
    figure = Figure(figsize=(max(1.9 * len(columns) + 0.5, 5), 2.0 * len(methods) + 0.4), layout="constrained")
    axes = figure.subplots(len(methods), len(columns), squeeze=False)
    scores = {method: {row["case"]: row["dsc"] for row in run.rows} for method, run in runs.items()}
    for line, method in enumerate(methods):
        for column, place in enumerate(columns):
            axis, case = axes[line, column], rows[place]["case"]
            axis.imshow(store.images[number[case]], cmap="gray")
            contour(axis, np.asarray(store.masks[number[case]], float), 0.5, TRUTH_COLOUR)
            contour(axis, predicted[method][case].astype(float), 0.5, PREDICTION_COLOUR)
            axis.set_xticks([])
            axis.set_yticks([])
            told = f"{100 * scores[method][case]:.0f}"
            axis.text(0.02, 0.02, told, color="white", fontsize=8, transform=axis.transAxes)
            if line == 0:
                axis.set_title(f"ACR {rows[place]['density']}", fontsize=10)
        axes[line, 0].set_ylabel(names.get(method, method), fontsize=9)
    figure.suptitle("truth green, prediction blue; DSC in % in the corner", fontsize=9)
    return figure
