"""Folders -> sweeps: runs of one method on one dataset, and the numbers in which their settings differ."""

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
from mammoseg.runs.folder import RunFolder
from mammoseg.runs.record import RunRecord, Status, read_record
from mammoseg.runs.settings import Role, method_of, role, select

log = logging.getLogger(__name__)

ALPHA = "α"
SHORT = {"loss.alpha": ALPHA, "loss.beta": "β", "loss.eta": "η", "loss.gamma": "γ"}
REPLICATES = {"seed": "seed", "split.fold": "fold", "split.seed": "split seed"}  # their names in sentences
FEW = 8  # values of a setting up to which each stands for itself
NAN = float("nan")  # one object, which equals itself as part of a key
Outcome = tuple[dict[str, float], float, float, bool]  # settings that are numbers, validation and test DSC, pruned
Found = tuple[str, str, dict[str, str], Outcome]  # dataset, method, settings that are text
GROUPS = 5  # of equal size, where there are more


@dataclass(frozen=True)
class Point:
    """One choice of settings: `values` of those that differ, validation and test DSC as the mean over folds and seeds.

    `deviation` over them is NaN for one run; `test` is NaN where a run was pruned and so never tested.
    """

    values: tuple[float, ...]
    validation: float
    deviation: float
    test: float
    runs: int
    pruned: bool


@dataclass(frozen=True)
class Effect:
    """Of one setting on validation DSC, over points that were trained to the end.

    `rho`, `p`: Spearman's rank correlation; NaN for less than three points or a constant. `spread`: highest less lowest
    mean; `best`: the value, or the middle of the group, of the highest.
    """

    low: float
    high: float
    rho: float
    p: float
    spread: float
    best: float


@dataclass(frozen=True)
class Sweep:
    """`points`, best first by validation DSC; `names` of the settings in which they differ; `again`: what repeats."""

    dataset: str
    method: str
    names: list[str]
    points: list[Point]
    again: str

    @property
    def name(self) -> str:
        return f"{self.dataset}, {self.method}"

    @property
    def whole(self) -> list[Point]:
        return [point for point in self.points if not point.pruned]

    @property
    def once(self) -> bool:
        return all(point.runs == 1 for point in self.points)

    @cached_property
    def sensitivities(self) -> list[Effect]:
        scores = np.array([point.validation for point in self.whole])
        return [self.effect(np.array(column), scores) for column in zip(*(p.values for p in self.whole), strict=True)]

    @staticmethod
    def effect(values: np.ndarray, scores: np.ndarray) -> Effect:
        rho = p = float("nan")
        if len(values) > 2:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", stats.ConstantInputWarning)  # NaN says it
                rho, p = stats.spearmanr(values, scores)
        means = group_means(values, scores)
        highest = max(means, key=lambda pair: pair[1])
        spread = highest[1] - min(mean for _, mean in means)
        return Effect(float(values.min()), float(values.max()), float(rho), float(p), spread, highest[0])

    @cached_property
    def alphas(self) -> dict[float, Point]:
        """The best point for each alpha, if alpha has few values and something else differs too."""
        if ALPHA not in self.names or len(self.names) < 2:
            return {}
        place = self.names.index(ALPHA)
        best: dict[float, Point] = {}
        for point in self.whole:
            best.setdefault(point.values[place], point)
        return dict(sorted(best.items())) if len(best) <= FEW else {}


def group_means(values: np.ndarray, scores: np.ndarray) -> list[tuple[float, float]]:
    """(value, mean score) of each value, or (median value, mean score) of groups where there are many values."""
    distinct = np.unique(values)
    if len(distinct) <= FEW:
        return [(float(value), float(scores[values == value].mean())) for value in distinct]
    order = np.argsort(values, kind="stable")
    parts = np.array_split(order, GROUPS)
    return [(float(np.median(values[part])), float(scores[part].mean())) for part in parts]


def find(folders: Sequence[Path]) -> list[Sweep]:
    """Raises UserError where there is no finished run, or where runs of one method and dataset differ in nothing."""
    if not folders:
        raise UserError("runs=[]: no folder; give one of a sweep, such as multirun/theta-phantom")
    runs: dict[Path, Found] = {}
    for folder in folders:
        if not folder.is_dir():
            raise UserError(
                f"runs={folder}: no such folder; give one that a sweep wrote, such as multirun/theta-phantom"
            )
        for path in sorted(folder.rglob(RunFolder.record.name)):
            run = RunFolder(path.parent)
            record = read_record(run) or RunRecord()
            if not record.is_complete or record.score is None:
                log.warning("skipped %s: not finished", run.path)
                continue
            try:
                dataset, method = record.run_info["dataset"], record.run_info["method"]
            except (KeyError, TypeError) as error:
                raise UserError(
                    f"{path}: damaged ({error!r}); remove it, or the whole run folder, and run again"
                ) from error
            one = (numbers(record.settings), record.score, test_score(run), record.status is Status.PRUNED)
            runs[path.resolve()] = dataset, method, texts(record.settings), one
    groups = grouped(list(runs.values()))
    if not groups:
        told = ", ".join(map(str, folders))
        raise UserError(f"runs={told}: no finished run in it or below; sweep first, with mammoseg.train sweep=theta")
    sweeps = [swept(dataset, method, runs) for (dataset, method), runs in sorted(groups.items())]
    if not (whole := [sweep for sweep in sweeps if sweep.names and sweep.whole]):
        raise UserError(
            f"runs={', '.join(map(str, folders))}: the runs of a method differ in no number besides fold and seed, or "
            "none was trained to the end; sweep over a setting first, or compare methods with mammoseg.compare"
        )
    return whole


def grouped(
    runs: Sequence[Found],
) -> dict[tuple[str, str], list[Outcome]]:
    """By dataset and method; a method is told apart by the settings that are text, such as trainer.precision."""
    groups: dict[tuple[str, str], list[Outcome]] = {}
    for dataset, method, text, one in runs:
        same = [other for its, name, other, _ in runs if (its, name) == (dataset, method)]
        differing = [name for name in sorted(text) if len({other.get(name) for other in same}) > 1]
        label = ", ".join(f"{name}={text[name]}" for name in differing)
        groups.setdefault((dataset, f"{method} ({label})" if label else method), []).append(one)
    return groups


def texts(settings: Mapping[str, Any]) -> dict[str, str]:
    """The method settings that are text: runs that differ in one are different methods."""
    return {name: value for name, value in method_of(settings).items() if isinstance(value, str)}


def test_score(run: RunFolder) -> float:
    return results.pooled_metrics(read_rows(run.results))["dsc"] if run.results.is_file() else float("nan")


def numbers(settings: Mapping[str, Any]) -> dict[str, float]:
    """The method and replicate settings that are numbers, lists of them one by one: loss.theta becomes θ1 to θ4."""
    return dict(each_number(select(settings, Role.METHOD, Role.REPLICATE)))


def each_number(settings: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for name, value in settings.items():
        if isinstance(value, int | float):  # also true and false
            yield SHORT.get(name, name), float(value)
        elif isinstance(value, list) and value and all(isinstance(one, int | float) for one in value):
            for place, one in enumerate(value, start=1):
                yield f"θ{place}" if name == "loss.theta" else f"{name}.{place}", float(one)


def swept(dataset: str, method: str, runs: Sequence[Outcome]) -> Sweep:
    every = sorted({name for settings, *_ in runs for name in settings})
    varying = [name for name in every if len({settings.get(name) for settings, *_ in runs}) > 1]
    again = [word for name, word in REPLICATES.items() if name in varying]
    named = [name for name in varying if role(name) is not Role.REPLICATE]
    names = sorted(named, key=lambda name: ("θαβηγ".find(name[0]) % 6, name))  # the paper's letters first
    together: dict[tuple[float, ...], list[tuple[float, float, bool]]] = {}
    for settings, validation, test, pruned in runs:
        values = tuple(settings.get(name, NAN) for name in names)
        together.setdefault(values, []).append((validation, test, pruned))
    points = [mean_point(values, outcomes) for values, outcomes in together.items()]
    points.sort(key=lambda point: (point.pruned, -point.validation))
    return Sweep(dataset, method, names, points, " and ".join(again) or "seed")


def mean_point(values: tuple[float, ...], outcomes: Sequence[tuple[float, float, bool]]) -> Point:
    validation, test, pruned = (np.array(column) for column in zip(*outcomes, strict=True))
    deviation = float(validation.std(ddof=1)) if len(outcomes) > 1 else float("nan")
    return Point(values, float(validation.mean()), deviation, float(test.mean()), len(outcomes), bool(pruned.any()))
