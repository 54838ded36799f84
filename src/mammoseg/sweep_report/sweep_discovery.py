"""Find the sweeps in folders of runs."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mammoseg.errors import UserError
from mammoseg.program import shell_command
from mammoseg.runs import results
from mammoseg.runs.checked_results import read_rows
from mammoseg.runs.folder import RunFolder, folders_with
from mammoseg.runs.record import RunRecord, Status, read_record_or_skip
from mammoseg.runs.settings import Role, role, select, string_settings
from mammoseg.sweep_report.sweeps import ALPHA, SettingResult, Sweep

log = logging.getLogger(__name__)

SHORT_NAMES = {"loss.alpha": ALPHA, "loss.beta": "β", "loss.eta": "η", "loss.gamma": "γ"}
REPLICATE_NAMES = {"seed": "seed", "split.fold": "fold", "split.seed": "split seed"}  # in sentences


@dataclass(frozen=True)
class SweepRun:
    """A finished run.

    Attributes:
        dataset: Name of the dataset.
        method: Name of the method.
        string_settings: Method settings that are strings or lists of them, such as trainer.precision. Runs that differ
            in one of them belong to different sweeps.
        numeric_settings: Method and replicate settings that are numbers, by short name.
        validation: Validation DSC.
        test: Test DSC; NaN for a pruned run.
        pruned: Whether the search pruned the run.
    """

    dataset: str
    method: str
    string_settings: dict[str, str]
    numeric_settings: dict[str, float]
    validation: float
    test: float
    pruned: bool


def find_sweeps(folders: Sequence[Path]) -> list[Sweep]:
    """Find the sweeps among the finished runs in `folders` and their subfolders.

    Args:
        folders: Run folders, or folders that contain them.

    Returns:
        One sweep per dataset and method, in alphabetical order.

    Raises:
        UserError: If there is no finished run, or if no runs of one method and dataset differ in a numeric setting.
    """
    if not folders:
        raise UserError("runs must be a folder or a list of folders, such as multirun/theta-phantom, got []")
    listed = ", ".join(map(str, folders))
    runs = find_finished_runs(folders)
    if not runs:
        raise UserError(
            f"runs={listed}: no finished run found; start a sweep with {shell_command('train', 'sweep=theta')}"
        )
    found = [make_sweep(dataset, method, group) for (dataset, method), group in sorted(group_runs(runs).items())]
    sweeps = [sweep for sweep in found if sweep.names and sweep.completed]
    if not sweeps:
        raise UserError(
            f"runs={listed}: the runs of each method do not differ in any numeric setting other than fold and seed, or "
            "all were pruned; sweep over a setting, or compare methods with mammoseg.compare"
        )
    if omitted := [sweep.name for sweep in found if sweep not in sweeps]:
        log.warning("not reported, since there is a single combination of settings: %s", "; ".join(omitted))
    return sweeps


def find_finished_runs(folders: Sequence[Path]) -> list[SweepRun]:
    """Find all finished runs in `folders` and their subfolders, without duplicates.

    Unfinished runs are skipped with a warning.

    Raises:
        UserError: If a folder does not exist or the record of a run is damaged.
    """
    runs: dict[Path, SweepRun] = {}
    for folder in folders:
        if not folder.is_dir():
            raise UserError(
                f"runs={folder}: no such folder; choose the output folder of a sweep, such as multirun/theta-phantom"
            )
        for run in folders_with(folder, RunFolder.record.name):
            record = read_record_or_skip(run) or RunRecord()
            if record.is_complete and record.score is not None:
                runs[run.path.resolve()] = read_sweep_run(run, record, record.score)
            elif record.status is not Status.EVALUATED:
                log.warning("skipped %s: not finished", run.path)
    return without_repeats(list(runs.values()))


def without_repeats(runs: Sequence[SweepRun]) -> list[SweepRun]:
    """Remove runs that repeat another one, with equal settings, fold and seed: they are no replicates."""
    unique: dict[tuple[object, ...], SweepRun] = {}
    for run in sorted(runs, key=lambda run: run.pruned):
        settings = {**run.string_settings, **run.numeric_settings}
        unique.setdefault((run.dataset, run.method, *sorted(settings.items())), run)
    if n_repeats := len(runs) - len(unique):
        log.warning("%d runs repeat another run, with equal settings, fold and seed; they are ignored", n_repeats)
    return [run for run in runs if any(run is kept for kept in unique.values())]


def read_sweep_run(run: RunFolder, record: RunRecord, validation: float) -> SweepRun:
    """Read the settings and the test DSC of a finished run.

    Args:
        run: The run folder.
        record: Contents of its run.json.
        validation: Validation DSC of the run.

    Raises:
        UserError: If the record is damaged.
    """
    try:
        dataset, method = record.run_info["dataset"], record.run_info["method"]
    except (KeyError, TypeError) as error:
        raise UserError(
            f"{run.record}: damaged ({error!r}); delete the file or the run folder, and repeat the run"
        ) from error
    return SweepRun(
        dataset=dataset,
        method=method,
        string_settings=string_settings(record.settings),
        numeric_settings=dict(iter_numeric(select(record.settings, Role.METHOD, Role.REPLICATE))),
        validation=validation,
        test=results.pooled_metrics(read_rows(run.results))["dsc"] if run.results.is_file() else float("nan"),
        pruned=record.status is Status.PRUNED,
    )


def iter_numeric(settings: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Iterate over numeric settings.

    Args:
        settings: Flat settings. Lists of numbers are split into their elements, so loss.theta becomes θ1 to θ4.

    Yields:
        (short name, value) of each number.

    Example:
        >>> list(iter_numeric({"loss.alpha": 2, "model": "au_net"}))
        [('α', 2.0)]
    """
    for name, value in settings.items():
        if isinstance(value, int | float):  # includes bool
            yield SHORT_NAMES.get(name, name), float(value)
        elif isinstance(value, list) and value and all(isinstance(element, int | float) for element in value):
            for i, element in enumerate(value, start=1):
                yield f"θ{i}" if name == "loss.theta" else f"{name}.{i}", float(element)


def group_runs(runs: Sequence[SweepRun]) -> dict[tuple[str, str], list[SweepRun]]:
    """Group runs by dataset and method.

    Returns:
        Runs by (dataset, method); the name of the method includes the string settings that differ within it.
    """
    by_method: dict[tuple[str, str], list[SweepRun]] = {}
    for run in runs:
        by_method.setdefault((run.dataset, run.method), []).append(run)
    groups: dict[tuple[str, str], list[SweepRun]] = {}
    for (dataset, method), group in by_method.items():
        names = sorted({name for run in group for name in run.string_settings})
        varying = [name for name in names if len({run.string_settings.get(name) for run in group}) > 1]
        for run in group:
            settings = run.string_settings
            label = ", ".join(f"{name}={settings[name]}" for name in varying if name in settings)
            groups.setdefault((dataset, f"{method} ({label})" if label else method), []).append(run)
    return groups


def make_sweep(dataset: str, method: str, runs: Sequence[SweepRun]) -> Sweep:
    """Combine runs that differ only in replicates, and determine the settings that vary.

    Args:
        dataset: Name of the dataset.
        method: Name of the method.
        runs: Runs of this method on this dataset.
    """
    all_names = sorted({name for run in runs for name in run.numeric_settings})
    varying = [name for name in all_names if len({run.numeric_settings.get(name) for run in runs}) > 1]
    replicates = [word for name, word in REPLICATE_NAMES.items() if name in varying]
    names = [name for name in varying if role(name) is not Role.REPLICATE]
    names.sort(key=lambda name: ("θαβηγ".find(name[0]) % 6, name))  # Greek letters in this order, then others
    combinations: dict[tuple[float | None, ...], list[SweepRun]] = {}
    for run in runs:
        combinations.setdefault(tuple(run.numeric_settings.get(name) for name in names), []).append(run)
    setting_results = [summarise(values, group) for values, group in combinations.items()]
    setting_results.sort(key=lambda result: (result.pruned, -result.validation))
    return Sweep(dataset, method, names, setting_results, " and ".join(replicates) or "seed")


def summarise(values: Sequence[float | None], runs: Sequence[SweepRun]) -> SettingResult:
    """Average the results of runs that share the `values` of all varying settings."""
    validation = np.array([run.validation for run in runs])
    return SettingResult(
        values=tuple(float("nan") if value is None else value for value in values),
        validation=float(validation.mean()),
        std=float(validation.std(ddof=1)) if len(runs) > 1 else float("nan"),
        test=float(np.mean([run.test for run in runs])),
        runs=len(runs),
        pruned=any(run.pruned for run in runs),
        replicates=frozenset(tuple(map(run.numeric_settings.get, REPLICATE_NAMES)) for run in runs),
    )
