"""Sweeps found in folders: runs of one method on one dataset, and the numeric settings in which they differ."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from mammoseg.errors import UserError
from mammoseg.runs import results
from mammoseg.runs.discovery import read_rows
from mammoseg.runs.folder import RunFolder, folders_with
from mammoseg.runs.record import RunRecord, Status, read_record
from mammoseg.runs.settings import Role, method_of, role, select

log = logging.getLogger(__name__)

ALPHA = "α"
SHORT = {"loss.alpha": ALPHA, "loss.beta": "β", "loss.eta": "η", "loss.gamma": "γ"}
REPLICATE_NAMES = {"seed": "seed", "split.fold": "fold", "split.seed": "split seed"}  # as sentences call them
MAX_VALUES = 8  # distinct values of a setting that are shown one by one; more are binned
N_BINS = 5  # of equal size


@dataclass(frozen=True)
class SweepRun:
    """A finished run.

    Attributes:
        dataset: Its dataset.
        method: Its method.
        strings: Method settings that are text, such as trainer.precision; runs that differ in one are other methods.
        numbers: Method and replicate settings that are numbers, by short name.
        validation: Validation DSC.
        test: Test DSC; NaN for a pruned run.
        pruned: Whether the search stopped it early.
    """

    dataset: str
    method: str
    strings: dict[str, str]
    numbers: dict[str, float]
    validation: float
    test: float
    pruned: bool


@dataclass(frozen=True)
class SettingResult:
    """One combination of settings, over its folds and seeds.

    Attributes:
        values: Of the settings that vary in the sweep; NaN where the runs do not have one.
        validation: Mean validation DSC.
        deviation: Its standard deviation; NaN for one run.
        test: Mean test DSC; NaN if a run was pruned and therefore not tested.
        runs: Number of runs.
        pruned: Whether one of them was pruned.
    """

    values: tuple[float, ...]
    validation: float
    deviation: float
    test: float
    runs: int
    pruned: bool


@dataclass(frozen=True)
class Effect:
    """Effect of one setting on validation DSC, over the combinations that were not pruned.

    Attributes:
        low: Lowest value.
        high: Highest value.
        rho: Spearman's rank correlation; NaN for fewer than three combinations or a constant.
        p: Its p value.
        spread: Highest minus lowest mean DSC over the values or bins.
        best: The value, or the median of the bin, with the highest mean.
    """

    low: float
    high: float
    rho: float
    p: float
    spread: float
    best: float


@dataclass(frozen=True)
class Sweep:
    """Runs of one method on one dataset.

    Attributes:
        dataset: Its name.
        method: Its name, with the text settings by which it differs from others in the same folders.
        names: Of the numeric settings that vary, replicates aside.
        results: One for each combination of their values, the best by validation DSC first, pruned ones last.
        replicated_over: What varies between runs of one combination, such as "fold and seed".
    """

    dataset: str
    method: str
    names: list[str]
    results: list[SettingResult]
    replicated_over: str

    @property
    def name(self) -> str:
        return f"{self.dataset}, {self.method}"

    @property
    def completed(self) -> list[SettingResult]:
        return [result for result in self.results if not result.pruned]

    @property
    def is_unreplicated(self) -> bool:
        return all(result.runs == 1 for result in self.results)

    @cached_property
    def sensitivities(self) -> list[Effect]:
        """The effect of each setting, in the order of `names`."""
        scores = np.array([result.validation for result in self.completed])
        columns = zip(*(result.values for result in self.completed), strict=True)
        return [effect(np.array(column), scores) for column in columns]

    @cached_property
    def best_by_alpha(self) -> dict[float, SettingResult]:
        """The best result for each alpha; empty if alpha has many values or is the only setting that varies."""
        if ALPHA not in self.names or len(self.names) < 2:
            return {}
        column = self.names.index(ALPHA)
        best: dict[float, SettingResult] = {}
        for result in self.completed:
            best.setdefault(result.values[column], result)
        return dict(sorted(best.items())) if len(best) <= MAX_VALUES else {}


def effect(values: np.ndarray, scores: np.ndarray) -> Effect:
    """Effect of a setting with `values` (N,) on `scores` (N,)."""
    rho = p = float("nan")
    if len(values) > 2:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", stats.ConstantInputWarning)  # reported as NaN
            rho, p = stats.spearmanr(values, scores)
    means = binned_means(values, scores)
    best = max(means, key=lambda pair: pair[1])
    spread = best[1] - min(mean for _, mean in means)
    return Effect(float(values.min()), float(values.max()), float(rho), float(p), spread, best[0])


def binned_means(values: np.ndarray, scores: np.ndarray) -> list[tuple[float, float]]:
    """(value, mean score) of each distinct value, or (median value, mean score) of bins if there are many."""
    distinct = np.unique(values)
    if len(distinct) <= MAX_VALUES:
        return [(float(value), float(scores[values == value].mean())) for value in distinct]
    bins = np.array_split(np.argsort(values, kind="stable"), N_BINS)
    return [(float(np.median(values[rows])), float(scores[rows].mean())) for rows in bins]


def find_sweeps(folders: Sequence[Path]) -> list[Sweep]:
    """Find the sweeps among the finished runs in or below `folders`.

    Raises:
        UserError: If there is no finished run, or if no runs of one method and dataset differ in a numeric setting.
    """
    if not folders:
        raise UserError("runs=[]: no folder; give one of a sweep, such as multirun/theta-phantom")
    listed = ", ".join(map(str, folders))
    runs = find_finished_runs(folders)
    if not runs:
        raise UserError(f"runs={listed}: no finished run in it or below; sweep first, with mammoseg.train sweep=theta")
    sweeps = [make_sweep(dataset, method, group) for (dataset, method), group in sorted(group_runs(runs).items())]
    sweeps = [sweep for sweep in sweeps if sweep.names and sweep.completed]
    if not sweeps:
        raise UserError(
            f"runs={listed}: the runs of each method differ in no numeric setting besides fold and seed, or all were "
            "pruned; sweep over a setting first, or compare methods with mammoseg.compare"
        )
    return sweeps


def find_finished_runs(folders: Sequence[Path]) -> list[SweepRun]:
    """Each finished run in or below `folders` once; the others are named in the log."""
    runs: dict[Path, SweepRun] = {}
    for folder in folders:
        if not folder.is_dir():
            raise UserError(
                f"runs={folder}: no such folder; give one that a sweep wrote, such as multirun/theta-phantom"
            )
        for run in folders_with(folder, RunFolder.record.name):
            record = read_record(run) or RunRecord()
            if record.is_complete and record.score is not None:
                runs[run.path.resolve()] = read_sweep_run(run, record, record.score)
            elif record.status is not Status.EVALUATED:
                log.warning("skipped %s: not finished", run.path)
    return list(runs.values())


def read_sweep_run(run: RunFolder, record: RunRecord, validation: float) -> SweepRun:
    try:
        dataset, method = record.run_info["dataset"], record.run_info["method"]
    except (KeyError, TypeError) as error:
        raise UserError(
            f"{run.record}: damaged ({error!r}); remove it, or the whole run folder, and run again"
        ) from error
    return SweepRun(
        dataset=dataset,
        method=method,
        strings={name: value for name, value in method_of(record.settings).items() if isinstance(value, str)},
        numbers=dict(iter_numeric(select(record.settings, Role.METHOD, Role.REPLICATE))),
        validation=validation,
        test=results.pooled_metrics(read_rows(run.results))["dsc"] if run.results.is_file() else float("nan"),
        pruned=record.status is Status.PRUNED,
    )


def iter_numeric(settings: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """(short name, value) of each number; lists are split into their elements: loss.theta becomes θ1 to θ4."""
    for name, value in settings.items():
        if isinstance(value, int | float):  # includes bool
            yield SHORT.get(name, name), float(value)
        elif isinstance(value, list) and value and all(isinstance(element, int | float) for element in value):
            for i, element in enumerate(value, start=1):
                yield f"θ{i}" if name == "loss.theta" else f"{name}.{i}", float(element)


def group_runs(runs: Sequence[SweepRun]) -> dict[tuple[str, str], list[SweepRun]]:
    """Runs by dataset and method; the method's name includes the text settings that differ within it."""
    by_method: dict[tuple[str, str], list[SweepRun]] = {}
    for run in runs:
        by_method.setdefault((run.dataset, run.method), []).append(run)
    groups: dict[tuple[str, str], list[SweepRun]] = {}
    for (dataset, method), group in by_method.items():
        names = sorted({name for run in group for name in run.strings})
        varying = [name for name in names if len({run.strings.get(name) for run in group}) > 1]
        for run in group:
            label = ", ".join(f"{name}={run.strings[name]}" for name in varying if name in run.strings)
            groups.setdefault((dataset, f"{method} ({label})" if label else method), []).append(run)
    return groups


def make_sweep(dataset: str, method: str, runs: Sequence[SweepRun]) -> Sweep:
    every = sorted({name for run in runs for name in run.numbers})
    varying = [name for name in every if len({run.numbers.get(name) for run in runs}) > 1]
    replicates = [word for name, word in REPLICATE_NAMES.items() if name in varying]
    names = [name for name in varying if role(name) is not Role.REPLICATE]
    names.sort(key=lambda name: ("θαβηγ".find(name[0]) % 6, name))  # the paper's letters first
    combinations: dict[tuple[float | None, ...], list[SweepRun]] = {}
    for run in runs:
        combinations.setdefault(tuple(run.numbers.get(name) for name in names), []).append(run)
    found = [summarise(values, group) for values, group in combinations.items()]
    found.sort(key=lambda result: (result.pruned, -result.validation))
    return Sweep(dataset, method, names, found, " and ".join(replicates) or "seed")


def summarise(values: Sequence[float | None], runs: Sequence[SweepRun]) -> SettingResult:
    validation = np.array([run.validation for run in runs])
    return SettingResult(
        values=tuple(float("nan") if value is None else value for value in values),
        validation=float(validation.mean()),
        deviation=float(validation.std(ddof=1)) if len(runs) > 1 else float("nan"),
        test=float(np.mean([run.test for run in runs])),
        runs=len(runs),
        pruned=any(run.pruned for run in runs),
    )
