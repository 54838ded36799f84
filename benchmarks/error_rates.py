"""Error rates, coverage and power of the tests of `mammoseg.compare` in simulated studies.

python benchmarks/error_rates.py [--repetitions 400]

In each repetition, new test patients are drawn and every method is trained anew: the pixel counts of the test images
are simulated and compared by `mammoseg.statistics.comparison.Comparison`. The test set is similar to that of CBIS-DDSM:
361 images of 201 patients, with lognormal mass areas and patients of different difficulty, shared by all methods. Seeds
shift the quality of all predictions of a network such that its pooled DSC has the given standard deviation.
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
N_PIXELS = 256 * 256
N_RESAMPLES = 500
LEVEL = 0.95
PATIENT_SD, IMAGE_SD, NOISE_SD = 1.0, 0.7, 1.0  # of the logit of the fraction of a mass that is found
UNEQUAL = ((5, 3, 3, 3, 3, 3), (3, 2, 1, 1, 1, 1), (5, 1, 1, 1, 1, 1))  # designs with unequal numbers of seeds
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


def simulate_run(images: Images, quality: float, method: str, seed: int, rng: np.random.Generator) -> RunResults:
    """Simulate the test results of a network."""
    info = {"dataset": "simulated", "method": method, "fold": "", "seed": str(seed)}
    counts = images.counts(quality, rng).astype(int).tolist()
    rows = [
        {**info, "case": str(i), "patient": str(patient), "density": 1 + i % 4, **dict(zip(COUNTS, row, strict=True))}
        for i, (patient, row) in enumerate(zip(images.patient.tolist(), counts, strict=True))
    ]
    return RunResults(RunFolder(Path(method) / str(seed)), with_metrics(rows), method, {}, "")


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


def simulate(seeds: tuple[int, ...], seed_sd: float, gain: float, repetitions: int, expected: ExpectedDsc) -> Rates:
    """Simulate studies.

    Args:
        seeds: Number of seeds of each method.
        seed_sd: Standard deviation of the DSC between seeds, in percentage points.
        gain: Difference in DSC of the first method from the others, in percentage points.
        repetitions: Number of studies.
        expected: DSC in the population.

    Returns:
        Rates. "Covered" refers to the difference between the first two methods or, if one of them has one seed, between
        their networks.
    """
    rates, base = Rates(), expected(0.0)
    n_methods = len(seeds)
    shape = (n_methods, max(seeds))
    rng = np.random.default_rng([n_methods, *sorted(set(seeds)), round(10 * seed_sd), round(10 * gain)])
    for _ in range(repetitions):
        images = Images.draw(N_IMAGES, N_PATIENTS, rng)
        dsc = base + (rng.normal(0, seed_sd, shape) + gain * (np.arange(n_methods) == 0)[:, None]) / 100
        runs = [
            simulate_run(images, expected.quality_of(dsc[m, s]), f"method{m}", s, rng)
            for m in range(n_methods)
            for s in range(seeds[m])
        ]
        comparison = Comparison(align_runs(runs), N_RESAMPLES, LEVEL, seed=0)
        pairs = [d for d in comparison.all_differences if d.metric == "dsc"]
        (primary,) = comparison.differences("dsc", [("method0", "method1")])
        networks = dsc[0, : seeds[0]].mean() - dsc[1, : seeds[1]].mean()
        true = networks if min(seeds[:2]) == 1 else gain / 100
        rates.repetitions += 1
        rates.any_holm += any(d.p_holm < 1 - LEVEL for d in pairs)
        rates.primary += primary.inference.p < 1 - LEVEL
        rates.covered += primary.inference.low <= true <= primary.inference.high
    return rates


def main() -> None:
    """Print a table of error rates for identical methods, and of the power for a true difference."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=400)
    repetitions = parser.parse_args().repetitions
    expected = ExpectedDsc()
    designs: list[tuple[tuple[int, ...], float, float]] = []
    designs += [((n_seeds,) * 6, sd, 0.0) for sd in (0.0, 1.6, 2.2) for n_seeds in (1, 3, 5)]
    designs += [((n_seeds,) * 2, sd, 0.0) for sd in (0.0, 1.6, 2.2) for n_seeds in (2, 3)]
    designs += [(seeds, 2.2, 0.0) for seeds in UNEQUAL]
    designs += [((5,) * n_methods, sd, 3.0) for n_methods in (2, 6) for sd in (1.6, 2.2)]
    print(f"{repetitions} repetitions, {LEVEL:.0%} intervals; DSC of the methods {100 * expected(0.0):.1f} %\n")
    print("| Methods | Seeds | SD of seeds | True difference | Any Holm p < 0.05 | Primary p < 0.05 | Coverage |")
    print("|---|---|---|---|---|---|---|")
    for seeds, seed_sd, gain in designs:
        rates = simulate(seeds, seed_sd, gain, repetitions, expected)
        listed = str(seeds[0]) if len(set(seeds)) == 1 else ", ".join(map(str, seeds))
        print(f"| {len(seeds)} | {listed} | {seed_sd} | {gain} | {rates} |", flush=True)


if __name__ == "__main__":
    main()
