"""Lookup of runs: all runs in a folder with their results, and the latest run."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mammoseg.errors import UserError
from mammoseg.pretrained.registry import is_installed
from mammoseg.processes import is_locked
from mammoseg.program import shell_command
from mammoseg.runs.checked_results import read_rows
from mammoseg.runs.folder import RunFolder, folders_with
from mammoseg.runs.prediction_folder import PROVENANCE_FILE
from mammoseg.runs.record import RunRecord, Status, read_record, read_record_or_skip
from mammoseg.runs.results import COUNTS, ENSEMBLE, RUN_COLUMNS, ResultRow
from mammoseg.runs.seen_images import count_seen
from mammoseg.runs.settings import differing, flatten

log = logging.getLogger(__name__)

LATEST = "latest"
MAX_DEPTH = 6  # of run folders below the working directory; those of sweeps are at depth 3
FoldSeed = tuple[str, str]


@dataclass(frozen=True)
class RunResults:
    """Test results of one run.

    Attributes:
        folder: Run folder, or output folder of `evaluate`.
        rows: Rows of results.csv.
        method: Label of the method in tables.
        settings: Nested public settings; empty if there is no record.
        fold: Label of the fold; it includes the seed of the split if that differs between runs. Empty for the test on
            another dataset, which is the same for the networks of all folds.
        minutes: Duration of the run; None if unknown.
        training: Label of the training among those of the same fold; None for the seed.
        masks_only: Whether the results are those of masks that another program predicted; see `evaluate`.
    """

    folder: RunFolder
    rows: list[ResultRow]
    method: str
    settings: Mapping[str, Any]
    fold: str
    minutes: float | None = None
    training: str | None = None
    masks_only: bool = False

    @property
    def dataset(self) -> str:
        """Name of the dataset."""
        return str(self.rows[0]["dataset"])

    @property
    def fold_seed(self) -> FoldSeed:
        """Label of the fold, and seed or other label of the training."""
        return self.fold, str(self.rows[0]["seed"]) if self.training is None else self.training

    @property
    def trained_on(self) -> str:
        """Name of the dataset of the training; several are joined by "+"."""
        return str(self.rows[0].get("trained_on") or self.dataset)

    @property
    def seen_counts(self) -> dict[str, int]:
        """Numbers of test images that are not independent of the training, see `seen_images.count_seen`."""
        return count_seen([str(row.get("seen", "")) for row in self.rows])

    @property
    def is_external(self) -> bool:
        """Whether the network was tested on a dataset on which it was not trained."""
        sources = ((self.settings.get("dataset") or {}).get("reader") or {}).get("sources") or {}
        return self.dataset not in (*self.trained_on.split("+"), *sources)

    @property
    def is_ensemble(self) -> bool:
        """Whether the networks of several runs were tested together."""
        return ENSEMBLE in str(self.rows[0]["method"])

    @property
    def repeats_test(self) -> bool:
        """Whether an output of `evaluate` repeats the test of a run, without options that may change the results."""
        return "trained_on" not in self.rows[0] and not self.masks_only

    @property
    def identity(self) -> tuple[str, ...]:
        """What identifies the run that was tested."""
        return (*(str(self.rows[0][name]) for name in RUN_COLUMNS), self.split_seed)

    @property
    def split_seed(self) -> str:
        """Seed of the split; empty if unknown."""
        return str(self.setting("split.seed", ""))

    def setting(self, key: str, default: object = None) -> Any:
        """Return the value of a setting such as "loss.alpha", or `default`."""
        return dict(flatten(self.settings)).get(key, default)

    @property
    def counts(self) -> NDArray[np.int64]:
        """Pixel counts of shape (images, 4): TP, FP, FN and TN."""
        return np.array([[row[name] for name in COUNTS] for row in self.rows], dtype=np.int64)


def expand_latest(folders: Sequence[Path]) -> list[Path]:
    """Replace "latest" by the newest finished run at or below the working directory.

    Args:
        folders: Folders, or the path "latest".

    Raises:
        UserError: If there is no finished run.
    """
    return [latest_run(finished=True).path if str(folder) == LATEST else folder for folder in folders]


def find_runs(folders: Sequence[Path], *, with_repeated: bool = False) -> list[RunResults]:
    """Find all finished runs in `folders` and their subfolders.

    Unfinished runs are skipped with a warning. Outputs of `evaluate` with checkpoints for the dataset of the training
    repeat the results of a run or depend on options, so they are used only in folders without finished runs.

    Args:
        folders: Run folders, or folders that contain them.
        with_repeated: Whether to include outputs of `evaluate` that repeat the test of a run, without options, if the
            run is in another of the folders.

    Raises:
        UserError: If a folder or a finished run does not exist, or a results.csv is damaged.
    """
    runs: list[RunResults] = []
    repeated: list[RunResults] = []
    for folder in folders:
        trained, tests = tested_runs(folder)
        used = [test for test in tests if test.is_external or test.masks_only or not trained]
        if not with_repeated:
            repeated += [test for test in used if test.repeats_test and test.folder.path != folder]
        runs += [*trained, *(test for test in used if test not in repeated)]
    tested = {run.identity for run in runs}
    for test in repeated:
        if test.identity in tested:
            log.info("skipped %s: it repeats the test of a run", test.folder.path)
        else:
            runs.append(test)
    if not runs:
        if predicted := [folder for folder in folders if (folder / PROVENANCE_FILE).is_file()]:
            raise UserError(
                f"runs={predicted[0]}: an output folder of mammoseg.predict has no test results; show its images with "
                f"{shell_command('view', f'predictions={predicted[0]}')}"
            )
        raise UserError(
            f"runs={', '.join(map(str, folders))}: no {RunFolder.results.name} of a finished run; train first, "
            f"for example with {shell_command('train', 'experiment=table1', 'dataset=phantom')}"
        )
    return runs


def tested_runs(folder: Path) -> tuple[list[RunResults], list[RunResults]]:
    """Read the finished runs and the outputs of `evaluate` in a folder and its subfolders; see `find_runs`."""
    if not folder.is_dir():
        if is_installed(str(folder)):
            raise UserError(
                f"runs={folder}: a pretrained model has no results; test it with "
                f"{shell_command('evaluate', f'ckpt_path={folder}', 'dataset=...')} and set runs to the output folder, "
                f"or predict with {shell_command('predict', f'ckpt_path={folder}', 'input=...')} and set predictions "
                "of mammoseg.view to the output folder"
            )
        raise UserError(
            f"runs={folder}: no such folder; choose an output folder of mammoseg.train, such as "
            "multirun/table1-phantom, or latest"
        )
    trained, evaluated = [], []
    for run in folders_with(folder, RunFolder.record.name, RunFolder.results.name):
        record = read_record_or_skip(run)
        if record is None and run.record.is_file():
            continue
        record = record or RunRecord(status=Status.FINISHED)  # results.csv may have no record
        if record.status is Status.EVALUATED and run.results.is_file():
            evaluated.append(read_run(run, record))
        elif record.status is Status.EVALUATED:
            log.warning("skipped %s: only detection was evaluated, so there is no %s", run.path, run.results.name)
        elif record.is_complete and run.results.is_file():
            trained.append(read_run(run, record))
        else:
            log.warning("skipped %s: not finished", run.path)
    return trained, evaluated


def read_run(folder: RunFolder, record: RunRecord | None = None) -> RunResults:
    """Read the test results of a run.

    Args:
        folder: Run folder.
        record: Record of the run; None reads it from the folder.

    Raises:
        UserError: If results.csv or the record is damaged.
    """
    rows = read_rows(folder.results)
    record = record or read_record(folder) or RunRecord()
    run = RunResults(
        folder,
        rows,
        str(rows[0]["method"]),
        record.settings,
        str(rows[0]["fold"]),
        record.minutes,
        masks_only=bool((record.evaluation or {}).get("masks_only")),
    )
    if not run.is_external:
        return run
    return replace(run, fold="", training=f"{rows[0]['seed']} (fold {run.fold})" if run.fold else None)


def run_folders(top: Path) -> Iterator[RunFolder]:
    """Yield the run folders at or below `top`, at most `MAX_DEPTH` levels deep; see `folders_with`."""
    return folders_with(top.absolute(), RunFolder.record.name, max_depth=MAX_DEPTH)


def latest_run(*, finished: bool, top: Path | None = None) -> RunFolder:
    """Find the newest finished or unfinished run.

    Args:
        finished: Whether to search for finished runs, or for unfinished ones that can be resumed and on which no
            process is working.
        top: Folder to search, with subfolders; None is the working directory.

    Raises:
        UserError: If there is none.
    """
    top = top or Path.cwd()
    candidates: list[tuple[str, str, RunFolder]] = []
    for folder in run_folders(top):
        record = read_record_or_skip(folder)
        if record is None or not record.settings:
            continue
        if not (record.status is Status.FINISHED if finished else can_be_resumed(folder, record)):
            continue
        if finished or not is_locked(folder.lock):
            candidates.append((record.started, str(folder.path), folder))
    if not candidates:
        status = "finished" if finished else "unfinished"
        raise UserError(f"latest: there is no {status} run at or below {top}; set the run folder instead")
    return max(candidates)[2]


def can_be_resumed(folder: RunFolder, record: RunRecord) -> bool:
    """Return True if the run is unfinished, unless it failed before its first checkpoint."""
    if record.status is Status.FAILED:
        return folder.last_checkpoint.is_file()
    return record.status in (Status.RUNNING, Status.STOPPED)


def unfinished_duplicates(folder: RunFolder, record: RunRecord) -> list[RunFolder]:
    """Find unfinished runs with the same settings.

    Args:
        folder: Run folder; its parent folder is searched.
        record: Record of the run in `folder`.

    Returns:
        The other run folders, newest first.
    """
    duplicates = []
    for other in run_folders(folder.path.parent):
        if other.path == folder.path.absolute():
            continue
        stored = read_record_or_skip(other)
        if stored is None or not stored.settings or stored.root != record.root or not can_be_resumed(other, stored):
            continue
        if not differing(stored.settings, record.settings) and not is_locked(other.lock):
            duplicates.append((stored.started, other))
    return [other for _, other in sorted(duplicates, key=lambda pair: pair[0], reverse=True)]
