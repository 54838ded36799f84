"""Lesion detection: which masses are found, and at how many false positives per image (FROC)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mammoseg import validate
from mammoseg.metrics.regions import LabelImage, Region, label_regions, measure_regions

FP_RATES = (0.25, 0.5, 1.0, 2.0, 4.0)  # false positives per image at which sensitivity is reported
MATCHINGS = ("centre", "iou")


@dataclass(frozen=True)
class MatchingRule:
    """Which regions are candidates, and when a candidate matches a mass.

    Attributes:
        prob_threshold: A candidate is a connected region of pixels whose probability is above this; its score is the
            highest probability in it. None uses the run's own threshold, so that the candidates are the regions of its
            masks. A lower threshold gives more candidates, but also merges regions joined by low probabilities.
        matching: "centre": the candidate's centroid lies within the mass, the usual rule of computer-aided detection
            in mammography (Ribli et al., Scientific Reports 8:4165, 2018, for one). "iou": their intersection over
            union is at least `iou_threshold`.
        iou_threshold: 0.2 in Dhungel et al., Medical Image Analysis 37, 2017.

    Raises:
        UserError: For other values.
    """

    prob_threshold: float | None = None
    matching: str = "centre"
    iou_threshold: float = 0.2

    def __post_init__(self) -> None:
        validate.one_of("detection.matching", self.matching, MATCHINGS)
        if self.prob_threshold is not None:
            validate.probability("detection.prob_threshold", self.prob_threshold)
        validate.fraction("detection.iou_threshold", self.iou_threshold)

    @property
    def description(self) -> str:
        """The rule as a clause: a candidate is a hit if ..."""
        if self.matching == "centre":
            return "its centre of gravity lies within a mass"
        return f"its intersection over union with a mass is at least {self.iou_threshold:g}"


@dataclass(frozen=True)
class Candidate:
    """One candidate detection.

    Attributes:
        x: Column of the centroid in pixels; the centre of the image's first pixel is 0.
        y: Row of the centroid.
        area: In pixels.
        score: Highest probability in it.
        mean: Mean probability.
        hits: Labels, from 1, of the masses it matches; empty for a false positive.
    """

    x: float
    y: float
    area: int
    score: float
    mean: float
    hits: tuple[int, ...]


def detect(
    prob: NDArray[np.float32], mask: NDArray[np.bool_], rule: MatchingRule, threshold: float
) -> tuple[list[Candidate], int]:
    """Find the candidates of one image and match them to its masses.

    Args:
        prob: (H, W), predicted probability.
        mask: (H, W), true mask; each connected region is a mass.
        rule: Defines candidates and matching.
        threshold: The run's own, used where the rule has none.

    Returns:
        Candidates by decreasing score, and the number of masses.
    """
    cutoff = threshold if rule.prob_threshold is None else rule.prob_threshold
    masses = label_regions(mask)
    image = label_regions(prob > np.float32(cutoff))
    candidates = [
        Candidate(
            region.x, region.y, region.area, region.max_prob, region.mean_prob, matches(region, image, masses, rule)
        )
        for region in measure_regions(image, prob)
    ]
    return sorted(candidates, key=lambda one: (-one.score, one.y, one.x)), len(masses)


def matches(region: Region, image: LabelImage, masses: LabelImage, rule: MatchingRule) -> tuple[int, ...]:
    """Labels of the masses that a region of `image` matches."""
    if rule.matching == "centre":
        label = int(masses.labels[round(region.y), round(region.x)])
        return (label,) if label else ()
    window = image.window(region.label)
    mass_labels = masses.labels[window][image.labels[window] == region.label]
    intersection = np.bincount(mass_labels, minlength=len(masses) + 1)[1:]
    iou = intersection / (masses.areas + region.area - intersection)
    return tuple((np.flatnonzero(iou >= rule.iou_threshold) + 1).tolist())


@dataclass(frozen=True)
class Froc:
    """Free-response receiver operating characteristic of a number of images.

    Attributes:
        lesion_scores: For each mass the highest score of a candidate that matches it, -inf without one. Further
            matches of the same mass neither count again nor are false positives.
        fp_scores: Scores of the candidates that match no mass.
        images: Number of images.
    """

    lesion_scores: NDArray[np.float64]
    fp_scores: NDArray[np.float64]
    images: int

    @classmethod
    def from_detections(cls, found: Sequence[tuple[Sequence[Candidate], int]]) -> Froc:
        """From what `detect` returned for each image."""
        lesion_scores = [
            max((one.score for one in candidates if label in one.hits), default=-np.inf)
            for candidates, n_masses in found
            for label in range(1, n_masses + 1)
        ]
        fp_scores = [one.score for candidates, _ in found for one in candidates if not one.hits]
        return cls(np.array(lesion_scores, float), np.array(fp_scores, float), len(found))

    def sensitivity(self, fp_rate: float) -> float:
        """The largest fraction of masses found with at most `fp_rate` false positives per image.

        No interpolation: the operating point is a score threshold, and all candidates of that score count.

        Returns:
            In [0, 1]; NaN without masses.
        """
        if not len(self.lesion_scores):
            return float("nan")
        allowed = int(min(fp_rate * self.images, len(self.fp_scores)))
        fp_scores_desc = np.sort(self.fp_scores)[::-1]
        score_cutoff = fp_scores_desc[allowed] if allowed < len(fp_scores_desc) else -np.inf
        return float((self.lesion_scores > score_cutoff).mean())

    def curve(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """False positives per image and sensitivity at each score, from the highest; starts at (0, 0)."""
        matched = self.lesion_scores[self.lesion_scores > -np.inf]
        scores = np.unique(np.concatenate([matched, self.fp_scores]))[::-1]
        false = [np.count_nonzero(self.fp_scores >= score) for score in scores]
        found = [np.count_nonzero(self.lesion_scores >= score) for score in scores]
        return np.array([0, *false]) / max(self.images, 1), np.array([0, *found]) / max(len(self.lesion_scores), 1)
