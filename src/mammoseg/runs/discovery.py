"""Folders -> runs that may be compared: found, checked, named."""

from __future__ import annotations

import csv
import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mammoseg.errors import UserError
from mammoseg.runs import record, results
from mammoseg.runs.results import COUNTS, Row

log = logging.getLogger(__name__)

# Settings that are what a method is. Two runs of one method that differ in them are two methods.
DISTINGUISHING = (
    "model.",
    "loss.",
    "augment",
    "optimizer.",
    "scheduler",
    "batch_size",
    "trainer.max_epochs",
    "dataset.",
)
# But these say how it is computed, not what.
INDIFFERENT = ("dataset.workers", "dataset.on_device", "model.gradient_checkpointing", "optimizer.fused")
Part = tuple[str, str]  # (fold, seed)


@dataclass(frozen=True)
class TestedRun:
    """One run's results. `method`: its label in tables. `settings`: flat, empty where run.json is not there."""

    __test__ = False  # pytest would take it for a test

    folder: Path
    rows: list[Row]
    method: str
    settings: Mapping[str, Any]
    minutes: float | None = None

    @property
    def dataset(self) -> str:
        return str(self.rows[0]["dataset"])

    @property
    def part(self) -> Part:
        return str(self.rows[0]["fold"]), str(self.rows[0]["seed"])

    @property
    def counts(self) -> NDArray[np.int64]:
        """(images, 4)"""
        return np.array([[row[name] for name in COUNTS] for row in self.rows], dtype=np.int64)


def find(folders: Sequence[Path]) -> list[TestedRun]:
    """All finished runs in the folders or below them; what is left out is said in the log.

    Raises UserError where there is none, and for a damaged results.csv.
    """
    runs = []
    for folder in folders:
        if not folder.is_dir():
            raise UserError(
                f"runs={folder}: no such folder; give one that mammoseg.train wrote, such as multirun/table1-phantom"
            )
        for unfinished in sorted({path.parent for path in folder.rglob(record.NAME)}):
            if not (unfinished / "results.csv").is_file():
                log.warning("%s left out: not finished, it has no results.csv", unfinished)
        runs += [read_run(path.parent) for path in sorted(folder.rglob("results.csv")) if path.is_file()]
    if not runs:
        raise UserError(
            f"runs={', '.join(map(str, folders))}: no results.csv in it or below; train first, for instance "
            "python -m mammoseg.train experiment=table1 dataset=phantom"
        )
    return runs


def read_run(folder: Path) -> TestedRun:
    rows = read_rows(folder / "results.csv")
    known = record.read(folder) or {}
    settings = dict(record.flat(known.get("settings", {})))
    return TestedRun(folder, rows, rows[0]["method"], settings, known.get("minutes"))


def read_rows(path: Path) -> list[Row]:
    """Raises UserError for a table without rows, without a column, or with anything that is no number."""
    try:
        with path.open(newline="") as lines:
            columns = csv.DictReader(lines).fieldnames or []
        if missing := [name for name in results.COLUMNS if name not in columns]:
            raise UserError(
                f"{path}: has no column {', '.join(missing)}; it is no results table of this version, test again"
            )
        rows = results.read(path)
    except (ValueError, TypeError, csv.Error) as error:
        raise UserError(f"{path}: {error}; test the run again with mammoseg.evaluate") from error
    if not rows:
        raise UserError(f"{path}: has no row, so its test part was empty; check the run's split")
    for row in rows:
        counts = [row[name] for name in COUNTS]
        if min(counts) < 0:
            raise UserError(f"{path}: case {row['case']} has a negative number of pixels; test the run again")
        follows = results.metrics([counts])
        if any(not math.isclose(row[name], value, abs_tol=1e-6) and value == value for name, value in follows.items()):
            raise UserError(
                f"{path}: the metrics of case {row['case']} do not follow from its counts; test the run again"
            )
    if len({row["case"] for row in rows}) < len(rows):
        raise UserError(f"{path}: holds an image twice; test the run again")
    return rows


def named_apart(runs: Sequence[TestedRun]) -> list[TestedRun]:
    """The runs, their method labelled by the settings in which runs of that method differ, such as loss.alpha=1."""
    named = []
    for run in runs:
        same = [other.settings for other in runs if other.method == run.method]
        differing = [
            key
            for key in sorted({key for settings in same for key in settings})
            if key.startswith(DISTINGUISHING)
            and key not in INDIFFERENT
            and len({str(settings.get(key)) for settings in same}) > 1
        ]
        label = ", ".join(f"{key}={short(run.settings.get(key))}" for key in differing)
        named.append(replace(run, method=f"{run.method} ({label})" if label else run.method))
    return named


def short(value: object) -> str:
    return str(value).replace(" ", "")


@dataclass(frozen=True)
class Comparable:
    """Runs of several methods on the same test images.

    `runs[method][(fold, seed)]`; `cases[fold]`: rows of any run of that fold, for what is true of an image whatever
    the method. All runs of a fold have these images in this order.
    """

    dataset: str
    runs: dict[str, dict[Part, TestedRun]]
    cases: dict[str, list[Row]]
    notes: list[str]

    @property
    def methods(self) -> list[str]:
        return list(self.runs)

    @property
    def common(self) -> list[Part]:
        """The folds and seeds that every method has."""
        first, *others = [set(parts) for parts in self.runs.values()]
        return sorted(first.intersection(*others))


def comparable(runs: Sequence[TestedRun]) -> Comparable:
    """Runs of one dataset, checked against each other.

    Raises UserError for a fold and seed that a method has twice, for differing test images, and for methods
    without a common fold. Folds that some method lacks are left out, and noted.
    """
    table: dict[str, dict[Part, TestedRun]] = {}
    for run in named_apart(runs):
        parts = table.setdefault(run.method, {})
        if run.part in parts:
            fold, seed = run.part
            raise UserError(
                f"{run.method}, {f'fold {fold}, ' if fold else ''}seed {seed} was run twice: {parts[run.part].folder} "
                f"and {run.folder}; keep one of them"
            )
        parts[run.part] = run
    notes = []
    everyone = [{fold for fold, _ in parts} for parts in table.values()]
    folds = set.intersection(*everyone)
    if not folds:
        raise UserError(
            f"the methods {', '.join(table)} have no fold in common, so nothing can be compared; run the missing folds"
        )
    if left := sorted(set.union(*everyone) - folds):
        notes.append(f"Left out: fold {', '.join(left)}, which not every method has finished.")
    kept = {m: {part: run for part, run in sorted(parts.items()) if part[0] in folds} for m, parts in table.items()}
    cases: dict[str, list[Row]] = {}
    for run in (run for parts in kept.values() for run in parts.values()):
        rows = cases.setdefault(run.part[0], run.rows)
        check_same_images(rows, run)
    return Comparable(runs[0].dataset, kept, dict(sorted(cases.items())), [*notes, *uneven(kept)])


def check_same_images(rows: Sequence[Row], run: TestedRun) -> None:
    def truth(row: Row) -> tuple[Any, ...]:
        return row["case"], row["tp"] + row["fn"], sum(row[name] for name in COUNTS)

    ours, theirs = {truth(row) for row in rows}, {truth(row) for row in run.rows}
    if ours != theirs:
        names = {name for name, *_ in ours} ^ {name for name, *_ in theirs}
        what = f"other test images ({sorted(names)[0]}, for one)" if names else "test images prepared in another way"
        fold = f" of fold {run.part[0]}" if run.part[0] else ""
        raise UserError(
            f"{run.folder}: has {what} than the other runs{fold}; "
            "compare only runs of one split, dataset.size and preparation"
        )
    # Readers keep an order; a table sorted by hand is still the same table.
    order = {row["case"]: place for place, row in enumerate(rows)}
    run.rows.sort(key=lambda row: order[row["case"]])


def uneven(runs: Mapping[str, Mapping[Part, TestedRun]]) -> Iterable[str]:
    """What makes a comparison less than like for like."""
    seeds = {method: len({seed for _, seed in parts}) for method, parts in runs.items()}
    if len(set(seeds.values())) > 1:
        told = ", ".join(f"{method} {number}" for method, number in seeds.items())
        yield f"The methods have different numbers of seeds ({told}); each value is the mean over its own."
    for key in ("trainer.max_epochs", "batch_size", "optimizer.lr", "model.width", "dataset.size"):
        values = {m: short(next(iter(parts.values())).settings.get(key, "?")) for m, parts in runs.items()}
        if len(set(values.values())) > 1:
            told = ", ".join(f"{method} {value}" for method, value in values.items())
            yield f"Not like for like: {key} differs ({told})."
