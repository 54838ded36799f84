"""Finding runs: all in a folder with their results, the latest one, and the checkpoint that a user names."""

from __future__ import annotations

import csv
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mammoseg.errors import UserError
from mammoseg.processes import is_locked
from mammoseg.runs import results
from mammoseg.runs.folder import EXPORTED_WEIGHTS, RunFolder, folders_with
from mammoseg.runs.record import RunRecord, Status, read_record
from mammoseg.runs.results import COUNTS, ResultRow
from mammoseg.runs.settings import differing, flatten

log = logging.getLogger(__name__)

LATEST = "latest"
MAX_DEPTH = 6  # of run folders below the working directory; sweeps are three deep
FoldSeed = tuple[str, str]


@dataclass(frozen=True)
class RunResults:
    """The test results of one run.

    Args:
        folder: The run folder, or one that `evaluate` wrote.
        rows: The rows of results.csv.
        method: Label of the method in tables.
        settings: Nested public settings; empty if there is no record.
        fold: Label of the fold; it names the split's seed as well where that differs between runs.
        minutes: Duration of the run.
    """

    folder: RunFolder
    rows: list[ResultRow]
    method: str
    settings: Mapping[str, Any]
    fold: str
    minutes: float | None = None

    @property
    def dataset(self) -> str:
        """Name of the dataset."""
        return str(self.rows[0]["dataset"])

    @property
    def fold_seed(self) -> FoldSeed:
        """Label of the fold, and the seed of training."""
        return self.fold, str(self.rows[0]["seed"])

    @property
    def split_seed(self) -> str:
        """Seed of the split; empty if it is not known."""
        return str(self.setting("split.seed", ""))

    def setting(self, key: str, default: object = None) -> Any:
        """The setting `key`, such as "loss.alpha"."""
        return dict(flatten(self.settings)).get(key, default)

    @property
    def counts(self) -> NDArray[np.int64]:
        """(images, 4): true positive, false positive, false negative and true negative pixels."""
        return np.array([[row[name] for name in COUNTS] for row in self.rows], dtype=np.int64)


def expand_latest(folders: Sequence[Path]) -> list[Path]:
    """Replace `latest` by the newest finished run in or below the working directory."""
    return [latest_run(finished=True).path if str(folder) == LATEST else folder for folder in folders]


def find_runs(folders: Sequence[Path]) -> list[RunResults]:
    """Find all finished runs in the folders or below them; unfinished ones are logged.

    Evaluations repeat a run, so those of a folder are used only if it contains no finished run.

    Raises:
        UserError: If there is none, or a results.csv is damaged.
    """
    runs = []
    for folder in folders:
        if not folder.is_dir():
            raise UserError(
                f"runs={folder}: no such folder; give one that mammoseg.train wrote, such as multirun/table1-phantom, "
                "or latest"
            )
        trained, evaluated = [], []
        for run in folders_with(folder, RunFolder.record.name, RunFolder.results.name):
            record = read_record(run)
            if record is not None and record.status is Status.EVALUATED and run.results.is_file():
                evaluated.append(run)
            elif run.results.is_file() and (record is None or record.is_complete):
                trained.append(run)
            else:
                log.warning("skipped %s: not finished", run.path)
        runs += [read_run(run) for run in trained or evaluated]  # an evaluation repeats a run
    if not runs:
        raise UserError(
            f"runs={', '.join(map(str, folders))}: no {RunFolder.results.name} in it or below; train first, for "
            "instance python -m mammoseg.train experiment=table1 dataset=phantom"
        )
    return runs


def read_run(folder: RunFolder) -> RunResults:
    """The results of the run in `folder`."""
    rows = read_rows(folder.results)
    record = read_record(folder) or RunRecord()
    return RunResults(folder, rows, str(rows[0]["method"]), record.settings, str(rows[0]["fold"]), record.minutes)


def read_rows(path: Path) -> list[ResultRow]:
    """Read and validate results.csv.

    Raises:
        UserError: If it is empty, lacks a column, contains an invalid number or an image twice.
    """
    try:
        with path.open(newline="") as lines:
            columns = csv.DictReader(lines).fieldnames or []
        if missing := [name for name in results.REQUIRED_COLUMNS if name not in columns]:
            raise UserError(
                f"{path}: has no column {', '.join(missing)}; it is no results table of this version, test again"
            )
        rows = results.read_results(path)
    except (ValueError, TypeError, csv.Error) as error:
        raise UserError(f"{path}: {error}; test the run again with mammoseg.evaluate") from error
    if not rows:
        raise UserError(f"{path}: has no row, so its test part was empty; check the run's split")
    for row in rows:
        counts = [row[name] for name in COUNTS]
        if min(counts) < 0:
            raise UserError(f"{path}: case {row['case']} has a negative number of pixels; test the run again")
    if len({row["case"] for row in rows}) < len(rows):
        raise UserError(f"{path}: contains an image twice; test the run again")
    return rows


def label_repeated_splits(runs: Sequence[RunResults]) -> list[RunResults]:
    """Add the split's seed to the labels of folds if it differs between runs, whose folds then differ too."""
    if len({run.split_seed for run in runs if run.split_seed}) < 2:  # unknown for results without a record
        return list(runs)
    return [replace(run, fold=f"{run.fold} of split {run.split_seed}".strip()) for run in runs]


def run_folders(top: Path) -> Iterator[RunFolder]:
    """The run folders at or below `top`, at most six folders deep. Hidden folders and environments are skipped."""
    return folders_with(top.absolute(), RunFolder.record.name, max_depth=MAX_DEPTH)


def latest_run(*, finished: bool, top: Path | None = None) -> RunFolder:
    """The newest finished, or the newest unfinished, run at or below `top`, by default the working directory.

    Unfinished runs that another process is working on are ignored.

    Raises:
        UserError: If there is none.
    """
    top = top or Path.cwd()
    candidates: list[tuple[str, str, RunFolder]] = []
    for folder in run_folders(top):
        record = read_record(folder)
        if record is None or not record.settings:
            continue
        if not (record.status is Status.FINISHED if finished else can_be_resumed(folder, record)):
            continue
        if finished or not is_locked(folder.lock):
            candidates.append((record.started, str(folder.path), folder))
    if not candidates:
        status = "finished" if finished else "unfinished"
        raise UserError(f"latest: there is no {status} run in or below the working directory; give the run's folder")
    return max(candidates)[2]


def can_be_resumed(folder: RunFolder, record: RunRecord) -> bool:
    """Whether the run is unfinished; one that failed before its first checkpoint would fail again."""
    if record.status is Status.FAILED:
        return folder.last_checkpoint.is_file()
    return record.status in (Status.RUNNING, Status.STOPPED)


def unfinished_twins(folder: RunFolder, record: RunRecord) -> list[RunFolder]:
    """Interrupted runs in the parent of `folder` with the settings of `record`, the newest first."""
    twins = []
    for other in run_folders(folder.path.parent):
        if other.path == folder.path.absolute():
            continue
        stored = read_record(other)
        if stored is None or not stored.settings or stored.root != record.root or not can_be_resumed(other, stored):
            continue
        if not differing(stored.settings, record.settings) and not is_locked(other.lock):
            twins.append((stored.started, other))
    return [other for _, other in sorted(twins, key=lambda twin: twin[0], reverse=True)]


def resolve_checkpoint(reference: str | Path, name: str = "ckpt_path") -> Path:
    """The checkpoint file that a user names.

    Args:
        reference: A checkpoint, an exported model or its folder, a run folder (its best checkpoint), or "latest" (that
            of the newest finished run below the working directory).
        name: Name of the setting, for messages.

    Raises:
        UserError: If there is no such checkpoint.
    """
    if str(reference) == LATEST:
        return latest_run(finished=True).best_checkpoint
    path = Path(str(reference)).expanduser()
    if not path.is_dir():
        return path
    run = RunFolder(path)
    for candidate in (run.best_checkpoint, path / EXPORTED_WEIGHTS):
        if candidate.is_file():
            return candidate
    raise UserError(
        f"{name}={path}: the folder has neither {RunFolder.best_checkpoint.name} nor {EXPORTED_WEIGHTS}; give a run "
        "folder, an exported model, a checkpoint or latest"
    )
