"""Runs on the same images -> what can be said about their methods, with its uncertainty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import combinations, pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mammoseg.density import ACRDensity
from mammoseg.metrics import BINS, FORMULAS
from mammoseg.runs.discovery import Comparable, Part
from mammoseg.runs.results import CALIBRATION, Row, read_calibration
from mammoseg.statistics import functions as statistics
from mammoseg.statistics.functions import Floats, PairedTest

METRICS = tuple(FORMULAS)
SIZES = 5  # groups of mass size, of equal number


@dataclass(frozen=True)
class Estimate:
    """A pooled metric: mean over folds and seeds, deviation over them (NaN for one), and interval over patients."""

    value: float
    deviation: float
    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """`first` against `second` in one metric: `mean` of the pooled difference with its interval, and the paired test
    of the images' values; `p_holm` is corrected over all pairs of methods in this metric."""

    metric: str
    first: str
    second: str
    mean: float
    low: float
    high: float
    test: PairedTest
    p_holm: float


@dataclass(frozen=True)
class Comparison:
    """Everything a report shows. `resamples`, `level`, `seed`: of the bootstrap. `unit`: of tests, image or patient.

    The same resamples of patients serve all methods, so that differences are paired.
    """

    data: Comparable
    resamples: int
    level: float
    seed: int
    unit: str = "image"

    @property
    def methods(self) -> list[str]:
        return self.data.methods

    @property
    def rows(self) -> list[Row]:
        """The test images of all folds, in the order of every (images, ...) array here."""
        return [row for rows in self.data.cases.values() for row in rows]

    @cached_property
    def density(self) -> NDArray[np.int64]:
        return np.array([row["density"] for row in self.rows])

    @cached_property
    def mass_size(self) -> NDArray[np.int64]:
        """Mass pixels of each image."""
        return np.array([row["tp"] + row["fn"] for row in self.rows])

    def resampled(self, method: str, chosen: NDArray[np.bool_] | None = None) -> tuple[Floats, Floats]:
        """Pooled metrics of each run (parts, 4), and of each resample (resamples, 4) as the mean over the runs.

        `chosen`: (images,) restricts both to some images.
        """
        values, drawn = [], []
        for (fold, _), run in self.data.runs[method].items():
            here = slice(None) if chosen is None else chosen[self.places(fold)]
            counts = run.counts[here]
            summed = statistics.by_patient(counts, np.array([row["patient"] for row in run.rows])[here])
            values.append(statistics.formulas(counts.sum(axis=0)))
            drawn.append(statistics.formulas(self.draws(fold, len(summed)) @ summed))
        return np.stack(values), np.mean(drawn, axis=0)

    def draws(self, fold: str, patients: int) -> Floats:
        """(resamples, patients), the same for each call with the same arguments."""
        return draws(self.seed, list(self.data.cases).index(fold), patients, self.resamples)

    def places(self, fold: str) -> slice:
        """Where the images of a fold stand among all."""
        start = 0
        for name, rows in self.data.cases.items():
            if name == fold:
                return slice(start, start + len(rows))
            start += len(rows)
        raise KeyError(fold)

    def estimates(self, method: str, chosen: NDArray[np.bool_] | None = None) -> dict[str, Estimate]:
        values, drawn = self.all_drawn[method] if chosen is None else self.resampled(method, chosen)
        spread = values.std(axis=0, ddof=1) if len(values) > 1 else np.full(values.shape[1], np.nan)
        return {
            metric: Estimate(
                float(values[:, column].mean()),
                float(spread[column]),
                *statistics.interval(drawn[:, column], self.level),
            )
            for column, metric in enumerate(METRICS)
        }

    @cached_property
    def all_drawn(self) -> dict[str, tuple[Floats, Floats]]:
        return {method: self.resampled(method) for method in self.methods}

    @cached_property
    def overall(self) -> dict[str, dict[str, Estimate]]:
        return {method: self.estimates(method) for method in self.methods}

    @cached_property
    def by_density(self) -> dict[int, dict[str, dict[str, Estimate]]]:
        """Of the ACR categories that have test images in every fold; in the others a fold would have no value."""
        found: dict[int, dict[str, dict[str, Estimate]]] = {}
        for category in ACRDensity:
            chosen = self.density == category
            if all(chosen[self.places(fold)].any() for fold in self.data.cases):
                found[category] = {method: self.estimates(method, chosen) for method in self.methods}
        return found

    @cached_property
    def by_image(self) -> dict[str, Floats]:
        """Metrics of each image (images, 4), the mean over the seeds of its fold."""
        values = {}
        for method, parts in self.data.runs.items():
            folds = [
                np.mean([statistics.formulas(run.counts) for (of, _), run in parts.items() if of == fold], axis=0)
                for fold in self.data.cases
            ]
            values[method] = np.concatenate(folds)
        return values

    @cached_property
    def by_unit(self) -> dict[str, Floats]:
        """`by_image`, or its mean over each patient's images."""
        if self.unit == "image":
            return self.by_image
        patients = [row["patient"] for row in self.rows]
        images = statistics.by_patient(np.ones((len(patients), 1)), patients)
        return {method: statistics.by_patient(values, patients) / images for method, values in self.by_image.items()}

    @cached_property
    def differences(self) -> list[Difference]:
        """All pairs of methods in all metrics."""
        found = []
        for column, metric in enumerate(METRICS):
            pairs = list(combinations(self.methods, 2))
            tests = [statistics.wilcoxon(self.by_unit[a][:, column], self.by_unit[b][:, column]) for a, b in pairs]
            corrected = statistics.holm([test.p for test in tests]) if tests else []
            for (first, second), test, p_holm in zip(pairs, tests, corrected, strict=True):
                mean = self.overall[first][metric].value - self.overall[second][metric].value
                drawn = self.all_drawn[first][1][:, column] - self.all_drawn[second][1][:, column]
                low, high = statistics.interval(drawn, self.level)
                found.append(Difference(metric, first, second, mean, low, high, test, p_holm))
        return found

    @cached_property
    def blocks(self) -> tuple[list[Part], Floats]:
        """The folds and seeds that all methods have, and the pooled DSC in them: (blocks, methods)."""
        parts = self.data.common
        scores = [
            [statistics.formulas(self.data.runs[method][part].counts.sum(axis=0))[0] for method in self.methods]
            for part in parts
        ]
        return parts, np.array(scores, dtype=np.float64).reshape(len(parts), len(self.methods))

    @cached_property
    def best_share(self) -> dict[str, float]:
        """In how many of the resamples of patients a method has the highest pooled DSC."""
        drawn = np.stack([self.all_drawn[method][1][:, 0] for method in self.methods], axis=1)
        wins = np.bincount(drawn.argmax(axis=1), minlength=len(self.methods)) / len(drawn)
        return dict(zip(self.methods, wins.tolist(), strict=True))

    @cached_property
    def size_groups(self) -> list[tuple[str, NDArray[np.bool_]]]:
        """Images in groups of about equal number by mass size in pixels, smallest first, with a label."""
        edges = np.unique(np.quantile(self.mass_size, np.linspace(0, 1, SIZES + 1)))
        groups = []
        for place, (low, high) in enumerate(pairwise(edges)):
            last = place == len(edges) - 2
            chosen = (self.mass_size >= low) & ((self.mass_size <= high) if last else (self.mass_size < high))
            if chosen.any():
                groups.append((f"{self.mass_size[chosen].min()}–{self.mass_size[chosen].max()}", chosen))
        return groups

    @cached_property
    def reliability(self) -> dict[str, Tensor]:
        """Summed calibration tables (10, 3) of the methods all of whose runs have one."""
        tables = {}
        for method, parts in self.data.runs.items():
            files = [run.folder / CALIBRATION for run in parts.values()]
            if all(path.is_file() for path in files):
                tables[method] = sum((read_calibration(path) for path in files), torch.zeros(BINS, 3))
        return tables


@lru_cache(maxsize=16)  # the folds of one part of the images, for all methods
def draws(seed: int, fold: int, patients: int, resamples: int) -> Floats:
    return statistics.draw_patients(patients, resamples, np.random.default_rng([seed, fold, patients]))


def best(values: Sequence[float], metric: str) -> set[int]:
    """Which of the values are the best; several where two decimals in percent do not tell them apart."""
    array = np.round(np.asarray(values, dtype=np.float64), 4)
    if np.isnan(array).all():
        return set()
    winner = np.nanmax(array) if FORMULAS[metric].higher_is_better else np.nanmin(array)
    return set(np.flatnonzero(array == winner).tolist())
