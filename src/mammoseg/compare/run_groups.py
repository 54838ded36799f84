"""Groups of runs that are compared in one report: the same dataset and, for external tests, the same images."""

from __future__ import annotations

from collections.abc import Sequence

from mammoseg.runs.discovery import RunResults

EXTERNAL_SUFFIX = "-external"  # of the name of a report with external tests on other images than the internal ones


def group_runs(runs: Sequence[RunResults]) -> dict[str, list[RunResults]]:
    """Group runs by the dataset on which they were tested.

    External tests, those on a dataset on which the network was not trained, are compared with the networks that were
    trained on this dataset only if all of them were tested on the same images.

    Args:
        runs: All runs.

    Returns:
        Runs by the name of their report: the dataset, with a suffix for external tests on other images.
    """
    groups: dict[str, list[RunResults]] = {}
    for dataset in sorted({run.dataset for run in runs}):
        tested = [run for run in runs if run.dataset == dataset]
        own = [run for run in tested if not run.is_external]
        images = {frozenset(row["case"] for row in run.rows) for run in own}
        has_folds = len(images) > 1 or any(run.fold for run in own)
        separate = [
            run
            for run in tested
            if run.is_external and own and (has_folds or {row["case"] for row in run.rows} not in images)
        ]
        groups[dataset] = [run for run in tested if run not in separate]
        if separate:
            groups[f"{dataset}{EXTERNAL_SUFFIX}"] = separate
    return groups


def shows_datasets(runs: Sequence[RunResults]) -> bool:
    """Return whether tables show the datasets of training and test, since they differ within or between runs."""
    return len({run.trained_on for run in runs}) > 1 or any(run.trained_on != run.dataset for run in runs)
