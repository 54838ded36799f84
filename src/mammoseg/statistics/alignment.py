"""Runs of several methods, aligned by fold, seed and test image, so that they can be compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mammoseg.errors import UserError
from mammoseg.runs.discovery import FoldSeed, RunResults, label_repeated_splits
from mammoseg.runs.results import COUNTS, ResultRow
from mammoseg.runs.settings import HEADLINE, varying


@dataclass(frozen=True)
class AlignedRuns:
    """Runs of several methods on the same test images.

    Args:
        dataset: Name of the dataset.
        runs: ``runs[method][(fold, seed)]``.
        cases: ``cases[fold]``: the rows of any run of that fold, for what does not depend on the method. All runs of a
            fold have these images in this order.
        notes: Sentences on what was left out, and on what makes the comparison less than like for like.
    """

    dataset: str
    runs: dict[str, dict[FoldSeed, RunResults]]
    cases: dict[str, list[ResultRow]]
    notes: list[str]

    @property
    def methods(self) -> list[str]:
        return list(self.runs)

    @property
    def common(self) -> list[FoldSeed]:
        """The folds and seeds that every method has."""
        first, *others = [set(parts) for parts in self.runs.values()]
        return sorted(first.intersection(*others))


def align_runs(runs: Sequence[RunResults]) -> AlignedRuns:
    """Align runs of one dataset.

    Raises:
        UserError: If a method has a fold and seed twice, test images differ, or methods have no fold in common. Folds
            that some method lacks are left out, with a note.
    """
    table: dict[str, dict[FoldSeed, RunResults]] = {}
    for run in disambiguate_methods(label_repeated_splits(runs)):
        parts = table.setdefault(run.method, {})
        if run.fold_seed in parts:
            fold, seed = run.fold_seed
            raise UserError(
                f"{run.method}, {f'fold {fold}, ' if fold else ''}seed {seed} was run twice: "
                f"{parts[run.fold_seed].folder.path} and {run.folder.path}; keep one of them"
            )
        parts[run.fold_seed] = run
    notes = []
    folds_of = [{fold for fold, _ in parts} for parts in table.values()]
    folds = set.intersection(*folds_of)
    if not folds:
        raise UserError(
            f"the methods {', '.join(table)} have no fold in common, so nothing can be compared; run the missing folds"
        )
    if left := sorted(set.union(*folds_of) - folds):
        notes.append(f"Left out: fold {', '.join(left)}, which not every method has finished.")
    kept = {m: {part: run for part, run in sorted(parts.items()) if part[0] in folds} for m, parts in table.items()}
    cases: dict[str, list[ResultRow]] = {}
    for run in (run for parts in kept.values() for run in parts.values()):
        rows = cases.setdefault(run.fold, run.rows)
        _align_images(rows, run)
    return AlignedRuns(runs[0].dataset, kept, dict(sorted(cases.items())), [*notes, *fairness_notes(kept)])


def disambiguate_methods(runs: Sequence[RunResults]) -> list[RunResults]:
    """The runs, their method labelled by the settings in which runs of that method differ, such as loss.alpha=1."""
    named = []
    for run in runs:
        # A run without a record says nothing about its settings.
        same = [other.settings for other in runs if other.method == run.method and other.settings]
        keys = varying(same) if run.settings else []
        label = ", ".join(f"{key}={compact(run.setting(key))}" for key in keys)
        named.append(replace(run, method=f"{run.method} ({label})" if label else run.method))
    return named


def compact(value: object) -> str:
    """A setting's value in a label."""
    return str(value).replace(" ", "")


def _align_images(rows: Sequence[ResultRow], run: RunResults) -> None:
    """Sort the rows of `run` as `rows` are; raises UserError for other images, or other masks of them."""

    def truth(row: ResultRow) -> tuple[Any, ...]:
        return row["case"], row["tp"] + row["fn"], sum(row[name] for name in COUNTS)

    ours, theirs = {truth(row) for row in rows}, {truth(row) for row in run.rows}
    if ours != theirs:
        names = {name for name, *_ in ours} ^ {name for name, *_ in theirs}
        what = f"other test images ({sorted(names)[0]}, for one)" if names else "test images preprocessed differently"
        fold = f" of fold {run.fold}" if run.fold else ""
        raise UserError(
            f"{run.folder.path}: has {what} than the other runs{fold}; compare only runs of one split, dataset.size "
            "and preprocessing"
        )
    # Readers keep an order; a table sorted by hand is still the same table.
    order = {row["case"]: position for position, row in enumerate(rows)}
    run.rows.sort(key=lambda row: order[row["case"]])


def fairness_notes(runs: Mapping[str, Mapping[FoldSeed, RunResults]]) -> Iterator[str]:
    """What makes a comparison less than like for like."""
    seeds = {method: len({seed for _, seed in parts}) for method, parts in runs.items()}
    if len(set(seeds.values())) > 1:
        counts = ", ".join(f"{method} {number}" for method, number in seeds.items())
        yield f"The methods have different numbers of seeds ({counts}); each value is the mean over its own."
    splits = {run.split_seed for parts in runs.values() for run in parts.values()}
    if len(splits) > 1:
        yield f"The split was repeated with {len(splits)} seeds, so an image can be in several test sets."
    for key in HEADLINE:
        values = {m: compact(next(iter(parts.values())).setting(key, "?")) for m, parts in runs.items()}
        if len(set(values.values())) > 1:
            listed = ", ".join(f"{method} {value}" for method, value in values.items())
            yield f"Not like for like: {key} differs ({listed})."
