"""Groups of runs that are compared in one report: the same dataset and, for external tests, the same images."""

from __future__ import annotations

from collections.abc import Sequence

from mammoseg.runs.discovery import RunResults

# Of a report with tests on other images than those of the single networks that were trained on the dataset.
EXTERNAL_SUFFIX, ENSEMBLE_SUFFIX = "-external", "-ensemble"


def group_runs(runs: Sequence[RunResults]) -> dict[str, list[RunResults]]:
    """Group runs by the dataset on which they were tested.

    External tests, those on a dataset on which the network was not trained, and ensembles, which test the images of all
    folds, are compared with the single networks that were trained on this dataset only if all of them were tested on
    the same images.

    Args:
        runs: All runs.

    Returns:
        Runs by the name of their report: the dataset, with a suffix for tests on other images.
    """
    groups: dict[str, list[RunResults]] = {}
    for dataset in sorted({run.dataset for run in runs}):
        tested = [run for run in runs if run.dataset == dataset]
        own = [run for run in tested if not (run.is_external or run.is_ensemble)]
        images = {frozenset(row["case"] for row in run.rows) for run in own}
        has_folds = len(images) > 1 or any(run.fold for run in own)
        for run in tested:
            same_images = run in own or not own or (not has_folds and {row["case"] for row in run.rows} in images)
            suffix = EXTERNAL_SUFFIX if run.is_external else ENSEMBLE_SUFFIX
            groups.setdefault(dataset if same_images else f"{dataset}{suffix}", []).append(run)
    return dict(sorted(groups.items()))


def shows_datasets(runs: Sequence[RunResults]) -> bool:
    """Return whether tables show the datasets of training and test, since they differ within or between runs."""
    return len({run.trained_on for run in runs}) > 1 or any(run.trained_on != run.dataset for run in runs)
