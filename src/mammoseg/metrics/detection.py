"""The detection view: which masses were found, and at the cost of how many false alarms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mammoseg.errors import UserError

RATES = (0.25, 0.5, 1.0, 2.0, 4.0)  # false positives per image at which sensitivity is reported
CONNECTIVITY = 8  # pixels that touch at a corner belong together


@dataclass(frozen=True)
class Criterion:
    """What is marked, and when a mark counts as a hit.

    `above`: a candidate is a connected region of pixels whose probability is above it; its score is the highest
    probability in it. None: above the run's own threshold, so that the candidates are the parts of its masks. A lower
    one gives more candidates, but where a network leaves a haze around a mass it also makes them grow together.
    `hit`: "centre", its centre of gravity lies within a mass, which is the usual rule of computer
    aided detection in mammography (Ribli et al., Scientific Reports 8:4165, 2018, for one); or "iou", its
    intersection over union with a mass is at least `iou` (0.2 in Dhungel et al., Medical Image Analysis 37, 2017).
    Raises UserError for settings outside these.
    """

    above: float | None = None
    hit: str = "centre"
    iou: float = 0.2

    def __post_init__(self) -> None:
        if self.hit not in ("centre", "iou"):
            raise UserError(f"detection.hit={self.hit}, but the choices are centre and iou")
        if self.above is not None and not (isinstance(self.above, int | float) and 0 < self.above < 1):
            raise UserError(f"detection.above={self.above}, but a probability lies between 0 and 1")
        if not (isinstance(self.iou, int | float) and 0 < self.iou <= 1):
            raise UserError(f"detection.iou={self.iou}, but it lies above 0 and is 1 at most")

    @property
    def told(self) -> str:
        if self.hit == "centre":
            return "its centre of gravity lies within a mass"
        return f"its intersection over union with a mass is at least {self.iou:g}"


@dataclass(frozen=True)
class Candidate:
    """One mark. `x`, `y`: its centre of gravity in pixels, the centre of the image's first pixel at 0. `area`: in
    pixels. `score` and `mean`: the highest and the mean probability in it. `hits`: numbers, from 1, of the masses it
    hits; none for a false positive."""

    x: float
    y: float
    area: int
    score: float
    mean: float
    hits: tuple[int, ...]


def detect(
    prob: NDArray[np.float32], mask: NDArray[np.bool_], criterion: Criterion, threshold: float
) -> tuple[list[Candidate], int]:
    """The candidates of one image, the highest score first, and the number of its masses.

    Shapes: prob, mask (H, W). A mass is a connected part of the mask. `threshold`: the run's own.
    """
    above = threshold if criterion.above is None else criterion.above
    masses, mass_labels, sizes, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=CONNECTIVITY)
    mass_areas = sizes[:, cv2.CC_STAT_AREA]
    raised = (prob > np.float32(above)).view(np.uint8)
    regions, labels, stats, centres = cv2.connectedComponentsWithStats(raised, connectivity=CONNECTIVITY)
    candidates = []
    for number in range(1, regions):
        left, top, width, height, area = (int(value) for value in stats[number])
        box = np.s_[top : top + height, left : left + width]
        inside = labels[box] == number
        values, there = prob[box][inside], mass_labels[box][inside]
        x, y = (float(value) for value in centres[number])
        if criterion.hit == "centre":
            hits = {int(mass_labels[round(y), round(x)])}
        else:
            common = np.bincount(there, minlength=masses)
            hits = set(np.flatnonzero(common / (mass_areas + area - common) >= criterion.iou).tolist())
        candidates.append(
            Candidate(x, y, area, float(values.max()), float(values.mean(dtype=float)), tuple(sorted(hits - {0})))
        )
    return sorted(candidates, key=lambda one: (-one.score, one.y, one.x)), masses - 1


@dataclass(frozen=True)
class Froc:
    """Free-response receiver operating characteristic of a number of images.

    `best`: for each mass the highest score of a candidate that hits it, -inf where none does; more hits on one mass
    count once, and are no false positives. `false`: the scores of the candidates that hit none. `images`: how many.
    """

    best: NDArray[np.float64]
    false: NDArray[np.float64]
    images: int

    @classmethod
    def of(cls, found: Sequence[tuple[Sequence[Candidate], int]]) -> Froc:
        """From what `detect` gave for each image."""
        best = [
            max((one.score for one in candidates if number in one.hits), default=-np.inf)
            for candidates, masses in found
            for number in range(1, masses + 1)
        ]
        false = [one.score for candidates, _ in found for one in candidates if not one.hits]
        return cls(np.array(best, float), np.array(false, float), len(found))

    def sensitivity(self, rate: float) -> float:
        """The largest share of masses that is found with at most `rate` false positives per image.

        Value: [0, 1]; NaN if there is no mass. Nothing is interpolated: some score is the lowest that counts, and
        all candidates of that score count.
        """
        if not len(self.best):
            return float("nan")
        allowed = int(min(rate * self.images, len(self.false)))
        falling = np.sort(self.false)[::-1]
        beyond = falling[allowed] if allowed < len(falling) else -np.inf
        return float((self.best > beyond).mean())

    def curve(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """False positives per image and sensitivity, from the highest score to the lowest, beginning at (0, 0)."""
        scores = np.unique(np.concatenate([self.best[self.best > -np.inf], self.false]))[::-1]
        false = [np.count_nonzero(self.false >= score) for score in scores]
        found = [np.count_nonzero(self.best >= score) for score in scores]
        return np.array([0, *false]) / max(self.images, 1), np.array([0, *found]) / max(len(self.best), 1)
