"""Align the runs of several methods by fold, seed and test image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from mammoseg.errors import UserError
from mammoseg.runs.discovery import FoldSeed, RunResults
from mammoseg.runs.results import COUNTS, ResultRow
from mammoseg.runs.seen_images import seen_sentence
from mammoseg.runs.settings import HEADLINE, varying

# Settings that are different for each dataset.
SETTINGS_OF_DATASETS = ("dataset.reader", "dataset.source", "split.")


@dataclass(frozen=True)
class AlignedRuns:
    """Runs of several methods on the same test images.

    Attributes:
        dataset: Name of the dataset.
        runs: Runs as ``runs[method][(fold, seed)]``.
        cases: Test images as ``cases[fold]``, in the order of the rows of all runs of the fold. They are the rows of
            one of these runs, in which only the columns that do not depend on the method are meaningful.
        notes: Sentences about excluded folds and about differences that limit the comparability of the methods.
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
    def all_runs(self) -> list[RunResults]:
        """Runs of all methods, folds and seeds, in the order of `runs`."""
        return [run for by_fold_seed in self.runs.values() for run in by_fold_seed.values()]

    def base_method(self, method: str) -> str:
        """Return the name of a method without the settings that `disambiguate_methods` appends."""
        return str(next(iter(self.runs[method].values())).rows[0]["method"])

    def variants(self, method: str) -> list[str]:
        """Return the methods of a name: the method itself or, if its runs differ in their settings, its variants."""
        return [name for name in self.methods if method in (name, self.base_method(name))]

    @property
    def rows(self) -> list[ResultRow]:
        """Test images of all folds; arrays of shape (images,) have this order."""
        return [row for rows in self.cases.values() for row in rows]

    def fold_slice(self, fold: str) -> slice:
        """Return the slice of the images of a fold in arrays of shape (images,)."""
        index = list(self.cases).index(fold)
        ends = [0, *accumulate(map(len, self.cases.values()))]
        return slice(*ends[index : index + 2])

    def runs_of(self, method: str, fold: str) -> list[RunResults]:
        """Return the runs of a method in a fold, sorted by seed."""
        return [run for (run_fold, _), run in self.runs[method].items() if run_fold == fold]

    @property
    def common_fold_seeds(self) -> list[FoldSeed]:
        """Sorted (fold, seed) pairs for which all methods have a run."""
        first, *others = [set(by_fold_seed) for by_fold_seed in self.runs.values()]
        return sorted(first.intersection(*others))


def align_runs(runs: Sequence[RunResults]) -> AlignedRuns:
    """Align runs of one dataset by fold, seed and test image.

    Folds that are missing for any of the methods are excluded.

    Args:
        runs: Runs of any number of methods, folds and seeds. Their rows are sorted in place.

    Returns:
        Runs by method, fold and seed, with the test images in the same order.

    Raises:
        UserError: If there are two runs of the same method, fold and seed, if their test images differ, or if the
            methods have no fold in common.
    """
    grouped = _group_by_method(runs)
    folds_by_method = [{fold for fold, _ in by_fold_seed} for by_fold_seed in grouped.values()]
    common_folds = set.intersection(*folds_by_method)
    if not common_folds:
        raise UserError(
            f"the methods {', '.join(grouped)} must have at least one fold in common, got none; train the missing folds"
        )
    notes = []
    if excluded := sorted(set.union(*folds_by_method) - common_folds):
        notes.append(f"Folds that are not finished for all methods were excluded: fold {', '.join(excluded)}.")
    aligned = {
        method: {key: run for key, run in sorted(by_fold_seed.items()) if key[0] in common_folds}
        for method, by_fold_seed in grouped.items()
    }
    cases: dict[str, list[ResultRow]] = {}
    for run in (run for by_fold_seed in aligned.values() for run in by_fold_seed.values()):
        _align_images(cases.setdefault(run.fold, run.rows), run)
    notes += [*fairness_notes(aligned), *external_notes(aligned)]
    return AlignedRuns(runs[0].dataset, aligned, dict(sorted(cases.items())), notes)


def _group_by_method(runs: Sequence[RunResults]) -> dict[str, dict[FoldSeed, RunResults]]:
    """Group runs by method, then by (fold, seed); raises UserError for duplicates."""
    grouped: dict[str, dict[FoldSeed, RunResults]] = {}
    for run in disambiguate_methods(label_repeated_splits(runs)):
        by_fold_seed = grouped.setdefault(run.method, {})
        if run.fold_seed in by_fold_seed:
            fold, seed = run.fold_seed
            raise UserError(
                f"found two runs of {run.method}, {f'fold {fold}, ' if fold else ''}seed {seed}: "
                f"{by_fold_seed[run.fold_seed].folder.path} and {run.folder.path}; exclude one of them"
            )
        by_fold_seed[run.fold_seed] = run
    return grouped


def label_repeated_splits(runs: Sequence[RunResults]) -> list[RunResults]:
    """Add the seed of the split to the fold labels if it differs between runs, whose folds then differ as well."""
    if len({run.split_seed for run in runs if run.split_seed}) < 2:  # unknown for results without a record
        return list(runs)
    return [_with_split_seed(run) for run in runs]


def _with_split_seed(run: RunResults) -> RunResults:
    if run.is_external:  # the test images do not depend on the split of the training
        return replace(run, training=f"{run.fold_seed[1]} of split {run.split_seed}".strip())
    return replace(run, fold=f"{run.fold} of split {run.split_seed}".strip())


def disambiguate_methods(runs: Sequence[RunResults]) -> list[RunResults]:
    """Make the names of methods unambiguous.

    The settings in which runs of the same method differ are appended to its name, such as ``asp (loss.alpha=1)``.

    Args:
        runs: Runs in any order.

    Returns:
        Copies of the runs with unambiguous names, in the same order.
    """
    renamed = []
    for run in runs:
        # The settings of a run without run.json are unknown.
        same_method = [other.settings for other in runs if other.method == run.method and other.settings]
        keys = varying(same_method) if run.settings else []
        if "dataset.name" in keys:  # trained on different datasets, whose other settings follow from the name
            keys = [key for key in keys if not key.startswith(SETTINGS_OF_DATASETS)]
        label = ", ".join(f"{key}={compact(run.setting(key))}" for key in keys)
        renamed.append(replace(run, method=f"{run.method} ({label})" if label else run.method))
    return renamed


def compact(value: object) -> str:
    """Return the value of a setting as text without spaces.

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
        reason = f"differ (such as {differing[0]})" if differing else "are preprocessed differently"
        fold = f" of fold {run.fold}" if run.fold else ""
        raise UserError(
            f"{run.folder.path}: the test images {reason} from those of the other runs{fold}; "
            "compare only runs with the same split, dataset.negatives, dataset.size and preprocessing"
        )
    # Tables written by mammoseg are already sorted; tables edited by hand may not be.
    order = {row["case"]: index for index, row in enumerate(reference)}
    run.rows.sort(key=lambda row: order[row["case"]])


def external_notes(runs: Mapping[str, Mapping[FoldSeed, RunResults]]) -> Iterator[str]:
    """Describe tests on other datasets, and tests on images that are not independent of the training.

    Args:
        runs: Runs as ``runs[method][(fold, seed)]``.

    Yields:
        A sentence on the datasets if there are external tests, and one for each method that has seen test images.
    """
    tests = [run for by_fold_seed in runs.values() for run in by_fold_seed.values()]
    if any(run.is_external for run in tests):
        trained = {method: next(iter(by_fold_seed.values())).trained_on for method, by_fold_seed in runs.items()}
        listed = ", ".join(f"{method} on {dataset}" for method, dataset in trained.items())
        yield f"The methods were tested on {tests[0].dataset} and trained on: {listed}."
    for method, by_fold_seed in runs.items():
        counts = [run.seen_counts for run in by_fold_seed.values()]
        most = max(counts, key=lambda seen: sum(seen.values()))
        if sentence := seen_sentence(most, len(next(iter(by_fold_seed.values())).rows)):
            yield f"{method}: {sentence}"


def fairness_notes(runs: Mapping[str, Mapping[FoldSeed, RunResults]]) -> Iterator[str]:
    """Describe differences between runs that limit the comparability of the methods.

    Args:
        runs: Runs as ``runs[method][(fold, seed)]``.

    Yields:
        One sentence per difference: folds and seeds, seed of the split, and training settings such as epochs.
    """
    n_seeds = {method: len({seed for _, seed in by_fold_seed}) for method, by_fold_seed in runs.items()}
    if len(set(n_seeds.values())) > 1:
        listed = ", ".join(f"{method} {count}" for method, count in n_seeds.items())
        yield f"The methods have different numbers of seeds ({listed}). Values are means over the seeds of each method."
    elif len({frozenset(by_fold_seed) for by_fold_seed in runs.values()}) > 1:
        listed = ", ".join(f"{method} {len(by_fold_seed)}" for method, by_fold_seed in runs.items())
        yield (
            f"The methods were not run with the same pairs of fold and seed (numbers of runs: {listed}). Values are "
            "means over the runs of each method."
        )
    split_seeds = {run.split_seed for by_fold_seed in runs.values() for run in by_fold_seed.values()}
    if len(split_seeds) > 1:
        yield f"The runs use {len(split_seeds)} different split seeds, so an image can be in several test sets."
    yield from training_notes(runs)


def training_notes(runs: Mapping[str, Mapping[FoldSeed, RunResults]]) -> Iterator[str]:
    """Describe the differences between the training settings of the methods, as far as they are known.

    Args:
        runs: Runs as ``runs[method][(fold, seed)]``.

    Yields:
        One sentence per difference.
    """
    first_runs = {method: next(iter(by_fold_seed.values())) for method, by_fold_seed in runs.items()}
    trained = {method: run for method, run in first_runs.items() if not run.masks_only}
    if others := [method for method in first_runs if method not in trained]:
        yield (
            f"The masks of {', '.join(others)} were predicted by another program: the settings of its training, "
            "calibration and areas under ROC curves are unknown."
        )
    for key in HEADLINE:
        values = {method: compact(run.setting(key, "?")) for method, run in trained.items()}
        if len(set(values.values())) > 1:
            listed = ", ".join(f"{method} {value}" for method, value in values.items())
            yield f"The methods were trained with different values of {key} ({listed})."
    keys = varying([run.settings for run in trained.values()])
    if keys := [key for key in keys if key not in HEADLINE and key.partition(".")[0] not in ("model", "loss")]:
        noun = "setting" if len(keys) == 1 else "settings"
        yield f"Besides network and loss, the methods differ in the {noun} {', '.join(keys)}."
