"""Align the runs of several methods by fold, seed and test image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from mammoseg.errors import UserError
from mammoseg.runs.discovery import FoldSeed, RunResults, label_repeated_splits
from mammoseg.runs.results import COUNTS, ResultRow
from mammoseg.runs.settings import HEADLINE, varying


@dataclass(frozen=True)
class AlignedRuns:
    """Runs of several methods on the same test images.

    Attributes:
        dataset: Name of the dataset.
        runs: ``runs[method][(fold, seed)]``.
        cases: ``cases[fold]``: the rows of an arbitrary run of that fold, for the columns that do not depend on the
            method. All runs of a fold contain these images in this order.
        notes: Sentences about excluded runs and about differences that make the comparison unfair.
    """

    dataset: str
    runs: dict[str, dict[FoldSeed, RunResults]]
    cases: dict[str, list[ResultRow]]
    notes: list[str]

    @property
    def methods(self) -> list[str]:
        """Names of the methods."""
        return list(self.runs)

    @property
    def common_fold_seeds(self) -> list[FoldSeed]:
        """The (fold, seed) pairs that all methods have in common, sorted."""
        first, *others = [set(by_fold_seed) for by_fold_seed in self.runs.values()]
        return sorted(first.intersection(*others))


def align_runs(runs: Sequence[RunResults]) -> AlignedRuns:
    """Align runs of one dataset.

    Folds that are missing for some method are excluded, with a note.

    Args:
        runs: Runs of any number of methods, folds and seeds. Their rows are sorted in place.

    Returns:
        The runs by method, fold and seed, with their test images in the same order.

    Raises:
        UserError: If a method has the same fold and seed twice, if the test images differ, or if the methods have no
            fold in common.
    """
    grouped = _group_by_method(runs)
    folds_by_method = [{fold for fold, _ in by_fold_seed} for by_fold_seed in grouped.values()]
    common_folds = set.intersection(*folds_by_method)
    if not common_folds:
        raise UserError(
            f"the methods {', '.join(grouped)} have no fold in common and cannot be compared; run the missing folds"
        )
    notes = []
    if excluded := sorted(set.union(*folds_by_method) - common_folds):
        notes.append(f"Excluded: fold {', '.join(excluded)}, which is not finished for every method.")
    aligned = {
        method: {key: run for key, run in sorted(by_fold_seed.items()) if key[0] in common_folds}
        for method, by_fold_seed in grouped.items()
    }
    cases: dict[str, list[ResultRow]] = {}
    for run in (run for by_fold_seed in aligned.values() for run in by_fold_seed.values()):
        _align_images(cases.setdefault(run.fold, run.rows), run)
    notes += fairness_notes(aligned)
    return AlignedRuns(runs[0].dataset, aligned, dict(sorted(cases.items())), notes)


def _group_by_method(runs: Sequence[RunResults]) -> dict[str, dict[FoldSeed, RunResults]]:
    """Group runs by method, then by (fold, seed); raises UserError for duplicates."""
    grouped: dict[str, dict[FoldSeed, RunResults]] = {}
    for run in disambiguate_methods(label_repeated_splits(runs)):
        by_fold_seed = grouped.setdefault(run.method, {})
        if run.fold_seed in by_fold_seed:
            fold, seed = run.fold_seed
            raise UserError(
                f"{run.method}, {f'fold {fold}, ' if fold else ''}seed {seed} was run twice: "
                f"{by_fold_seed[run.fold_seed].folder.path} and {run.folder.path}; keep one of them"
            )
        by_fold_seed[run.fold_seed] = run
    return grouped


def disambiguate_methods(runs: Sequence[RunResults]) -> list[RunResults]:
    """Append the settings in which runs of one method differ to the method's name, such as ``(loss.alpha=1)``.

    Args:
        runs: Runs in any order.

    Returns:
        Copies of the runs, in the same order, with unambiguous `method` names.
    """
    renamed = []
    for run in runs:
        # A run without a record has no known settings.
        same_method = [other.settings for other in runs if other.method == run.method and other.settings]
        keys = varying(same_method) if run.settings else []
        label = ", ".join(f"{key}={compact(run.setting(key))}" for key in keys)
        renamed.append(replace(run, method=f"{run.method} ({label})" if label else run.method))
    return renamed


def compact(value: object) -> str:
    """Format the value of a setting without spaces.

    Example:
        >>> compact([0.5, 1.0])
        '[0.5,1.0]'
    """
    return str(value).replace(" ", "")


def _align_images(reference: Sequence[ResultRow], run: RunResults) -> None:
    """Sort the rows of `run` like `reference`; raises UserError if the images or their masks differ."""

    def ground_truth(row: ResultRow) -> tuple[str, int, int]:
        return row["case"], row["tp"] + row["fn"], sum(row[name] for name in COUNTS)

    expected, actual = {ground_truth(row) for row in reference}, {ground_truth(row) for row in run.rows}
    if expected != actual:
        differing = sorted({case for case, *_ in expected} ^ {case for case, *_ in actual})
        reason = f"other test images (such as {differing[0]})" if differing else "test images preprocessed differently"
        fold = f" of fold {run.fold}" if run.fold else ""
        raise UserError(
            f"{run.folder.path}: has {reason} than the other runs{fold}; compare only runs with the same split, "
            "dataset.size and preprocessing"
        )
    # Files written by mammoseg are sorted already; this accepts tables that were sorted by hand.
    order = {row["case"]: index for index, row in enumerate(reference)}
    run.rows.sort(key=lambda row: order[row["case"]])


def fairness_notes(runs: Mapping[str, Mapping[FoldSeed, RunResults]]) -> Iterator[str]:
    """Describe differences between methods that make a comparison unfair.

    Args:
        runs: ``runs[method][(fold, seed)]``.

    Yields:
        One sentence per difference: number of seeds, number of split seeds, and training settings such as epochs.
    """
    n_seeds = {method: len({seed for _, seed in by_fold_seed}) for method, by_fold_seed in runs.items()}
    if len(set(n_seeds.values())) > 1:
        listed = ", ".join(f"{method} {count}" for method, count in n_seeds.items())
        yield f"The methods have different numbers of seeds ({listed}); each value is the mean over the method's seeds."
    split_seeds = {run.split_seed for by_fold_seed in runs.values() for run in by_fold_seed.values()}
    if len(split_seeds) > 1:
        yield f"The split was repeated with {len(split_seeds)} seeds, so an image can be in several test sets."
    for key in HEADLINE:
        values = {m: compact(next(iter(by_fold_seed.values())).setting(key, "?")) for m, by_fold_seed in runs.items()}
        if len(set(values.values())) > 1:
            listed = ", ".join(f"{method} {value}" for method, value in values.items())
            yield f"The methods were trained with different settings: {key} differs ({listed})."
