"""Comparison of methods on the same images: estimates with intervals, paired tests, ranking."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import combinations, pairwise

import numpy as np
from numpy.typing import NDArray

from mammoseg.density import ACRDensity
from mammoseg.metrics import BINS, PIXEL_METRICS, metrics_from_counts
from mammoseg.runs.discovery import FoldSeed
from mammoseg.runs.predictions import read_calibration
from mammoseg.runs.results import ResultRow
from mammoseg.statistics.alignment import AlignedRuns
from mammoseg.statistics.bootstrap import (
    Bootstrap,
    Floats,
    patient_bootstrap_weights,
    percentile_interval,
    sum_by_patient,
)
from mammoseg.statistics.significance import PairedTest, holm, wilcoxon

N_SIZE_GROUPS = 5  # groups of mass size, of about equal number


@dataclass(frozen=True)
class Estimate:
    """A pooled metric.

    Attributes:
        value: Mean over folds and seeds.
        deviation: Standard deviation over them; NaN for a single run.
        low: Lower end of the bootstrap interval over patients.
        high: Upper end.
    """

    value: float
    deviation: float
    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """`first` minus `second` in one metric.

    Attributes:
        metric: Key of the metric.
        first: A method.
        second: Another.
        mean: Difference of the pooled values.
        low: Lower end of its bootstrap interval over patients.
        high: Upper end.
        test: Paired test over images or patients.
        p_holm: Its p-value, corrected over all pairs of methods within the metric.
    """

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
    """Everything a report shows. All methods share the resamples of patients, so that differences are paired.

    Attributes:
        data: The runs.
        resamples: Of the bootstrap.
        level: Of the intervals, such as 0.95.
        seed: Of the bootstrap.
        unit: Of the paired tests, "image" or "patient".
    """

    data: AlignedRuns
    resamples: int
    level: float
    seed: int
    unit: str = "image"

    @property
    def methods(self) -> list[str]:
        return self.data.methods

    @property
    def rows(self) -> list[ResultRow]:
        """Test images of all folds, in the order of every (images,) array here."""
        return [row for rows in self.data.cases.values() for row in rows]

    @cached_property
    def density(self) -> NDArray[np.int64]:
        return np.array([row["density"] for row in self.rows])

    @cached_property
    def mass_size(self) -> NDArray[np.int64]:
        """Mass pixels of each image."""
        return np.array([row["tp"] + row["fn"] for row in self.rows])

    def bootstrap(self, method: str, chosen: NDArray[np.bool_] | None = None) -> Bootstrap:
        """Pooled metrics of each run, and of each resample of patients.

        Args:
            method: Whose runs.
            chosen: (images,), restricts both to some images.
        """
        values, draws = [], []
        for (fold, _), run in self.data.runs[method].items():
            here = slice(None) if chosen is None else chosen[self.fold_slice(fold)]
            counts = run.counts[here]
            summed = sum_by_patient(counts, np.array([row["patient"] for row in run.rows])[here])
            values.append(metrics_from_counts(counts.sum(axis=0)))
            draws.append(metrics_from_counts(self.weights(fold, len(summed)) @ summed))
        return Bootstrap(
            {key: np.stack([one[key] for one in values]) for key in PIXEL_METRICS},
            {key: np.mean([one[key] for one in draws], axis=0) for key in PIXEL_METRICS},
        )

    def weights(self, fold: str, patients: int) -> Floats:
        """(resamples, patients), the same for each call with the same arguments."""
        return bootstrap_weights(self.seed, list(self.data.cases).index(fold), patients, self.resamples)

    def fold_slice(self, fold: str) -> slice:
        """Index of the images of a fold among all."""
        start = 0
        for name, rows in self.data.cases.items():
            if name == fold:
                return slice(start, start + len(rows))
            start += len(rows)
        raise KeyError(fold)

    def estimates(self, method: str, chosen: NDArray[np.bool_] | None = None) -> dict[str, Estimate]:
        """By key of the metric; `chosen` as for `bootstrap`."""
        found = self.bootstraps[method] if chosen is None else self.bootstrap(method, chosen)
        return {
            key: Estimate(
                float(values.mean()),
                float(values.std(ddof=1)) if len(values) > 1 else float("nan"),
                *percentile_interval(found.draws[key], self.level),
            )
            for key, values in found.values.items()
        }

    @cached_property
    def bootstraps(self) -> dict[str, Bootstrap]:
        """By method, over all images."""
        return {method: self.bootstrap(method) for method in self.methods}

    @cached_property
    def overall(self) -> dict[str, dict[str, Estimate]]:
        return {method: self.estimates(method) for method in self.methods}

    @cached_property
    def by_density(self) -> dict[int, dict[str, dict[str, Estimate]]]:
        """By ACR category, method and metric, for the categories with test images in every fold."""
        found: dict[int, dict[str, dict[str, Estimate]]] = {}
        for category in ACRDensity:
            chosen = self.density == category
            if all(chosen[self.fold_slice(fold)].any() for fold in self.data.cases):
                found[category] = {method: self.estimates(method, chosen) for method in self.methods}
        return found

    @cached_property
    def by_image(self) -> dict[str, dict[str, Floats]]:
        """By method and metric: values (images,), the mean over the seeds of the image's fold."""
        found: dict[str, dict[str, Floats]] = {}
        for method, parts in self.data.runs.items():
            folds = [
                [metrics_from_counts(run.counts) for (of, _), run in parts.items() if of == fold]
                for fold in self.data.cases
            ]
            found[method] = {
                key: np.concatenate([np.mean([values[key] for values in seeds], axis=0) for seeds in folds])
                for key in PIXEL_METRICS
            }
        return found

    @cached_property
    def by_unit(self) -> dict[str, dict[str, Floats]]:
        """`by_image`, or its mean over each patient's images."""
        if self.unit == "image":
            return self.by_image
        patients = [row["patient"] for row in self.rows]
        images = sum_by_patient(np.ones(len(patients)), patients)
        return {
            method: {key: sum_by_patient(column, patients) / images for key, column in values.items()}
            for method, values in self.by_image.items()
        }

    @cached_property
    def differences(self) -> list[Difference]:
        """All pairs of methods in all metrics."""
        found = []
        pairs = list(combinations(self.methods, 2))
        for metric in PIXEL_METRICS:
            tests = [wilcoxon(self.by_unit[a][metric], self.by_unit[b][metric]) for a, b in pairs]
            corrected = holm([test.p for test in tests]) if tests else []
            for (first, second), test, p_holm in zip(pairs, tests, corrected, strict=True):
                mean = self.overall[first][metric].value - self.overall[second][metric].value
                draws = self.bootstraps[first].draws[metric] - self.bootstraps[second].draws[metric]
                low, high = percentile_interval(draws, self.level)
                found.append(Difference(metric, first, second, mean, low, high, test, p_holm))
        return found

    @cached_property
    def blocks(self) -> tuple[list[FoldSeed], Floats]:
        """The folds and seeds that all methods have, and the pooled DSC in them (blocks, methods)."""
        parts = self.data.common
        scores = [
            [
                float(metrics_from_counts(self.data.runs[method][part].counts.sum(axis=0))["dsc"])
                for method in self.methods
            ]
            for part in parts
        ]
        return parts, np.array(scores, dtype=np.float64).reshape(len(parts), len(self.methods))

    @cached_property
    def best_share(self) -> dict[str, float]:
        """Fraction of the resamples of patients in which each method has the highest pooled DSC."""
        drawn = np.stack([self.bootstraps[method].draws["dsc"] for method in self.methods], axis=1)
        wins = np.bincount(drawn.argmax(axis=1), minlength=len(self.methods)) / len(drawn)
        return dict(zip(self.methods, wins.tolist(), strict=True))

    @cached_property
    def size_groups(self) -> list[tuple[str, NDArray[np.bool_]]]:
        """Label and images of groups of about equal number by mass size in pixels, smallest first."""
        edges = np.unique(np.quantile(self.mass_size, np.linspace(0, 1, N_SIZE_GROUPS + 1)))
        groups = []
        for number, (low, high) in enumerate(pairwise(edges)):
            last = number == len(edges) - 2
            chosen = (self.mass_size >= low) & ((self.mass_size <= high) if last else (self.mass_size < high))
            if chosen.any():
                groups.append((f"{self.mass_size[chosen].min()}–{self.mass_size[chosen].max()}", chosen))
        return groups

    @cached_property
    def reliability(self) -> dict[str, Floats]:
        """Summed calibration tables (10, 3) of the methods all of whose runs have one."""
        tables = {}
        for method, parts in self.data.runs.items():
            files = [run.folder.calibration for run in parts.values()]
            if all(path.is_file() for path in files):
                tables[method] = sum((read_calibration(path) for path in files), np.zeros((BINS, 3)))
        return tables


@lru_cache(maxsize=16)  # the folds of one part of the images, for all methods
def bootstrap_weights(seed: int, fold: int, patients: int, resamples: int) -> Floats:
    return patient_bootstrap_weights(patients, resamples, np.random.default_rng([seed, fold, patients]))


def best(values: Sequence[float], metric: str) -> set[int]:
    """Indices of the best values; several if they are displayed alike, with two decimals."""
    decimals = 4 if PIXEL_METRICS[metric].unit == "%" else 2
    array = np.round(np.asarray(values, dtype=np.float64), decimals)
    if np.isnan(array).all():
        return set()
    winner = np.nanmax(array) if PIXEL_METRICS[metric].higher_is_better else np.nanmin(array)
    return set(np.flatnonzero(array == winner).tolist())
