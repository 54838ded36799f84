"""Error rates, coverage and power of the tests of `mammoseg.compare` in simulated studies.

python benchmarks/error_rates.py [--repetitions 400] [--methods 2]

In each repetition, new test patients are drawn and every method is trained anew: the pixel counts of the test images
are simulated and compared by `mammoseg.statistics.comparison.Comparison`. The test set is similar to that of CBIS-DDSM:
361 images of 201 patients, with lognormal mass areas and patients of different difficulty, shared by all methods. Seeds
shift the quality of all predictions of a network such that its pooled DSC has the given standard deviation. Studies
with cross-validation have a dataset similar to INbreast, 107 images of 50 patients in five folds; the overlap of the
training sets of the folds is not simulated.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from mammoseg.metrics import metrics_from_counts
from mammoseg.runs.discovery import RunResults
from mammoseg.runs.folder import RunFolder
from mammoseg.runs.results import COUNTS, with_metrics
from mammoseg.statistics.alignment import align_runs
from mammoseg.statistics.comparison import Comparison

N_PATIENTS, N_IMAGES = 201, 361
N_PATIENTS_CV, N_IMAGES_CV, N_FOLDS = 50, 107, 5  # of cross-validation
N_PIXELS = 256 * 256
N_RESAMPLES = 500
LEVEL = 0.95
PATIENT_SD, IMAGE_SD, NOISE_SD = 1.0, 0.7, 1.0  # of the logit of the fraction of a mass that is found
UNEQUAL = ((5, 3, 3, 3, 3, 3), (3, 2, 1, 1, 1, 1), (5, 1, 1, 1, 1, 1))  # numbers of seeds
UNEQUAL_SD = (3.0, 3.0, 0.8, 0.8, 0.8, 0.8)
POPULATION = 200_000  # images from which the expected DSC of a network is computed

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Images:
    """Simulated images: patient, mass area in pixels, and logit of the fraction that an average network finds."""

    patient: NDArray[np.int64]
    area: Array
    ease: Array

    @classmethod
    def draw(cls, n_images: int, n_patients: int, rng: np.random.Generator) -> Images:
        """Draw the images of new patients; each patient has at least one image."""
        patient = np.concatenate([np.arange(n_patients), rng.integers(0, n_patients, n_images - n_patients)])
        area = np.exp(rng.normal(np.log(440), 0.8, n_images)).clip(13, 4000).round()
        ease = 0.6 + rng.normal(0, PATIENT_SD, n_patients)[patient] + rng.normal(0, IMAGE_SD, n_images)
        return cls(patient, area, ease)

    def fold(self, fold: int) -> Images:
        """Return the images of a fold of patients."""
        tested = self.patient % N_FOLDS == fold
        return Images(self.patient[tested], self.area[tested], self.ease[tested])

    def counts(self, quality: float, rng: np.random.Generator) -> Array:
        """Simulate the pixel counts of a network, shape (images, 4); `quality` shifts the logits."""
        found = expit(self.ease + quality + rng.normal(0, NOISE_SD, len(self.area)))
        tp = np.round(self.area * found)
        fp = np.round(self.area * expit(-self.ease - quality + rng.normal(0, NOISE_SD, len(self.area))))
        return np.stack([tp, fp, self.area - tp, N_PIXELS - self.area - fp], axis=1)


class ExpectedDsc:
    """Pooled DSC of a network in the population, as a function of its quality."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        images = Images.draw(POPULATION, POPULATION // 2, rng)
        self.quality = np.linspace(-1.5, 1.5, 61)
        totals = [images.counts(quality, np.random.default_rng(1)).sum(axis=0) for quality in self.quality]
        self.dsc = metrics_from_counts(np.array(totals))["dsc"]

    def quality_of(self, dsc: float) -> float:
        """Return the quality of a network with the given DSC in the population."""
        return float(np.interp(dsc, self.dsc, self.quality))

    def __call__(self, quality: float) -> float:
        """Return the DSC in the population of a network of the given quality."""
        return float(np.interp(quality, self.quality, self.dsc))


def simulate_run(
    images: Images, quality: float, method: int, run: int, is_fold: bool, rng: np.random.Generator
) -> RunResults:
    """Simulate the test results of a network; `run` is the number of its fold or its seed."""
    fold, seed = (str(run), "0") if is_fold else ("", str(run))
    info = {"dataset": "simulated", "method": f"method{method}", "fold": fold, "seed": seed}
    counts = images.counts(quality, rng).astype(int).tolist()
    rows = [
        {
            **info,
            "case": f"{fold}-{i}",
            "patient": str(patient),
            "density": 1 + i % 4,
            **dict(zip(COUNTS, row, strict=True)),
        }
        for i, (patient, row) in enumerate(zip(images.patient.tolist(), counts, strict=True))
    ]
    return RunResults(RunFolder(Path(info["method"]) / str(run)), with_metrics(rows), info["method"], {}, fold)


@dataclass(frozen=True)
class Design:
    """Design of a study.

    Attributes:
        runs: Number of seeds of each method, or of folds in cross-validation.
        seed_sd: Standard deviation of the DSC between the trainings of each method, in percentage points.
        gain: Difference in DSC of the first method from the others, in percentage points.
        is_cross_validation: Whether each run of a method is tested on another fold.
    """

    runs: tuple[int, ...]
    seed_sd: tuple[float, ...]
    gain: float = 0.0
    is_cross_validation: bool = False

    def simulate(self, expected: ExpectedDsc, rng: np.random.Generator) -> tuple[list[RunResults], float]:
        """Simulate the test results of a study.

        Args:
            expected: DSC in the population.
            rng: Generator of the random numbers.

        Returns:
            Results of all runs, and the true difference in DSC between the first two methods or, if one of them has
            one seed, between their networks.
        """
        n_methods = len(self.runs)
        sizes = (N_IMAGES_CV, N_PATIENTS_CV) if self.is_cross_validation else (N_IMAGES, N_PATIENTS)
        images = Images.draw(*sizes, rng)
        noise = rng.normal(0, np.array(self.seed_sd)[:, None], (n_methods, max(self.runs)))
        dsc = expected(0.0) + (noise + self.gain * (np.arange(n_methods) == 0)[:, None]) / 100
        folds = [images.fold(fold) if self.is_cross_validation else images for fold in range(max(self.runs))]
        runs = [
            simulate_run(folds[run], expected.quality_of(dsc[method, run]), method, run, self.is_cross_validation, rng)
            for method in range(n_methods)
            for run in range(self.runs[method])
        ]
        networks = dsc[0, : self.runs[0]].mean() - dsc[1, : self.runs[1]].mean()
        return runs, float(networks if min(self.runs[:2]) == 1 else self.gain / 100)

    def __str__(self) -> str:
        runs, sds = (
            ", ".join(map(str, values if len(set(values)) > 1 else values[:1])) for values in (self.runs, self.seed_sd)
        )
        return f"{len(self.runs)} | {runs}{' folds' if self.is_cross_validation else ''} | {sds} | {self.gain}"


@dataclass
class Rates:
    """Numbers of repetitions: studies, those with a significant pair, primary tests, and covering intervals."""

    repetitions: int = 0
    any_holm: int = 0
    primary: int = 0
    covered: int = 0

    def __str__(self) -> str:
        any_holm, primary, covered = (100 * n / self.repetitions for n in (self.any_holm, self.primary, self.covered))
        return f"{any_holm:.1f} % | {primary:.1f} % | {covered:.1f} %"


def simulate(design: Design, repetitions: int, expected: ExpectedDsc) -> Rates:
    """Simulate studies.

    Args:
        design: Design of the studies.
        repetitions: Number of studies.
        expected: DSC in the population.

    Returns:
        Rates. "Covered" refers to the difference between the first two methods or, if one of them has one seed, between
        their networks.
    """
    rates = Rates()
    sds = sorted({round(10 * sd) for sd in design.seed_sd})
    rng = np.random.default_rng([len(design.runs), *sorted(set(design.runs)), *sds, round(10 * design.gain)])
    for _ in range(repetitions):
        runs, true = design.simulate(expected, rng)
        comparison = Comparison(align_runs(runs), N_RESAMPLES, LEVEL, seed=0)
        pairs = [d for d in comparison.all_differences if d.metric == "dsc"]
        (primary,) = comparison.differences("dsc", [("method0", "method1")])
        rates.repetitions += 1
        rates.any_holm += any(d.p_holm < 1 - LEVEL for d in pairs)
        rates.primary += primary.inference.p < 1 - LEVEL
        rates.covered += primary.inference.low <= true <= primary.inference.high
    return rates


def designs() -> list[Design]:
    """Return the designs of the table: identical methods, then a first method with a higher DSC."""
    equal = [(6, n_seeds, sd) for sd in (0.0, 1.6, 2.2) for n_seeds in (1, 3, 5)]
    equal += [(2, n_seeds, sd) for sd in (0.0, 1.6, 2.2) for n_seeds in (2, 3)]
    return [
        *(Design((n_seeds,) * n, (sd,) * n) for n, n_seeds, sd in equal),
        *(Design(seeds, (2.2,) * len(seeds)) for seeds in UNEQUAL),
        *(Design((n_seeds,) * 6, UNEQUAL_SD) for n_seeds in (3, 10)),
        *(Design((N_FOLDS,) * n, (sd,) * n, is_cross_validation=True) for sd in (0.0, 2.2) for n in (6, 2)),
        *(Design((5,) * n, (sd,) * n, 3.0) for n in (2, 6) for sd in (1.6, 2.2)),
    ]


def main() -> None:
    """Print a table of error rates for identical methods, and of the power for a true difference."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=400)
    parser.add_argument("--methods", type=int, help="only designs with this number of methods")
    arguments = parser.parse_args()
    expected = ExpectedDsc()
    print(
        f"{arguments.repetitions} repetitions, {LEVEL:.0%} intervals; DSC of the methods {100 * expected(0.0):.1f} %\n"
    )
    print("| Methods | Seeds | SD of seeds | True difference | Any Holm p < 0.05 | Primary p < 0.05 | Coverage |")
    print("|---|---|---|---|---|---|---|")
    for design in designs():
        if arguments.methods in (None, len(design.runs)):
            print(f"| {design} | {simulate(design, arguments.repetitions, expected)} |", flush=True)


if __name__ == "__main__":
    main()
